"""Letters of several tokens: whole or not there, whichever byte comes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.sampling.fakes import SPECIALS, Whim, mixed
from tests.sampling.test_trace import POLICIES
from torch import Tensor

from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.frames import Specials
from sfumato.sampling.loop import Policy, sample
from sfumato.sampling.parts.planners import Order, random
from sfumato.sampling.parts.quotas import Fixed
from sfumato.sampling.running import recording
from sfumato.sampling.running.spelling import HALF, is_whole, spelled
from sfumato.sampling.trace import Trace, read_jsonl
from sfumato.text.canvas import Hole, Locked, lay_out, stack
from sfumato.text.vocabulary import Vocabulary, learn_vocabulary

TEXT = "ж a жу😀, é"
PARTS = [b"\xd0", b"\xb6", b" ", b"a", b"\xf0\x9f", b"\x98", b"\x80", b" \xd0", b"\xb6!", b"\xe2"]
GAP = "▒"


@given(text=st.text(max_size=8), data=st.data())
def test_what_is_shown_is_what_all_bytes_of_which_are_there(text: str, data: st.DataObject) -> None:
    """Tokens that cut the bytes anywhere, written in any order, some of them not yet."""
    whole = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(whole) - 1)))))
    ends = [0, *[cut for cut in cuts if cut < len(whole)], len(whole)]
    tokens = [whole[a:b] for a, b in pairwise(ends)]
    written = data.draw(st.permutations(range(len(tokens))))
    for now in range(len(tokens) + 1):
        there = [step < now for step in written]
        pieces = [
            token.decode("utf-8", "surrogateescape") if here else GAP
            for token, here in zip(tokens, there, strict=True)
        ]
        shown = ["" if one == HALF else one for one in spelled(pieces, written)]
        marked = [t if here else b"\xff" for t, here in zip(tokens, there, strict=True)]
        expected = [part.decode("utf-8", "ignore") for part in b"".join(marked).split(b"\xff")]
        assert "".join(shown) == GAP.join(expected)
        assert is_whole(shown)


def test_a_letter_goes_to_the_byte_that_came_last() -> None:
    halves = ["a\udcd0", "\udcb6b"]
    assert spelled(halves, [2, 1]) == ["aж", "b"]
    assert spelled(halves, [1, 2]) == ["a", "жb"]
    assert spelled(halves[:1], [1]) == ["a"]
    assert spelled(["\udcd0", "", "\udcb6"], [1, 9, 1]) == [HALF, "", "ж"]


def pieces(ids: Sequence[int]) -> list[str]:
    found = [PARTS[token % len(PARTS)].decode("utf-8", "surrogateescape") for token in ids]
    return [
        "[MASK]" if token == SPECIALS.mask else piece
        for token, piece in zip(ids, found, strict=True)
    ]


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("row", range(4))
def test_a_trace_shows_whole_letters_at_every_step(name: str, row: int) -> None:
    """Tokens that are noise, rewritten or taken back among them: every state by its bytes."""
    frames = list(sample(Whim(), mixed(), POLICIES[name], SPECIALS, seeds=3))
    found = recording.record(frames, [lambda _: ""] * 4, pieces, SPECIALS)[row].trace
    assert read_jsonl(found.to_jsonl()) == found
    locked = [slot.locked for slot in found.slots]
    for shown, ids in zip(states(found), found.states(), strict=True):
        assert shown == by_bytes(ids, locked)


def states(found: Trace) -> list[str]:
    """The text as players show it, before the first step and after each."""
    now = [slot.shown for slot in found.slots]
    texts = ["".join(GAP if one is None else one for one in now)]
    for event in found.events:
        for place in event.remasked:
            now[place] = None
        for commit in event.commits:
            now[commit.position] = commit.shown
        texts.append("".join(GAP if one is None else one for one in now))
    return texts


def by_bytes(ids: Sequence[int], locked: Sequence[bool]) -> str:
    ends = (SPECIALS.pad, SPECIALS.eos)
    parts = [
        b"\xff"
        if token == SPECIALS.mask
        else b""
        if token in ends and not fixed
        else PARTS[token % len(PARTS)]
        for token, fixed in zip(ids, locked, strict=True)
    ]
    found = b"".join(parts).split(b"\xff")
    return GAP.join(part.decode("utf-8", "ignore") for part in found)


@dataclass(frozen=True, kw_only=True)
class Reciter:
    """Knows the ids of one row, and nothing else."""

    ids: Sequence[int]
    size: int

    def __call__(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        places = where.nonzero()[:, 1].tolist()
        wanted = torch.tensor([self.ids[place] for place in places])
        return 50.0 * torch.nn.functional.one_hot(wanted, self.size).float()


def recited(words: Vocabulary, *, given: int, seed: int) -> Trace:
    """A run that writes TEXT, token by token and anywhere, after so many given tokens."""
    ids = words.encode(TEXT)
    parts = [Locked(ids=ids[:given]), Hole(slots=len(ids) - given)]
    specials = Specials(mask=words.mask, pad=words.pad, eos=words.eos, unwritable=frozenset())
    policy: Policy = DecodingPolicy(quota=Fixed(size=1), order=Order(by=random))
    board = stack([lay_out(parts, mask=words.mask)], pad=words.pad)
    frames = list(sample(Reciter(ids=ids, size=words.size), board, policy, specials, seeds=seed))
    (found,) = recording.record(frames, [words.decode], words.pieces, specials)
    return found.trace


@pytest.mark.parametrize("given", [0, 1, 9])
@pytest.mark.parametrize("seed", range(3))
def test_a_byte_level_vocabulary_writes_letters(given: int, seed: int) -> None:
    """Of nine letters, six are two or four tokens; a given half waits for the one after it."""
    found = recited(learn_vocabulary(["a"], size=300), given=given, seed=seed)
    texts = states(found)
    assert found.text == texts[-1] == TEXT
    assert not any(HALF in text for text in texts)
    assert len(found.events) == len(TEXT.encode()) - given
    assert all(len(event.commits) == 1 for event in found.events)  # nothing is told twice
    sizes = [len(text.replace(GAP, "")) for text in texts]
    assert sizes == sorted(sizes)
