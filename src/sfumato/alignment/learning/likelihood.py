"""How likely a model finds each candidate: log p, or a bound of it with noise that all share.

    causal     Σ_i log p(y_i | y_<i, x)                                    exact, one pass
    tokens     −ELBO terms of K draws: the same times and hits for all candidates of a set
    vectors    −w(λ)·‖x_0 − x̂_0‖² of K draws: the same times and noise

Each estimator draws once (`prepare`) and is then asked by policy and reference, which so see the
same noise: what matters is the difference of two estimates, and shared noise cancels in it (VRPO,
arXiv 2505.19223).

Legend of shapes: `B` sets, `N` candidates, `K` draws, `L` positions, `P` candidates that exist.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sfumato.alignment.rankings.sets import RankedSets
from sfumato.errors import UsageError
from sfumato.noise.times import ExactCount, Stratified
from sfumato.protocols import Denoiser, Process, Schedule, TimeSampler
from sfumato.training.objectives import cut, moved
from sfumato.types import Draw


@runtime_checkable
class Estimator(Protocol):
    """Draws noise for rankings, and says how likely a model finds the candidates.

    A noised batch has `ranks` and `sizes`, *shape* `B N`: places, 0 for a candidate that is not
    there, and the lengths that a score may be divided by.
    """

    def prepare(self, batch: Any, generator: torch.Generator) -> Any:  # noqa: ANN401
        """Noise for a whole batch."""
        ...

    def __call__(self, model: Any, noised: Any) -> Float[Tensor, "B N K"]:  # noqa: ANN401
        """Log-likelihoods by draw, nats, float32; 0 for a candidate that is not there."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisedTokens:
    """Rankings of texts, noised `K` times.

    Attributes:
        ids: clean tokens, *shape* `B N L`.
        judged: positions whose likelihood counts, *shape* `B N L`.
        attend: positions that exist, *shape* `B N L`.
        ranks: places, *shape* `B N`.
        x_t: noised tokens, *shape* `B N K L`.
        where: positions that need a prediction, *shape* `B N K L`.
        t: times, *shape* `B K`.
        rate: weights in the ELBO, *shape* `B K`.
    """

    ids: Int[Tensor, "B N L"]
    judged: Bool[Tensor, "B N L"]
    attend: Bool[Tensor, "B N L"]
    ranks: Int[Tensor, "B N"]
    x_t: Int[Tensor, "B N K L"]
    where: Bool[Tensor, "B N K L"]
    t: Float[Tensor, "B K"]
    rate: Float[Tensor, "B K"]

    @property
    def items(self) -> Float[Tensor, ""]:
        """Its sets: each counts the same."""
        return torch.tensor(float(len(self.ids)))

    @property
    def sizes(self) -> Int[Tensor, "B N"]:
        """Tokens that are judged."""
        return self.judged.sum(2)

    def to(self, device: torch.device | str) -> NoisedTokens:
        """The same batch on another device."""
        return moved(self, device)

    def rows(self, start: int, stop: int) -> NoisedTokens:
        """A micro-batch, cut to the width that it uses."""
        some = cut(self, start, stop)
        width = int(some.attend.flatten(0, 1).any(0).sum())
        names = ("ids", "judged", "attend", "x_t", "where")
        return replace(some, **{name: getattr(some, name)[..., :width] for name in names})


@dataclass(frozen=True, kw_only=True)
class Causal:
    """log p of an autoregressive model of transformers; there is nothing to draw.

    Example:
        >>> Causal()
        Causal()
    """

    def prepare(self, batch: RankedSets, generator: torch.Generator) -> NoisedTokens:
        """The batch as it is."""
        once = batch.ranks.new_zeros(len(batch.ids), 1).float()
        x_t, where = batch.ids[:, :, None], batch.judged[:, :, None]
        return NoisedTokens(**vars(batch), x_t=x_t, where=where, t=once, rate=once)

    def __call__(self, model: nn.Module, noised: NoisedTokens) -> Float[Tensor, "B N 1"]:
        """Log-likelihoods."""
        there = noised.ranks > 0
        ids, attend, judged = (x[there] for x in (noised.ids, noised.attend, noised.judged))
        first = int(judged.any(0).int().argmax())  # what only prompts fill needs no logits
        kept = torch.arange(first - 1, ids.shape[1] - 1, device=ids.device)
        logits = model(
            input_ids=ids, attention_mask=attend.long(), use_cache=False, logits_to_keep=kept
        ).logits.float()
        after, counted = ids[:, first:], judged[:, first:]
        log_p = logits.gather(2, after[..., None])[..., 0] - logits.logsumexp(2)
        return placed((log_p * counted).sum(1)[:, None], there)


@dataclass(frozen=True, kw_only=True)
class Complementary:
    """Hits in pairs of draws, the second exactly where the first has none; for masked noise.

    k of n positions, and the n − k others, so that every token is judged once a pair; by the
    linear schedule, at t and 1 − t. With k uniform on 1..n, a draw of a pair has each k < n with
    chance 1/n and weight n/k, as under `ExactCount`, and k = n with half the chance and twice the
    weight: the mean is the same bound. k is stratified over the pairs.

    These weights are what makes it unbiased, and they do not weigh tokens evenly: in tests the
    variance of log-ratios is half that of `ExactCount` for texts of 3 tokens, and above it for 24.

    Raises:
        UsageError: rows that are not pairs of one text (when it draws).

    Example:
        >>> from sfumato.noise.schedules import Linear
        >>> editable = torch.ones(2, 5, dtype=torch.bool)
        >>> draw = Complementary().draw(editable, Linear(), torch.Generator().manual_seed(0))
        >>> draw.hit.sum(0).tolist()
        [1, 1, 1, 1, 1]
    """

    def draw(
        self, editable: Bool[Tensor, "B L"], schedule: Schedule, generator: torch.Generator
    ) -> Draw:
        """Draws for the pairs of a batch."""
        one, other = editable[::2], editable[1::2]
        if len(one) != len(other) or not torch.equal(one, other):
            raise UsageError(
                "complementary masks come in pairs of the same text: give an even number of draws"
            )
        even, n = Stratified().draw(one, schedule, generator), one.sum(1)
        # The smaller half of a pair: none with chance 1/n, each other count with 2/n, n/2 with 1/n.
        k = ((even.t * n - 1) / 2).ceil().long()
        rank = even.uniform.masked_fill(~one, 2).argsort(1).argsort(1)
        first = one & (rank < k[:, None])
        hit = torch.stack([first, one & ~first], 1).flatten(0, 1)
        n, k = editable.sum(1), hit.sum(1)
        rate = torch.where(k < n, n / k.clamp(min=1), 2) * (k > 0)
        return Draw(
            t=schedule.inverse(1 - k / n.clamp(min=1)),
            hit=hit,
            rate=rate,
            uniform=even.uniform.repeat_interleave(2, 0),
        )


@dataclass(frozen=True, kw_only=True)
class TokenElbo:
    """The negative ELBO of noise on tokens, with the sign of a log-likelihood.

    Attributes:
        process: masked or uniform noise.
        draws: K; times are stratified over them.
        times: chooses times and hits; `ExactCount` or `Complementary` for masked noise,
            `Stratified` for uniform.

    Raises:
        UsageError: no draws.
    """

    process: Process
    draws: int = 8
    times: TimeSampler = field(default_factory=ExactCount)

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise UsageError(f"expected draws ≥ 1, got {self.draws}")

    def prepare(self, batch: RankedSets, generator: torch.Generator) -> NoisedTokens:
        """Draws times and hits, for each set by itself."""
        found = [self._noised(batch, row, generator) for row in range(len(batch.ids))]
        x_t, where, t, rate = (torch.stack(values) for values in zip(*found, strict=True))
        return NoisedTokens(**vars(batch), x_t=x_t, where=where, t=t.float(), rate=rate.float())

    def _noised(
        self, batch: RankedSets, row: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One set: what is noised, where, when, and with which weight."""
        judged, ids = batch.judged[row], batch.ids[row]
        # Candidates of a set are judged at the same places but for texts that were cut.
        every = judged.any(0).expand(self.draws, -1)
        draw = self.times.draw(every, self.process.schedule, generator)
        n, length = ids.shape
        editable = judged[:, None].expand(n, self.draws, length).flatten(0, 1)
        wide = replace(
            draw,
            t=draw.t.repeat(n),
            hit=draw.hit.repeat(n, 1) & editable,
            rate=draw.rate.repeat(n),
            uniform=draw.uniform.repeat(n, 1),
        )
        noised = self.process.corrupt(ids.repeat_interleave(self.draws, 0), editable, wide)
        shape = (n, self.draws, length)
        return noised.x_t.view(shape), noised.where.view(shape), draw.t, draw.rate

    def __call__(self, model: Denoiser, noised: NoisedTokens) -> Float[Tensor, "B N K"]:
        """Log-likelihoods."""
        there = noised.ranks > 0
        row = there.nonzero()[:, 0]
        x_t, where = (x[there].flatten(0, 1) for x in (noised.x_t, noised.where))
        x_0, attend = (
            x[there].repeat_interleave(self.draws, 0) for x in (noised.ids, noised.attend)
        )
        t, rate = noised.t[row].flatten(), noised.rate[row].flatten()
        log_p = model(x_t, where, attend=attend, t=t).log_softmax(-1)
        at, place = where.nonzero(as_tuple=True)
        terms = self.process.elbo(log_p, x_0[at, place], x_t[at, place], t[at], rate[at])
        sums = terms.new_zeros(len(x_t)).index_add(0, at, terms)
        return placed(-sums.view(-1, self.draws), there)


def placed(values: Float[Tensor, "P K"], there: Bool[Tensor, "B N"]) -> Float[Tensor, "B N K"]:
    """The values of candidates that exist, and zeros.

    Args:
        values: of those that exist, in order.
        there: which ones do.
    """
    wide = values.new_zeros(*there.shape, values.shape[1])
    return wide.index_put((*there.nonzero(as_tuple=True),), values)
