"""`sfumato latent` and what its models do, end to end on a tiny one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.apps.test_cli import TEXTS, call

from sfumato.errors import ResourceError
from sfumato.models.latent.storage import load_latent
from sfumato.training.trainer import DiffusionTrainer

SIZES = [
    *("--slots", "12", "--hidden", "16", "--layers", "2", "--heads", "2", "--batch", "8"),
    *("--evaluate-every", "4", "--answers", "1"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [{"prompt": text.split()[0] + " ", "completion": text} for text in TEXTS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def folder(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of learnt vectors, trained for six steps."""
    out = tmp_path_factory.mktemp("runs") / "embedding"
    more = ["--vocabulary", "300", "--width", "16", "--steps", "6"]
    assert call("latent", "--data", corpus, "--out", out, *SIZES, *more) == 0
    return out


@pytest.fixture(scope="module")
def encoder(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked model, trained for two steps."""
    out = tmp_path_factory.mktemp("runs") / "encoder"
    tiny = ["--width", "16", "--layers", "1", "--heads", "2", "--vocabulary", "300"]
    common = ["--slack", "4", "--max-length", "32", "--steps", "2", "--batch", "8"]
    assert call("train", "--data", pairs, "--out", out, *tiny, *common) == 0
    return out


def test_an_encoder_becomes_a_latent_model_of_pairs(
    encoder: Path, folder: Path, pairs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "latent"
    more = ["--model", encoder, "--steps", "4", "--decoder-steps", "3", "--bf16"]
    assert call("latent", "--data", pairs, "--out", out, *SIZES, *more) == 0
    assert "held-out tokens back" in capfd.readouterr().err
    made = load_latent(out)
    assert made.denoiser.sizes.reading == "cross"
    assert made.metadata["base_model"] == str(encoder)
    assert call("write", "--model", out, "--prompt", "Ann ", "--guidance", "1.0") == 0
    assert capfd.readouterr().out.startswith("Ann ")
    story = "Ann saw a cat. It ran. Bob was glad."
    assert call("summarise", story, "--model", out, "--extract", "2", "--json") == 0
    found = [json.loads(line)["text"] for line in capfd.readouterr().out.splitlines()]
    assert found in (
        ["Ann saw a cat.", "It ran."],
        ["Ann saw a cat.", "Bob was glad."],
        ["It ran.", "Bob was glad."],
    )
    assert call("summarise", story, "--model", folder, "--extract", "2") == 2
    assert "latent models of pairs" in capfd.readouterr().err
    assert call("summarise", "Ann", "--model", out, "--n", "3", "--json") == 0
    (record,) = map(json.loads, capfd.readouterr().out.splitlines())
    assert not record["text"].startswith("Ann")
    assert 0 <= record["score"] <= 1
    assert call("rewrite", "Ann", "--model", out) == 0
    curves = tmp_path / "curves"
    sweep = ["--data", pairs, "--model", encoder, "--out", curves, "--n", "6", "--steps", "3"]
    capfd.readouterr()
    assert call("sweep", *sweep, "--scales", "0", "1.5") == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {line["run"] for line in lines} == {"guidance 0", "guidance 1.5"}
    assert {line["n"] for line in lines if line["name"] == "rouge1"} == {6}
    assert "polyline" in (curves / "report.html").read_text()
    assert len((curves / "texts-1.5.jsonl").read_text().splitlines()) == 6
    assert call("summarise", "Ann", "--model", encoder, "--n", "2", "--length", "6") == 0


def test_texts_are_compressed_and_the_rest_works_as_ever(
    encoder: Path, pairs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, few = tmp_path / "latent", ["--latents", "3", "--width", "8"]
    common = ["--data", pairs, *SIZES, *few, "--steps", "3", "--decoder-steps", "2"]
    assert call("latent", *common, "--model", encoder, "--out", out) == 0
    made = load_latent(out)
    assert (made.codec.latents, made.codec.width, made.answers) == (3, 8, (12,))
    assert call("write", "--model", out, "--prompt", "Ann ", "--guidance", "1.0") == 0
    assert call("vary", "Ann saw.", "--model", out, "--by", "0.5") == 0
    assert call("fill", "Ann {2} a cat.", "--model", out) == 2
    assert "compresses each text as a whole" in capfd.readouterr().err
    judge = ["--out", tmp_path / "judge", "--steps", "2", "--batch", "8", "--hidden", "16"]
    assert call("classifier", "--model", out, "--data", pairs, *judge, "--heads", "2") == 0
    student = ["--out", tmp_path / "student", "--steps", "2", "--batch", "8", "--guidance", "2"]
    assert call("distill", "--model", out, "--data", pairs, *student) == 0
    assert call("write", "--model", tmp_path / "student", "--solver", "renoise") == 0
    assert call("latent", *common, "--out", tmp_path / "none") == 2
    assert "--latents 3 compresses what an encoder says" in capfd.readouterr().err


def test_a_run_is_resumed_and_an_old_one_is_safe(
    corpus: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call("latent", "--data", corpus, "--out", folder, *SIZES, "--steps", "2") == 2
    assert "already holds a run" in capfd.readouterr().err
    preset = folder / "latent.yaml"
    assert call("latent", "--preset", preset, "--resume") == 0
    assert load_latent(folder).metadata["steps"] == 6


def test_the_journal_tells_the_error(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert any("eval_error_at_0" in line for line in lines), lines


def test_write_vary_interpolate_and_fill(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call("write", "--model", folder, "--n", "2", "--steps", "5", "--json") == 0
    records = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [record["passes"] for record in records] == [5, 5]
    assert call("vary", "Ann sees tea.", "--model", folder, "--by", "0.05", "--steps", "4") == 0
    assert capfd.readouterr().out
    ends = ["Ann sees tea.", "Tom likes rain."]
    assert call("interpolate", *ends, "--model", folder, "--n", "4", "--steps", "6") == 0
    assert len(capfd.readouterr().out.split("\n")) == 5
    assert call("fill", "Ann {2} tea.", "--model", folder) == 0
    filled = capfd.readouterr().out
    assert filled.startswith("Ann ")
    assert filled.rstrip("\n").endswith("tea.")
    assert call("info", "--model", folder) == 0
    assert json.loads(capfd.readouterr().out)["codec"] == "EmbeddingCodec"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["edit", "Ann sees tea."], 4, "holds a latent model"),
        (["write", "--order", "margin"], 2, "--order: not for latent models"),
        (["write", "--rank", "likelihood"], 2, "only models of masked noise"),
        (["vary", "Ann sees tea.", "--by", "2"], 2, "begin in (0, 1]"),
        (["vary", " ".join(["Ann"] * 40)], 2, "shorten it"),
        (["interpolate", "a", "b", "--n", "1"], 2, "n ≥ 2"),
    ],
)
def test_bad_input_is_one_line_and_a_code(
    folder: Path,
    arguments: list[str],
    code: int,
    said: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert call(*arguments, "--model", folder) == code
    error = capfd.readouterr().err.strip()
    assert said in error
    assert "Traceback" not in error


def test_a_search_and_words_that_it_does_not_know(folder: Path, tmp_path: Path) -> None:
    """Judgements cost no pass: each of four runs takes twenty. A bias is refused."""
    out = tmp_path / "c.jsonl"
    run = ["candidates", "--model", folder, "--sets", "2", "--n", "2", "--out", out]
    search = ["--search", "pattern:e", "--beams", "4", "--keep", "1", "--every", "5"]
    assert call(*run, *search) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["passes"] for row in rows] == [[20, 20, 80, 80]] * 2
    assert rows[0]["source"][2:] == ["temperature 1, search"] * 2
    assert call(*run, "--bias", "tea=2") == 2


def test_candidates_of_several_step_counts(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.jsonl"
    run = ["candidates", "--model", folder, "--sets", "1", "--n", "1", "--out", out]
    assert call(*run, "--step-counts", "3", "5") == 0
    (row,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert row["passes"] == [3, 5]


def test_models_of_both_kinds_are_distilled(
    folder: Path, corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fast, common = tmp_path / "fast", ["--steps", "3", "--batch", "8", "--bf16"]
    assert call("distill", "--model", folder, "--data", corpus, "--out", fast, *common) == 0
    assert not load_latent(fast).denoiser.sizes.hinted
    few = ["--steps", "2", "--solver", "renoise", "--json"]
    assert call("write", "--model", fast, *few) == 0
    assert json.loads(capfd.readouterr().out)["passes"] == 2
    masked, student = tmp_path / "encoder", tmp_path / "student"
    tiny = ["--width", "16", "--layers", "1", "--heads", "2", "--vocabulary", "300"]
    short = ["--max-length", "8", "--slack", "4"]  # shorter than most of the texts
    assert call("train", "--data", corpus, "--out", masked, *tiny, *common, *short) == 0
    arguments = ["--model", masked, "--data", corpus, *common]
    assert call("distill", *arguments, "--out", student) == 0
    assert call("write", "--model", student, "--length", "8") == 0
    assert call("distill", *arguments, "--out", student) == 2
    assert "already holds a run" in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["latent", "masked"])
def test_a_distillation_that_was_killed_goes_on_to_the_same_student(
    kind: str,
    folder: Path,
    encoder: Path,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sfumato_apps.distilling._SAVE_EVERY", 2)
    teacher = folder if kind == "latent" else encoder
    common = ["--model", teacher, "--data", corpus, "--steps", "4", "--batch", "8"]
    one, other = tmp_path / "one", tmp_path / "other"
    assert call("distill", *common, "--out", one) == 0
    assert call("distill", *common, "--out", other) == 0
    shutil.rmtree(other / "checkpoint-4")
    path = other / ("denoiser.safetensors" if kind == "latent" else "model.safetensors")
    path.unlink()
    assert call("distill", "--preset", other / "distill.yaml", "--resume") == 0
    assert path.read_bytes() == (one / path.name).read_bytes()


@pytest.mark.parametrize("kind", ["latent", "masked"])
def test_a_checkpoint_that_cannot_be_read_leaves_the_student_as_it_was(
    kind: str,
    folder: Path,
    encoder: Path,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not as the teacher that it began with."""
    out, teacher = tmp_path / "student", folder if kind == "latent" else encoder
    common = ["--model", teacher, "--data", corpus, "--steps", "2", "--batch", "8"]
    assert call("distill", *common, "--out", out) == 0
    path = out / ("denoiser.safetensors" if kind == "latent" else "model.safetensors")
    student = path.read_bytes()

    def unreadable(*_: object) -> None:
        raise ResourceError("the disk is gone")

    monkeypatch.setattr(DiffusionTrainer, "resume", unreadable)
    for steps in ("2", "4"):
        again = ["--preset", out / "distill.yaml", "--resume", "--steps", steps]
        assert call("distill", *again) == ResourceError.exit_code
        assert "the disk is gone" in capfd.readouterr().err
        assert path.read_bytes() == student


def test_guidance_is_distilled(
    folder: Path,
    corpus: Path,
    pairs: Path,
    encoder: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    student = tmp_path / "student"
    guided = ["--out", student, "--guidance", "1", "--steps", "3", "--batch", "8"]
    of = ["--model", encoder]
    for wrong, what in (
        ([*of, "--data", corpus], "no record has a prompt"),
        (["--model", folder, "--data", pairs], "reads no prompt"),
    ):
        assert call("distill", *guided, *wrong) == 2
        assert what in capfd.readouterr().err
    assert call("distill", *guided, *of, "--data", pairs) == 0
    assert call("write", "--prompt", "the cat", "--model", student, "--length", "4") == 0
    assert json.loads((student / "sfumato.json").read_text())["metadata"]["distilled"]["guidance"]


def test_a_model_of_tokens_has_no_space_to_travel_in(capfd: pytest.CaptureFixture[str]) -> None:
    from sfumato.models.checkpoints import SHIPPED

    assert call("vary", "abc", "--model", SHIPPED) == 4
    assert "no latent model" in capfd.readouterr().err
    assert call("write", "--solver", "ddim") == 2
    assert "only for latent models" in capfd.readouterr().err
