"""`sfumato tune`: the pace, the table, and the commands that write at that pace."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tests.apps.test_cli import call
from torch import Tensor

from sfumato.evaluation.tuning.paces import Pace
from sfumato.models.checkpoints import SHIPPED, load, save
from sfumato.models.encoders import EncoderDenoiser
from sfumato.sampling.parts.guidance import ClassifierFree
from sfumato.sampling.parts.quotas import Factor
from sfumato_apps.fingerprints import digest_of_model

TEXTS = ["The Eagle is a pub.", "The Mill is a coffee shop.", "Aromi serves Chinese food."]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    return path


def test_the_pace_is_found_kept_and_used(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A target that nearly everything meets chooses a bold pace, and texts take fewer passes."""
    pace = tmp_path / "pace.json"
    tune = ["tune", "--data", str(data), "--length", "8", "--out", str(pace), "--level", "0.6"]
    assert call(*tune, "--target", "0.2") == 0
    found = capfd.readouterr()
    line = json.loads(found.out)
    assert line == json.loads(pace.read_text())
    assert line["passes"] < line["careful_passes"]
    assert line["at_least"] >= 0.2
    assert "chosen" in found.err

    assert line["model"] == {"name": None, "sha256": digest_of_model(None)}
    assert line["options"] == {
        "temperature": 1.0,
        "top_k": None,
        "top_p": None,
        "block": 8,
        "no_repeat": None,
        "guidance": None,
        "weights": "float32",
    }
    passes = []
    for options in (["--tuned", str(pace)], ["--steps", "12"]):
        assert call("write", "--length", "12", "--json", *options) == 0
        passes.append(json.loads(capfd.readouterr().out)["passes"])
    assert passes[0] < passes[1]
    assert "was tuned with" not in capfd.readouterr().err


def test_options_that_a_pace_was_not_tuned_with_are_told(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The text is written, but what was measured was measured otherwise."""
    pace = tmp_path / "pace.json"
    assert (
        call("tune", "--data", str(data), "--length", "4", "--out", str(pace), "--top-k", "5") == 0
    )
    capfd.readouterr()
    write = ["write", "--length", "4", "--tuned", str(pace), "--guidance", "0.5"]
    assert call(*write, "--no-repeat", "0", "--json") == 0
    said = capfd.readouterr()
    assert "text" in json.loads(said.out)
    assert f"{pace} was tuned with top_k 5, not None, no_repeat None, not 0, guidance" in said.err
    write = ["--weights", "bfloat16", "write", "--length", "4", "--top-k", "5"]
    assert call(*write, "--tuned", str(pace)) == 0
    assert f"{pace} was tuned with weights float32, not bfloat16:" in capfd.readouterr().err


@pytest.fixture(scope="module")
def of_other_texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The shipped model in another folder, and that with one number of its weights changed."""
    same, other = (tmp_path_factory.mktemp("models") / name for name in ("same", "other"))
    shutil.copytree(SHIPPED, same)
    changed = load(SHIPPED)
    with torch.no_grad():
        next(changed.denoiser.parameters()).view(-1)[0] += 1
    save(changed, other)
    return same, other


ABOUT = {
    "write": ["--length", "4"],
    "fill": ["a {} cat"],
    "edit": ["a bad cat", "--span", "bad"],
    "rewrite": ["a cat", "--length", "4"],
    "summarise": ["a cat", "--length", "4"],
    "detox": ["a cat", "--words", "WORDS"],
    "bridge": ["a", "cat", "--length", "1"],
    "fim": ["--prefix", "a", "--suffix", "cat", "--length", "1"],
}


@pytest.mark.parametrize("command", ABOUT)
def test_a_model_that_a_pace_was_not_tuned_with_is_told(
    command: str,
    of_other_texts: tuple[Path, Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The same model in another folder is the same; a file of before says nothing of it."""
    same, other = of_other_texts
    pace, old = tmp_path / "pace.json", tmp_path / "old.json"
    words = tmp_path / "words.txt"
    words.write_text("cat\n")
    run = [command, *(str(words) if word == "WORDS" else word for word in ABOUT[command])]
    record = {"pace": Pace(quota=Factor(factor=1.0)).as_json()}
    old.write_text(json.dumps(record))
    digest = digest_of_model(None)
    pace.write_text(json.dumps(record | {"model": {"name": None, "sha256": digest}}))
    for model, file in ((same, pace), (other, old)):
        assert call(*run, "--model", str(model), "--tuned", str(file)) == 0
        assert "was tuned with" not in capfd.readouterr().err
    assert call(*run, "--model", str(other), "--tuned", str(pace)) == 0
    changed = digest_of_model(str(other))
    said = f"with model shipped ({digest[:12]}), not {other} ({changed[:12]}): what it promises"
    assert said in capfd.readouterr().err


def test_a_pace_brings_its_guidance_along(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the command says of guidance; the scale is what was tuned with."""
    pace, seen = tmp_path / "pace.json", list[float]()
    bent = Pace(quota=Factor(factor=1.0), guidance=1.5).as_json()
    pace.write_text(json.dumps({"pace": bent, "options": {"guidance": 1.5}}), encoding="utf-8")
    own = ClassifierFree.combine

    def combine(self: ClassifierFree, *logits: Tensor) -> Tensor:
        seen.append(self.scale)
        return own(self, *logits)

    monkeypatch.setattr(ClassifierFree, "combine", combine)
    assert call("write", "--length", "4", "--tuned", str(pace)) == 0
    assert set(seen) == {1.5}
    assert "was tuned with" not in capfd.readouterr().err


def test_what_a_frozen_context_changes_is_measured_kept_and_used(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a refresh at every pass nothing changes; the file carries it to other commands."""
    pace = tmp_path / "pace.json"
    tune = ["tune", "--data", str(data), "--length", "8", "--out", str(pace)]
    assert call(*tune, "--refresh", "1", "--temperature", "0.5") == 0
    found = capfd.readouterr()
    context = {"refresh": 1, "reach": None, "same": 1.0, "same_at_least": 1.0}
    assert json.loads(found.out)["context"] == context
    assert "read every 1 passes: 1.0000" in found.err
    made: list[dict[str, int | None]] = []
    own = EncoderDenoiser.frozen

    def frozen(self: EncoderDenoiser, **how: int | None) -> EncoderDenoiser:
        made.append(how)
        return own(self, **how)

    monkeypatch.setattr(EncoderDenoiser, "frozen", frozen)
    assert call("write", "--length", "6", "--tuned", str(pace)) == 0
    assert call("write", "--length", "6", "--refresh", "0", "--reach", "9") == 0
    assert made == [{"refresh": 1, "reach": None}, {"refresh": None, "reach": 9}]
    assert call("write", "--refresh", "-1") == 2
    assert call("write", "--refresh", "2", "--reach", "-1") == 2
    assert call("write", "--reach", "9") == 2
    assert "--refresh too" in capfd.readouterr().err


def test_a_scorer_is_kept_instead(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A share of a score of the whole text; one that is 0 for all texts has no share."""
    words = tmp_path / "words.txt"
    words.write_text("zyxwvut\n", encoding="utf-8")
    assert call("tune", "--data", str(data), "--length", "4", "--by", str(words)) == 2
    assert "share" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tune", "--data", "DATA", "--steps", "4"], "--steps"),
        (["tune", "--data", "DATA", "--n", "1"], "--n"),
        (["tune", "--data", "DATA", "--target", "2"], "target"),
        (["tune", "--data", "DATA", "--also-guidance", "1"], "give a measure"),
        (["write", "--tuned", "DATA"], "sfumato tune"),
        (["write", "--tuned", "DATA", "--refresh", "4"], "--refresh"),
        (["write", "--tuned", "DATA", "--reach", "4"], "--reach"),
        (["write", "--tuned", "DATA", "--threshold", "0.5"], "--threshold"),
        (["write", "--tuned", "no-such-file"], "no-such-file"),
    ],
)
def test_what_does_not_fit_is_refused(
    data: Path, arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(*[str(data) if word == "DATA" else word for word in arguments]) in (2, 3)
    assert said in capfd.readouterr().err
