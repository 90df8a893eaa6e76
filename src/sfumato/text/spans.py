"""Spans of a text opened for rewriting, and the rewritten text joined again.

    A  stupid  cat sat       typed          the span's tokens and `extra` more, all optional
    A  ▒▒▒▒▒▒  cat sat       canvas
    A          cat sat       a span that became nothing takes one of its two spaces along
    A  very old cat sat      the typed strings stand around what was written

What is outside the spans comes back byte for byte. One exception: the space that would stand
doubled, or before a full stop, or at the beginning of a line, when a span became nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sfumato.errors import UsageError
from sfumato.text.batching import prompt_ids
from sfumato.text.canvas import Hole
from sfumato.text.template import Fill, following_ids, lay_fill
from sfumato.text.vocabulary import Vocabulary
from sfumato.text.words import Span, is_spaced_word, is_unspaced, word_spans

_OPENING, _CLOSING = ("Ps", "Pi"), ("Pe", "Pf")
_STOPS = frozenset(".,;:!?…%。，、！？")


@dataclass(frozen=True, kw_only=True, eq=False)
class Opening:
    """A text whose spans are holes of a canvas.

    Attributes:
        source: the text as typed.
        spans: what is open, sorted and apart from each other.
        fill: the canvas and its literals.
    """

    source: str
    spans: tuple[Span, ...]
    fill: Fill


def open_spans(
    text: str,
    spans: Iterable[Span],
    vocabulary: Vocabulary,
    *,
    extra: int,
    prompt: str | None = None,
) -> Opening:
    """Lays a text out with its spans open: as many optional slots as they had tokens, and more.

    Args:
        text: what to rewrite.
        spans: start and stop of each, in characters; start = stop is a place for an insertion.
        vocabulary: text to ids.
        extra: slots beyond the tokens that a span had.
        prompt: locked before the text, which is its completion: the layout that pairs are
            trained on. A space at the end of the prompt goes to the text's first word.

    Raises:
        UsageError: a span outside the text, or an insertion without room.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["the cat sat"], size=300)
        >>> opening = open_spans("the cat sat", [(4, 7)], words, extra=2)
        >>> opening.fill.literals, int(opening.fill.canvas.optional.sum())
        (('the ', ' sat'), 3)
    """
    merged = merge_spans(text, spans)
    literals = cut(text, merged)
    opening, lead = ids_before(prompt, vocabulary)
    joined = (lead + literals[0], *literals[1:])
    seen = list(joined)
    holes: list[Hole] = []
    for index, (start, stop) in enumerate(merged):
        before = text[:start]
        joint = " " if joined[index].endswith(" ") else ""
        piece = joint + text[start:stop]
        ids = following_ids(piece, vocabulary) if before.strip() else vocabulary.encode(piece)
        slots = (len(ids) if stop > start else 0) + extra
        if slots < 1:
            raise UsageError(
                f"the span {(start, stop)} is empty and extra is {extra}: nothing can be written "
                "there; give extra ≥ 1"
            )
        holes.append(Hole(slots=slots, optional=True))
        if start == stop and _parts_words(before[-1:], text[stop : stop + 1]):
            seen[index + 1] = " " + seen[index + 1]
    fill = lay_fill(literals, holes, vocabulary, seen=seen, opening=opening)
    return Opening(source=text, spans=merged, fill=fill)


def ids_before(prompt: str | None, vocabulary: Vocabulary) -> tuple[tuple[int, ...], str]:
    """What a prompt puts before a text: its ids, and the space that the first word carries.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["hi"], size=300)
        >>> ids_before("hi ", words) == (prompt_ids("hi", words), " ")
        True
    """
    head = prompt or ""
    return prompt_ids(head.removesuffix(" "), vocabulary), " " if head.endswith(" ") else ""


def close_spans(opening: Opening, ids: Sequence[int], vocabulary: Vocabulary) -> str:
    """The text with its spans as they were rewritten.

    Args:
        opening: what `open_spans` made.
        ids: the written row of the canvas, one id a position. Of the first positions alone: how the
            text begins, whatever is written at the others.
        vocabulary: ids to text.
    """
    holes = opening.fill.holes
    over = opening.fill.holes_within(len(ids))
    written = [vocabulary.continuation(ids[start:stop]) for start, stop in holes[: over + 1]]
    if over == len(holes):
        return put(opening.source, opening.spans, written)
    return begun(opening.source, opening.spans[: over + 1], written)


def put(text: str, spans: Sequence[Span], written: Sequence[str]) -> str:
    """Puts other text in the place of spans, with the spaces that belong between words.

    Args:
        text: as typed.
        spans: sorted and apart from each other, as `merge_spans` gives them.
        written: the new text of each span; an empty one deletes it.

    Example:
        >>> put("you are stupid.", [(8, 14)], [""]), put("the cat", [(4, 4)], ["old"])
        ('you are.', 'the old cat')
    """
    first, *rest = cut(text, spans)
    out = first
    for (start, stop), new, literal in zip(spans, written, rest, strict=True):
        old = text[start:stop]
        if new.strip(" ") or (old and not old.strip()):
            out += _seated(out[-1:], old, new, literal[:1]) + literal
        else:
            left, right = _healed(out[-1:], old, literal[:1])
            out = out[: len(out) - left] + literal[right:]
    return out


def begun(text: str, spans: Sequence[Span], written: Sequence[str]) -> str:
    """How a text begins while the last of its spans is being written, whatever follows.

    Spaces at the end wait: a span that becomes nothing takes one along.

    Args:
        text: as typed.
        spans: sorted and apart from each other, up to the one that is being written.
        written: the new text of each; of the last one, its beginning.

    Example:
        >>> begun("a very old cat", [(2, 6), (7, 10)], ["", "yo"]), begun("a cat", [(2, 5)], [""])
        ('a yo', 'a')
    """
    *over, (start, stop) = spans
    *done, new = written
    head = put(text[:start], over, done)
    if new.strip(" "):
        head += _seated(head[-1:], text[start:stop], new, text[stop : stop + 1])
    return head.rstrip(" ")


def without(text: str, spans: Iterable[Span]) -> str:
    """A text without some spans, and without the spaces that they leave behind.

    Example:
        >>> without("a very old cat", [(2, 6), (7, 10)])
        'a cat'
    """
    merged = merge_spans(text, spans)
    return put(text, merged, [""] * len(merged))


def cut(text: str, spans: Sequence[Span]) -> tuple[str, ...]:
    """What stands before, between and after spans."""
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    return tuple(text[edges[i] : edges[i + 1]] for i in range(0, len(edges), 2))


def merge_spans(text: str, spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans in their order; those that touch or overlap become one.

    Raises:
        UsageError: a span outside the text.
    """
    merged: list[Span] = []
    for start, stop in sorted(spans):
        if not 0 <= start <= stop <= len(text):
            raise UsageError(
                f"expected spans with 0 ≤ start ≤ stop ≤ {len(text)}, the length of the text in "
                f"characters, got {(start, stop)}"
            )
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return tuple(merged)


def join_neighbours(text: str, spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans in their order; words with nothing but one space between them become one span.

    Example:
        >>> join_neighbours("a bad old cat", [(2, 5), (6, 9)])
        ((2, 9),)
    """
    ordered = merge_spans(text, spans)
    joints = [(one[1], two[0]) for one, two in pairwise(ordered) if text[one[1] : two[0]] == " "]
    return merge_spans(text, [*ordered, *joints])


def spans_of(text: str, phrase: str) -> tuple[Span, ...]:
    """Every place of a phrase in a text that begins and ends where words do; case counts.

    Example:
        >>> spans_of("a cat, a catfish", "cat")
        ((2, 5),)
    """
    edges = {edge for span in word_spans(text) for edge in span}
    inside = {i for start, stop in word_spans(text) for i in range(start + 1, stop)} - edges
    found: list[Span] = []
    start = text.find(phrase)
    while phrase and start >= 0:
        stop = start + len(phrase)
        found += [] if {start, stop} & inside else [(start, stop)]
        start = text.find(phrase, stop)
    return tuple(found)


def _seated(left: str, old: str, new: str, right: str) -> str:
    """New text between two neighbours: with a space where two words would run together.

    `left` and `right` are the characters beside it, "" at the ends of the text.
    """
    opens = bool(old) or not left or left.isspace()
    new = new.lstrip(" ") if opens and not old[:1].isspace() else new
    glued = not old[:1].isspace() and _together(left, old[:1] if old else right)
    new = f" {new}" if _together(left, new[:1]) and not glued else new
    if not old[-1:].isspace():
        new = new.rstrip(" ")
    glued = not old[-1:].isspace() and _together(old[-1:] if old else left, right)
    meets = _together(new[-1:], right) or (not old and _parts_words(left, right))
    return f"{new} " if meets and not glued else new


def _together(left: str, right: str) -> bool:
    """Whether two characters that meet belong to words that run together."""
    return is_spaced_word(left) and is_spaced_word(right)


def _parts_words(left: str, right: str) -> bool:
    """Whether text inserted between two characters must leave a space before the second."""
    begins = not left or left.isspace()
    return (
        begins
        and bool(right)
        and not right.isspace()
        and not _stops(right)
        and (not is_unspaced(right))
    )


def _healed(left: str, old: str, right: str) -> tuple[int, int]:
    """How many spaces to drop on each side of a span that became nothing."""
    if not old or old[0].isspace() or old[-1].isspace():
        return 0, 0
    if left == " " and (not right or right.isspace() or _stops(right)):
        return 1, 0
    opens = not left or left.isspace() or unicodedata.category(left) in _OPENING
    return (0, 1) if opens and right == " " else (0, 0)


def _stops(character: str) -> bool:
    """Whether a character follows a word without a space."""
    return character in _STOPS or unicodedata.category(character) in _CLOSING
