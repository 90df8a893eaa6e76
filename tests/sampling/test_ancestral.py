"""Ancestral sampling converges to the law of the world, for masked and uniform noise."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from tests import worlds
from tests.sampling.fakes import SPECIALS, Lover, canvas
from torch import Tensor

from sfumato.noise.masked import MaskedProcess
from sfumato.noise.uniform import UniformProcess
from sfumato.sampling.ancestral import Ancestral, marks_noise
from sfumato.sampling.frames import Specials
from sfumato.sampling.loop import finish, sample
from sfumato.text.canvas import Canvas, Draft, Hole, Locked

WORLD = worlds.dirichlet_world()
IDS = Specials(mask=3, pad=4, eos=5)
PROCESSES = {
    "masked": MaskedProcess(mask=IDS.mask),
    "uniform": UniformProcess(size=WORLD.tokens),
    "hybrid": UniformProcess(size=WORLD.tokens, masked=0.5, mask=IDS.mask),
}


@dataclass(frozen=True, kw_only=True)
class Exact:
    """The exact factorised denoiser of the world, at linear times."""

    process: worlds.TokenProcess

    def __call__(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        kernel = worlds.forward_kernel(self.process, 1 - t, WORLD.tokens, WORLD.tokens + 1)
        logits = WORLD.posterior(x_t, kernel)[where].log().float()
        return torch.nn.functional.pad(logits, (0, 3), value=-torch.inf)


@pytest.mark.parametrize(
    ("name", "steps", "golden"),
    [
        ("masked", 1, 0.25368),
        ("masked", 4, 0.06772),
        ("uniform", 2, 0.18347),
        ("uniform", 4, 0.10846),
        ("hybrid", 4, 0.09085),
    ],
)
def test_the_distance_to_the_world_is_the_exact_sampler_s(
    name: str, steps: int, golden: float
) -> None:
    """Total variation of 40,000 draws; their noise adds ½·Σ√(2p/πn) ≈ 0.009 at a distance of 0."""
    n = 40_000
    everywhere = torch.ones(n, 3, dtype=torch.bool)
    board = Canvas(
        ids=torch.full((n, 3), IDS.mask),
        editable=everywhere,
        attend=everywhere,
        optional=~everywhere,
    )
    policy = Ancestral(process=PROCESSES[name], steps=steps)
    last = finish(Exact(process=PROCESSES[name]), board, policy, IDS, seeds=5)
    counts = torch.bincount((last.ids * torch.tensor([9, 3, 1])).sum(1), minlength=27)
    distance = worlds.total_variation(counts / n, WORLD.law.flatten())
    assert distance == pytest.approx(golden, abs=0.01)


def test_uniform_noise_may_revise_any_token_until_the_end() -> None:
    process = UniformProcess(size=24, excluded=(0, 1, 2, 3, 4))
    board = canvas(Locked(ids=(4, 9)), Hole(slots=30), rows=4)
    policy = Ancestral(process=process, steps=12)
    frames = list(sample(Lover(token=7), board, policy, SPECIALS))
    assert all(frame.pending[:, 2:].all() for frame in frames[:-1])
    assert (frames[0].ids[:, 2:] >= 5).all()
    changed = [
        int(((a.ids != b.ids) & (a.ids != SPECIALS.mask)).sum()) for a, b in pairwise(frames[1:])
    ]
    assert min(changed) > 0
    assert (frames[-1].ids[:, 2:] == 7).all()
    assert frames[-1].confidence[:, 2:].isfinite().all()
    assert frames[-1].passes.tolist() == [12] * 4


def test_masked_noise_keeps_what_is_written_and_stops_early() -> None:
    board = canvas(Locked(ids=(4, 9)), Hole(slots=2), Draft(ids=(8,)), rows=20)
    policy = Ancestral(process=MaskedProcess(mask=SPECIALS.mask), steps=30)
    frames = list(sample(Lover(token=7), board, policy, SPECIALS))
    for before, after in pairwise(frames):
        assert torch.equal(before.ids[~before.pending], after.ids[~before.pending])
    assert int(frames[-1].passes.min()) < 30
    assert (frames[-1].ids[:, 4] == 8).all()


def test_which_noise_marks_its_positions() -> None:
    assert marks_noise(MaskedProcess(mask=0), SPECIALS)
    assert not marks_noise(UniformProcess(size=24), SPECIALS)
    mask = SPECIALS.mask
    hybrid = UniformProcess(size=24, excluded=(mask,), masked=0.9, mask=mask)
    assert not marks_noise(hybrid, SPECIALS)
