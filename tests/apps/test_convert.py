"""`sfumato convert` end to end: probe, training, validation, answers, card; resume, refusals."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tests.apps import architectures
from tests.apps.test_cli import call
from transformers import AutoModelForMaskedLM

from sfumato.models.checkpoints import SHIPPED, load
from sfumato.sampling.tasks import write
from sfumato.training.keeping.checkpoints import last_checkpoint

# Without held-out texts nothing is measured and no answer is written, which is what takes time.
BLIND = ["--valid-fraction", "0", "--probed", "0"]
QUICK = ["--batch", "4", "--max-length", "64", "--slack", "4", "--answers", "2"]


def chat(question: str, answer: str, *, asker: str = "user") -> dict[str, object]:
    turns = [{"role": asker, "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns}


def put(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def known() -> list[str]:
    """Texts that the shipped model knows: its own."""
    return [sample.text for sample in write(load(), n=24, length=12, seed=3)]


@pytest.fixture(scope="module")
def english(known: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 conversations, and one of each kind that is of no use."""
    rows = [chat(f"Where do you eat, guest {n}?", text) for n, text in enumerate(known)]
    rows += [
        {"messages": [{"role": "user", "content": "Is anybody there?"}]},
        chat("Call it.", "I did.", asker="tool"),
        chat("Say nothing.", " "),
        chat("Why? " * 80, "Because."),
        chat("Why? " * 90, "Because."),
    ]
    return put(tmp_path_factory.mktemp("en") / "en.jsonl", rows)


@pytest.fixture(scope="module")
def russian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pairs."""
    rows = [
        {"prompt": f"Кто {what}?", "completion": f" Это {who}, и он {what}."}
        for who in ("кот", "дед")
        for what in ("спит", "поёт", "ест", "ждёт")
    ]
    return put(tmp_path_factory.mktemp("ru") / "ru.jsonl", rows)


@pytest.fixture(scope="module")
def converted(
    english: Path, russian: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The folder of a conversion of two steps, and what it said on stderr."""
    out = tmp_path_factory.mktemp("runs") / "assistant"
    arguments = ["convert", SHIPPED, "--out", out, "--data", english, russian, "--mix", "3:1"]
    arguments += ["--steps", "2", "--evaluate-every", "2", "--valid-fraction", "0.2", "--force"]
    done = subprocess.run(
        [sys.executable, "-m", "sfumato_apps.cli", *arguments, *QUICK],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    return out, done.stderr


def test_the_folder_is_an_ordinary_checkpoint(converted: tuple[Path, str]) -> None:
    out, said = converted
    network = AutoModelForMaskedLM.from_pretrained(out)
    assert network.config.vocab_size > 0
    assert load(out).metadata["dialogues"] is True
    assert f"saved {out}" in said


def test_the_shares_of_the_mixture_are_in_settings_and_card(
    converted: tuple[Path, str], english: Path
) -> None:
    """Three to one: of 32 usable records, about 26 train, and each Russian one comes often."""
    out, said = converted
    found = load(out).metadata
    sources = found["sources"]
    assert found["mix"] == "3:1"
    assert [s["share"] for s in sources] == pytest.approx([0.75, 0.25], abs=0.02)
    assert sum(s["usable"] for s in sources) + found["held_out"] == 32
    assert sum(s["token_share"] for s in sources) == pytest.approx(1.0)
    assert all(len(source["sha256"]) == 64 for source in sources)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"| `{english}` | {sources[0]['usable']} | {sources[0]['drawn']} | 7" in card
    assert f"{english}: {sources[0]['usable']} usable" in said


def test_what_is_of_no_use_is_counted_by_reason_with_its_place(
    converted: tuple[Path, str], english: Path
) -> None:
    out, said = converted
    expected = {
        "unknown role": (1, 26),
        "one message": (1, 25),
        "empty answer": (1, 27),
        "answer cut away": (2, 28),
    }
    card = (out / "README.md").read_text(encoding="utf-8")
    skipped = load(out).metadata["skipped"]
    assert skipped.keys() == expected.keys()
    for reason, (count, line) in expected.items():
        assert skipped[reason]["records"] == count
        # Which of two comes first depends on the split.
        assert skipped[reason]["first"] in {f"{english}:{line}", f"{english}:{line + count - 1}"}
        assert f"- {reason}: {count}, the first at {english}:" in card
    assert "skipped 2 in all: answer cut away; the first: " in said


def test_the_journal_ends_with_quality_by_language(converted: tuple[Path, str]) -> None:
    """Nats per token and bits per byte with n and error, there, on stderr and in the card."""
    out, said = converted
    lines = (out / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    assert entries[-1]["kind"] == "quality"
    languages = entries[-1]["languages"]
    assert languages == load(out).metadata["quality"]
    held_out = load(out).metadata["held_out"]
    assert sum(found["elbo_nats_per_token"]["n"] for found in languages.values()) == held_out
    card = (out / "README.md").read_text(encoding="utf-8")
    for language, found in languages.items():
        assert found["elbo_bits_per_byte"].keys() == {"value", "stderr", "n"}
        n = found["elbo_nats_per_token"]["n"]
        assert f"{language}  n {n}  nats_per_token" in said
        assert f"| {language} | {n} |" in card
    answers = [entry for entry in entries if entry["kind"] == "sample"]
    assert len(answers) == 2
    assert all(answer["prompt"] for answer in answers)


def test_an_encoder_that_knows_the_texts_is_converted_unforced(
    known: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The probe's verdict is said and kept; only the answers are measured."""
    data = put(tmp_path / "chats.jsonl", [chat("Ω ≈ ?", text) for text in known])
    out = tmp_path / "out"
    arguments = [SHIPPED, "--data", data, "--out", out, "--steps", "1", *QUICK, *BLIND[:2]]
    assert call("convert", *arguments) == 0
    assert "can be converted: with 15% masked" in capfd.readouterr().err
    probed = load(out).metadata["probe"]
    assert probed["convertible"] is True
    assert probed["foreign_languages"] == {}


def test_an_encoder_that_the_probe_refuses_is_not_trained(
    english: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Random weights: the probe's reason, exit code 4 and no folder; --force goes on."""
    architectures.tiny("answerdotai/ModernBERT-base", tmp_path / "encoder")
    out = tmp_path / "out"
    arguments = [tmp_path / "encoder", "--data", english, "--out", out, "--steps", "1"]
    arguments += [*QUICK, *BLIND[:2]]
    assert call("convert", *arguments) == 4
    shown = capfd.readouterr().err
    assert "no better than their token frequencies do" in shown
    assert "--force" in shown
    assert not out.exists()
    assert call("convert", *arguments, "--force") == 0
    assert load(out).metadata["probe"]["convertible"] is False


@pytest.mark.parametrize("lora", [0, 2])
def test_a_resumed_conversion_ends_as_the_uninterrupted_one(
    lora: int, english: Path, tmp_path: Path
) -> None:
    """Four steps; and the last two of them again from checkpoint-2, byte for byte.

    With adapters, what lies in the folder meanwhile are the weights with the adapters of step 4
    folded in, so a resume that started from them would be seen. The first run is refused a
    second time.
    """
    architectures.tiny("answerdotai/ModernBERT-base", tmp_path / "encoder")
    out = tmp_path / "out"
    arguments = [tmp_path / "encoder", "--data", english, "--out", out, *QUICK, *BLIND]
    arguments += ["--steps", "4", "--evaluate-every", "2", "--lora", str(lora)]
    arguments += ["--learning-rate", "0.01", "--average", "0.5"]
    assert call("convert", *arguments) == 0
    whole = safetensors.torch.load_file(out / "model.safetensors")
    assert call("convert", *arguments) == 2
    shutil.rmtree(out / "checkpoint-4")
    assert call("convert", "--preset", out / "convert.yaml", "--resume") == 0
    again = safetensors.torch.load_file(out / "model.safetensors")
    assert whole.keys() == again.keys()
    assert not [name for name in whole if "lora" in name]
    for name, value in whole.items():
        assert torch.equal(value, again[name]), name
    start = AutoModelForMaskedLM.from_pretrained(tmp_path / "encoder").state_dict()
    changed = [name for name, value in whole.items() if not torch.equal(value, start[name])]
    assert any("Wqkv" in name for name in changed)
    assert any("embeddings" in name for name in changed) == (lora == 0)


def test_a_finished_run_is_not_trained_further(english: Path, tmp_path: Path) -> None:
    """Resumed at its last step: the weights are those of the checkpoint, no step is added."""
    architectures.tiny("cointegrated/rubert-tiny2", tmp_path / "encoder")
    out = tmp_path / "out"
    arguments = [tmp_path / "encoder", "--data", english, "--out", out, *QUICK, *BLIND]
    assert call("convert", *arguments, "--steps", "2", "--evaluate-every", "2") == 0
    whole = (out / "model.safetensors").read_bytes()
    (out / "model.safetensors").write_bytes(whole)
    assert call("convert", "--preset", out / "convert.yaml", "--resume") == 0
    assert (out / "model.safetensors").read_bytes() == whole
    steps = [json.loads(r)["step"] for r in (out / "journal.jsonl").read_text().splitlines()]
    assert max(steps) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mix", "1:1:1"], "does not fit 2 sources"),
        (["--mix", "most"], "expected 'balanced'"),
    ],
)
def test_a_wrong_mixture_is_told_before_anything_is_read(
    arguments: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", "absent.jsonl", "missing.jsonl", "--out", tmp_path / "out"]
    assert call("convert", SHIPPED, *data, *arguments) == 2
    assert message in capfd.readouterr().err


def test_the_model_is_named_if_it_is_missing(capfd: pytest.CaptureFixture[str]) -> None:
    assert call("convert", "--data", "a.jsonl", "--out", "x") == 2
    assert "needs MODEL: The encoder" in capfd.readouterr().err
    assert call("convert", "--preset", "rumodernbert", "--out", "x") == 2
    assert "did you mean 'rumodernbert-base'" in capfd.readouterr().err


def on_two_processes(out: Path, *arguments: object) -> subprocess.Popen[str]:
    """Starts the command in two processes that train together; without GPUs, over gloo."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    launch += ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    with socket.create_server(("127.0.0.1", 0)) as free:  # two tests may run at the same time
        port = str(free.getsockname()[1])
    launch += ["--dynamo_backend", "no", "--main_process_port", port, "-m", "sfumato_apps.cli"]
    command = [*launch, "convert", *arguments, "--out", out, *QUICK, "--probed", "0"]
    return subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_train_one_model(english: Path, tmp_path: Path) -> None:
    """One of them writes and speaks; a pass has half as many steps as for one process."""
    architectures.tiny("answerdotai/ModernBERT-base", tmp_path / "encoder")
    out = tmp_path / "out"
    arguments = [tmp_path / "encoder", "--data", english, "--evaluate-every", "2"]
    done = on_two_processes(out, *arguments, "--epochs", "1")
    said = done.communicate()[1]
    assert done.returncode == 0, said
    assert said.count(f"saved {out}") == 1
    entries = [json.loads(r) for r in (out / "journal.jsonl").read_text().splitlines()]
    found = load(out).metadata
    steps = round(found["sources"][0]["drawn"] / (4 * 2))
    assert found["steps"] == steps
    assert [entry["step"] for entry in entries if entry["kind"] == "quality"] == [steps]
    losses = [entry["step"] for entry in entries if "loss" in entry]
    assert losses == sorted(set(losses))


@pytest.mark.slow
def test_two_processes_stop_at_one_step(english: Path, tmp_path: Path) -> None:
    """A signal in the middle: both finish the same step, one saves, and the run can go on."""
    architectures.tiny("answerdotai/ModernBERT-base", tmp_path / "encoder")
    out = tmp_path / "out"
    arguments = [tmp_path / "encoder", "--data", english, "--evaluate-every", "10"]
    running = on_two_processes(out, *arguments, *BLIND[:2], "--steps", "100000")
    while last_checkpoint(out) is None and running.poll() is None:
        time.sleep(0.2)
    running.terminate()
    said = running.communicate()[1]
    assert "steps" in load(out).metadata, said
    stopped = load(out).metadata["steps"]
    assert said.count(f"stopped at step {stopped} and saved") == 2
    assert last_checkpoint(out) == out / f"checkpoint-{stopped}"
    again = on_two_processes(
        out, "--preset", out / "convert.yaml", "--resume", "--steps", str(stopped + 2)
    )
    said = again.communicate()[1]
    assert again.returncode == 0, said
    assert load(out).metadata["steps"] == stopped + 2
