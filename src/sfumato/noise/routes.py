"""One reverse step on a token: it stays, becomes the clean prediction, or is noised again.

                    ┌─ stay ──→ x_s = x_t
    x_t ,  x̂₀  ─────┼─ clean ─→ x_s = x̂₀
                    └─ noise ─→ x_s ~ π

Noise is a chain: from s to t a token survives with probability r = α_t/α_s and is otherwise
redrawn from the noise law π. Bayes turns it round. Each factor below is such a mixture of two,

    q(x_s | x_t, x̂₀) ∝ q(x_t | x_s)                      · q(x_s | x̂₀)
                     = (r·[x_t = x_s] + (1 − r)·π(x_t))  · (α_s·[x_s = x̂₀] + (1 − α_s)·π(x_s)),

and multiplying out gives the three routes:

    stay   ∝ α_t·[x_t = x̂₀] + r·(1 − α_s)·π(x_t)
    clean  ∝ (1 − r)·α_s·π(x_t)
    noise  ∝ (1 − r)·(1 − α_s)·π(x_t)

One formula for every π: masked noise has π = δ_mask, uniform noise π = 1/K. A planner only
re-weighs the routes. (D3PM, arXiv 2107.03006, eq. 3, for interpolating kernels.)

Legend of shapes: `M` positions, `V` vocabulary.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sfumato.types import Routes


def split_routes(
    noise: Float[Tensor, "M"],
    same: Bool[Tensor, "M"],
    alpha_t: Float[Tensor, "M"],
    alpha_s: Float[Tensor, "M"],
) -> Routes:
    """Splits a reverse step into its three routes.

    A token that the noise law never writes must be clean and stays, whatever the prediction.

    Args:
        noise: π(x_t), what the noise law gives the present token.
        same: whether the predicted clean token is the present one, x_t = x̂₀.
        alpha_t: α at the present time.
        alpha_s: α at the earlier time, at least α_t.

    Example:
        >>> one = torch.ones(1)  # masked noise at a mask: π(x_t) = 1
        >>> split_routes(one, torch.tensor([False]), 0.25 * one, 0.5 * one)
        Routes(stay=tensor([0.3333]), clean=tensor([0.3333]), noise=tensor([0.3333]))
    """
    # Times α_s, so that nothing is divided by α_s = 0 at pure noise.
    stay = alpha_t * (alpha_s * same + (1 - alpha_s) * noise)
    clean = (alpha_s - alpha_t) * alpha_s * noise
    renoise = (alpha_s - alpha_t) * (1 - alpha_s) * noise
    total = stay + clean + renoise
    possible = total > 0
    total = torch.where(possible, total, 1)
    return Routes(
        stay=torch.where(possible, stay / total, 1),
        clean=clean / total,
        noise=renoise / total,
    )


def posterior(
    routes: Routes, x_t: Int[Tensor, "M"], x_0: Int[Tensor, "M"], law: Float[Tensor, "V"]
) -> Float[Tensor, "M V"]:
    """q(x_s | x_t, x̂₀) as a full distribution; for tests and tiny worlds, samplers need the routes.

    Args:
        routes: the routes of these positions.
        x_t: present tokens.
        x_0: predicted clean tokens.
        law: the noise law π.

    Example:
        >>> certain = Routes(stay=torch.ones(1), clean=torch.zeros(1), noise=torch.zeros(1))
        >>> posterior(certain, torch.tensor([2]), torch.tensor([0]), torch.ones(3) / 3)
        tensor([[0., 0., 1.]])
    """
    result = routes.noise[:, None] * law
    result = result.scatter_add(1, x_t[:, None].long(), routes.stay[:, None])
    return result.scatter_add(1, x_0[:, None].long(), routes.clean[:, None])
