"""Guides of latent models on laws whose conditional is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from tests.sampling.fakes import SPECIALS
from tests.sampling.latents import Table
from torch import Tensor

from sfumato.errors import ModelError, UsageError
from sfumato.noise.gaussian import Exploding, Flow, GaussianProcess, Path, Preserving, Scales
from sfumato.noise.log_snr import Straight
from sfumato.sampling.latent.descent import Descent
from sfumato.sampling.latent.guides import Contrast, Gradient, Guide, Snap, Threshold, View
from sfumato.sampling.latent.solvers import Ddim
from sfumato.sampling.loop import finish
from sfumato.text.canvas import Hole, lay_out, stack
from sfumato.types import Condition


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Half N(−1, std²), half N(1, std²) in every coordinate; y says which half."""

    process: GaussianProcess
    std: float = 0.4

    def _at(self, x: Tensor, log_snr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        at = self.process.path.scales(log_snr.double()).over(x)
        return at.alpha, at.sigma, at.alpha**2 * self.std**2 + at.sigma**2

    def right(self, x: Tensor, log_snr: Tensor) -> Tensor:
        """log p(y = right | x_t) of each row, one coordinate a row."""
        alpha, _, variance = self._at(x, log_snr)
        return torch.nn.functional.logsigmoid(2 * alpha * x / variance).flatten()

    def __call__(self, x: Tensor, log_snr: Tensor, **_: object) -> Tensor:
        alpha, _, variance = self._at(x, log_snr)
        share = torch.sigmoid(2 * alpha * x / variance)
        gain = alpha * self.std**2 / variance
        parts = [mean + gain * (x - alpha * mean) for mean in (-1.0, 1.0)]
        return (1 - share) * parts[0] + share * parts[1]


def process_on(path: Path) -> GaussianProcess:
    schedule = Straight(high=4.0, low=-4.0)
    return GaussianProcess(schedule=schedule, path=path, low=-4.0, high=4.0)


def drawn(
    world: Mixture, guides: tuple[Guide, ...], *, rows: int = 2000, steps: int = 60
) -> Tensor:
    """x̂_0 at the end, one number a row."""
    canvas = stack([lay_out([Hole(slots=1)], mask=0)] * rows, pad=1)
    codec = Table(width=1, table=torch.linspace(-3, 3, 24)[:, None])
    policy = Descent(process=world.process, codec=codec, steps=steps, solver=Ddim(), guides=guides)
    frame = finish(world, canvas, policy, SPECIALS)
    assert frame.latent is not None
    return frame.latent.x.flatten().double()


@pytest.mark.parametrize("path", [Preserving(), Exploding(), Flow()], ids=repr)
def test_an_exact_classifier_draws_its_conditional(path: Path) -> None:
    """p(x)·p(y|x) is the right half, N(1, 0.4²), whatever the path."""
    world = Mixture(process=process_on(path))
    free, led = drawn(world, ()), drawn(world, (Gradient(log_p=world.right),))
    assert abs(float((free > 0).double().mean()) - 0.5) < 0.05
    assert float((led > 0).double().mean()) > 0.985
    assert float(led.mean()) == pytest.approx(1.0, abs=0.04)
    assert float(led.std()) == pytest.approx(0.4, abs=0.05)


def test_without_alpha_the_published_guidance_is_weaker() -> None:
    world = Mixture(process=process_on(Preserving()))
    ours, theirs = (
        drawn(world, (Gradient(log_p=world.right, scale=0.5, signal=signal),))
        for signal in (True, False)
    )
    assert float((ours > 0).double().mean()) > float((theirs > 0).double().mean()) + 0.02


@pytest.mark.parametrize("quantile", [None, 0.995])
def test_a_threshold_holds_what_too_strong_a_guide_throws_off(quantile: float | None) -> None:
    world = Mixture(process=process_on(Preserving()))
    strong = Gradient(log_p=world.right, scale=100.0)
    plain = drawn(world, (strong,), steps=12)
    held = drawn(world, (strong, Threshold(limit=1.8, quantile=quantile)), steps=12)
    assert float(plain.abs().max()) > 5
    assert float(held.abs().max()) <= 1.8 + 1e-6
    assert float((held > 0).double().mean()) > 0.99
    assert float(held.mean()) == pytest.approx(1.0, abs=0.6)


def test_a_clip_bounds_the_move_of_each_row() -> None:
    world = Mixture(process=process_on(Preserving()))
    x = torch.randn(5, 1, 1, generator=torch.Generator().manual_seed(0))
    view = view_of(world, x, log_snr=-3.0)
    guide = Gradient(log_p=world.right, scale=50.0, clip=0.3)
    moved = guide.bend(view) - view.clean
    assert (
        float(moved.abs().max()) <= 0.3 + 1e-6 < float(replace(guide, clip=None).bend(view).max())
    )


def test_a_gradient_through_the_denoiser_is_the_chain_rule() -> None:
    """log p(x̂_0) = x̂_0: the move is w·(σ²/α)·dx̂_0/dx_t, by finite differences."""
    world = Mixture(process=process_on(Preserving()))
    x = torch.tensor([[[0.3]]], dtype=torch.float64)
    view = view_of(world, x, log_snr=0.2)
    guide = Gradient(log_p=lambda clean, _: clean.flatten(), through=True)
    step = 1e-5
    slope = (view.predict(x + step) - view.predict(x - step)) / (2 * step)
    expected = view.clean + view.at.sigma**2 / view.at.alpha * slope
    torch.testing.assert_close(guide.bend(view), expected, rtol=1e-6, atol=0)
    assert guide.passes(0.2) == 1


def test_a_gradient_at_the_clean_vector_weighs_by_the_posterior() -> None:
    world = Mixture(process=process_on(Flow()))
    view = view_of(world, torch.tensor([[[0.3]]]), log_snr=0.0)
    guide = Gradient(log_p=lambda clean, _: 2 * clean.flatten(), clean=True, scale=3.0)
    torch.testing.assert_close(guide.bend(view), view.clean + 3 * 2 * 0.5)


def test_a_window_closes_the_guides() -> None:
    world = Mixture(process=process_on(Preserving()))
    view = view_of(world, torch.ones(1, 1, 1), log_snr=1.0)
    far: tuple[Callable[..., Guide], ...] = (
        lambda **w: Gradient(log_p=world.right, **w),
        lambda **w: Snap(nearest=torch.round, **w),
    )
    for make in far:
        assert not torch.equal(make(window=(0.0, 2.0)).bend(view), view.clean)
        assert torch.equal(make(window=(2.0, 3.0)).bend(view), view.clean)


def test_a_broken_classifier_is_named() -> None:
    world = Mixture(process=process_on(Preserving()))
    guide = Gradient(log_p=lambda x, _: (x * torch.nan).flatten())
    with pytest.raises(ModelError, match="not finite"):
        guide.bend(view_of(world, torch.ones(1, 1, 1), log_snr=0.0))


def view_of(world: Mixture, x: Tensor, *, log_snr: float) -> View:
    number = torch.tensor(log_snr, dtype=torch.float64)
    at = world.process.path.scales(number)

    def predict(y: Tensor) -> Tensor:
        return world(y, number.expand(len(y)))

    return View(
        x_t=x,
        clean=predict(x),
        at=Scales(alpha=at.alpha, sigma=at.sigma),
        log_snr=log_snr,
        predict=predict,
    )


def test_contrast_is_the_formula_and_keeps_the_spread_if_asked() -> None:
    strong, weak = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Contrast(scale=0.0).combine(strong, weak), strong)
    torch.testing.assert_close(Contrast(scale=-1.0).combine(strong, weak), weak)
    kept = Contrast(scale=3.0, rescale=1.0).combine(strong, weak)
    torch.testing.assert_close(kept.std((1, 2)), strong.std((1, 2)))


def test_classifier_free_guidance_sharpens_a_conditional() -> None:
    """log p(y|x) of the mixture is the log-ratio of its conditional and itself.

    So x̂ + w·(x̂_c − x̂) is the prediction of classifier guidance with scale 1 + w.
    """
    world = Mixture(process=process_on(Preserving()))

    def told(
        x: Tensor, log_snr: Tensor, *, condition: Condition | None = None, **_: object
    ) -> Tensor:
        if condition is None:
            return world(x, log_snr)
        alpha, _, variance = world._at(x, log_snr)
        return 1 + alpha * world.std**2 / variance * (x - alpha)

    x = torch.randn(6, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    view = view_of(world, x, log_snr=-0.5)
    given = Condition(latents=x, attend=torch.ones(6, 1, dtype=torch.bool))
    number = torch.full((6,), -0.5, dtype=torch.float64)
    bent = Contrast(scale=0.7).combine(told(x, number, condition=given), told(x, number))
    torch.testing.assert_close(bent, Gradient(log_p=world.right, scale=1.7).bend(view))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Contrast(scale=1.0, rescale=2.0),
        lambda: Contrast(scale=float("nan")),
        lambda: Gradient(log_p=lambda x, _: x, clip=0.0),
        lambda: Threshold(limit=0.0),
        lambda: Threshold(limit=1.0, quantile=1.0),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        make()
