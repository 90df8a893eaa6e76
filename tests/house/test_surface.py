"""The public surface: what `import sfumato` offers, all of it and nothing else."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
from types import ModuleType

import pytest
from tests.house import exceptions, source

import sfumato

INIT = next(module for module in source.modules() if module.name == "sfumato")


def _doc(value: object) -> str:
    """The docstring that was written, not the one that dataclasses makes up."""
    doc = inspect.getdoc(value) or ""
    generated = isinstance(value, type) and doc.startswith(f"{value.__name__}(")
    return "" if generated else doc


def _examples(value: object) -> bool:
    methods = vars(value).values() if isinstance(value, type) else ()
    return any(">>>" in _doc(part) for part in (value, *methods) if callable(part))


def test_the_surface_is_small_and_sorted() -> None:
    assert len(sfumato.__all__) <= 60
    assert list(sfumato.__all__) == sorted(set(sfumato.__all__))
    assert set(sfumato.__all__) <= set(dir(sfumato))


@pytest.mark.parametrize("name", sfumato.__all__)
def test_a_public_name_is_defined_where_the_table_says(name: str) -> None:
    home = importlib.import_module(sfumato._HOME[name])
    value = getattr(sfumato, name)
    assert value is getattr(home, name)
    assert not isinstance(value, ModuleType)
    assert getattr(value, "__module__", home.__name__) == home.__name__, "re-exported twice"


@pytest.mark.parametrize("name", sfumato.__all__)
def test_a_public_name_is_documented_with_an_example(name: str) -> None:
    value = getattr(sfumato, name)
    if not callable(value):
        return
    assert _doc(value)
    is_error = isinstance(value, type) and issubclass(value, Exception)
    assert _examples(value) or is_error or name in exceptions.NO_EXAMPLE, "no >>> example"


def test_the_exceptions_are_needed() -> None:
    with_example = [n for n in exceptions.NO_EXAMPLE if _examples(getattr(sfumato, n))]
    assert not with_example


def test_type_checkers_see_the_same_names() -> None:
    """The imports under TYPE_CHECKING mirror the table that works at run time."""
    block = next(
        node
        for node in INIT.tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == sfumato._HOME


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'wrote'"):
        sfumato.wrote  # noqa: B018


def test_the_version_is_the_installed_one() -> None:
    assert sfumato.__version__ == importlib.metadata.version("sfumato")
