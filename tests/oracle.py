"""An exact denoiser: the conditionals of a Markov chain, by the forward–backward recursion.

With it a sampler has no model error, so what its texts deviate from the chain by is its own.

Legend of shapes: `B` batch, `L` positions, `S` states, `V` vocabulary, `M` asked positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.stats import chi2
from torch import Tensor

from sfumato.sampling.frames import Specials
from sfumato.text.canvas import Canvas

LENGTH = 24


@dataclass(frozen=True, kw_only=True, eq=False)
class ChainOracle:
    """A Markov chain over `S` states; ids S, S + 1, S + 2 are mask, pad and eos.

    Attributes:
        initial: law of the first state, float64, *shape* `S`.
        transition: row i is the law of the state after i, float64, *shape* `S S`.
    """

    initial: Tensor
    transition: Tensor

    @property
    def states(self) -> int:
        return len(self.initial)

    @property
    def specials(self) -> Specials:
        return Specials(mask=self.states, pad=self.states + 1, eos=self.states + 2)

    def __call__(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        """Float32 logits log p(x_i | the visible tokens) at `where`; −∞ for the specials."""
        logits = self.posterior(x_t)[where].log().float()
        return torch.nn.functional.pad(logits, (0, 3), value=-torch.inf)

    def posterior(self, x_t: Tensor) -> Tensor:
        """p(x_i | the visible tokens other than x_i), *shape* `B L S`.

        a_i = (a_{i−1} ∘ e_{i−1}) P and b_i = P (e_{i+1} ∘ b_{i+1}), with the evidence e a
        one-hot vector at a visible token and ones at a mask; the posterior is ∝ a_i ∘ b_i.
        """
        visible = x_t < self.states
        one_hot = torch.nn.functional.one_hot(x_t.clamp(max=self.states - 1), self.states)
        evidence = torch.where(visible[..., None], one_hot, 1).double()
        ahead = [self.initial.expand(len(x_t), -1)]
        behind = [torch.ones(len(x_t), self.states, dtype=torch.float64)]
        for i in range(1, x_t.shape[1]):
            ahead.append(_normalised((ahead[-1] * evidence[:, i - 1]) @ self.transition))
            behind.append(_normalised((behind[-1] * evidence[:, -i]) @ self.transition.T))
        return _normalised(torch.stack(ahead, 1) * torch.stack(behind[::-1], 1))

    def canvas(self, rows: int, length: int = LENGTH) -> Canvas:
        """Rows of masks."""
        everywhere = torch.ones(rows, length, dtype=torch.bool)
        return Canvas(
            ids=torch.full((rows, length), self.states),
            editable=everywhere,
            attend=everywhere,
            optional=~everywhere,
        )

    def draw(self, rows: int, generator: torch.Generator, length: int = LENGTH) -> Tensor:
        """Texts of the chain itself, *shape* `B L`."""
        ids = [torch.multinomial(self.initial.expand(rows, -1), 1, generator=generator)[:, 0]]
        for _ in range(length - 1):
            law = self.transition[ids[-1]]
            ids.append(torch.multinomial(law, 1, generator=generator)[:, 0])
        return torch.stack(ids, 1)

    def log_likelihood(self, ids: Tensor) -> Tensor:
        """log p of each row, nats."""
        steps = self.transition[ids[:, :-1], ids[:, 1:]].log().sum(1)
        return self.initial[ids[:, 0]].log() + steps

    def p_value(self, ids: Tensor) -> float:
        """How well texts agree with the chain: Pearson's χ² on first states and bigrams.

        Given how often each state was left, the counts of its successors are multinomial
        (Billingsley, 1961, §5), so Σ (n_ij − n_i P_ij)² / (n_i P_ij) is χ² with S·(S − 1) degrees
        of freedom, and the first states add S − 1 of their own.
        """
        size = self.states
        first = torch.bincount(ids[:, 0], minlength=size).double()
        pairs = torch.bincount((ids[:, :-1] * size + ids[:, 1:]).flatten(), minlength=size**2)
        pairs = pairs.view(size, size).double()
        expected = pairs.sum(1, keepdim=True) * self.transition
        statistic = ((pairs - expected) ** 2 / expected).sum()
        expected = len(ids) * self.initial
        statistic += ((first - expected) ** 2 / expected).sum()
        return float(chi2.sf(float(statistic), size * size - 1))


def _normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(-1, keepdim=True)


def chain(states: int = 12, seed: int = 7, sharpness: float = 1.3) -> ChainOracle:
    """A fixed chain: softmax rows of normal numbers, started in its stationary law."""
    generator = torch.Generator().manual_seed(seed)
    scores = sharpness * torch.randn(states, states, generator=generator, dtype=torch.float64)
    transition = scores.softmax(1)
    stationary = torch.linalg.matrix_power(transition, 256)[0]
    return ChainOracle(initial=stationary / stationary.sum(), transition=transition)
