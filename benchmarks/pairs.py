"""What benchmarks of text pairs share: the split on disk, both models, their answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import autoregressive
import contestants
from contestants import SEED
from transformers import LlamaForCausalLM

from sfumato.models.checkpoints import Checkpoint
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.tasks import Sample, complete_each
from sfumato.text.batching import encode, prompt_ids
from sfumato.text.records import PairRecord


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How a model is trained.

    Attributes:
        vocabulary: tokens.
        slack: most spare slots after an answer.
        max_length: longest pair, in tokens.
        more: further options of `sfumato train`; how long, for one. The rival gets the CPU time
            that it used.
    """

    vocabulary: int = 1024
    slack: int = 32
    max_length: int = 160
    more: tuple[str, ...] = ()


def keep(pairs: Sequence[PairRecord], path: Path) -> None:
    """Writes pairs as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ({"prompt": pair.prompt, "completion": pair.completion} for pair in pairs)
    contestants.keep(path, rows)


def learn(
    out: Path, learnt: Sequence[PairRecord], held: Sequence[PairRecord], budget: Budget
) -> tuple[Checkpoint, LlamaForCausalLM]:
    """`sfumato train` and the rival, or what an earlier run left in the folder."""
    model = diffusion(out, learnt, held, budget)
    length = budget.max_length
    examples = [encode(record, model.vocabulary, max_length=length) for record in learnt]
    folder = out / "autoregressive"
    return model, contestants.rival(folder, out / "diffusion", examples, length=length)


def diffusion(
    out: Path, learnt: Sequence[PairRecord], held: Sequence[PairRecord], budget: Budget
) -> Checkpoint:
    """`sfumato train`, or what an earlier run left in the folder."""
    keep(learnt, out / "train.jsonl")
    keep(held, out / "valid.jsonl")
    return train(out / "diffusion", out / "train.jsonl", out / "valid.jsonl", budget)


def train(folder: Path, data: Path, valid: Path, budget: Budget, *more: str) -> Checkpoint:
    """`sfumato train` on two files, or what an earlier run left in the folder."""
    options = ["--data", str(data), "--valid", str(valid), "--evaluate-every", "1000"]
    options += ["--vocabulary", str(budget.vocabulary), "--slack", str(budget.slack)]
    options += ["--max-length", str(budget.max_length)]
    return contestants.diffusion(folder, *options, *budget.more, *more)


def answers(model: Checkpoint, prompts: Sequence[str], policy: DecodingPolicy) -> list[Sample]:
    """An answer to every prompt, without the prompt, on a canvas with room for most answers."""
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
