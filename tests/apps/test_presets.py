"""The presets of encoders: what they say, and that they convert the architecture they name."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import typer
import typer.main
import yaml
from tests.apps import architectures
from tests.apps.test_cli import call

from sfumato.models.checkpoints import load
from sfumato.models.encoders import EncoderDenoiser
from sfumato.models.latent.storage import load_latent
from sfumato.models.lora import with_lora
from sfumato_apps.cli import build
from sfumato_apps.memory import memory_of
from sfumato_apps.notes import Notes
from sfumato_apps.runs import bf16_helps
from sfumato_apps.signatures import PRESETS

CONVERSIONS = sorted(
    path
    for path in PRESETS.glob("*.yaml")
    if yaml.safe_load(path.read_text(encoding="utf-8"))["recipe"] == "convert"
)
IDS = [path.stem for path in CONVERSIONS]
LATENT = sorted(
    path
    for path in PRESETS.glob("*.yaml")
    if yaml.safe_load(path.read_text(encoding="utf-8"))["recipe"] == "latent"
)


def comments(path: Path) -> str:
    """The comments as running text, lines that end in a backslash joined."""
    rows = [r[2:] for r in path.read_text(encoding="utf-8").splitlines() if r.startswith("# ")]
    return "\n".join(rows).replace("\\\n", "")


def asked(path: Path, command: str) -> tuple[int, dict[str, object]]:
    """Processes and options of a command in the comments, read by the command line itself."""
    (line,) = [row for row in comments(path).splitlines() if row.startswith(command)]
    words = shlex.split(line)
    processes = 1
    if words[0] == "accelerate":
        assert words[:2] == ["accelerate", "launch"]
        processes = int(words[words.index("--num_processes") + 1])
        assert words[words.index("-m") + 1] == "sfumato_apps.cli"
    cli = typer.main.get_command(build())
    rest = words[words.index("convert") + 1 :]
    with cli.make_context("sfumato", ["convert"]) as parent:
        context = cli.commands["convert"].make_context("convert", rest, parent=parent)
    given = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name).name == "COMMANDLINE"
    }
    return processes, {**yaml.safe_load(path.read_text(encoding="utf-8")), **given}


def test_every_encoder_has_a_preset() -> None:
    models = {yaml.safe_load(p.read_text(encoding="utf-8"))["model"] for p in CONVERSIONS}
    assert models == set(architectures.ENCODERS)


@pytest.mark.parametrize("path", CONVERSIONS, ids=IDS)
def test_the_commands_for_one_and_for_several_devices_are_one_training(path: Path) -> None:
    """Both parse, and a step sees as many texts; the comment says how many in all."""
    alone, one = asked(path, "sfumato")
    together, several = asked(path, "accelerate")
    texts = alone * one["batch"] * one["accumulation"]
    assert together > 1
    assert texts == together * several["batch"] * several["accumulation"]
    assert f"the same {texts} texts a step" in comments(path)
    assert f"{texts * one['steps'] / 1e6:.1f} million texts" in comments(path)


@pytest.mark.parametrize("path", CONVERSIONS, ids=IDS)
def test_the_memory_is_that_of_the_real_architecture(path: Path) -> None:
    options = yaml.safe_load(path.read_text(encoding="utf-8"))
    denoiser = EncoderDenoiser(architectures.as_it_is(options["model"]), mask=4)
    if "lora" in options:
        denoiser = with_lora(denoiser, rank=options["lora"])
    memory = memory_of(
        denoiser,
        batch=options["batch"],
        length=options["max_length"] + options["slack"],
        bf16=options.get("bf16", False),
        averaged=True,
    )
    said = re.search(r"^Memory a device, about: (.*)$", comments(path), flags=re.MULTILINE)
    assert said is not None
    assert said[1] == str(memory)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("answerdotai/ModernBERT-base", 149.7),
        ("answerdotai/ModernBERT-large", 395.9),
        ("jhu-clsp/mmBERT-base", 307.8),
        ("jhu-clsp/ettin-encoder-1b", 1031.3),
        ("cointegrated/rubert-tiny2", 29.3),
    ],
)
def test_the_configurations_have_the_published_sizes(name: str, millions: float) -> None:
    """Published: 149M, 395M, 307M, 1028M without the head's 3M, 29.4M."""
    size = sum(parameter.numel() for parameter in architectures.as_it_is(name).parameters())
    assert size / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize("path", CONVERSIONS, ids=IDS)
def test_a_preset_converts_its_architecture(
    path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The same class and special tokens with tiny widths: one step, and an ordinary checkpoint.

    Random weights predict nothing, so the probe is not asked.
    """
    options = yaml.safe_load(path.read_text(encoding="utf-8"))
    architectures.tiny(options["model"], tmp_path / "encoder")
    chats = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in [("Where is it?", "By the river."), ("Где он?", "У реки."), ("What?", "Tea.")]
    ]
    data = tmp_path / "chats.jsonl"
    data.write_text("\n".join(map(json.dumps, chats)), encoding="utf-8")
    out = tmp_path / "out"
    small = ["--batch", "2", "--accumulation", "1", "--steps", "1", "--max-length", "64"]
    small += ["--valid-fraction", "0", "--probed", "0"]
    arguments = [tmp_path / "encoder", "--preset", path.stem, "--data", data, "--out", out, *small]
    assert call("convert", *arguments) == 0
    if options.get("bf16") and not bf16_helps(wanted=True, notes=Notes()):
        assert "training in float32" in capfd.readouterr().err
    made = load(out)
    kind = architectures.ENCODERS[options["model"]].kind
    assert bool(made.vocabulary.roles) == (kind != "wordpiece")
    special = [made.vocabulary.name(i) for i in (made.vocabulary.mask, made.vocabulary.pad)]
    assert special == (["<mask>", "<pad>"] if kind == "gemma" else ["[MASK]", "[PAD]"])
    assert not [name for name in made.denoiser.state_dict() if "lora" in name]


@pytest.mark.parametrize("path", LATENT, ids=[path.stem for path in LATENT])
def test_a_preset_trains_a_latent_model(path: Path, tmp_path: Path) -> None:
    """With the vectors of its architecture, tiny, and the rest of its settings: one step."""
    options = yaml.safe_load(path.read_text(encoding="utf-8"))
    data, out = tmp_path / "texts.jsonl", tmp_path / "out"
    texts = ["The cat sat by the river.", "The tea is good.", "A dog ran home.", "It rains."]
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    small = ["--slots", "8", "--hidden", "16", "--layers", "2", "--heads", "2", "--batch", "2"]
    if "model" in options:
        architectures.tiny(options["model"], tmp_path / "encoder")
        small += ["--model", tmp_path / "encoder", "--layer", "1", "--decoder-steps", "1"]
    else:
        small += ["--vocabulary", "300", "--width", "8"]
    steps = ["--steps", "1", "--answers", "1"]
    assert call("latent", "--preset", path.stem, "--data", data, "--out", out, *small, *steps) == 0
    assert load_latent(out).denoiser.sizes.hidden == 16


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("jhu-clsp/ettin-encoder-1b", "modernbert-rebuilt"),
        ("cointegrated/rubert-tiny2", "bert-base-multilingual-cased"),
    ],
)
def test_real_vocabularies(name: str, folder: str, tmp_path: Path, shared_data: Path) -> None:
    """Tens of thousands of tokens, with the ids of the published configuration where it is theirs.

    ModernBERT's and ettin's vocabulary as rebuilt; for rubert-tiny2 that of its multilingual
    forebear, with Cyrillic words.
    """
    architectures.with_vocabulary(name, shared_data / "tokenizers" / folder, tmp_path / "encoder")
    encoder = load(tmp_path / "encoder")
    words = encoder.vocabulary
    text = "Где вокзал? He is at Kazanskaya, 5."
    assert words.decode(words.encode(text)) == text
    if folder == "modernbert-rebuilt":
        known = architectures.ENCODERS[name].ids
        assert (words.pad, words.eos) == (known["pad_token_id"], known["sep_token_id"])
        assert words.bos == known["cls_token_id"]
        assert words.mask == 50284
        assert words.size == 50368
    chats = tmp_path / "chats.jsonl"
    turns = [{"role": "user", "content": "Где?"}, {"role": "assistant", "content": "У реки."}]
    chats.write_text("\n".join([json.dumps({"messages": turns})] * 3), encoding="utf-8")
    arguments = [tmp_path / "encoder", "--data", chats, "--out", tmp_path / "out", "--steps", "1"]
    arguments += ["--batch", "2", "--max-length", "32", "--valid-fraction", "0", "--probed", "0"]
    assert call("convert", *arguments) == 0
    made = load(tmp_path / "out").vocabulary
    assert made.encode(text) == words.encode(text)
    assert (made.mask, dict(made.roles)) == (words.mask, dict(words.roles))
