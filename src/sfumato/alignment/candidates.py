"""Candidates: several texts for each prompt, written in several ways.

    prompts × ways × n ─► texts ─► scorers ─► rankings

A text depends on its prompt's number, its own number, its way and the seed: not on what is written
beside it, so that prompts can be shared out among processes and a run can go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sfumato.alignment.rankings.causal import causal_prompt
from sfumato.alignment.rankings.sets import Prompt
from sfumato.errors import UsageError
from sfumato.sampling.tasks import Policy, Writer, complete_each

Write = Callable[[Sequence[Prompt], Sequence[int]], list[str]]
_APART = 1_000_003


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to write.

    Attributes:
        name: of the source, in rankings.
        write: prompts and seeds to what follows each prompt.
    """

    name: str
    write: Write


@dataclass(frozen=True, kw_only=True)
class Written:
    """The candidates of a prompt.

    Attributes:
        completions: the texts, way by way.
        sources: the way of each.
    """

    completions: tuple[str, ...]
    sources: tuple[str, ...]


def candidates(
    prompts: Sequence[Prompt], ways: Sequence[Way], *, n: int, seed: int = 0, first: int = 0
) -> list[Written]:
    """Writes n texts a way for each prompt.

    Args:
        prompts: what to go on from; "" writes freely.
        ways: how to write.
        n: texts a way and prompt.
        seed: of all of them.
        first: number of the first prompt among all prompts of a run.

    Raises:
        UsageError: no prompts, no ways, or n below 1.

    Example:
        >>> shout = Way(name="loud", write=lambda prompts, seeds: [f"{p}!{s}" for p, s in
        ...     zip(prompts, seeds, strict=True)])
        >>> candidates(["a", "b"], [shout], n=2)[1].completions
        ('b!2', 'b!3')
    """
    if not prompts or not ways or n < 1:
        raise UsageError(f"expected prompts, ways and n ≥ 1: {len(prompts)}, {len(ways)}, {n}")
    every = [prompt for prompt in prompts for _ in range(n)]
    texts: list[list[str]] = []
    for number, way in enumerate(ways):
        start = seed + number * _APART + first * n
        texts.append(way.write(every, range(start, start + len(every))))
    sources = tuple(way.name for way in ways for _ in range(n))
    rows = range(0, len(every), n)
    return [
        Written(
            completions=tuple(text for found in texts for text in found[row : row + n]),
            sources=sources,
        )
        for row in rows
    ]


def diffusion_way(
    name: str, model: Writer, policy: Policy, *, length: int | None = None, batch_size: int = 32
) -> Way:
    """A diffusion model, masked, uniform or latent.

    Args:
        name: of the way.
        model: a checkpoint.
        policy: how to write.
        length: the most tokens; as the model was trained if left out.
        batch_size: texts written side by side.
    """

    def write(prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[str]:
        lengths = None if length is None else [length] * len(prompts)
        found = complete_each(
            model, prompts, lengths=lengths, policy=policy, seed=seeds[0], batch_size=batch_size
        )
        return [one.text for one in found]

    return Way(name=name, write=write)


def causal_way(
    name: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    length: int,
    temperature: float = 1.0,
    batch_size: int = 32,
) -> Way:
    """An autoregressive model of transformers: ancestral sampling, greedy at temperature 0.

    Args:
        name: of the way.
        model: the network.
        tokenizer: its tokenizer; turns go through its template.
        length: the most new tokens.
        temperature: of the draws.
        batch_size: texts written side by side.
    """

    def write(prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[str]:
        rows = [causal_prompt(prompt, tokenizer) for prompt in prompts]
        found: list[str] = []
        for start in range(0, len(rows), batch_size):
            some, numbers = rows[start : start + batch_size], seeds[start : start + batch_size]
            found += _drawn(model, tokenizer, some, numbers, length, temperature)
        return found

    return Way(name=name, write=write)


@torch.no_grad()
def _drawn(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[tuple[int, ...]],
    seeds: Sequence[int],
    length: int,
    temperature: float,
) -> list[str]:
    """One text a row, each from a generator of its own."""
    network: Any = model
    pad = int(tokenizer.pad_token_id or tokenizer.eos_token_id or 0)
    wide, device = max(map(len, rows)), network.device
    ids = torch.tensor([[pad] * (wide - len(row)) + [*row] for row in rows], device=device)
    attend = torch.tensor([[0] * (wide - len(row)) + [1] * len(row) for row in rows], device=device)
    sources = [torch.Generator().manual_seed(seed) for seed in seeds]
    cache, inputs, written = None, ids, [list[int]() for _ in rows]
    going = [True] * len(rows)
    for _ in range(length):
        places = (attend.cumsum(1) - 1).clamp(min=0)[:, -inputs.shape[1] :]
        out = network(
            input_ids=inputs,
            attention_mask=attend,
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
        )
        cache, logits = out.past_key_values, out.logits[:, -1].float().cpu()
        picked = [
            _pick(row, temperature, source) for row, source in zip(logits, sources, strict=True)
        ]
        for row, token in enumerate(picked):
            going[row] = going[row] and token != tokenizer.eos_token_id
            if going[row]:
                written[row].append(token)
        if not any(going):
            break
        inputs = torch.tensor(picked, device=device)[:, None]
        attend = torch.cat([attend, attend.new_ones(len(rows), 1)], 1)
    return [str(tokenizer.decode(row, skip_special_tokens=True)) for row in written]


def _pick(logits: torch.Tensor, temperature: float, source: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    return int((logits / temperature).softmax(0).multinomial(1, generator=source))
