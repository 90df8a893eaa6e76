"""What must not be written: bans, repetitions on both sides, ends in their place."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sampling.fakes import SIZE, SPECIALS, Lover, Whim, canvas, prompted
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.frames import Frame
from sfumato.sampling.loop import finish
from sfumato.sampling.parts import constraints as rules
from sfumato.sampling.parts import planners
from sfumato.sampling.parts.constraints import Ban, Loops, Repetition
from sfumato.sampling.parts.guidance import place
from sfumato.sampling.parts.planners import Order, random
from sfumato.sampling.parts.quotas import Fixed
from sfumato.text.canvas import Canvas, Draft, Hole, Locked

X = SPECIALS.mask
LINES = st.lists(st.sampled_from([X, 5, 6, 7]), min_size=2, max_size=9)


def frame_of(ids: list[int], *, optional: bool = False) -> Frame:
    """A frame whose masks are pending and whose other tokens have been written."""
    row = torch.tensor([ids])
    everywhere = torch.ones_like(row, dtype=torch.bool)
    board = Canvas(
        ids=torch.full_like(row, X),
        editable=everywhere,
        attend=everywhere,
        optional=everywhere & optional,
    )
    first = DecodingPolicy().start(board, 0, SPECIALS)
    pending = row == X
    committed, step = torch.where(pending, -1, 0), torch.ones_like(first.step)
    return replace(first, ids=row, pending=pending, committed=committed, step=step)


def pairs(constraint: rules.Constraint, frame: Frame) -> set[tuple[int, int]]:
    """Forbidden (position, token) pairs at the pending positions."""
    batch, position = frame.pending.nonzero(as_tuple=True)
    found = constraint(rules.scene(frame, (batch, position), SPECIALS, frame.ids))
    return {(int(position[r]), int(t)) for r, t in zip(found.row, found.token, strict=True)}


def repeats(ids: list[int], size: int) -> bool:
    """Whether an n-gram of written tokens stands twice in a row."""
    grams = [tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)]
    grams = [gram for gram in grams if X not in gram]
    return len(set(grams)) < len(grams)


@settings(deadline=None)
@given(ids=LINES, size=st.integers(2, 4))
def test_repetition_forbids_exactly_what_makes_an_n_gram_twice(ids: list[int], size: int) -> None:
    """By brute force: a token is forbidden where placing it adds a second copy of an n-gram.

    Rows that already repeat one are left out: there the copy may not contain the position.
    """
    if repeats(ids, size) or X not in ids:
        return
    expected = {
        (i, token)
        for i, token in itertools.product(range(len(ids)), (5, 6, 7))
        if ids[i] == X and repeats([*ids[:i], token, *ids[i + 1 :]], size)
    }
    assert pairs(Repetition(size=size), frame_of(ids)) == expected


def test_repetition_looks_to_both_sides() -> None:
    """5 6 on the left forbids 6 after 5 and, on the right, 5 before 6."""
    assert pairs(Repetition(size=2), frame_of([5, 6, 7, 5, X, X])) == {(4, 6)}
    assert pairs(Repetition(size=2), frame_of([X, X, 6, 7, 5, 6])) == {(1, 5)}


def test_a_soft_repetition_lowers_the_logit_once() -> None:
    frame = frame_of([5, 5, 6, X])
    view = rules.scene(frame, (torch.tensor([0]), torch.tensor([3])), SPECIALS, frame.ids)
    logits = torch.zeros(1, SIZE)
    rules.apply(logits, Repetition(size=1, penalty=2.0)(view))
    assert logits[0, [5, 6, 7]].tolist() == [-2.0, -2.0, 0.0]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_no_n_gram_comes_twice_even_in_parallel(size: int) -> None:
    policy = DecodingPolicy(
        order=Order(by=planners.random),
        quota=Fixed(size=size),
        constraints=(Repetition(size=2),),
    )
    ids = finish(_few, canvas(Hole(slots=9), rows=40), policy, SPECIALS).ids
    assert not any(repeats(row, 2) for row in ids.tolist())
    free = finish(_few, canvas(Hole(slots=9), rows=40), replace(policy, constraints=()), SPECIALS)
    assert any(repeats(row, 2) for row in free.ids.tolist())


def in_a_loop(ids: list[int], at: int, span: int, period: int) -> bool:
    """Whether a position lies in a stretch of at least two copies and `span` written tokens."""
    for p in range(1, period + 1):
        size = max(2 * p, span)
        for start in range(max(0, at - size + 1), min(at, len(ids) - size) + 1):
            stretch = ids[start : start + size]
            if X not in stretch and stretch[p:] == stretch[:-p]:
                return True
    return False


@settings(deadline=None)
@given(
    ids=st.lists(st.sampled_from([X, 5, 5, 6]), min_size=2, max_size=14),
    span=st.integers(2, 6),
    period=st.integers(1, 5),
)
def test_loops_are_forbidden_exactly_where_a_token_would_close_one(
    ids: list[int], span: int, period: int
) -> None:
    """Against every stretch around every position, from both sides."""
    expected = {
        (i, token)
        for i, token in itertools.product(range(len(ids)), (5, 6, 7))
        if ids[i] == X and in_a_loop([*ids[:i], token, *ids[i + 1 :]], i, span, period)
    }
    if X in ids:
        assert pairs(Loops(span=span, period=period), frame_of(ids)) == expected


@pytest.mark.parametrize("size", [1, 3])
def test_no_loop_is_written_even_in_parallel(size: int) -> None:
    """A model of five tokens loops; with the rule it never does, in whatever order it writes."""
    loops = Loops(span=4, period=4)
    policy = DecodingPolicy(order=Order(by=random), quota=Fixed(size=size), constraints=(loops,))
    ids = finish(_few, canvas(Hole(slots=16), rows=40), policy, SPECIALS).ids.tolist()
    assert not any(in_a_loop(row, at, 4, 4) for row in ids for at in range(16))
    free = replace(policy, constraints=())
    ids = finish(_few, canvas(Hole(slots=16), rows=40), free, SPECIALS).ids.tolist()
    assert any(in_a_loop(row, at, 4, 4) for row in ids for at in range(16))


def _few(x_t: Tensor, where: Tensor, **_: object) -> Tensor:
    """Likes five tokens, so that repetition is the rule."""
    logits = torch.full((int(where.sum()), SIZE), -30.0)
    logits[:, 5:10] = 0.0
    return logits


def test_the_prompt_counts_unless_it_is_told_not_to() -> None:
    board = canvas(Locked(ids=(5, 6, 9, 5)), Hole(slots=1))
    frame = DecodingPolicy().start(board, 0, SPECIALS)
    assert pairs(Repetition(size=2), frame) == {(4, 6)}
    assert pairs(Repetition(size=2, prompt=False), frame) == set()


@settings(deadline=None)
@given(ids=LINES, phrase=st.lists(st.sampled_from([5, 6, 7]), min_size=1, max_size=3))
def test_a_ban_forbids_exactly_what_completes_the_phrase(ids: list[int], phrase: list[int]) -> None:
    def holds(row: list[int]) -> int:
        spans = range(len(row) - len(phrase) + 1)
        return sum(row[i : i + len(phrase)] == phrase for i in spans)

    expected = {
        (i, token)
        for i, token in itertools.product(range(len(ids)), (5, 6, 7))
        if ids[i] == X and holds([*ids[:i], token, *ids[i + 1 :]]) > holds(ids)
    }
    if X in ids:
        assert pairs(Ban(phrases=(tuple(phrase),)), frame_of(ids)) == expected


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_banned_phrase_is_never_written_even_in_parallel(size: int) -> None:
    phrases = ((5, 6), (7,), (8, 9, 8))
    policy = DecodingPolicy(quota=Fixed(size=size), constraints=(Ban(phrases=phrases),))
    ids = finish(_few, canvas(Hole(slots=9), rows=60), policy, SPECIALS).ids.tolist()
    for row, phrase in itertools.product(ids, phrases):
        spans = [tuple(row[i : i + len(phrase)]) for i in range(len(row))]
        assert phrase not in spans


def test_constraints_that_leave_nothing_say_so() -> None:
    everything = Ban(phrases=tuple((token,) for token in range(SIZE)))
    with pytest.raises(UsageError, match="forbid every token"):
        finish(Whim(), prompted(), DecodingPolicy(constraints=(everything,)), SPECIALS)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (Ban, {"phrases": ()}),
        (Ban, {"phrases": ((),)}),
        (Repetition, {"size": 0}),
        (Repetition, {"penalty": 0.0}),
        (Repetition, {"size": 1}),
        (Loops, {"span": 1}),
        (Loops, {"period": 0}),
    ],
)
def test_a_bad_constraint_says_why(make: type, options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="needs|penalty|expected"):
        make(**options)


def ends_allowed(frame: Frame, token: int, *, closing: bool = True) -> list[int]:
    banned = pairs(lambda view: rules.ends_in_place(view, closing=closing), frame)
    pending = frame.pending[0].nonzero()[:, 0].tolist()
    return [i for i in pending if (i, token) not in banned]


def test_ends_stand_where_the_canvas_and_the_text_let_them() -> None:
    pad, eos = SPECIALS.pad, SPECIALS.eos
    fixed = frame_of([X, X])
    assert ends_allowed(fixed, pad) == ends_allowed(fixed, eos) == []
    text = frame_of([X, 5, X, X], optional=True)
    assert ends_allowed(text, pad) == ends_allowed(text, eos) == [2, 3]
    assert ends_allowed(text, eos, closing=False) == [0, 2, 3]
    empty = frame_of([X, X, pad], optional=True)
    assert ends_allowed(empty, pad) == ends_allowed(empty, eos) == [0, 1]
    ended = frame_of([X, X, eos], optional=True)
    assert ends_allowed(ended, pad) == ends_allowed(ended, eos) == []


def test_only_the_last_hole_may_end_the_text() -> None:
    board = canvas(Hole(slots=2, optional=True), Locked(ids=(9,)), Hole(slots=2, optional=True))
    frame = DecodingPolicy().start(board, 0, SPECIALS)
    assert ends_allowed(frame, SPECIALS.pad) == [0, 1, 3, 4]
    assert ends_allowed(frame, SPECIALS.eos) == [3, 4]


@settings(deadline=None)
@given(
    tokens=st.lists(st.sampled_from([1, 2, 7]), min_size=1, max_size=7),
    order=st.randoms(use_true_random=False),
    cut=st.integers(0, 6),
)
def test_of_contradicting_tokens_the_better_ranked_one_stays(
    tokens: list[int], order: object, cut: int
) -> None:
    """Against every pair in a hole: end left of text or end; it loses if either outranks it."""
    n = len(tokens)
    rank = list(range(n))
    order.shuffle(rank)
    frame = frame_of([X] * n, optional=True)
    if 0 < cut < n:
        optional = frame.canvas.optional.clone()
        optional[0, cut] = False
        frame = replace(frame, canvas=replace(frame.canvas, optional=optional))
    hole = rules.holes(frame)[0].tolist()
    ends, more = (1, 2), (2, 7)
    loses = {
        worse
        for i, j in itertools.combinations(range(n), 2)
        if hole[i] == hole[j] > 0 and tokens[i] in ends and tokens[j] in more
        for worse in [max(i, j, key=lambda p: rank[p])]
    }
    place = frame.pending.nonzero(as_tuple=True)
    view = rules.scene(frame, place, SPECIALS, frame.ids)
    row = torch.tensor([tokens])
    found = rules.outranked(row, torch.ones_like(row).bool(), torch.tensor([rank]), view)
    assert set(found[0].nonzero()[:, 0].tolist()) == loses


def test_deleting_a_draft_token_is_no_end_of_a_hole() -> None:
    board = canvas(Draft(ids=(7, 8), optional=True), Hole(slots=1, optional=True))
    frame = DecodingPolicy().start(board, 0, SPECIALS)
    assert rules.holes(frame).tolist() == [[0, 0, 1]]


def test_required_phrases_are_written_where_the_model_wants_them() -> None:
    """A model that likes 7 at position 6 and 8 at position 7 gets the phrase (7, 8) there."""

    def likes(x_t: Tensor, where: Tensor, **_: object) -> Tensor:
        position = where.nonzero()[:, 1]
        logits = torch.zeros(len(position), SIZE)
        logits[position == 6, 7] = 20.0
        logits[position == 7, 8] = 20.0
        return logits

    board = place(likes, prompted(8, rows=2), [(7, 8)], SPECIALS, seeds=0)
    assert board.ids[:, 6:8].tolist() == [[7, 8]] * 2
    assert not board.editable[:, 6:8].any()
    last = finish(Lover(token=9), board, DecodingPolicy(), SPECIALS)
    assert last.ids[0, 4:].tolist() == [9, 9, 7, 8, 9, 9, 9, 9]


def test_several_phrases_find_room_or_say_so() -> None:
    board = place(Whim(), prompted(5, rows=30), [(7, 8), (9, 10)], SPECIALS, seeds=4)
    for row in board.ids[:, 4:].tolist():
        text = " ".join(map(str, row))
        assert "7 8" in text
        assert "9 10" in text
    assert board.ids.unique(dim=0).shape[0] > 2, "the places are drawn"
    with pytest.raises(UsageError, match="3 tokens fits into no hole"):
        place(Whim(), prompted(2), [(7, 8, 9)], SPECIALS, seeds=0)
