"""The command line, end to end on a tiny model, and what it says of bad input."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import torch

from sfumato.models.checkpoints import load
from sfumato.sampling.trace import read_jsonl
from sfumato_apps.choices import DEVICE, WEIGHTS
from sfumato_apps.cli import main

TEXTS = [
    f"{who} {does} {what}."
    for who in ("Ann", "Bob", "Eve", "Tom")
    for does in ("sees", "likes")
    for what in ("tea", "a cat", "the old house", "rain")
]
SMALL = [
    "--width",
    "16",
    "--layers",
    "1",
    "--heads",
    "2",
    "--vocabulary",
    "300",
    "--slack",
    "4",
    "--max-length",
    "32",
    "--batch",
    "8",
    "--evaluate-every",
    "4",
]


def call(*arguments: str) -> int:
    """Runs the command line and returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 sentences as JSON lines."""
    path = tmp_path_factory.mktemp("data") / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return path


@pytest.fixture(scope="module")
def folder(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained for eight steps."""
    path = tmp_path_factory.mktemp("runs") / "модель one"
    assert call("train", "--data", corpus, "--out", path, "--steps", "8", *SMALL) == 0
    return path


def test_train_leaves_an_ordinary_folder(folder: Path) -> None:
    """Weights, tokenizer, card, settings and a journal with losses, bounds, samples, quality."""
    for name in ("model.safetensors", "tokenizer.json", "sfumato.json", "README.md", "train.yaml"):
        assert (folder / name).is_file(), name
    lines = (folder / "journal.jsonl").read_text().splitlines()
    kinds = {json.loads(line)["kind"] for line in lines}
    assert kinds == {"train", "valid", "sample", "quality"}


def test_write_puts_data_on_stdout_and_the_rest_on_stderr(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """JSON lines with text, seed and passes; the same seed gives the same text."""
    arguments = ["write", "--model", folder, "--n", "2", "--length", "8", "--seed", "5", "--json"]
    assert call(*arguments) == 0
    first = capfd.readouterr().out
    lines = [json.loads(line) for line in first.splitlines()]
    assert [line["seed"] for line in lines] == [5, 6]
    assert all(isinstance(line["text"], str) and 1 <= line["passes"] <= 10 for line in lines)
    assert call(*arguments) == 0
    assert capfd.readouterr().out == first


def test_prompt_comes_back(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The text begins with the prompt as it was typed."""
    assert call("write", "--model", folder, "--prompt", "Ann  sees", "--length", "6") == 0
    assert capfd.readouterr().out.startswith("Ann  sees")


def test_fill_keeps_the_rest(
    folder: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Everything outside the holes is as typed; trace and page are written."""
    text = "Ann {3}  a «{}» {{cat}}."
    trace, page = tmp_path / "t.jsonl", tmp_path / "p.html"
    assert call("fill", text, "--model", folder, "--trace", trace, "--page", page) == 0
    out = capfd.readouterr().out
    assert out.startswith("Ann ")
    assert out.rstrip("\n").endswith("» {cat}.")
    assert "  a «" in out
    assert json.loads(trace.read_text().splitlines()[0])["format"].startswith("sfumato-trace")
    assert "<html" in page.read_text()


def test_evaluate_prints_records_and_writes_a_report(
    folder: Path, corpus: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Every number has n and seed; the report exists in three forms."""
    arguments = ["--n", "6", "--draws", "2", "--length", "8", "--out", tmp_path / "report"]
    assert call("evaluate", "--model", folder, "--data", corpus, *arguments) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {"elbo_nats_per_token", "div", "loop_rate"} <= {line["name"] for line in lines}
    assert all(line["n"] >= 1 and "seed" in line for line in lines)
    assert {path.suffix for path in (tmp_path / "report").iterdir()} == {".md", ".json", ".html"}


def test_info_is_json(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What the model is and where it comes from."""
    assert call("info", "--model", folder) == 0
    record = json.loads(capfd.readouterr().out)
    assert record["process"] == "MaskedProcess"
    assert record["parameters"] > 1000


def test_resume_goes_on_and_an_old_run_is_safe(
    folder: Path, corpus: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A second run into the folder is refused; a resumed one ends as the uninterrupted one."""
    assert call("train", "--data", corpus, "--out", folder, "--steps", "8", *SMALL) == 2
    assert "--resume" in capfd.readouterr().err
    assert call("train", "--preset", folder / "train.yaml", "--resume") == 0


@pytest.mark.parametrize("noise", ["uniform", "hybrid"])
def test_other_noise_trains_and_writes(
    noise: str, corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Through the same commands."""
    out = tmp_path / noise
    options = ["--noise", noise, "--steps", "4", *SMALL]
    assert call("train", "--data", corpus, "--out", out, *options) == 0
    assert load(str(out)).process.masked == {"hybrid": 0.8, "uniform": 0.0}[noise]
    assert call("write", "--model", out, "--length", "8", "--steps", "8", "--json") == 0
    assert json.loads(capfd.readouterr().out)["passes"] == 8


def test_a_model_from_scratch_drops_units(corpus: Path, tmp_path: Path) -> None:
    options = ["--dropout", "0.25", "--steps", "1", *SMALL]
    assert call("train", "--data", corpus, "--out", tmp_path / "run", *options) == 0
    config = load(str(tmp_path / "run")).denoiser.network.config
    assert (config.mlp_dropout, config.attention_dropout) == (0.25, 0.25)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "--data", "absent.jsonl", "--out", "x"], 3, "absent.jsonl"),
        (["write", "--model", "absent-folder"], 4, "absent-folder"),
        (["write", "--lenght", "3"], 2, "--lenght"),
        (["write", "--temperature", "-1"], 2, "temperature"),
        (["fill", "no hole here"], 2, "hole"),
        (["fill", "a {"], 2, "brace"),
        (["nonsense"], 2, "nonsense"),
        (["train", "--data", "x.jsonl"], 2, "--out"),
    ],
)
def test_bad_input_is_one_line_and_a_code(
    arguments: list[str],
    code: int,
    message: str,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """What was wrong, no traceback, nothing on stdout."""
    monkeypatch.chdir(tmp_path)
    if arguments[0] in ("write", "fill") and "--model" not in arguments:
        arguments = [*arguments, "--model", str(folder)]
    assert call(*arguments) == code
    shown = capfd.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_prompt_longer_than_the_context(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Both numbers are named."""
    assert call("write", "--model", folder, "--prompt", "a cat " * 60) == 2
    assert "36" in capfd.readouterr().err


def test_malformed_record_is_named_or_skipped(
    corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """File, line and what to do; with --on-bad-line skip the run goes on and says so."""
    path = tmp_path / "bad.jsonl"
    path.write_text(corpus.read_text() + '{"txet": "a"}\n')
    options = ["--steps", "2", *SMALL]
    assert call("train", "--data", path, "--out", tmp_path / "a", *options) == 3
    assert "bad.jsonl:33" in capfd.readouterr().err
    skip = ["--on-bad-line", "skip"]
    assert call("train", "--data", path, "--out", tmp_path / "b", *skip, *options) == 0
    assert "skipped" in capfd.readouterr().err


def test_broken_checkpoint(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Cut weights are refused in a line."""
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            data = path.read_bytes()
            (broken / path.name).write_bytes(data[:-100] if path.suffix == ".safetensors" else data)
    assert call("write", "--model", broken) == 4
    assert "Traceback" not in capfd.readouterr().err


def test_edit_prints_the_text_and_what_changed(
    folder: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The rest of the text comes back; a scorer finds the word; the diff is on stderr."""
    words = tmp_path / "words.txt"
    words.write_text("old\n")
    text = "Ann  likes the old house."
    for how in (["--span", "old"], ["--words", words], ["--span", "15:18"]):
        assert call("edit", text, "--model", folder, "--json", *how) == 0
        shown = capfd.readouterr()
        line = json.loads(shown.out)
        assert line["text"].startswith("Ann  likes the")
        assert line["text"].endswith(" house.")
        assert line["kept"] >= 0.8
        assert shown.err.startswith("Ann  likes the")
    trace = tmp_path / "trace.jsonl"
    for joint, head in (([], text), (["--joint", "\\n=> "], f"{text}\n=>")):
        pairs = ["--from-pairs", *joint, "--span", "old", "--trace", trace]
        assert call("edit", text, "--model", folder, *pairs) == 0
        assert capfd.readouterr().out.startswith("Ann  likes the")
        pieces = [slot.piece or "" for slot in read_jsonl(trace.read_text()).slots]
        assert "".join(pieces).startswith(f"[CLS]{head} Ann  likes the")
    assert call("edit", text, "--model", folder, "--n", "2", "--rank", "likelihood") == 0
    assert len(capfd.readouterr().out.splitlines()) >= 2


def test_fim_and_bridge_keep_their_ends(
    folder: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """From options and from a file with a marker."""
    ends = ["--prefix", "Ann ", "--suffix", " tea.\n", "--length", "4", "--model", folder]
    assert call("fim", *ends, "--json") == 0
    line = json.loads(capfd.readouterr().out)
    assert line["text"] == "Ann " + line["middle"] + " tea.\n"
    file = tmp_path / "f.py"
    file.write_bytes(b"Ann\r\n\t<fill>\r\nBob")
    assert call("fim", "--file", file, "--model", folder, "--length", "4", "--json") == 0
    text = json.loads(capfd.readouterr().out)["text"]
    assert text.startswith("Ann\r\n\t")
    assert text.endswith("\r\nBob")
    assert call("bridge", "Ann.", "Bob.", "--length", "4", "--model", folder) == 0
    out = capfd.readouterr().out
    assert out.startswith("Ann. ")
    assert out.endswith(" Bob.\n")


def test_rewrite_warns_of_an_instruction_that_was_not_trained(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Only on stderr, and only with an instruction."""
    arguments = ["rewrite", "Ann sees tea.", "--model", folder, "--length", "6", "--json"]
    assert call(*arguments) == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    assert json.loads(shown.out)["source"] == "Ann sees tea."
    assert call(*arguments, "--instruction", "Shorter.") == 0
    assert "dialogues" in capfd.readouterr().err


def test_detox_of_a_file_goes_on_where_it_stopped(
    folder: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One line each, in order, a too long text as an error, and the same file after a cut."""
    words, source, target = tmp_path / "w.txt", tmp_path / "in.txt", tmp_path / "out.jsonl"
    words.write_text("old\n")
    texts = ["Ann likes the old house.", "Bob sees rain.", "", "old " * 60, "An old cat."]
    source.write_text("".join(f"{text}\n" for text in texts))
    arguments = ["detox", "--input", source, "--output", target, "--words", words]
    arguments += ["--model", folder, "--proposals", "2", "--rounds", "1", "--batch", "2"]
    assert call(*arguments) == 0
    assert "1 errors" in capfd.readouterr().err
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [line["source"] for line in lines] == texts
    assert ["error" in line for line in lines] == [False, False, False, True, False]
    assert all("old" not in lines[i]["text"] for i in (0, 4))
    whole = target.read_bytes()
    target.write_bytes(whole[: len(whole) // 2])
    assert call(*arguments) == 0
    assert target.read_bytes() == whole
    capfd.readouterr()
    assert call("detox", texts[0], "--words", words, "--model", folder, "--json") == 0
    assert json.loads(capfd.readouterr().out)["clean"] is True


def test_detox_of_a_file_does_not_go_on_with_other_options(
    folder: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Another list of words counts by what it holds; lines together may change."""
    words, source, target = tmp_path / "w.txt", tmp_path / "in.txt", tmp_path / "out.jsonl"
    words.write_text("old\n")
    source.write_text("Bob sees rain.\nAnn likes tea.\n")
    arguments = ["detox", "--input", source, "--output", target, "--words", words]
    arguments += ["--proposals", "2", "--rounds", "1"]
    assert call(*arguments, "--model", folder) == 0
    whole = target.read_bytes()
    target.write_bytes(whole[: len(whole) // 2])
    for more, said in (
        (["--budget", "2"], "begun with budget 0.4, not 2:"),
        (["--seed", "3"], "begun with seed 0, not 3:"),
        (["--top-k", "3"], "begun with top_k None, not 3:"),
    ):
        assert call(*arguments, "--model", folder, *more) == 2
        assert said in capfd.readouterr().err
    assert call(*arguments) == 2
    assert "begun with another model (" in capfd.readouterr().err
    assert target.read_bytes() == whole[: len(whole) // 2]
    assert call(*arguments, "--model", folder, "--batch", "1") == 0
    assert target.read_bytes() == whole
    words.write_text("old\nnew\n")
    assert call(*arguments, "--model", folder) == 2
    assert re.search(r"begun with words \w{12}, not \w{12}:", capfd.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["edit", "a cat", "--span", "dog"], 2, "not in the text"),
        (["edit", "a cat", "--budget", "some"], 2, "--budget"),
        (["edit", "a cat", "--rank", "nice"], 2, "names no scorer"),
        (["edit", "a cat", "--scorer", "x"], 2, "--label"),
        (["edit", "a cat", "--joint", "x"], 2, "--from-pairs"),
        (["detox", "a cat"], 2, "--words"),
        (["detox", "--words", "w.txt"], 2, "--input"),
        (["detox", "a cat", "--words", "absent.txt"], 3, "absent.txt"),
        (["detox", "a", "--scorer", "absent-folder", "--label", "x"], 4, "absent-folder"),
        (["fim", "--file", "absent.py"], 3, "absent.py"),
        (["bridge", "a", "b", "--length", "0"], 2, "length"),
    ],
)
def test_bad_edits_are_one_line_and_a_code(
    arguments: list[str],
    code: int,
    message: str,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """What was wrong, no traceback, nothing on stdout."""
    monkeypatch.chdir(tmp_path)
    assert call(*arguments, "--model", folder) == code
    shown = capfd.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_weights_and_device_are_asked_for_before_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (DEVICE, WEIGHTS):
        monkeypatch.setenv(name, "")
    held = ["--device", "cpu", "--weights", "bfloat16"]
    assert call(*held, "write", "--length", "4", "--json") == 0
    rounded = json.loads(capsys.readouterr().out)
    assert not os.environ[WEIGHTS]
    assert call("--weights", "float32", "write", "--length", "4", "--json") == 0
    exact = json.loads(capsys.readouterr().out)
    assert rounded["seed"] == exact["seed"]
    assert call("--weights", "3bit", "write") == 2
    assert "no weights of '3bit'" in capsys.readouterr().err
    assert call("--device", "nowhere", "write") == 2
    assert "--device nowhere: PyTorch cannot use it here" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert call("--device", "cuda", "write") == 2
        assert "--device cuda: PyTorch cannot use it here" in capsys.readouterr().err
