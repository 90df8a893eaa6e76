"""Value objects that cross package borders. Tensors in, tensors out; no behaviour.

Legend of shapes: `B` batch, `L` positions, `V` vocabulary, `M` selected positions of a batch
(row-major order of a boolean mask over `B L`), `S` slots of a latent state, `D` its width.

Time runs from `t = 0` (clean) to `t = 1` (noise); α(t) is the share of clean signal left.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Draw:
    """The randomness of one corruption, reusable: the same draw noises two models alike.

    Attributes:
        t: time of each row, *shape* `B`.
        hit: positions that the noise replaces, *shape* `B L`; never outside the editable ones.
        rate: weight of a hit position in the masked ELBO, *shape* `B`:
            −α′(t)/(1 − α(t)) for Bernoulli hits, n/k for exactly k hits among n.
        uniform: numbers in [0, 1) that pick the noise token where the noise law has a
            choice, *shape* `B L`.
    """

    t: Float[Tensor, "B"]
    hit: Bool[Tensor, "B L"]
    rate: Float[Tensor, "B"]
    uniform: Float[Tensor, "B L"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Corrupted:
    """A noised batch.

    Attributes:
        x_t: noised ids, *shape* `B L`.
        where: positions at which the ELBO needs a prediction, *shape* `B L`.
    """

    x_t: Int[Tensor, "B L"]
    where: Bool[Tensor, "B L"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Routes:
    """Probabilities of the three routes of a reverse step on a token; they sum to one.

    Attributes:
        stay: the position keeps `x_t`, *shape* `M`.
        clean: the position takes the predicted clean token, *shape* `M`.
        noise: the position takes a fresh draw of the noise law, *shape* `M`.
    """

    stay: Float[Tensor, "M"]
    clean: Float[Tensor, "M"]
    noise: Float[Tensor, "M"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Condition:
    """A text that is given to a latent model, encoded by itself.

    Attributes:
        latents: its vectors, *shape* `B L D`.
        attend: positions that exist, *shape* `B L`; a row with none has no condition.
    """

    latents: Float[Tensor, "B L D"]
    attend: Bool[Tensor, "B L"]
