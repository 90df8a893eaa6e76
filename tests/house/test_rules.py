"""Rules of style that a linter does not know, read from the syntax tree of src."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from tests.house import exceptions, source

PROTOCOLS = "sfumato.protocols"
ABSTRACT = {"Protocol", "ABC"}
HOOKED = {"Trainer", "TrainerCallback"}
FORBIDDEN_CALLS = {
    "torch.load": "reads a pickle: use safetensors",
    "torch.save": "writes a pickle: use safetensors",
    "torch.hub.load_state_dict_from_url": "reads a pickle: use safetensors",
    "pd.read_pickle": "reads a pickle",
    "pandas.read_pickle": "reads a pickle",
    "torch.hub.load": "runs code from the network",
    "torch.manual_seed": "randomness is an argument",
    "torch.seed": "randomness is an argument",
    "random.seed": "randomness is an argument",
    "np.random.seed": "randomness is an argument",
    "yaml.load": "builds any object: use yaml.safe_load",
    "eval": "runs text",
    "exec": "runs text",
    "print": "data goes to stdout in sfumato_apps only",
}
DRAWS = {"rand", "randn", "randint", "randperm", "multinomial", "bernoulli", "normal"}
UNFINISHED = re.compile(
    r"\b(TODO|FIXME|XXX|HACK|WIP|NotImplemented\w*|stub(s|bed)?|not (yet )?implemented|for now)\b"
)


def _classes() -> Iterator[tuple[str, ast.ClassDef]]:
    for module in source.modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                yield f"{module.name}.{node.name}", node


def _names(nodes: list[ast.expr]) -> list[str]:
    """`Generic[T]` is Generic, `nn.Module` is Module."""
    bare = [node.value if isinstance(node, ast.Subscript) else node for node in nodes]
    return [ast.unparse(node).rsplit(".", 1)[-1] for node in bare]


def _is_property(node: ast.AST) -> bool:
    return "property" in _names(getattr(node, "decorator_list", []))


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_no_class_inherits_from_a_concrete_class_of_ours() -> None:
    classes = {name.rsplit(".", 1)[-1]: node for name, node in _classes()}
    errors = {n.rsplit(".", 1)[-1] for n, _ in _classes() if n.startswith("sfumato.errors.")}
    concrete = {n for n, node in classes.items() if not ABSTRACT & set(_names(node.bases))} - errors
    found = {n: _names(node.bases) for n, node in _classes() if concrete & set(_names(node.bases))}
    assert not found


def test_protocols_are_few_and_small() -> None:
    protocols = {n: node for n, node in _classes() if "Protocol" in _names(node.bases)}
    assert len([n for n in protocols if n.startswith(PROTOCOLS)]) <= 7
    methods = {
        name: [f.name for f in node.body if isinstance(f, ast.FunctionDef) and not _is_property(f)]
        for name, node in protocols.items()
    }
    assert not {name: found for name, found in methods.items() if len(found) > 3}


def test_parts_are_frozen_and_keyword_only() -> None:
    found = []
    for name, node in _classes():
        decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
        dataclass = next((d for d in decorators if "dataclass" in d), None)
        frozen = dataclass and "frozen=True" in dataclass and "kw_only=True" in dataclass
        if dataclass and not frozen and name not in exceptions.MUTABLE:
            found.append(name)
    assert not found


def test_the_kind_of_process_is_asked_in_noise_only() -> None:
    found = [
        f"{module.name}:{call.lineno}"
        for module in source.modules()
        if module.package != "sfumato.noise"
        for name, call in _calls(module.tree)
        if name == "isinstance" and re.search(r"[Pp]rocess\b", ast.unparse(call))
    ]
    assert not found


def _public_functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions of modules and methods of classes; the hooks of a foreign class are not ours."""
    for module in source.modules():
        for node in module.tree.body:
            ours = isinstance(node, ast.ClassDef) and not HOOKED & set(_names(node.bases))
            for part in node.body if ours else [node]:
                if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
                    yield f"{module.name}.{part.name}", part


def test_no_unchecked_options_in_public_signatures() -> None:
    found = [name for name, function in _public_functions() if function.args.kwarg]
    assert not found


def test_nothing_is_forbidden_that_is_called() -> None:
    found = [
        f"{module.name}:{call.lineno}: {name} {FORBIDDEN_CALLS[name]}"
        for module in source.modules()
        for name, call in _calls(module.tree)
        if name in FORBIDDEN_CALLS
        and not (name == "print" and module.name.startswith("sfumato_apps"))
    ]
    assert not found


def test_devices_are_arguments() -> None:
    found = [
        f"{module.name}:{call.lineno}"
        for module in source.modules()
        for name, call in _calls(module.tree)
        if name.endswith(".cuda") or (name.endswith(".to") and '"cuda' in ast.unparse(call))
    ]
    assert not found


def test_every_draw_takes_a_generator() -> None:
    found = [
        f"{module.name}:{call.lineno}: {name}"
        for module in source.modules()
        for name, call in _calls(module.tree)
        if name in {f"torch.{draw}" for draw in DRAWS}
        and "generator" not in {keyword.arg for keyword in call.keywords}
    ]
    assert not found


def test_no_pickle_is_read() -> None:
    found = [
        f"{module.name}: {name}"
        for module in source.modules()
        for name in source.imported(module.tree)
        if name.split(".")[0] in {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    ]
    allowed = [
        f"{module.name}:{call.lineno}: {name}"
        for module in source.modules()
        for name, call in _calls(module.tree)
        for keyword in call.keywords
        if keyword.arg in {"allow_pickle", "trust_remote_code"}
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is True
    ]
    assert not found + allowed


def test_weights_are_read_from_safetensors_only() -> None:
    """Without `use_safetensors`, transformers and diffusers take a pickle where there is one."""
    found = [
        f"{module.name}:{call.lineno}: {name}"
        for module in source.modules()
        for name, call in _calls(module.tree)
        if name.endswith(".from_pretrained")
        and "Tokenizer" not in name
        and not any(
            keyword.arg == "use_safetensors"
            and isinstance(keyword.value, ast.Constant)
            and keyword.value.value is True
            for keyword in call.keywords
        )
    ]
    assert not found


def test_remote_code_is_decided_by_name() -> None:
    """transformers' default may ask at the terminal; here every auto class is told."""
    found = [
        f"{module.name}:{call.lineno}: {name}"
        for module in source.modules()
        for name, call in _calls(module.tree)
        if re.search(r"\bAuto\w+\.from_pretrained$", name)
        and "trust_remote_code" not in {keyword.arg for keyword in call.keywords}
    ]
    assert not found


def test_no_error_is_caught_without_a_name() -> None:
    found = [
        f"{module.name}:{node.lineno}"
        for module in source.modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or {"Exception", "BaseException"} & set(_caught(node.type)))
    ]
    assert not found


def _caught(node: ast.expr) -> list[str]:
    return _names(node.elts if isinstance(node, ast.Tuple) else [node])


def test_nothing_is_left_unfinished() -> None:
    found = [
        f"{module.name}:{number}: {line.strip()}"
        for module in source.modules()
        for number, line in enumerate(module.text.splitlines(), start=1)
        if UNFINISHED.search(line)
    ]
    assert not found


@pytest.mark.parametrize("text", ["# TODO: later", "raise NotImplementedError", "a stub", "WIP"])
def test_unfinished_work_is_recognised(text: str) -> None:
    assert UNFINISHED.search(text)
