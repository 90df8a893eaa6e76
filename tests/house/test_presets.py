"""Every shipped preset is a valid call of its recipe and says how to run it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml
from tests.house.source import SRC

from sfumato.errors import UsageError
from sfumato_apps.cli import RECIPES, recipe_of
from sfumato_apps.signatures import read_preset

FOLDER = SRC / "sfumato_apps" / "presets"
PRESETS = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", PRESETS, ids=[path.name for path in PRESETS])
def test_a_preset_fits_the_signature_of_its_recipe(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert content["recipe"] in RECIPES
    assert read_preset(path, recipe_of(content["recipe"])).keys() == content.keys() - {"recipe"}


@pytest.mark.parametrize("path", PRESETS, ids=[path.name for path in PRESETS])
def test_a_preset_begins_with_the_command_that_runs_it(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# sfumato ")
    words = shlex.split(first.removeprefix("# "))
    assert (
        " ".join(words[1 : words.index("--preset")])
        == yaml.safe_load(path.read_text(encoding="utf-8"))["recipe"]
    )
    assert Path(words[words.index("--preset") + 1]).name in {path.name, path.stem}


def test_every_yaml_of_the_folder_is_a_preset() -> None:
    assert sorted(FOLDER.rglob("*.y*ml")) == PRESETS


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nn: 3", "unknown option 'nn'; did you mean 'n'"),
        ("n: three", "n: .*got 'three'"),
        ("recipe: fill", "is for `sfumato fill`"),
    ],
)
def test_a_wrong_preset_is_refused(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_preset(path, recipe_of("write"))
