"""Divergences against their textbook forms, autograd, and the optimum that they stand for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sfumato.alignment.learning.divergences import (
    DIVERGENCES,
    JensenShannonLink,
    Link,
    MixtureLink,
    PowerLink,
    divergence,
)
from sfumato.alignment.learning.losses import Sigmoid
from sfumato.errors import UsageError

Curve = Callable[[Tensor], Tensor]
# f of each name as it stands in the papers, before anything linear is taken from it.
TEXTBOOK: dict[str, Curve] = {
    "reverse_kl": lambda u: u * u.log(),
    "forward_kl": lambda u: -u.log(),
    "js_divergence": lambda u: u * u.log() - (u + 1) * ((u + 1) / 2).log(),
    "gan": lambda u: u * u.log() - (u + 1) * (u + 1).log(),
    "hellinger": lambda u: (u.sqrt() - 1).square(),
    "neyman_chi2": lambda u: (1 - u).square() / u,
    "jeffrey": lambda u: (u - 1) * u.log(),
    "chi_po": lambda u: u * u.log() + (u - 1).square() / 2,
    "pearson_chi2": lambda u: (u - 1).square(),
}
ALPHAS = (0.1, 0.3, 0.5, 0.9, 2.0, -1.0)


def alpha_form(alpha: float) -> Curve:
    return lambda u: (u.pow(1 - alpha) - (1 - alpha) * u - alpha) / (alpha * (alpha - 1))


def named(name: str) -> Link:
    return divergence(name, insist=True)


ROWS = [(name, named(name), form) for name, form in TEXTBOOK.items()]
ROWS += [(f"alpha {a}", PowerLink(alpha=a), alpha_form(a)) for a in ALPHAS]
U = torch.tensor([0.02, 0.3, 0.7, 1.0, 1.9, 6.0, 40.0], dtype=torch.float64)


def slope(form: Curve, at: Tensor) -> Tensor:
    u = at.clone().requires_grad_()
    return torch.autograd.grad(form(u).sum(), u)[0]


@pytest.mark.parametrize(("name", "link", "form"), ROWS, ids=[row[0] for row in ROWS])
def test_links_are_derivatives(name: str, link: Link, form: Curve) -> None:
    """h(log u) = f′(u) − f′(1), by autograd of the textbook's f and of our own."""
    one = torch.ones((), dtype=torch.float64)
    wide = (
        link
        if not isinstance(link, MixtureLink | PowerLink)
        else _with_slope(link, 1e9)  # so that the whole grid lies between the straight ends
    )
    expected = slope(form, U) - slope(form, one)
    torch.testing.assert_close(wide(U.log()), expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(slope(wide.f, U), expected, rtol=1e-10, atol=1e-12)
    assert float(wide.f(one)) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(("name", "link", "form"), ROWS, ids=[row[0] for row in ROWS])
def test_curvature_is_the_slope_at_one(name: str, link: Link, form: Curve) -> None:
    """h′(0) = u·f″(u) at u = 1."""
    zero = torch.zeros(1, dtype=torch.float64)
    assert float(slope(link, zero)) == pytest.approx(link.curvature, rel=1e-12)


def _with_slope(link: PowerLink | MixtureLink, most: float) -> Link:
    if isinstance(link, PowerLink):
        return PowerLink(alpha=link.alpha, slope=most)
    parts = [(w, PowerLink(alpha=p.alpha, slope=most)) for w, p in link.parts]  # type: ignore[union-attr]
    return MixtureLink(parts=tuple(parts))


def test_rows_that_are_one() -> None:
    """GAN ≡ JS, Hellinger ≡ ½·α(½), Neyman ≡ 2·α(2), Pearson ≡ 2·α(−1), Jeffrey = KL + KL."""
    ell = torch.linspace(-2, 2, 9, dtype=torch.float64)
    assert named("gan") is named("js_divergence")
    same = [
        (named("hellinger")(ell), PowerLink(alpha=0.5)(ell) / 2),
        (named("neyman_chi2")(ell), 2 * PowerLink(alpha=2.0)(ell)),
        (named("pearson_chi2")(ell), 2 * PowerLink(alpha=-1.0)(ell)),
        (named("jeffrey")(ell), named("reverse_kl")(ell) + named("forward_kl")(ell)),
        (PowerLink(alpha=1e-9)(ell), ell),
    ]
    for left, right in same:
        torch.testing.assert_close(left, right, rtol=1e-7, atol=1e-8)


REWARDS = torch.tensor([2.0, 1.2, 0.3, -0.4, -1.1, -2.5], dtype=torch.float64)
REFERENCE = torch.tensor([0.05, 0.10, 0.25, 0.30, 0.20, 0.10], dtype=torch.float64)
BETA = 0.7


def optimum(link: Link) -> Tensor:
    """argmax E r − β D_f on six outcomes: u = (f′)⁻¹((r − λ) / β), at least 0; λ by bisection."""

    def policy(shift: float) -> Tensor:
        wanted = (REWARDS - shift) / BETA
        low, high = torch.full_like(wanted, -60), torch.full_like(wanted, 60)
        for _ in range(60):  # where f′(0⁺) is finite, the lower end stands for u = 0
            middle = (low + high) / 2
            above = link(middle) > wanted
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return REFERENCE * low.exp()

    least, most = -100.0, 100.0
    for _ in range(60):
        shift = (least + most) / 2
        least, most = (shift, most) if float(policy(shift).sum()) > 1 else (least, shift)
    return policy(least)


def minimiser(link: Link) -> Tensor:
    """argmin of the expected pair loss under exact Bradley–Terry preferences."""
    logits = REFERENCE.log().clone().requires_grad_()
    wins = torch.sigmoid(REWARDS[:, None] - REWARDS)
    draws = REFERENCE[:, None] * REFERENCE * (1 - torch.eye(6))
    search = torch.optim.LBFGS(
        [logits], max_iter=2000, tolerance_grad=1e-13, tolerance_change=0, history_size=50,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        search.zero_grad()
        scores = link(logits.log_softmax(0) - REFERENCE.log())
        loss = (draws * wins * Sigmoid(beta=BETA)(scores[:, None] - scores)).sum()
        loss.backward()
        return loss

    for _ in range(5):
        search.step(closure)
    return logits.detach().softmax(0)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_minimum_is_the_optimum(name: str) -> None:
    """Enough preferences lead to the policy that the divergence's penalty asks for."""
    link = named(name)
    wide = link if isinstance(link, JensenShannonLink) else _with_slope(link, 1e12)
    best = optimum(wide)
    assert float(best.sum()) == pytest.approx(1, abs=1e-9)
    assert float((minimiser(wide) - best).abs().sum() / 2) < 1e-5


def test_pearson_misses_its_optimum() -> None:
    """Its optimum gives an outcome up; the loss knows no such answer."""
    link = _with_slope(PowerLink(alpha=-1.0), 1e12)
    best = optimum(link)
    assert float(best.min()) < 1e-9
    assert float((minimiser(link) - best).abs().sum() / 2) > 3e-3


@pytest.mark.parametrize("name", ["total_variation", "pearson_chi2"])
def test_what_cannot_be_used_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} cannot be used: .*reverse_kl"):
        divergence(name)


def test_total_variation_is_refused_even_if_asked_twice() -> None:
    with pytest.raises(UsageError, match="no gradient"):
        divergence("total_variation", insist=True)
    assert not divergence("pearson_chi2", insist=True).valid


@pytest.mark.parametrize(
    ("name", "alpha", "message"),
    [
        ("alpha_divergence", None, "only with it"),
        ("forward_kl", 0.5, "only with it"),
        ("alpha_divergence", -0.5, "driven to 0"),
        ("kl", None, "expected one of reverse_kl, forward_kl"),
    ],
)
def test_wrong_names_teach(name: str, alpha: float | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        divergence(name, alpha=alpha)


GRID = (-120.0, -50.0, -7.0, 0.0, 7.0, 50.0, 120.0)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_floats_hold(name: str) -> None:
    """In float32 every loss is finite, every link rises, and a pair that is wrong is corrected."""
    link, loss = named(name), Sigmoid(beta=0.1)
    for better, worse in itertools.product(GRID, GRID):
        pair = torch.tensor([better, worse], requires_grad=True)
        scores = link(pair)
        value = loss(scores[:1] - scores[1:]).sum()
        (gradient,) = torch.autograd.grad(value, pair)
        assert math.isfinite(float(value.detach()))
        assert bool(gradient.isfinite().all())
        if better <= worse:
            assert gradient[0] < 0 < gradient[1]
    every = torch.tensor(GRID, requires_grad=True)
    (rise,) = torch.autograd.grad(link(every).sum(), every)
    assert bool((rise > 0).all())
    assert bool((link(every).diff() > 0).all())


def test_half_precision_is_computed_in_float32() -> None:
    found = named("forward_kl")(torch.tensor([-3.0], dtype=torch.bfloat16))
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(1 - math.exp(3))
