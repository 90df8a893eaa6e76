"""What a model of each kind takes is what /v1/models says of it, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.apps.serve.living import serving, tiny
from tests.apps.serve.test_refusals import check
from tests.models.test_latent import checkpoint_of

from sfumato.noise.uniform import UniformProcess

GIVEN: dict[str, Any] = {
    "steps": 2,
    "order": "margin",
    "block": 4,
    "temperature": 0.5,
    "top_k": 3,
    "top_p": 0.5,
    "threshold": 0.5,
    "no_repeat": 3,
    "refresh": 2,
    "guidance": 1.5,
}
USUAL = {"order"}  # has a value of its own, and no effect where it is not taken


def model(kind: str) -> Any:
    words = tiny()
    excluded = tuple(sorted(words.vocabulary.unwritable))
    uniform = UniformProcess(size=words.vocabulary.size, excluded=excluded)
    return {
        "masked": lambda: words,
        "uniform": lambda: replace(words, process=uniform),
        "latent": lambda: checkpoint_of("embedding"),
    }[kind]()


@pytest.mark.parametrize("kind", ["masked", "uniform", "latent"])
def test_a_model_says_which_options_it_takes(kind: str, tmp_path: Path) -> None:
    with serving(model(kind), tmp_path) as live:
        (card, _) = live.get("/v1/models").json()["data"]
        assert card["kind"] == ("latent" if kind == "latent" else "tokens")
        given = {name: GIVEN[name] for name in GIVEN if name in card["takes"]}
        taken = {**given, "threshold": None, "guidance": None}  # each needs others to be left out
        answer = live.post("/v1/completions", {**taken, "max_tokens": 4})
        assert answer.status_code == 200, answer.text
        for name in GIVEN.keys() - given.keys() - (USUAL if kind == "uniform" else set()):
            check(live.post("/v1/completions", {name: GIVEN[name], "max_tokens": 4}), 400)
