"""`sfumato align` end to end: every family, adapters, refusals, resume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tests.alignment.test_likelihood import llama
from tests.apps.test_cli import call
from tests.apps.test_latent import SIZES
from tests.training.worlds import TEXTS, WORDS
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from sfumato.alignment.scoring.learnt import new_reward
from sfumato.models.checkpoints import load, pretrained_tokenizer
from sfumato.models.latent.storage import load_latent

ALPHA = ("--f-alpha-divergence-coef", "0.7")
QUICK = ["--batch", "4", "--draws", "2", "--learning-rate", "1e-3", "--evaluate-every", "3"]


@pytest.fixture(scope="module")
def rankings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tea is better than rain, for each of eight people; one row without an order."""
    path = tmp_path_factory.mktemp("data") / "rankings.jsonl"
    names = ["Ann", "Bob", "Eve", "Tom", "Kim", "Joe", "Liz", "Max"]
    rows: list[dict[str, object]] = [
        {"prompt": f"{name} ", "completions": ["likes tea.", "sees rain."], "scores": [1, 0]}
        for name in names
    ]
    rows.insert(3, {"prompt": "Zoe ", "completions": ["likes tea.", "sees rain."], "ranks": [1, 1]})
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked model, trained for two steps."""
    folder = tmp_path_factory.mktemp("runs")
    data = folder / "texts.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    tiny = ["--width", "16", "--layers", "1", "--heads", "2", "--vocabulary", "300"]
    common = ["--slack", "4", "--max-length", "32", "--steps", "2", "--batch", "8"]
    assert call("train", "--data", data, "--out", folder / "model", *tiny, *common) == 0
    return folder / "model"


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--method", "pl_dpo", "--slack", "2", "--f-divergence-type", "js_divergence"],
        ["--lora", "2", *("--f-divergence-type", "alpha_divergence"), *ALPHA],
        ["--method", "cpo", "--pairs", "best_vs_worst", "--anchor", "0.5"],
        ["--complementary"],
    ],
)  # fmt: skip
def test_a_masked_model(
    options: list[str],
    model: Path,
    rankings: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It is saved as any model is, writes, and says in its card how it was aligned."""
    out = tmp_path / "out"
    run = ["--model", model, "--data", rankings, "--out", out, "--steps", "4", *QUICK, *options]
    assert call("align", *run) == 0
    said = capfd.readouterr()
    assert "no order" in said.err or "not all the same" in said.err
    assert "7 rankings, 1 held out, 4 steps" in said.err
    assert said.out == ""
    found = load(out)
    assert found.metadata["aligned"]["steps"] == 4
    assert "eval_rewards/accuracies" in found.metadata["aligned"]["quality"]
    before = load(model).denoiser.state_dict()
    after = found.denoiser.state_dict()
    assert before.keys() == after.keys()  # adapters are folded in
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert call("write", "--model", out, "--n", "1", "--length", "8") == 0
    entries = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    assert any("rewards/margins" in entry for entry in entries)


def test_a_reference_rounds_as_the_policy_does(model: Path, rankings: Path, tmp_path: Path) -> None:
    """In bfloat16 too all log-ratios begin at exactly 0, so that only learning moves them."""
    run = ["--model", model, "--data", rankings, "--out", tmp_path / "out", "--steps", "1", *QUICK]
    assert call("align", *run, "--bf16") == 0
    entries = map(json.loads, (tmp_path / "out" / "journal.jsonl").read_text().splitlines())
    first = next(entry for entry in entries if "rewards/margins" in entry)
    assert first["rewards/margins"] == first["rewards/chosen"] == first["log_ratio/std_mc"] == 0


def test_an_adversary(
    model: Path, rankings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A discriminator that was made of the model; one of other tokens is refused."""
    judge = tmp_path / "judge"
    more = ["--steps", "2", "--batch", "4"]
    assert call("discriminator", "train", "--data", rankings, "--out", judge, *more) == 0
    run = ["--model", model, "--data", rankings, "--out", tmp_path / "out", "--steps", "3", *QUICK]
    assert call("align", *run, "--adversary", judge) == 2
    assert "train a discriminator with the model's folder" in capsys.readouterr().err
    own = ["--model", model, "--data", rankings, "--out", tmp_path / "own"]
    assert call("discriminator", "train", *own, *more) == 0
    assert call("align", *run, "--adversary", tmp_path / "own") == 0
    entries = (tmp_path / "out" / "journal.jsonl").read_text().splitlines()
    assert any("regulariser_loss" in json.loads(entry) for entry in entries)


def test_a_run_goes_on(model: Path, rankings: Path, tmp_path: Path) -> None:
    """From the checkpoint of the third step of six: the weights of the whole run."""
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    for out in (whole, parted):
        run = ["--model", model, "--data", rankings, "--out", out, "--steps", "6", *QUICK]
        assert call("align", *run) == 0
    shutil.rmtree(parted / "checkpoint-6")
    assert call("align", "--preset", parted / "align.yaml", "--resume") == 0
    one, other = (load(out).denoiser.state_dict() for out in (whole, parted))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_latent_model(rankings: Path, tmp_path: Path) -> None:
    """Its denoiser learns; its codec stays."""
    data, latent, out = tmp_path / "pairs.jsonl", tmp_path / "latent", tmp_path / "out"
    rows = [{"prompt": text.split()[0] + " ", "completion": text} for text in TEXTS]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    more = ["--vocabulary", "300", "--width", "16", "--steps", "2"]
    assert call("latent", "--data", data, "--out", latent, *SIZES, *more) == 0
    run = ["--model", latent, "--data", rankings, "--out", out, "--steps", "3", *QUICK]
    assert call("align", *run, "--method", "dpo", "--beta", "50") == 0
    before, after = load_latent(latent), load_latent(out)
    assert after.metadata["aligned"]["beta"] == 50
    pairs = zip(before.denoiser.parameters(), after.denoiser.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)
    codecs = zip(before.codec.parameters(), after.codec.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in codecs)
    run[5] = tmp_path / "other"
    assert call("align", *run, "--lora", "2") == 2
    assert call("align", *run, "--complementary") == 2


def test_an_autoregressive_model(
    rankings: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A folder of transformers goes in, and one comes out."""
    folder, out = tmp_path / "llama", tmp_path / "out"
    llama().save_pretrained(folder)
    pretrained_tokenizer(WORDS).save_pretrained(folder)
    run = ["--model", folder, "--data", rankings, "--out", out, "--steps", "3", *QUICK]
    assert call("align", *run, "--method", "hinge") == 0
    after = AutoModelForCausalLM.from_pretrained(out).state_dict()
    before = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert len(AutoTokenizer.from_pretrained(out)) == WORDS.size
    run[5] = tmp_path / "other"
    assert call("align", *run, "--lora", "2") == 2
    assert "adapters are for masked and uniform models" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("rows", "options", "code", "message"),
    [
        ([{"text": "a"}], [], 3, "no ranking in the fields text"),
        ([{"completions": ["a", "b"], "ranks": [1, 1]}], [], 3, "no ranking is left"),
        ([{"chosen": "a", "rejected": "b"}], ["--f-alpha-divergence-coef", "0.5"], 2, "only with"),
        (
            [{"chosen": "a", "rejected": "b"}],
            ["--method", "cpo", "--f-divergence-type", "forward_kl"],
            2,
            "needs a reference",
        ),
        ([{"chosen": "a", "rejected": "b"}], ["--beta", "0"], 2, "positive beta"),
        ([{"chosen": "a", "rejected": "b"}], ["--method", "pl_dpo", "--pairs", "all"], 2, "lists"),
        ([{"chosen": "a", "rejected": "b"}], ["--draws", "0"], 2, "draws ≥ 1"),
    ],
)
def test_refusals(
    rows: list[dict[str, object]],
    options: list[str],
    code: int,
    message: str,
    model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """They say what is wrong, and leave no folder behind."""
    data = tmp_path / "rankings.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    run = ["--model", model, "--data", data, "--out", tmp_path / "out", *options]
    assert call("align", *run) == code
    assert message in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_learnt_reward(
    model: Path, rankings: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It learns which is better, is an ordinary classifier, ranks, and can be gone on with."""
    out, ranked = tmp_path / "reward", tmp_path / "ranked.jsonl"
    run = ["--model", model, "--data", rankings, "--steps", "24", "--batch", "4"]
    run += ["--learning-rate", "3e-3", "--evaluate-every", "12", "--valid-fraction", "0.3"]
    assert call("reward", "train", "--out", out, *run) == 0
    assert "accuracy 1" in capfd.readouterr().err
    found = AutoModelForSequenceClassification.from_pretrained(out)
    assert found.config.id2label == {0: "reward"}
    data = tmp_path / "c.jsonl"
    data.write_text(json.dumps({"completions": ["Ann sees rain.", "Ann likes tea."]}))
    assert call("rank", "--data", data, "--by", f"reward:{out}", "--out", ranked) == 0
    row = json.loads(ranked.read_text())
    assert row["completions"][0] == "Ann likes tea."
    shutil.rmtree(out / "checkpoint-24")
    assert call("reward", "train", "--preset", out / "reward-train.yaml", "--resume") == 0
    again = AutoModelForSequenceClassification.from_pretrained(out).state_dict()
    assert all(torch.equal(again[name], value) for name, value in found.state_dict().items())


def test_rewards_begin_alike(model: Path) -> None:
    """The head depends on the seed only; the body is the encoder's."""
    one, two, other = (new_reward(model, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
