"""A batch that is kept full: the same texts as alone, few idle rows, bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sampling.fakes import SPECIALS, Counter, Whim, mixed
from tests.sampling.test_loop import EVERY, SEEDS, assert_same
from tests.sampling.test_travelling import MODEL as LATENT
from tests.sampling.test_travelling import POLICY as DESCENT
from tests.sampling.told import WORDS as CATS
from tests.sampling.told import Model, whimsical
from tests.training.worlds import WORDS, tiny
from torch import Tensor

from sfumato.errors import DataError, ModelError, SfumatoError, UsageError
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.uniform import UniformProcess
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.frames import Frame
from sfumato.sampling.loop import Policy, finish, sample
from sfumato.sampling.parts.constraints import Ban
from sfumato.sampling.running.pool import Pool
from sfumato.sampling.running.queue import Queue
from sfumato.sampling.running.recording import Recorder, record, recorded
from sfumato.sampling.running.rows import join, take
from sfumato.sampling.tasks import Sample, write, write_each
from sfumato.sampling.tasks.jobs import AHEAD, How, Row, run, stream
from sfumato.text.canvas import Canvas, Hole, Locked, lay_out, stack
from sfumato.text.dialogue import Message


def boards() -> list[Canvas]:
    """Canvases of unlike widths and numbers of slots, one with nothing to write."""
    return [
        lay_out([Locked(ids=(4, 7, 8, 9, 5, 6)[:n]), Hole(slots=m, optional=True)], mask=0)
        for n, m in [(3, 5), (1, 2), (2, 9), (1, 1), (4, 3), (2, 8), (6, 0), (1, 6)]
    ]


def pieces(ids: Sequence[int]) -> list[str]:
    return [f" w{token}" for token in ids]


def text(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))


def pooled(policy: Policy, canvases: Sequence[Canvas], *, size: int) -> list[str]:
    """Every canvas through one batch; samples with their traces, spelled out to be compared."""

    def begin(entries: Sequence[tuple[int, Canvas]]) -> Frame:
        board = stack([canvas for _, canvas in entries], pad=SPECIALS.pad)
        return policy.start(board, [number + 40 for number, _ in entries], SPECIALS)

    queue: Queue[Canvas, str] = Queue(canvases, width=lambda one: one.ids.shape[1], ahead=2 * size)
    pool = Pool(denoiser=Whim(), policy=policy, specials=SPECIALS, size=size)
    turns = pool.turns(queue.take, begin)
    found = recorded(turns, lambda _, ids: text(ids), pieces, SPECIALS)
    return [one for (n, _), each in found for one in queue.put(n, repr(each))]


@pytest.mark.parametrize("name", EVERY)
def test_a_row_is_written_alone_as_in_any_company(name: str) -> None:
    """Its tokens, its passes and every step, for each policy."""
    policy, canvases = EVERY[name], boards()
    alone = []
    for number, canvas in enumerate(canvases):
        frames = sample(Whim(), canvas, policy, SPECIALS, seeds=number + 40)
        alone += [repr(one) for one in record(frames, [text], pieces, SPECIALS)]
    assert pooled(policy, canvases, size=3) == alone


@pytest.mark.parametrize(
    ("name", "after"), [*((name, 1) for name in EVERY), ("blocks", 0), ("blocks", 3)]
)
def test_a_row_that_nobody_waits_for_leaves_before_the_next_step(name: str, after: int) -> None:
    """At once, for a newcomer; those beside it are written as if it had never been there."""
    policy, canvases = EVERY[name], boards()
    queue: Queue[Canvas, str] = Queue(canvases, width=lambda one: one.ids.shape[1], ahead=16)
    counter = Counter(Whim())
    pool = Pool(denoiser=counter, policy=policy, specials=SPECIALS, size=3)
    seen: list[int] = []
    gone: set[int] = set()

    def begin(entries: Sequence[tuple[int, Canvas]]) -> Frame:
        board = stack([canvas for _, canvas in entries], pad=SPECIALS.pad)
        return policy.start(board, [number + 40 for number, _ in entries], SPECIALS)

    recorder = Recorder(lambda _, ids: text(ids), pieces, SPECIALS)
    samples: dict[int, str] = {}
    for turn in pool.turns(queue.take, begin, lambda one: one[0] in gone):
        here = {number for number, _ in turn.entries}
        assert not here & gone
        for happening in recorder.turn(turn):
            if happening.sample is not None:
                samples[happening.entry[0]] = repr(happening.sample)
        seen += [2] * (2 in here)
        if len(seen) > after:
            gone.add(2)
    for number, canvas in enumerate(canvases):
        frames = list(sample(Whim(), canvas, policy, SPECIALS, seeds=number + 40))
        (alone,) = record(frames, [text], pieces, SPECIALS)
        if number == 2 and len(frames) > after + 2:
            assert number not in samples
            assert len(seen) == after + 1
        else:
            assert samples[number] == repr(alone)


def test_rows_that_leave_together_go_when_all_are_gone() -> None:
    counter = Counter(Whim())
    policy = DecodingPolicy()
    waiting = [0, 1]
    board = stack([lay_out([Hole(slots=6)], mask=0)] * 2, pad=SPECIALS.pad)
    pool = Pool(denoiser=counter, policy=policy, specials=SPECIALS, size=2, together=True)
    gone: set[int] = set()

    def take_next(count: int) -> list[int]:
        return [waiting.pop() for _ in range(min(count, len(waiting)))]

    turns = pool.turns(take_next, lambda _: policy.start(board, 0, SPECIALS), gone.__contains__)
    for step, turn in enumerate(turns):
        assert len(turn.entries) == 2
        gone.update([[0], [0], [0, 1]][step])
    assert (step, counter.calls) == (2, 3)


@pytest.mark.parametrize("noise", ["masked", "uniform"])
def test_a_real_network_writes_the_same_in_any_company(noise: str) -> None:
    """In float64, where the rounding of a batch decides nothing."""
    process = (
        MaskedProcess(mask=WORDS.mask)
        if noise == "masked"
        else UniformProcess(size=WORDS.size, excluded=tuple(sorted(WORDS.unwritable)))
    )
    denoiser = tiny().double().eval()
    model = Model(denoiser=denoiser, vocabulary=WORDS, process=process, lengths=(3, 6, 9))
    alone, full = (write(model, n=9, seed=5, batch_size=size) for size in (1, 4))
    fixed = write(model, n=9, seed=5, batch_size=4, watch=lambda _: None)
    for one, two, three in zip(alone, full, fixed, strict=True):
        assert one.text == two.text == three.text
        assert one.trajectory.ids == two.trajectory.ids == three.trajectory.ids
        assert one.trajectory.commit_step == two.trajectory.commit_step
        assert one.passes == two.passes == three.passes


def test_rows_taken_and_joined_are_as_they_were() -> None:
    """At steps of their own; the padding of the batch goes and comes back."""
    frames = list(sample(Whim(), mixed(), EVERY["threshold"], SPECIALS, seeds=SEEDS))
    early, late = frames[1], frames[-1]
    whole = join(take(early, [1, 3]), take(late, [0]), pad=SPECIALS.pad)
    for row, (frame, old) in enumerate([(early, 1), (early, 3), (late, 0)]):
        assert_same(frame, take(whole, [row]), old)
    assert take(late, [2]).ids.shape == (1, 3)
    rest = finish(Whim(), mixed().row(0), EVERY["threshold"], SPECIALS, seeds=SEEDS[:1])
    assert torch.equal(take(whole, [2]).ids, rest.ids)


def test_the_network_gets_a_full_batch() -> None:
    """Rows of 1 to 12 passes, 4 at a time: their sum over 4 calls, and a few more at the end."""
    canvases = [lay_out([Hole(slots=1 + 5 * i % 12)], mask=CATS.mask) for i in range(34)]
    needed = sum(1 + 5 * i % 12 for i in range(34))
    calls = {}
    for together in (False, True):
        counter = Counter(Whim(size=CATS.size))
        model = replace(whimsical(), denoiser=counter)
        rows = [Row(canvas=one, seed=i, read=text) for i, one in enumerate(canvases)]
        watch = (lambda _: None) if together else None
        run(model, rows, How(policy=DecodingPolicy(), batch_size=4, watch=watch))
        assert counter.rows == needed
        calls[together] = counter.calls
    assert calls[False] < needed / 4 + 12
    assert calls[True] > 1.4 * calls[False]


@settings(max_examples=40)
@given(
    widths=st.lists(st.integers(1, 9), max_size=60),
    ahead=st.integers(1, 9),
    picks=st.lists(st.integers(0, 5), min_size=200, max_size=200),
)
def test_few_rows_are_held_and_none_is_lost(
    widths: list[int], ahead: int, picks: list[int]
) -> None:
    """Whatever the order in which rows end: results in order, at most 2·ahead rows held."""
    queue: Queue[int, int] = Queue(widths, width=lambda one: one, ahead=ahead)
    here: list[tuple[int, int]] = []
    given_back: list[int] = []
    seen: list[int] = []
    for pick in picks:
        new = queue.take(4 - len(here))
        seen += [number for number, _ in new]
        here += new
        assert queue.live <= 2 * ahead
        if not here:
            break
        number, width = here.pop(pick % len(here))
        given_back += queue.put(number, width)
    assert not here
    assert sorted(seen) == list(range(len(widths)))
    assert given_back == widths


def test_windows_meet_at_like_widths() -> None:
    queue: Queue[int, int] = Queue([3, 1, 2, 9, 5, 7], width=lambda one: one, ahead=3)
    assert [width for _, width in queue.take(6)] == [1, 2, 3, 9, 7, 5]


def test_a_slow_row_keeps_others_waiting_at_the_bound() -> None:
    queue: Queue[int, str] = Queue(range(100), width=lambda _: 0, ahead=3)
    (slow, _), *others = queue.take(6)
    for number, _ in others:
        assert queue.put(number, "") == []
    assert queue.take(1) == []
    assert len(queue.put(slow, "")) == 6
    assert [number for number, _ in queue.take(2)] == [6, 7]


def counted(rows: list[Row], reads: list[int]) -> Iterator[Row]:
    for number, row in enumerate(rows):
        reads[0] = number + 1
        yield row


def test_a_stream_reads_no_further_than_it_must() -> None:
    boards = [lay_out([Hole(slots=1 + i % 7)], mask=CATS.mask) for i in range(50)]
    rows = [Row(canvas=one, seed=i, read=text) for i, one in enumerate(boards)]
    reads = [0]
    policy = DecodingPolicy()
    for given_back, one in enumerate(
        stream(whimsical(), counted(rows, reads), How(policy=policy, batch_size=2))
    ):
        assert one.seed == given_back
        assert reads[0] - given_back <= 2 * 2 * AHEAD
    assert reads == [50]


def together(found: Sequence[list[Sample] | SfumatoError]) -> list[list[str]]:
    return [[one.text for one in each] for each in found if not isinstance(each, SfumatoError)]


def test_any_number_of_prompts() -> None:
    """Each as alone, whatever is wrong with others; a dialogue too."""
    model = replace(whimsical(), lengths=(5, 9, 12))
    turns = [Message(role="user", content="who sat?")]
    wrong = ModelError("a line that cannot be read")
    prompts = ["the cat", "", wrong, "the dog ran", turns, "a"]
    found = list(write_each(model, iter(prompts), n=2, seeds=10, batch_size=3))
    assert found[2] is wrong
    for i in (0, 1, 3, 4, 5):
        alone = write(model, prompt=prompts[i], n=2, seed=10 + 2 * i)
        assert together([found[i]]) == [[one.text for one in alone]]
        assert [one.seed for one in found[i]] == [10 + 2 * i, 11 + 2 * i]
    late = list(write_each(model, prompts[4:], n=2, seeds=[18, 20], batch_size=3))
    assert together(late) == together(found[4:])


def test_a_prompt_without_room_is_an_error_in_its_place() -> None:
    process = MaskedProcess(mask=WORDS.mask)
    model = Model(denoiser=tiny(), vocabulary=WORDS, process=process, lengths=(6,))
    found = list(write_each(model, ["Ann", "Ann " * 50, "Bob"], length=4))
    assert isinstance(found[1], UsageError)
    assert "reads at most 40" in str(found[1])
    assert len(together(found)) == 2
    for wrong in ({"n": 0}, {"batch_size": 0}, {"length": 0}):
        with pytest.raises(UsageError, match="≥ 1"):
            write_each(model, ["Ann"], **wrong)


def test_a_latent_model_writes_in_fixed_batches() -> None:
    each = partial(write_each, LATENT, policy=replace(DESCENT, steps=4), batch_size=2)
    found = list(each(["a cat", UsageError("no"), "red", "blue"], seeds=3))
    assert isinstance(found[1], UsageError)
    apart = [next(each([one], seeds=3 + i)) for i, one in ((0, "a cat"), (2, "red"), (3, "blue"))]
    assert together(found) == together(apart)


def test_a_prompt_that_the_network_refuses_takes_no_other_with_it() -> None:
    """Those under way are written again without it, and the next ones as if it were not there."""
    dog = CATS.encode(" dog")[-1]

    def picky(x_t: Tensor, where: Tensor, **given: Tensor) -> Tensor:
        if bool((x_t == dog).any()):
            raise UsageError("no dogs")
        return Whim(size=CATS.size)(x_t, where, **given)

    model = replace(whimsical(), denoiser=picky)
    policy = DecodingPolicy(constraints=(Ban(phrases=((dog,),)),))
    prompts = [f"the {'dog' if i in (5, 6, 19) else 'cat'}" for i in range(21)]
    prompts[9:9] = [ModelError("unreadable")]
    found = list(write_each(model, prompts, n=2, length=4, policy=policy, batch_size=1))
    wrong = [i for i, one in enumerate(found) if isinstance(one, SfumatoError)]
    assert wrong == [5, 6, 9, 20]
    alone = write_each(whimsical(), prompts, n=2, length=4, policy=policy)
    assert together(found) == [
        [one.text for one in each] for i, each in enumerate(alone) if i not in wrong
    ]


def test_prompts_that_cannot_be_read_end_the_stream_with_an_error() -> None:
    def torn() -> Iterator[str]:
        yield "the cat"
        raise UsageError("no more")

    with pytest.raises(DataError, match="any further: no more"):
        list(write_each(whimsical(), torn(), length=3))
