"""The command `sfumato`: data on stdout, everything else on stderr.

Exit codes: 0 done, 2 usage, 3 data, 4 model, 5 resource, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import typer

from sfumato.errors import ResourceError, SfumatoError
from sfumato_apps import ranks
from sfumato_apps.choices import DEVICE, WEIGHTS
from sfumato_apps.signatures import Recipe, as_command
from sfumato_apps.words import SeveralValues, TwoWords

_ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",
    "GOMP_SPINCOUNT": "10000",  # threads that spin for each other for long waste a shared machine
    # oneDNN and PyTorch's layer above it keep 1,024 compiled products each, one for every number
    # of rows: 400 MB for a small model, and no gain, as numbers of rows seldom come again.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    "LRU_CACHE_CAPACITY": "64",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
RECIPES = (
    "demo",
    "info",
    "probe",
    "train",
    "convert",
    "latent",
    "classifier",
    "distill",
    "candidates",
    "candidates image",
    "rank",
    "reward train",
    "discriminator train",
    "discriminator score",
    "align",
    "align image",
    "frontier",
    "write",
    "fill",
    "edit",
    "detox",
    "fim",
    "bridge",
    "rewrite",
    "summarise",
    "vary",
    "interpolate",
    "chat",
    "serve",
    "evaluate",
    "sweep",
    "tune",
)


def recipe_of(name: str) -> Recipe:
    """The recipe of a command, `discriminator train` by `discriminator_train`."""
    word = name.replace(" ", "_")
    recipe: Recipe = getattr(importlib.import_module(f"sfumato_apps.recipes.{word}"), word)
    return recipe


def build() -> typer.Typer:
    """The application with one command a recipe."""
    app = typer.Typer(
        name="sfumato",
        cls=TwoWords,
        help="Text diffusion: turn encoders that read into models that write and rewrite.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in RECIPES:
        app.command(name, cls=SeveralValues)(as_command(recipe_of(name)))

    @app.callback(invoke_without_command=True)
    def everywhere(
        show: bool = typer.Option(False, "--version", help="Print the version and exit."),
        device: str = typer.Option("", envvar=DEVICE, help="Where models write: cpu, cuda, mps."),
        weights: str = typer.Option(
            "", envvar=WEIGHTS, help="Their weights: float32, bfloat16; 8bit or 4bit on a GPU."
        ),
    ) -> None:
        os.environ.update({DEVICE: device, WEIGHTS: weights})
        if show:
            from sfumato import __version__

            print(__version__)
            raise typer.Exit

    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits with its code; an error of ours is one line on stderr."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    before = {name: os.environ.get(name, "") for name in (DEVICE, WEIGHTS)}
    try:
        build()(args=list(arguments) if arguments is not None else None, standalone_mode=True)
    except SystemExit as ended:
        if not ended.code:
            ranks.leave()
        raise
    except SfumatoError as error:
        print(f"sfumato: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("sfumato: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        print(f"sfumato: {error}", file=sys.stderr)
        sys.exit(ResourceError.exit_code)
    finally:
        os.environ.update(before)  # what one command asked for is not for the next


if __name__ == "__main__":
    main()
