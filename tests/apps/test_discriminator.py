"""`sfumato discriminator train` and `score`: from texts to a judge, from a judge to rankings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.apps.test_align import QUICK, model
from tests.apps.test_candidates import lines
from tests.apps.test_cli import call
from transformers import AutoModelForSequenceClassification

__all__ = ["model"]  # a fixture

NAMES = ["Ann", "Bob", "Eve", "Tom", "Kim", "Joe", "Liz", "Max"]
LEARN = ["--steps", "40", "--batch", "4", "--learning-rate", "1e-2", "--evaluate-every", "20"]
LEARN += ["--valid-fraction", "0.3"]


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is real likes tea; what was generated sees rain. One row has nothing real."""
    rows: list[dict[str, Any]] = [
        {
            "prompt": f"{name} ",
            "completions": ["sees rain.", "likes tea.", "sees rain, rain."],
            "source": ["t 1", "real", "t 2"],
        }
        for name in NAMES
    ]
    rows.insert(2, {"completions": ["a", "b"], "source": ["t 1", "t 2"]})
    return _write(tmp_path_factory.mktemp("data") / "sets.jsonl", rows)


@pytest.fixture(scope="module")
def judge(model: Path, sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "judge"
    run = ["--model", model, "--data", sets, "--out", out, *LEARN]
    assert call("discriminator", "train", *run) == 0
    return out


def test_it_learns_what_is_real(judge: Path) -> None:
    """The journal has the figures; the folder is an ordinary classifier."""
    entries = [json.loads(line) for line in (judge / "journal.jsonl").read_text().splitlines()]
    (*_, last) = [entry for entry in entries if entry["kind"] == "valid"]
    assert last["eval_top1_accuracy"] == last["eval_pairwise_accuracy"] == 1
    assert last["eval_accuracy"] > 0.9
    assert 0 <= last["eval_calibration_error"] < 0.5
    found = AutoModelForSequenceClassification.from_pretrained(judge)
    assert found.config.id2label == {0: "real"}


def test_a_run_goes_on(model: Path, sets: Path, judge: Path, tmp_path: Path) -> None:
    """From the twentieth step of 40: the weights of the whole run."""
    parted = tmp_path / "parted"
    run = ["--model", model, "--data", sets, "--out", parted, *LEARN]
    assert call("discriminator", "train", *run) == 0
    shutil.rmtree(parted / "checkpoint-40")
    preset = parted / "discriminator-train.yaml"
    assert call("discriminator", "train", "--preset", preset) == 2
    assert call("discriminator", "train", "--preset", preset, "--resume") == 0
    one, other = (
        AutoModelForSequenceClassification.from_pretrained(out).state_dict()
        for out in (judge, parted)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_scores_and_figures(
    judge: Path, sets: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every row best first with what belongs to each text; figures of the rows with real ones."""
    out = tmp_path / "ranked.jsonl"
    assert call("discriminator", "score", "--model", judge, "--data", sets, "--out", out) == 0
    rows = lines(out)
    assert len(rows) == 9
    assert rows[0]["prompt"] == "Ann "
    assert rows[0]["completions"][0] == "likes tea."
    assert rows[0]["source"][0] == "real"
    assert rows[0]["ranks"] == [1, 2, 3]
    assert rows[0]["scores"] == sorted(rows[0]["scores"], reverse=True)
    found = {one["name"]: one for one in map(json.loads, capfd.readouterr().out.splitlines())}
    assert found["top1_accuracy"]["value"] == found["pairwise_accuracy"]["value"] == 1
    assert found["accuracy"]["stderr"] is not None
    assert {one["n"] for one in found.values()} == {8}
    assert found["calibration_error"]["settings"]["generated"] == 16


def test_scores_do_not_depend_on_the_batch(judge: Path, sets: Path, tmp_path: Path) -> None:
    found = []
    for batch in ("1", "4"):
        out = tmp_path / f"{batch}.jsonl"
        run = ["--model", judge, "--data", sets, "--out", out, "--batch", batch]
        assert call("discriminator", "score", *run) == 0
        found.append([score for row in lines(out) for score in row["scores"]])
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_rankings_are_aligned_on_and_rank_takes_the_judge(
    model: Path, judge: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Candidates without sources: no figures, and rankings that `align` learns from."""
    texts = [f"{name} {does}" for name in NAMES for does in ("sees rain.", "likes tea.")]
    rows = [{"completions": texts[i : i + 2], "id": i} for i in range(0, len(texts), 2)]
    data, out = _write(tmp_path / "c.jsonl", rows), tmp_path / "ranked.jsonl"
    assert call("discriminator", "score", "--model", judge, "--data", data, "--out", out) == 0
    assert capfd.readouterr().out == ""
    ranked = lines(out)
    assert all(row["completions"][0].endswith("tea.") for row in ranked)
    assert [row["id"] for row in ranked] == [row["id"] for row in rows]
    run = ["--model", model, "--data", out, "--out", tmp_path / "aligned", "--steps", "2", *QUICK]
    assert call("align", *run) == 0
    again = tmp_path / "again.jsonl"
    assert call("rank", "--data", data, "--by", f"{judge}@real", "--out", again) == 0
    assert [row["completions"] for row in lines(again)] == [row["completions"] for row in ranked]


@pytest.mark.parametrize("loss", ["binary", "choice"])
def test_texts_in_files_of_their_own(
    loss: str, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Lines of text beside candidates, two to each; those left over are counted."""
    real, made, out = tmp_path / "real.txt", tmp_path / "made.jsonl", tmp_path / "out"
    real.write_text("".join(f"{name} likes tea.\n" for name in NAMES))
    texts = [f"{name} sees {what}." for name in NAMES for what in ("rain", "a cat")]
    _write(made, [{"completions": texts[i : i + 5]} for i in range(0, 15, 5)])
    run = ["--model", model, "--real", real, "--generated", made, "--n", "2", "--loss", loss]
    assert call("discriminator", "train", "--out", out, *run, *LEARN) == 0
    said = capfd.readouterr().err
    assert "7 of 8 real and 14 of 15 generated texts in 7 sets" in said
    assert "top1_accuracy 1" in said


@pytest.mark.parametrize(
    ("rows", "options", "code", "message"),
    [
        ([], [], 2, "--data SETS, or --real FILES and --generated"),
        ([], ["--real", "SETS"], 2, "--data SETS, or"),
        ([], ["--data", "SETS", "--real", "SETS", "--generated", "SETS"], 2, "--data SETS, or"),
        ([{"completions": ["a", "b"], "source": ["x", "y"]}], ["--data", "SETS"], 3, "is left"),
        ([{"completions": ["a", "b"], "source": ["x"]}], ["--data", "SETS"], 3, "for each"),
        ([{"completions": ["a", "b"]}], ["--data", "SETS"], 3, "scores or ranks"),
        ([{"txt": "a"}], ["--real", "SETS", "--generated", "SETS"], 3, "no known format"),
        ([], ["--real", "SETS", "--generated", "SETS"], 3, "make no set of one real"),
        ([], ["--real", "SETS", "--generated", "SETS", "--n", "0"], 2, "at least one generated"),
        ([], ["--data", "no.jsonl"], 3, "no.jsonl: no such file"),
    ],
)  # fmt: skip
def test_refusals(
    rows: list[dict[str, Any]],
    options: list[str],
    code: int,
    message: str,
    model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """One line that says what is wrong; nothing is left behind."""
    data = _write(tmp_path / "sets.jsonl", rows)
    given = [str(data) if option == "SETS" else option for option in options]
    run = ["--model", model, "--out", tmp_path / "out", *given]
    assert call("discriminator", "train", *run) == code
    said = capfd.readouterr().err
    assert message in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("row", "code", "message"),
    [
        ({"completions": "a"}, 3, "a list of texts"),
        ({"completions": ["a"], "source": []}, 3, "a source for each"),
        ({"completions": ["a"], "prompt": 3}, 3, "expected a list"),
        ({"prompt": "long " * 400, "completions": ["a"]}, 3, "could be judged"),
    ],
)
def test_bad_candidates(
    row: dict[str, Any],
    code: int,
    message: str,
    judge: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    data = _write(tmp_path / "c.jsonl", [row])
    out = tmp_path / "x.jsonl"
    assert call("discriminator", "score", "--model", judge, "--data", data, "--out", out) == code
    said = capfd.readouterr().err
    assert message in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not out.exists()


def test_a_model_that_is_no_discriminator(
    model: Path, sets: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = ["--model", model, "--data", sets, "--out", tmp_path / "x"]
    assert call("discriminator", "score", *run) == 4
    assert "no weights for a classifier" in capfd.readouterr().err


def test_two_words(capfd: pytest.CaptureFixture[str]) -> None:
    """The second word is asked for, and help is of the command."""
    assert call("discriminator") == 2
    assert "a second word: train or score" in " ".join(capfd.readouterr().err.split())
    assert call("discriminator", "judge") == 2
    assert call("discriminator", "train", "--help") == 0
    assert "discriminator train [OPTIONS]" in capfd.readouterr().out
    assert call("discriminator", "train") == 2
    assert "sfumato discriminator train needs --out" in capfd.readouterr().err
