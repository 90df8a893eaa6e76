"""From a typed function with a Google docstring to a command and to the keys of a YAML preset.

def write(*, prompt: str | None = None, n: int = 1) -> None:      $ sfumato write --prompt … --n 3
    '''Writes text.                                               help: "Writes text."
    Args:
        prompt: how the text begins.                              help of --prompt
    '''

Options that several recipes share are the fields of a frozen dataclass: a parameter of that type
stands for one option a field. Its defaults are those of the parameter's default, its help texts
those of the class.

def chat(*, decoding: Decoding = Decoding(steps=128)) -> None:  $ sfumato chat --steps 64 --top-k 5
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from sfumato.errors import UsageError

if TYPE_CHECKING:
    from typer import Context

Recipe = Callable[..., None]
_ARGUMENT = re.compile(r"^    (\w+): (.*)$")
_SHORT = {"out": "-o", "n": "-n", "model": "-m"}
PRESETS = Path(__file__).parent / "presets"


def called(recipe: Recipe) -> str:
    """The command of a recipe: its name, with a space for an underscore."""
    return recipe.__name__.replace("_", " ")


def describe(recipe: Recipe) -> tuple[str, dict[str, str]]:
    """Splits a recipe's docstring into its description and the help of each option."""
    summary, arguments = _sections(recipe, "Args")
    for name, block in _blocks(recipe).items():
        del arguments[name]
        arguments |= _sections(type(block), "Attributes")[1]
    return summary, arguments


def _sections(documented: object, section: str) -> tuple[str, dict[str, str]]:
    """What a docstring says before a section, and the entries of the section."""
    text = inspect.getdoc(documented) or ""
    summary, _, rest = text.partition(f"\n{section}:\n")
    arguments: dict[str, str] = {}
    name = ""
    for line in rest.splitlines():
        match = _ARGUMENT.match(line)
        if match:
            name, arguments[match[1]] = match[1], match[2]
        elif name and line.startswith("        "):
            arguments[name] += " " + line.strip()
        elif line.strip():
            break
    return summary.strip(), arguments


def options(recipe: Recipe) -> dict[str, inspect.Parameter]:
    """The recipe's options by name, with their types resolved; a block's fields are options."""
    hints, blocks = get_type_hints(recipe), _blocks(recipe)
    found: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(recipe).parameters.items():
        if name in blocks:
            found += _fields(blocks[name])
        else:
            found.append(parameter.replace(annotation=hints[name]))
    named = {parameter.name: parameter for parameter in found}
    assert len(named) == len(found), f"{recipe.__name__} has two options of one name"
    return named


def _blocks(recipe: Recipe) -> dict[str, Any]:
    """Parameters that stand for several options, with their defaults."""
    defaults = {p.name: p.default for p in inspect.signature(recipe).parameters.values()}
    return {name: value for name, value in defaults.items() if dataclasses.is_dataclass(value)}


def _fields(block: Any) -> list[inspect.Parameter]:  # noqa: ANN401
    """The fields of a block as keyword-only parameters."""
    hints = get_type_hints(type(block))
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(block, field.name),
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(block)
    ]


def with_blocks(recipe: Recipe, values: dict[str, Any]) -> dict[str, Any]:
    """The recipe's arguments from the values of its options."""
    arguments = dict(values)
    for name, block in _blocks(recipe).items():
        fields = {field.name for field in dataclasses.fields(block)} & arguments.keys()
        chosen = {field: arguments.pop(field) for field in fields}
        arguments[name] = dataclasses.replace(block, **chosen)
    return arguments


def as_command(recipe: Recipe) -> Recipe:
    """Wraps a recipe for typer: keyword-only parameters are options, the others arguments.

    A hidden layer of defaults comes from `--preset FILE`; what is given on the command line wins.
    An option that the recipe needs may come from either.
    """
    import typer

    summary, helps = describe(recipe)
    parameters = [
        _as_argument(parameter, helps.get(name, ""))
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        else _as_option(parameter, helps.get(name, ""))
        for name, parameter in options(recipe).items()
    ]
    preset_help = "A YAML file with values for these options, or the name of one that comes along."
    parameters.append(
        inspect.Parameter(
            "preset",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[Path | None, typer.Option("--preset", help=preset_help)],
        )
    )

    def command(context: typer.Context, preset: Path | None = None, **values: Any) -> None:
        recipe(**with_blocks(recipe, _merge(recipe, values, preset, context)))

    context = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    signature = inspect.Signature([context, *parameters])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    command.__name__ = recipe.__name__
    command.__doc__ = summary
    return command


def _as_argument(parameter: inspect.Parameter, text: str) -> inspect.Parameter:
    import typer

    kind, default = parameter.annotation, parameter.default
    if default is inspect.Parameter.empty:
        kind, default, text = kind | None, None, f"{text} (required)"
    return parameter.replace(annotation=Annotated[kind, typer.Argument(help=text)], default=default)


def _as_option(parameter: inspect.Parameter, text: str) -> inspect.Parameter:
    import typer

    name, kind, default = parameter.name, parameter.annotation, parameter.default
    flags = [f"--{name.replace('_', '-')}", *([_SHORT[name]] if name in _SHORT else [])]
    if default is inspect.Parameter.empty:
        kind, default, text = kind | None, None, f"{text} (required)"
    option = typer.Option(*flags, help=text)
    return parameter.replace(annotation=Annotated[kind, option], default=default)


def _merge(
    recipe: Recipe, values: dict[str, Any], preset: Path | None, context: Context
) -> dict[str, Any]:
    """The values given on the command line, over those of the preset, over the defaults."""
    given = {
        name
        for name in values
        if getattr(context.get_parameter_source(name), "name", "DEFAULT") == "COMMANDLINE"
    }
    chosen = {} if preset is None else read_preset(preset, recipe)
    merged = {**values, **{name: value for name, value in chosen.items() if name not in given}}
    for name, parameter in options(recipe).items():
        if parameter.default is inspect.Parameter.empty and merged.get(name) is None:
            option = parameter.kind is inspect.Parameter.KEYWORD_ONLY
            flag = f"--{name.replace('_', '-')}" if option else name.upper()
            raise UsageError(f"sfumato {called(recipe)} needs {flag}: {describe(recipe)[1][name]}")
    return merged


def read_preset(path: Path, recipe: Recipe) -> dict[str, Any]:
    """Reads a YAML preset and checks it against the recipe's signature.

    Args:
        path: a file, or the name of a preset of the package.
        recipe: what it is for.

    Raises:
        UsageError: the file is missing or not a mapping, names another recipe, or has a key
            or a value that the recipe does not take.
    """
    import yaml
    from pydantic import TypeAdapter, ValidationError

    path = _found(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: not a readable YAML file: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(
            f"{path}: expected a mapping of option: value, got {type(content).__name__}"
        )
    name = content.pop("recipe", called(recipe))
    if name != called(recipe):
        raise UsageError(f"{path} is for `sfumato {name}`, not for `sfumato {called(recipe)}`")
    known = options(recipe)
    checked = {}
    for key, value in content.items():
        if key not in known:
            raise UsageError(f"{path}: unknown option {key!r}{did_you_mean(key, known)}")
        try:
            checked[key] = TypeAdapter(known[key].annotation).validate_python(value)
        except ValidationError as error:
            raise UsageError(f"{path}: {key}: {error.errors()[0]['msg']}, got {value!r}") from error
    return checked


def _found(path: Path) -> Path:
    """The file, or the preset of the package that has this name."""
    shipped = {known.stem: known for known in PRESETS.glob("*.yaml")}
    if path.exists() or path.suffix or len(path.parts) > 1:
        return path
    if path.name not in shipped:
        hint = did_you_mean(path.name, shipped)
        raise UsageError(f"there is no file and no preset called {path.name!r}{hint}")
    return shipped[path.name]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest known word, or the list of all."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"
