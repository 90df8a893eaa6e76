"""Ways that search for a text of high reward while they write.

    diffusion         every k steps judge what each run would become, go on with the best
    autoregressive    every k tokens judge what each run has written, go on with the best

What a search costs stands in the passes of its completions, for the best of as many plain texts as
cost the same is what it has to beat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sfumato.alignment.candidates import Completion, Way
from sfumato.alignment.continuing import continued, text_of
from sfumato.alignment.rankings.causal import causal_prompt
from sfumato.alignment.rankings.sets import Prompt
from sfumato.protocols import Scorer
from sfumato.sampling.search import Beams
from sfumato.sampling.tasks import Policy, Writer, search_each
from sfumato.sampling.tasks.results import scores_of


def search_way(
    name: str,
    model: Writer,
    policy: Policy,
    *,
    reward: Scorer,
    beams: Beams,
    length: int | None = None,
    batch_size: int = 32,
) -> Way:
    """A search by a diffusion model, masked, uniform or latent.

    Args:
        name: of the way.
        model: a checkpoint; a latent one needs a solver that draws noise.
        policy: how to write; it must draw, or copies stay alike.
        reward: of completions.
        beams: how many runs a text has and which go on.
        length: the most tokens; as the model was trained if left out.
        batch_size: runs written side by side.
    """

    def write(prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Completion]:
        found = search_each(
            model,
            prompts,
            reward=reward,
            beams=beams,
            length=length,
            policy=policy,
            seed=seeds[0],
            batch_size=batch_size,
        )
        return [Completion(text=one.text, passes=one.passes) for one in found]

    return Way(name=name, write=write)


def causal_search_way(
    name: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    reward: Scorer,
    beams: Beams,
    length: int,
    temperature: float = 1.0,
    batch_size: int = 32,
) -> Way:
    """A search by an autoregressive model of transformers: a beam by reward, of sampled stretches.

    Each stretch reads the text before it anew; passes count tokens.

    Args:
        name: of the way.
        model: the network.
        tokenizer: its tokenizer; turns go through its template.
        reward: of completions.
        beams: how many runs a text has and which go on.
        length: the most new tokens.
        temperature: of the draws.
        batch_size: runs written side by side.
    """
    runs = _Runs(
        model=model,
        tokenizer=tokenizer,
        reward=reward,
        beams=beams,
        length=length,
        temperature=temperature,
    )

    def write(prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Completion]:
        heads = [causal_prompt(prompt, tokenizer) for prompt in prompts]
        found: list[Completion] = []
        side = max(1, batch_size // beams.width)
        for start in range(0, len(heads), side):
            found += runs.best(heads[start : start + side], seeds[start : start + side])
        return found

    return Way(name=name, write=write)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Runs:
    """Runs of an autoregressive model, a stretch at a time."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    reward: Scorer
    beams: Beams
    length: int
    temperature: float

    def best(self, heads: Sequence[tuple[int, ...]], seeds: Sequence[int]) -> list[Completion]:
        """The best run of each text."""
        width = self.beams.width
        stretch = self.beams.every if self.beams.thins else self.length
        count = math.ceil(self.length / stretch)
        before = [head for head in heads for _ in range(width)]
        # One seed a run and stretch: of a single stretch, those of so many plain texts.
        first = [(seed * width + run) * count for seed in seeds for run in range(width)]
        written: list[tuple[int, ...]] = [()] * len(before)
        passes = [0] * len(before)
        for number in range(count):
            most = min(stretch, self.length - number * stretch)
            for run, new in self._stretch(before, written, [s + number for s in first], most):
                written[run] += new
                passes[run] += len(new)
            if number + 1 < count:
                written = [written[run] for run in self.beams.parents(self._scores(written))]
        scores = self._scores(written)
        found = []
        for start in range(0, len(before), width):
            best = max(range(start, start + width), key=lambda run: scores[run])
            spent = sum(passes[start : start + width])
            found.append(Completion(text=text_of(written[best], self.tokenizer), passes=spent))
        return found

    def _stretch(
        self,
        before: Sequence[tuple[int, ...]],
        written: Sequence[tuple[int, ...]],
        seeds: Sequence[int],
        most: int,
    ) -> list[tuple[int, tuple[int, ...]]]:
        """The runs that have not ended, and what each writes next."""
        end = self.tokenizer.eos_token_id
        going = [run for run, ids in enumerate(written) if end not in ids]
        if not going:
            return []
        new = continued(
            self.model,
            self.tokenizer,
            [before[run] + written[run] for run in going],
            seeds=[seeds[run] for run in going],
            length=most,
            temperature=self.temperature,
        )
        return list(zip(going, new, strict=True))

    def _scores(self, written: Sequence[tuple[int, ...]]) -> list[float]:
        return scores_of(self.reward, [text_of(ids, self.tokenizer) for ids in written])
