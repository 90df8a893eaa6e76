"""Texts with holes: `{}` is a hole of free length, `{8}` one of at most eight tokens.

    The cat {} on the {2}.        holes
    {{literally}} braces          a literal brace is doubled

What stands outside the holes is locked and comes back byte for byte: the typed strings
themselves are joined around the decoded holes, so no tokenizer can change them. A space before a
hole is not encoded, because in most vocabularies the first word in the hole carries it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from sfumato.errors import UsageError
from sfumato.text.canvas import Canvas, Hole, Locked, Part, lay_out
from sfumato.text.vocabulary import Vocabulary

_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<slots>[0-9]{0,6})\}|(?P<stray>[{}])|[^{}]+")


@dataclass(frozen=True, kw_only=True)
class HoleSpec:
    """A hole: at most `slots` tokens, or as many as it takes if None."""

    slots: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Fill:
    """A text with holes, ready for sampling.

    Attributes:
        canvas: one row; all slots of a hole are optional.
        literals: the locked text before, between and after the holes, as typed.
        holes: start and stop of each hole on the canvas.
    """

    canvas: Canvas
    literals: tuple[str, ...]
    holes: tuple[tuple[int, int], ...]

    def holes_within(self, size: int) -> int:
        """How many holes end within the first `size` positions of the canvas."""
        return sum(stop <= size for _, stop in self.holes)


def parse_holes(text: str) -> tuple[str | HoleSpec, ...]:
    """Splits a text into what is locked, without doubled braces, and its holes.

    Raises:
        UsageError: a single brace that opens or closes no hole, or a hole of no tokens.

    Example:
        >>> parse_holes("A {} sat on {2}. {{x}}")
        ('A ', HoleSpec(slots=None), ' sat on ', HoleSpec(slots=2), '. {x}')
    """
    parts: list[str | HoleSpec] = []
    for found in _TOKEN.finditer(text):
        if found["stray"] or (found["slots"] and int(found["slots"]) == 0):
            raise UsageError(
                f"{found[0]!r} at character {found.start() + 1} is no hole: write {{}} or {{8}} "
                "for a hole, and double a literal brace"
            )
        if found["slots"] is not None:
            parts.append(HoleSpec(slots=int(found["slots"]) if found["slots"] else None))
            continue
        literal = found[0][:1] if found[0] in ("{{", "}}") else found[0]
        last = parts[-1] if parts else None
        if isinstance(last, str):
            parts[-1] = last + literal
        else:
            parts.append(literal)
    return tuple(parts)


def escape_braces(text: str) -> str:
    """Doubles the braces of a text, so that `parse_holes` sees no hole in it.

    Example:
        >>> parse_holes(escape_braces("f{8}"))
        ('f{8}',)
    """
    return text.replace("{", "{{").replace("}", "}}")


def compose_fill(text: str, vocabulary: Vocabulary, *, free_slots: int = 16) -> Fill:
    """Lays a text with holes out on a canvas: `[bos] locked hole locked … [eos]`.

    Args:
        text: with at least one hole.
        vocabulary: text to ids.
        free_slots: the most tokens that a hole of free length may take.

    Raises:
        UsageError: there is no hole, or a brace is not doubled.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["the cat sat"], size=300)
        >>> fill = compose_fill("the {1} sat", words)
        >>> fill.literals, words.pieces(fill.canvas.ids[0].tolist())
        (('the ', ' sat'), ['[CLS]', 'the', '[MASK]', ' sat', '[SEP]'])
    """
    literals, specs = _alternate(parse_holes(text))
    if not specs:
        raise UsageError("there is no hole in the text: write {} or {8} where text is wanted")
    slots = (free_slots if spec.slots is None else spec.slots for spec in specs)
    return lay_fill(literals, [Hole(slots=n, optional=True) for n in slots], vocabulary)


def lay_fill(
    literals: Sequence[str],
    holes: Sequence[Hole],
    vocabulary: Vocabulary,
    *,
    seen: Sequence[str] | None = None,
    opening: Sequence[int] | None = None,
) -> Fill:
    """Lays literals and holes in turn out on a canvas; one literal more than holes.

    Args:
        literals: the locked text before, between and after the holes.
        holes: what is open between them.
        vocabulary: text to ids.
        seen: what stands on the canvas in the place of each literal, if not the literal.
        opening: locked ids before all of it, if not the bos alone.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["the cat sat"], size=300)
        >>> lay_fill(("the", " sat"), [Hole(slots=2)], words).holes
        ((2, 4),)
    """
    bos = () if vocabulary.bos is None else (vocabulary.bos,)
    parts: list[Part] = [Locked(ids=bos if opening is None else tuple(opening))]
    places: list[tuple[int, int]] = []
    for index, (literal, hole) in enumerate(zip_longest(seen or literals, holes)):
        parts.append(Locked(ids=locked_ids(literal, vocabulary, index=index, last=hole is None)))
        if hole is not None:
            start = sum(_length(part) for part in parts)
            parts.append(hole)
            places.append((start, start + hole.slots))
    parts.append(Locked(ids=(vocabulary.eos,)))
    canvas = lay_out(parts, mask=vocabulary.mask)
    return Fill(canvas=canvas, literals=tuple(literals), holes=tuple(places))


def lay_middle(
    prefix: str, suffix: str, hole: Hole, vocabulary: Vocabulary, *, room: int | None = None
) -> Fill:
    """Lays a hole between two texts out on a canvas.

    Args:
        prefix: what stands before the hole.
        suffix: what stands after it.
        hole: what is open between them.
        vocabulary: text to ids.
        room: the most tokens of both texts on the canvas; None for all of them.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["the cat sat"], size=300)
        >>> lay_middle("the", " sat", Hole(slots=2), words).holes
        ((2, 4),)
    """
    before, after = sides(prefix, suffix, vocabulary, room=room)
    canvas = lay_out([Locked(ids=before), hole, Locked(ids=after)], mask=vocabulary.mask)
    span = (len(before), len(before) + hole.slots)
    return Fill(canvas=canvas, literals=(prefix, suffix), holes=(span,))


def sides(
    prefix: str, suffix: str, vocabulary: Vocabulary, *, room: int | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids of `[bos] prefix` and of `suffix [eos]`, those nearest to what is between them.

    Each gets half of the room, and what the other does not need. A suffix that is cut has no eos.

    Args:
        prefix: what comes before; its space at the end is left to the first word between.
        suffix: what comes after.
        vocabulary: text to ids.
        room: the most ids of both; None for all of them.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["ab"], size=300)
        >>> before, after = sides("abab", "ab", words, room=6)
        >>> words.decode(before), words.decode(after), after[-1] == words.eos
        ('abab', 'ab', True)
    """
    opening = () if vocabulary.bos is None else (vocabulary.bos,)
    before = locked_ids(prefix, vocabulary, index=0, last=False)
    after = (*following_ids(suffix, vocabulary), vocabulary.eos)
    if room is not None:
        left = max(0, room - len(opening))
        after = after[: max(left // 2, left - len(before))]
        before = before[max(0, len(before) + len(after) - left) :]
    return (*opening, *before), after


def middle_ids(prefix: str, middle: str, vocabulary: Vocabulary) -> tuple[int, ...]:
    """Ids of what stands after `sides`' prefix, whose last space they carry."""
    carried = " " * prefix.endswith(" ") + middle
    return following_ids(carried, vocabulary) if prefix else vocabulary.encode(middle)


def join_fill(fill: Fill, ids: Sequence[int], vocabulary: Vocabulary) -> str:
    """The text with its holes filled; the locked parts are the typed ones, byte for byte.

    Args:
        fill: what `compose_fill` made.
        ids: the filled row of the canvas, one id a position. Of the first positions alone: how the
            text begins, whatever is written at the others.
        vocabulary: ids to text.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["the cat sat"], size=300)
        >>> fill = compose_fill("the {1}  sat", words)
        >>> row = fill.canvas.ids[0].tolist()
        >>> row[slice(*fill.holes[0])] = words.encode(" cat")
        >>> join_fill(fill, row, words)
        'the cat  sat'
    """
    written = fill_texts(fill, ids, vocabulary)
    literals = fill.literals[: fill.holes_within(len(ids)) + 1]
    return "".join(chain.from_iterable(zip_longest(literals, written, fillvalue="")))


def fill_texts(fill: Fill, ids: Sequence[int], vocabulary: Vocabulary) -> tuple[str, ...]:
    """What was written into each hole that the row reaches, as it stands in the joined text."""
    texts: list[str] = []
    before = ""
    lossy = not _keeps_space(vocabulary)
    literals = fill.literals[: fill.holes_within(len(ids)) + 1]
    for literal, (start, stop) in zip(literals, fill.holes, strict=False):
        text = vocabulary.continuation(ids[start:stop])
        before += literal
        # The typed space before the hole already stands there, and a text begins with no space.
        # After a line break a space is indentation, unless the vocabulary knows no other start.
        stands = literal.endswith(" ") or (lossy and literal[-1:].isspace())
        texts.append(text.removeprefix(" ") if stands or not before else text)
        before += texts[-1]
    return tuple(texts)


def _alternate(parts: Sequence[str | HoleSpec]) -> tuple[tuple[str, ...], tuple[HoleSpec, ...]]:
    """Literals and holes in turn: one literal more than holes, empty ones where holes touch."""
    literals = [""]
    specs: list[HoleSpec] = []
    for part in parts:
        if isinstance(part, str):
            literals[-1] = part
        else:
            specs.append(part)
            literals.append("")
    return tuple(literals), tuple(specs)


def locked_ids(literal: str, vocabulary: Vocabulary, *, index: int, last: bool) -> tuple[int, ...]:
    """Ids of locked text; its space before a hole is left to the hole's first word.

    A lone space between two holes is encoded, so that the holes stay apart on the canvas.

    Args:
        literal: the text.
        vocabulary: text to ids.
        index: its number; the first opens a text, the others go on after other text.
        last: no hole follows.
    """
    spare = literal.endswith(" ") and not last and (literal != " " or index == 0)
    text = literal[:-1] if spare else literal
    return following_ids(text, vocabulary) if index else vocabulary.encode(text)


def following_ids(text: str, vocabulary: Vocabulary) -> tuple[int, ...]:
    """Ids of text as it goes on after other text, not as it opens one ("." and not " .")."""
    word = vocabulary.encode("a")
    joined = vocabulary.encode("a" + text)
    if joined[: len(word)] == word:
        return joined[len(word) :]
    return vocabulary.encode(text)


def _keeps_space(vocabulary: Vocabulary) -> bool:
    """Whether line breaks and indentation survive encoding, as they do in byte-level words."""
    sample = "a\n  a"
    return vocabulary.decode(vocabulary.encode(sample)) == sample


def _length(part: Part) -> int:
    return part.slots if isinstance(part, Hole) else len(part.ids)
