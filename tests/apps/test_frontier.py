"""`sfumato frontier`: models aligned by different β, their texts, the table and the plot."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from tests.alignment.test_likelihood import llama
from tests.apps.test_align import QUICK, model, rankings
from tests.apps.test_cli import call
from tests.training.worlds import WORDS

from sfumato.evaluation.reporting.frontier import Contender, dominant, frontier
from sfumato.models.checkpoints import pretrained_tokenizer

__all__ = ["model", "rankings"]  # fixtures


def test_the_frontier_of_known_points() -> None:
    """Of two equal points both are on it; one that is beaten in both is not, in no resample."""
    assert dominant([1.0, 1.0, 0.0], [2.0, 2.0, 1.0]) == [True, True, False]

    def contender(value: float) -> Contender:
        return Contender(
            label=str(value), n=50, x=lambda rows: value + sum(rows) / 1e5, y=lambda _: value
        )

    contenders = [contender(value) for value in (2.0, 1.0, 0.0)]
    places = frontier(contenders, draws=20)
    assert [place.front for place in places] == [True, False, False]
    assert [place.chance for place in places] == [1, 0, 0]
    assert places[0].x_span[0] < places[0].x < places[0].x_span[1]


def test_intervals_hold_the_truth() -> None:
    """Means of normal numbers: the interval has the width that theory says, ± 2 · 0.1."""
    numbers = torch.randn(100, generator=torch.Generator().manual_seed(0)).tolist()
    one = Contender(
        label="a", n=100, x=lambda rows: sum(numbers[i] for i in rows) / len(rows), y=lambda _: 0.0
    )
    (place,) = frontier([one], draws=400)
    assert place.x_span[1] - place.x_span[0] == pytest.approx(4 * 0.1, rel=0.2)


def test_diversity_lies_within_its_interval() -> None:
    """Of a hundred texts drawn from fifty, the interval of what is distinct is around its value."""
    texts = torch.randint(50, (100,), generator=torch.Generator().manual_seed(0)).tolist()
    one = Contender(
        label="a", n=100, x=lambda _: 0.0, y=lambda rows: len({texts[i] for i in rows}) / len(rows)
    )
    (place,) = frontier([one])
    assert place.y == len({*texts}) / 100
    assert place.y_span[0] < place.y < place.y_span[1]


def test_a_sweep(
    model: Path, rankings: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Three models: numbers with n and seed, a distance that is 0 for the reference, a plot."""
    folders = []
    for beta in ("0.05", "5"):
        folders.append(tmp_path / f"beta-{beta}")
        run = ["--model", model, "--data", rankings, "--out", folders[-1], "--steps", "6"]
        assert call("align", *run, *QUICK, "--beta", beta) == 0
    capfd.readouterr()
    out = tmp_path / "sweep"
    named = [option for folder in folders for option in ("--models", folder)]
    run = [*named, "--reference", model, "--by", "pattern:tea", "--out", out, "--n", "6"]
    run += ["--length", "12", "--words", "4", "--resamples", "10", "--draws", "4"]
    assert call("frontier", *run) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [row["model"] for row in rows] == ["beta-0.05", "beta-5", model.name]
    assert rows[2]["kl"] == 0
    assert rows[0]["kl"] != 0
    assert all(row["n"] <= 6 and row["seed"] == 0 and 0 <= row["chance"] <= 1 for row in rows)
    assert any(row["front"] for row in rows)
    assert "| beta-5 |" in (out / "table.md").read_text(encoding="utf-8")
    ElementTree.fromstring((out / "frontier.svg").read_text(encoding="utf-8"))
    kept = json.loads((out / "frontier.json").read_text(encoding="utf-8"))
    assert (kept["format"], kept["y_label"]) == ("sfumato-frontier/1", "div of 4 words")
    assert [{**one, "group": None} for one in kept["models"]] == [
        {**row, "group": None} for row in rows
    ]
    before = (out / "beta-5.jsonl").read_bytes()
    assert call("frontier", *run) == 0  # what is written is not written again
    assert (out / "beta-5.jsonl").read_bytes() == before


def test_autoregressive_models_and_fluency(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "llama"
    llama().save_pretrained(folder)
    pretrained_tokenizer(WORDS).save_pretrained(folder)
    run = ["--models", folder, "--by", "length:4", "--fluency", folder, "--out", tmp_path / "out"]
    run += ["--n", "4", "--length", "10", "--words", "4", "--resamples", "5"]
    assert call("frontier", *run) == 0
    assert json.loads(capfd.readouterr().out)["perplexity"] > 1
    assert call("frontier", *run, "--models", folder) == 2
    assert "one name" in capfd.readouterr().err
