"""What benchmarks of text pairs share: the split on disk, both models, their answers."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import autoregressive
import torch
from transformers import LlamaForCausalLM

import sfumato_apps.cli
from sfumato.models.checkpoints import Checkpoint, load
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.tasks import Sample, complete_each
from sfumato.text.batching import encode, prompt_ids
from sfumato.text.records import PairRecord

SEED = 0


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How a model is trained.

    Attributes:
        minutes: of `sfumato train`; the rival gets the CPU time that this used.
        vocabulary: tokens.
        slack: most spare slots after an answer.
        max_length: longest pair, in tokens.
    """

    minutes: float
    vocabulary: int = 1024
    slack: int = 32
    max_length: int = 160


def keep(pairs: Sequence[PairRecord], path: Path) -> None:
    """Writes pairs as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ({"prompt": pair.prompt, "completion": pair.completion} for pair in pairs)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(lines, encoding="utf-8")


def learn(
    out: Path, learnt: Sequence[PairRecord], held: Sequence[PairRecord], budget: Budget
) -> tuple[Checkpoint, LlamaForCausalLM]:
    """`sfumato train` and the rival, or what an earlier run left in the folder."""
    model = diffusion(out, learnt, held, budget)
    return model, _rival(out, model, learnt, budget)


def diffusion(
    out: Path, learnt: Sequence[PairRecord], held: Sequence[PairRecord], budget: Budget
) -> Checkpoint:
    """`sfumato train`, or what an earlier run left in the folder."""
    folder = out / "diffusion"
    if not folder.exists():
        keep(learnt, out / "train.jsonl")
        keep(held, out / "valid.jsonl")
        seconds = train(folder, out / "train.jsonl", out / "valid.jsonl", budget)
        (out / "cpu_seconds").write_text(f"{seconds:.0f}")
    return load(str(folder))


def train(folder: Path, data: Path, valid: Path, budget: Budget, *more: str) -> float:
    """`sfumato train` in a process of its own; the CPU seconds that it used."""
    command = [sys.executable, "-m", sfumato_apps.cli.__name__, "train", "--out", str(folder)]
    command += ["--data", str(data), "--valid", str(valid)]
    command += ["--vocabulary", str(budget.vocabulary), "--slack", str(budget.slack)]
    command += ["--max-length", str(budget.max_length), "--minutes", str(budget.minutes)]
    before = _children()
    subprocess.run([*command, "--evaluate-every", "1000", *more], check=True)
    return _children() - before


def _children() -> float:
    """CPU seconds of all processes that this one waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _rival(
    out: Path, model: Checkpoint, learnt: Sequence[PairRecord], budget: Budget
) -> LlamaForCausalLM:
    folder, words = out / "autoregressive", model.vocabulary
    if not folder.exists():
        size = model.denoiser.network.config
        torch.manual_seed(SEED)
        new = autoregressive.new_llama(
            words,
            width=size.hidden_size,
            layers=size.num_hidden_layers,
            positions=2 * budget.max_length,
        )
        examples = [encode(record, words, max_length=budget.max_length) for record in learnt]
        seconds = float((out / "cpu_seconds").read_text())
        autoregressive.train(new, examples, words, seconds=seconds, seed=SEED)
        autoregressive.save(new, words, folder)
    found: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(folder).eval()
    return found


def answers(model: Checkpoint, prompts: Sequence[str], policy: DecodingPolicy) -> list[Sample]:
    """An answer to every prompt, without the prompt, as wide as the answers trained on."""
    return complete_each(model, prompts, policy=policy, seed=SEED, batch_size=32)


def rival_answers(
    llama: LlamaForCausalLM,
    model: Checkpoint,
    prompts: Iterable[str],
    *,
    temperature: float,
    length: int,
) -> list[str]:
    """One answer of the autoregressive model to every prompt."""
    words = model.vocabulary
    heads = [prompt_ids(prompt, words) for prompt in prompts]
    texts = autoregressive.write(
        llama, heads, words, temperature=temperature, length=length, seed=SEED
    )
    return [*texts]
