"""Candidates: several texts for each prompt, written in several ways.

    prompts × ways × n ─► texts ─► scorers ─► rankings

A text depends on its prompt's number, its own number, its way and the seed: not on what is written
beside it, so that prompts can be shared out among processes and a run can go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sfumato.alignment.continuing import NO_BIAS, continued, text_of
from sfumato.alignment.rankings.causal import causal_prompt
from sfumato.alignment.rankings.sets import Prompt
from sfumato.errors import UsageError
from sfumato.sampling.tasks import Policy, Writer, complete_each

_APART = 1_000_003


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What follows a prompt.

    Attributes:
        text: the new text.
        passes: evaluations of the network that it took; of a search, those of all its runs.
    """

    text: str
    passes: int


Write = Callable[[Sequence[Prompt], Sequence[int]], list[Completion]]


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
        passes: evaluations of the network that each took.
    """

    completions: tuple[str, ...]
    sources: tuple[str, ...]
    passes: tuple[int, ...]


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
        >>> shout = Way(name="loud", write=lambda prompts, seeds: [
        ...     Completion(text=f"{p}!{s}", passes=1) for p, s in zip(prompts, seeds, strict=True)])
        >>> candidates(["a", "b"], [shout], n=2)[1].completions
        ('b!2', 'b!3')
    """
    if not prompts or not ways or n < 1:
        raise UsageError(f"expected prompts, ways and n ≥ 1: {len(prompts)}, {len(ways)}, {n}")
    every = [prompt for prompt in prompts for _ in range(n)]
    texts: list[list[Completion]] = []
    for number, way in enumerate(ways):
        start = seed + number * _APART + first * n
        texts.append(way.write(every, range(start, start + len(every))))
    sources = tuple(way.name for way in ways for _ in range(n))
    return [
        _together([one for found in texts for one in found[row : row + n]], sources)
        for row in range(0, len(every), n)
    ]


def _together(found: Sequence[Completion], sources: tuple[str, ...]) -> Written:
    return Written(
        completions=tuple(one.text for one in found),
        sources=sources,
        passes=tuple(one.passes for one in found),
    )


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

    def write(prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Completion]:
        lengths = None if length is None else [length] * len(prompts)
        found = complete_each(
            model, prompts, lengths=lengths, policy=policy, seed=seeds[0], batch_size=batch_size
        )
        return [Completion(text=one.text, passes=one.passes) for one in found]

    return Way(name=name, write=write)


def causal_way(
    name: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    length: int,
    temperature: float = 1.0,
    bias: Mapping[int, float] = NO_BIAS,
    batch_size: int = 32,
) -> Way:
    """An autoregressive model of transformers: ancestral sampling, greedy at temperature 0.

    A text's passes are its tokens, its end included.

    Args:
        name: of the way.
        model: the network.
        tokenizer: its tokenizer; turns go through its template.
        length: the most new tokens.
        temperature: of the draws.
        bias: what is added to the logits of tokens.
        batch_size: texts written side by side.
    """

    def write(prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Completion]:
        heads = [causal_prompt(prompt, tokenizer) for prompt in prompts]
        found: list[Completion] = []
        for start in range(0, len(heads), batch_size):
            some = slice(start, start + batch_size)
            drawn = continued(
                model,
                tokenizer,
                heads[some],
                seeds=seeds[some],
                length=length,
                temperature=temperature,
                bias=bias,
            )
            found += [Completion(text=text_of(row, tokenizer), passes=len(row)) for row in drawn]
        return found

    return Way(name=name, write=write)
