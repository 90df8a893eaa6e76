"""Writing by a latent model: the promise of the canvas, exactness, resuming, every option."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.sampling.fakes import SIZE, SPECIALS
from tests.sampling.latents import PROCESS, Table, Words

from sfumato.errors import UsageError
from sfumato.sampling.frames import Frame
from sfumato.sampling.latent.descent import Descent
from sfumato.sampling.latent.grids import Karras
from sfumato.sampling.latent.guides import Contrast, Snap, Threshold
from sfumato.sampling.latent.solvers import Ddim, Heun
from sfumato.sampling.loop import finish, resume, sample
from sfumato.text.canvas import Canvas, Draft, Hole, Locked, lay_out, stack

CODEC = Table()
WEIGHTS = torch.full((SIZE,), 1e-9)
WEIGHTS[5:9] = torch.tensor([0.5, 0.25, 0.15, 0.1])
MODEL = Words(codec=CODEC, process=PROCESS, weights=WEIGHTS)
POLICY = Descent(process=PROCESS, codec=CODEC)


def canvas_of(rows: int = 3) -> Canvas:
    parts = [Locked(ids=(9, 10)), Hole(slots=4), Locked(ids=(11,)), Draft(ids=(12, 13))]
    short = [Locked(ids=(9,)), Hole(slots=2)]
    return stack([lay_out(parts, mask=0)] * (rows - 1) + [lay_out(short, mask=0)], pad=1)


def written(policy: Descent, rows: int = 3, seeds: int = 0) -> Frame:
    return finish(MODEL, canvas_of(rows), policy, SPECIALS, seeds=seeds)


def test_an_exact_denoiser_writes_its_law() -> None:
    """Independent slots; the flow from noise to four tokens must give their shares."""
    canvas = stack([lay_out([Hole(slots=8)], mask=0)] * 500, pad=1)
    policy = replace(POLICY, steps=60, show=60)
    ids = finish(MODEL, canvas, policy, SPECIALS).ids
    shares = torch.bincount(ids.flatten(), minlength=SIZE)[5:9] / ids.numel()
    assert float((shares - WEIGHTS[5:9]).abs().max()) < 0.03, shares


@pytest.mark.parametrize("hold", [False, True])
def test_locked_positions_come_back(hold: bool) -> None:
    canvas = canvas_of()
    frame = written(replace(POLICY, hold=hold))
    locked = ~canvas.editable
    assert torch.equal(frame.ids[locked], canvas.ids[locked])
    assert bool((frame.ids[canvas.editable] != SPECIALS.mask).all())
    assert bool(frame.done.all())
    assert not bool(frame.pending.any())


def test_held_vectors_are_those_of_the_locked_text() -> None:
    canvas = lay_out([Locked(ids=(9, 10)), Hole(slots=2), Locked(ids=(11,))], mask=0)
    frame = finish(MODEL, canvas, replace(POLICY, hold=True), SPECIALS)
    assert frame.latent is not None
    torch.testing.assert_close(frame.latent.x[0, [0, 1, 4]], CODEC.table[[9, 10, 11]])


def test_a_row_is_the_same_alone_and_in_a_batch() -> None:
    canvas = canvas_of()
    policy = replace(POLICY, solver=Ddim(eta=1.0), steps=9)
    both = finish(MODEL, canvas, policy, SPECIALS, seeds=4)
    alone = finish(MODEL, canvas.row(2), policy, SPECIALS, seeds=6)
    assert torch.equal(both.ids[2:, :3], alone.ids)


def test_a_run_resumes_from_any_frame() -> None:
    policy = replace(POLICY, solver=Ddim(eta=0.7), steps=8)
    frames = list(sample(MODEL, canvas_of(), policy, SPECIALS, seeds=3))
    assert len(frames) == 9
    *_, last = resume(MODEL, frames[4], policy, SPECIALS)
    assert torch.equal(last.ids, frames[-1].ids)
    assert last.latent is not None
    assert frames[-1].latent is not None
    assert torch.equal(last.latent.x, frames[-1].latent.x)


def test_passes_count_every_evaluation() -> None:
    runs = {
        20: POLICY,
        39: replace(POLICY, solver=Heun()),
        40: replace(POLICY, guidance=Contrast(scale=0.5)),
        5: replace(POLICY, steps=5),
    }
    for passes, policy in runs.items():
        assert written(policy).passes.tolist() == [passes] * 3


def test_a_draft_begins_where_it_is_told() -> None:
    """A little noise leaves a draft as it was; much forgets it."""
    draft = lay_out([Draft(ids=(5, 6, 7, 8, 5, 6, 7, 8))], mask=0)
    canvas = stack([draft] * 40, pad=1)
    kept = {}
    for begin in (0.1, 0.5, 1.0):
        frame = finish(MODEL, canvas, replace(POLICY, begin=begin), SPECIALS)
        kept[begin] = float((frame.ids == canvas.ids).double().mean())
    assert kept[0.1] > 0.99 > kept[0.5] > kept[1.0]
    assert kept[1.0] < 0.45


FEW = replace(POLICY, steps=4)
OPTIONS = {
    "steps": replace(FEW, steps=3),
    "solver": replace(FEW, solver=Ddim(eta=1.0)),
    "grid": replace(FEW, grid=Karras()),
    "guidance": replace(
        POLICY, guidance=Contrast(scale=2.0, weak=replace(MODEL, weights=WEIGHTS.roll(1)))
    ),
    "guides": replace(FEW, guides=(Threshold(limit=0.4),)),
    "snap": replace(FEW, guides=(Snap(nearest=CODEC.nearest),)),
    "hold": replace(FEW, hold=True),
    "begin": replace(FEW, begin=0.5),
    "temperature": replace(FEW, temperature=0.3),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_has_an_effect(name: str) -> None:
    ours, usual = (written(one, rows=30).latent for one in (OPTIONS[name], FEW))
    assert ours is not None
    assert usual is not None
    assert ours.x.shape != usual.x.shape or not torch.equal(ours.x, usual.x)


def test_showing_seldom_changes_the_frames_but_not_the_text() -> None:
    often, seldom = (
        list(sample(MODEL, canvas_of(), replace(POLICY, show=n), SPECIALS)) for n in (1, 20)
    )
    assert torch.equal(often[-1].ids, seldom[-1].ids)
    assert not torch.equal(often[5].ids, seldom[5].ids)


def test_temperature_makes_texts_alike() -> None:
    canvas = stack([lay_out([Hole(slots=8)], mask=0)] * 100, pad=1)

    def common(temperature: float) -> float:
        policy = replace(POLICY, temperature=temperature, show=20)
        ids = finish(MODEL, canvas, policy, SPECIALS).ids
        return float((ids == 5).double().mean())

    assert common(0.2) > common(0.6) + 0.05 > common(1.0) + 0.1


def test_numbers_out_of_range_are_refused() -> None:
    for wrong in ({"steps": 0}, {"begin": 0.0}, {"temperature": -1.0}, {"show": 0}):
        with pytest.raises(UsageError, match="expected steps"):
            replace(POLICY, **wrong)
