"""The options of a run, as the recipes give them and as a preset keeps them."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from sfumato_apps.plan import Plan
from sfumato_apps.recipes.convert import convert
from sfumato_apps.recipes.train import train
from sfumato_apps.runs import write_run
from sfumato_apps.signatures import options, read_preset

BOTH = options(train).keys() & options(convert).keys()
GIVEN = {"data": ["a.jsonl"], "out": Path("out"), "model": "encoder"}


def plan(recipe: object, **changed: object) -> Plan:
    """What a recipe passes on if only `changed` and what it needs is given."""
    values = {name: GIVEN.get(name, o.default) for name, o in options(recipe).items()}
    return Plan(recipe=recipe.__name__, **{**values, **changed})


def test_a_plan_has_the_options_of_both_recipes_and_no_others() -> None:
    names = {field.name for field in fields(Plan)} - {"recipe"}
    assert names == options(train).keys() | options(convert).keys()
    needed = {field.name for field in fields(Plan) if field.default is MISSING}
    assert needed == BOTH | {"recipe"}


@pytest.mark.parametrize("recipe", [train, convert])
@pytest.mark.parametrize("changed", [{}, {"seed": 3, "lora": 2, "steps": 7, "mix": "3:1"}])
def test_a_plan_comes_back_from_its_preset(
    recipe: object, changed: dict[str, object], tmp_path: Path
) -> None:
    """What the preset leaves out has the recipe's default: the same plan."""
    wanted = plan(recipe, **changed)
    write_run(wanted.recipe, wanted.settings, tmp_path)
    assert plan(recipe, **read_preset(tmp_path / f"{wanted.recipe}.yaml", recipe)) == wanted


def test_an_option_of_one_recipe_may_be_switched_off() -> None:
    assert plan(convert, probed=0).settings["probed"] == 0
    assert "probed" not in plan(train).settings
    assert plan(train, noise="uniform").settings["noise"] == "uniform"
    assert "noise" not in plan(train).settings


def test_new_models_and_encoders_have_their_own_optimiser() -> None:
    assert plan(train, model=None).muon
    assert not plan(train).muon
    assert plan(train, optimizer="muon").muon
    assert not plan(convert).muon
