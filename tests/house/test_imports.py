"""Imports are cheap, flow one way and stay inside what each package may know."""

from __future__ import annotations

import ast
import graphlib
import importlib
import json
import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.house import source

HELP_CPU_SECONDS = 0.3
# CPU seconds stretch when a machine is shared (caches, frequency), by up to this factor.
SLOWNESS = 1.5

THIRD_PARTY = {
    "sfumato.noise": {"torch", "jaxtyping"},
    "sfumato.sampling": {"torch", "jaxtyping"},
    "sfumato.text": {"torch", "jaxtyping", "tokenizers", "datasets", "pyarrow", "jinja2"},
}


def _loaded_after(code: str) -> set[str]:
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_the_library_is_cheap_to_import() -> None:
    loaded = _loaded_after("import sfumato; dir(sfumato); sfumato.__all__; sfumato.__version__")
    assert not {name for name in loaded if name.startswith("sfumato.")}
    assert not loaded & {"torch", "transformers", "numpy", "jaxtyping", "tokenizers", "datasets"}


HELP = """
import sys
sys.argv = ["sfumato", "--help"]
from sfumato_apps.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""


def test_help_loads_no_network() -> None:
    assert not _loaded_after(HELP) & {"torch", "transformers", "datasets", "numpy"}


def test_help_takes_a_blink() -> None:
    seconds = min(_child_seconds([sys.executable, "-c", HELP]) for _ in range(3))
    assert seconds < HELP_CPU_SECONDS * SLOWNESS


def _child_seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("package", sorted(THIRD_PARTY))
def test_a_package_knows_only_its_third_parties(package: str) -> None:
    known = sys.stdlib_module_names | THIRD_PARTY[package] | {"sfumato"}
    found = {
        f"{module.name}: {name}"
        for module in source.modules()
        if module.name.startswith(package)
        for name in source.imported(module.tree)
        if name.split(".")[0] not in known
    }
    assert not found


def _at_import(node: ast.AST) -> Iterator[str]:
    """Modules that a tree imports when it is imported: nothing inside functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, source.FunctionNode | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.ImportFrom) and child.module:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        yield from (
            source.imported(ast.Module(body=[child], type_ignores=[]))
            if isinstance(child, ast.Import)
            else _at_import(child)
        )


def test_no_import_cycle() -> None:
    names = {module.name for module in source.modules()}
    graph = {m.name: {n for n in _at_import(m.tree) if n in names} for m in source.modules()}
    assert sum(len(targets) for targets in graph.values()) > len(names) / 2
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize("name", [module.name for module in source.modules()])
def test_every_module_can_be_imported(name: str) -> None:
    if not name.endswith("__main__"):
        importlib.import_module(name)


def test_every_folder_of_code_is_a_package() -> None:
    folders = {module.path.parent for module in source.modules()}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").is_file()]
