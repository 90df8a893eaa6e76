"""Golden test 2: the three routes are Bayes' rule."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.worlds import TokenProcess
from torch import Tensor

from sfumato.noise.masked import MaskedProcess
from sfumato.noise.routes import posterior
from sfumato.noise.uniform import UniformProcess

WIDTH = 5
PROCESSES = [
    MaskedProcess(mask=0),
    MaskedProcess(mask=4),
    UniformProcess(size=5),
    UniformProcess(size=4),
    UniformProcess(size=5, excluded=(0, 3)),
    UniformProcess(size=5, excluded=(0, 3), masked=0.8, mask=3),
]


def pairs() -> tuple[Tensor, Tensor]:
    """Every x_t with every x̂₀, each of *shape* `M`."""
    ids = torch.arange(WIDTH)
    return ids.repeat_interleave(WIDTH), ids.repeat(WIDTH)


def by_routes(process: TokenProcess, alpha_t: float, alpha_s: float) -> Tensor:
    """The posterior of every pair, *shape* `x_t x̂₀ x_s`."""
    x_t, x_0 = pairs()
    ones = torch.ones(len(x_t), dtype=torch.float64)
    routes = process.routes(x_t, x_0, alpha_t * ones, alpha_s * ones)
    full = posterior(routes, x_t, x_0, process.law(WIDTH))
    return full.reshape(WIDTH, WIDTH, WIDTH)


def by_bayes(process: TokenProcess, alpha_t: float, alpha_s: float) -> tuple[Tensor, Tensor]:
    """q(x_s | x_t, x_0) and q(x_t | x_0) from the two kernels of the chain alone.

    The step from s to t keeps a token with probability α_t/α_s and redraws it otherwise.
    """
    eye, law = torch.eye(WIDTH, dtype=torch.float64), process.law(WIDTH)
    keep = alpha_t / alpha_s
    to_s = alpha_s * eye + (1 - alpha_s) * law
    s_to_t = keep * eye + (1 - keep) * law
    joint = torch.einsum("xs,st->txs", to_s, s_to_t)
    evidence = joint.sum(-1)
    return joint / evidence[..., None], evidence


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@given(alphas=st.tuples(st.floats(0, 1), st.floats(1e-3, 1)).map(sorted))
def test_routes_are_bayes(process: TokenProcess, alphas: list[float]) -> None:
    alpha_t, alpha_s = alphas[0], max(alphas[1], 1e-3)
    expected, evidence = by_bayes(process, alpha_t, alpha_s)
    possible = evidence > 1e-12
    found = by_routes(process, alpha_t, alpha_s)
    torch.testing.assert_close(found[possible], expected[possible], rtol=0, atol=1e-9)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@given(alphas=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted))
def test_routes_are_a_distribution_even_where_they_cannot_happen(
    process: TokenProcess, alphas: list[float]
) -> None:
    full = by_routes(process, *alphas)
    assert (full >= 0).all()
    torch.testing.assert_close(full.sum(-1), torch.ones(WIDTH, WIDTH, dtype=torch.float64))


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_a_step_of_no_length_stays(process: TokenProcess, alpha: float) -> None:
    x_t, x_0 = pairs()
    alphas = torch.full(x_t.shape, alpha, dtype=torch.float64)
    routes = process.routes(x_t, x_0, alphas, alphas)
    torch.testing.assert_close(routes.stay, torch.ones_like(alphas))


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_the_last_step_gives_the_clean_token(process: TokenProcess) -> None:
    """α_s = 1: whatever noise can have written becomes x̂₀."""
    full = by_routes(process, 0.4, 1.0)
    written = process.law(WIDTH) > 0
    expected = torch.eye(WIDTH, dtype=torch.float64).expand(WIDTH, WIDTH, WIDTH)
    torch.testing.assert_close(full[written], expected[written])


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_the_first_step_forgets_the_noise(process: TokenProcess) -> None:
    """α_t = 0: x_t tells nothing, so x_s ~ q(x_s | x̂₀)."""
    full = by_routes(process, 0.0, 0.6)
    written = process.law(WIDTH) > 0
    eye = torch.eye(WIDTH, dtype=torch.float64)
    expected = (0.6 * eye + 0.4 * process.law(WIDTH)).expand(WIDTH, WIDTH, WIDTH)
    torch.testing.assert_close(full[written], expected[written])


@given(alphas=st.tuples(st.floats(0, 0.99), st.floats(0, 1)).map(sorted))
def test_a_mask_is_written_with_the_published_probability(alphas: list[float]) -> None:
    """(α_s − α_t)/(1 − α_t) of MDLM; and a written token is carried over."""
    alpha_t, alpha_s = (torch.tensor([a, a], dtype=torch.float64) for a in alphas)
    x_t, x_0 = torch.tensor([4, 1]), torch.tensor([2, 2])
    routes = MaskedProcess(mask=4).routes(x_t, x_0, alpha_t, alpha_s)
    expected = (alphas[1] - alphas[0]) / (1 - alphas[0])
    assert routes.clean.tolist() == pytest.approx([expected, 0], abs=1e-12)
    assert routes.stay[1].item() == 1


def test_the_uniform_posterior_is_the_published_one() -> None:
    """The closed form of UDLM with one-hot vectors x and z, K = 5, α_t = 0.3, α_s = 0.7."""
    size, alpha_t, alpha_s = WIDTH, 0.3, 0.7
    eye = torch.eye(size, dtype=torch.float64)
    z, x = eye[:, None], eye[None]
    keep = alpha_t / alpha_s
    numerator = (
        size * alpha_t * x * z
        + (keep - alpha_t) * z
        + (alpha_s - alpha_t) * x
        + (1 - keep) * (1 - alpha_s) / size
    )
    expected = numerator / (size * alpha_t * (x * z).sum(-1, keepdim=True) + 1 - alpha_t)
    found = by_routes(UniformProcess(size=size), alpha_t, alpha_s)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
