"""Logits that are not numbers, from any pass on: every sampler raises and writes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.sampling import fakes
from tests.sampling.latents import PROCESS, Table, Words
from torch import Tensor

from sfumato.errors import ModelError
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.uniform import UniformProcess
from sfumato.sampling.ancestral import Ancestral
from sfumato.sampling.latent.descent import Descent
from sfumato.sampling.loop import sample
from sfumato.text.canvas import Hole, Locked, lay_out, stack

CANVAS = stack([lay_out([Locked(ids=(9, 10)), Hole(slots=6)], mask=0)] * 2, pad=1)


class Failing:
    """A denoiser whose passes after the first few are not finite, for one token or for all."""

    def __init__(self, plain: object, *, after: int, value: float, every: bool) -> None:
        self.plain, self.after, self.value, self.every = plain, after, value, every
        self.calls = 0

    def __call__(self, *args: object, **kwargs: object) -> Tensor:
        found = self.plain(*args, **kwargs)
        self.calls += 1
        if self.calls > self.after:
            found[..., slice(None) if self.every else 7] = self.value
        return found

    def frozen(self, **_: int | None) -> Failing:
        return self


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("every", [False, True], ids=["one", "all"])
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("name", sorted(fakes.POLICIES))
def test_masked_policies_raise(name: str, after: int, every: bool, value: float) -> None:
    denoiser = Failing(fakes.Whim(), after=after, value=value, every=every)
    frames, seen = sample(denoiser, CANVAS, fakes.POLICIES[name], fakes.SPECIALS), []
    with pytest.raises(ModelError, match="not finite"):
        seen.extend(frames)
    assert denoiser.calls > after
    for frame in seen:
        assert torch.equal(frame.ids[~CANVAS.editable], CANVAS.ids[~CANVAS.editable])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize(
    "process",
    [MaskedProcess(mask=0), UniformProcess(size=fakes.SIZE, excluded=(0, 1))],
    ids=["masked", "uniform"],
)
def test_ancestral_sampling_raises(process: object, after: int, value: float) -> None:
    denoiser = Failing(fakes.Whim(), after=after, value=value, every=True)
    with pytest.raises(ModelError, match="not finite"):
        list(sample(denoiser, CANVAS, Ancestral(process=process, steps=8), fakes.SPECIALS))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("after", [0, 3, 7])
@pytest.mark.parametrize("hold", [False, True])
def test_latent_sampling_raises(after: int, value: float, hold: bool) -> None:
    """The nearest word to a vector of NaN used to be the first of the vocabulary, or padding."""
    codec, weights = Table(), torch.full((fakes.SIZE,), 1e-9)
    weights[5:9] = 0.25
    plain = Words(codec=codec, process=PROCESS, weights=weights)
    denoiser = Failing(plain, after=after, value=value, every=True)
    policy = replace(Descent(process=PROCESS, codec=codec), steps=8, hold=hold)
    with pytest.raises(ModelError, match="not finite"):
        list(sample(denoiser, CANVAS, policy, fakes.SPECIALS))
