"""`sfumato classifier`, end to end on a tiny latent model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.apps.test_cli import TEXTS, call

from sfumato.models.latent.classifier_storage import load_classifier

SIZES = [
    *("--hidden", "16", "--layers", "1", "--heads", "2", "--batch", "8", "--draws", "2"),
    *("--evaluate-every", "2", "--valid-fraction", "0.2"),
]


def written(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"text": text, "who": text.split()[0]} for text in TEXTS]
    return written(tmp_path_factory.mktemp("data") / "labelled.jsonl", rows)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"prompt": f"{i} {text}", "completion": text} for i, text in enumerate(TEXTS)]
    return written(tmp_path_factory.mktemp("data") / "pairs.jsonl", rows)


@pytest.fixture(scope="module")
def latent(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "latent"
    more = ["--vocabulary", "300", "--width", "16", "--steps", "2", "--slots", "12"]
    sizes = ["--hidden", "16", "--layers", "2", "--heads", "2", "--batch", "8", "--answers", "1"]
    assert call("latent", "--data", labelled, "--out", out, *sizes, *more) == 0
    return out


def test_labels_are_learnt_reported_and_saved(
    latent: Path, labelled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "judge"
    asked = ["--model", latent, "--data", labelled, "--out", out, "--label", "who", *SIZES]
    assert call("classifier", *asked, "--steps", "4", "--strategy", "difficulty", "--bf16") == 0
    told = capfd.readouterr()
    records = [json.loads(line) for line in told.out.splitlines()]
    assert records[0]["name"] == "accuracy"
    assert {record["seed"] for record in records} == {0}
    assert "labels: Ann (8), Bob (8), Eve (8), Tom (8)" in told.err
    made = load_classifier(out)
    assert made.labels == ("Ann", "Bob", "Eve", "Tom")
    assert made.metadata["latent_model"] == str(latent)
    assert made.metadata["report"] == records


@pytest.mark.parametrize("strategy", ["log-snr", "falling-normalised", "curriculum"])
def test_pairs_are_learnt(
    strategy: str, latent: Path, pairs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ["--model", latent, "--data", pairs, "--out", tmp_path / "judge", *SIZES]
    more = ["--steps", "2", "--strategy", strategy, "--hard", "1", "--loss", "contrast"]
    assert call("classifier", *asked, *more) == 0
    assert json.loads(capfd.readouterr().out.splitlines()[0])["settings"]["task"] == "pairs"
    assert load_classifier(tmp_path / "judge").classifier.sizes.labels == 0


def test_a_run_is_resumed_and_an_old_one_is_safe(
    latent: Path, pairs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "judge"
    asked = ["--model", latent, "--data", pairs, "--out", out, *SIZES, "--steps", "4"]
    assert call("classifier", *asked, "--strategy", "difficulty") == 0
    before = load_classifier(out).classifier.state_dict()
    first = capfd.readouterr().out
    assert call("classifier", *asked) == 2
    assert "already holds a run" in capfd.readouterr().err
    (out / "checkpoint-4" / "trainer_state.json").unlink()
    assert call("classifier", "--preset", out / "classifier.yaml", "--resume") == 0
    after = load_classifier(out).classifier.state_dict()
    assert all(before[name].equal(after[name]) for name in before)
    assert capfd.readouterr().out == first


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--label", "whom"], 3, "in the field 'whom', got None; the fields are 'text', 'who'"),
        ([], 3, "expected pairs, such as prompt and completion"),
        (["--label", "text", "--valid-fraction", "0"], 3, "expected at least 1 texts to train on"),
    ],
)
def test_bad_input_is_one_line_and_a_code(
    arguments: list[str],
    code: int,
    said: str,
    latent: Path,
    labelled: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    asked = ["--model", latent, "--data", labelled, "--out", tmp_path / "judge"]
    assert call("classifier", *asked, *arguments) == code
    error = capfd.readouterr().err.strip()
    assert said in error.splitlines()[-1]
    assert "Traceback" not in error


def test_one_label_is_none(latent: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = written(tmp_path / "one.jsonl", [{"text": text, "who": 1} for text in TEXTS])
    asked = ["--model", latent, "--data", data, "--out", tmp_path / "judge", "--label", "who"]
    assert call("classifier", *asked) == 3
    assert "expected two labels or more in the field 'who', got 1" in capfd.readouterr().err
