"""Words in any script, and what changed between two texts, word by word.

    It's  a  f*ck-up :  猫 が 好 き  👩🏽‍🔬
    ────  ─  ───────    ── ── ── ──  ──      one word each

A word is a run of letters, digits and their marks, with apostrophes, hyphens and the stars of
obscured words inside. In scripts that are written without spaces a character with its marks is
a word; so is a run of emoji.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from typing import Literal

Span = tuple[int, int]

# One letter a character class: w letter, d digit, m mark or joiner, s character of a script
# without spaces, e emoji, h hyphen or apostrophe, j star or at sign, p point or comma.
_WORD = re.compile(r"[wd][wdm]*(?:(?:h|j+|(?<=d)p(?=d))[wd][wdm]*)*|sm*|e[em]*")
_CLASSES = {"h": "'’ʼ-‐‑", "j": "*@$#", "p": ".,", "m": "\u200c\u200d", "w": "_"}
_KNOWN = {character: name for name, members in _CLASSES.items() for character in members}
_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")
_LONGEST_GRAM = 4


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch that two texts share, or that only one of them has.

    Attributes:
        kind: "kept" is in both, "removed" in the first only, "written" in the second only.
        text: the stretch, byte for byte.
    """

    kind: Literal["kept", "removed", "written"]
    text: str


def sentences(text: str) -> list[str]:
    """A text cut behind its full stops, and at its line breaks; abbreviations are not known.

    Example:
        >>> sentences("It rains. Why? We stay.")
        ['It rains.', 'Why?', 'We stay.']
    """
    return [found for part in _SENTENCE_END.split(text) if (found := part.strip())]


def word_spans(text: str) -> tuple[Span, ...]:
    """Start and stop of every word, in characters.

    Example:
        >>> text = "It's 3.5 m, кто-то!"
        >>> [text[start:stop] for start, stop in word_spans(text)]
        ["It's", '3.5', 'm', 'кто-то']
    """
    classes = "".join(map(_class, text))
    return tuple(found.span() for found in _WORD.finditer(classes))


def tokens(text: str) -> list[str]:
    """The words of a text and each character between them; joined they are the text.

    Example:
        >>> tokens("Oh, no")
        ['Oh', ',', ' ', 'no']
    """
    found: list[str] = []
    end = 0
    for start, stop in word_spans(text):
        found += [*text[end:start], text[start:stop]]
        end = stop
    return [*found, *text[end:]]


def diff(source: str, text: str) -> tuple[Segment, ...]:
    """What became of a text, word by word.

    What is kept and removed joins to `source`, what is kept and written to `text`.

    Example:
        >>> [(one.kind, one.text) for one in diff("a bad cat", "a good cat")]
        [('kept', 'a '), ('removed', 'bad'), ('written', 'good'), ('kept', ' cat')]
    """
    before, after = tokens(source), tokens(text)
    found: list[Segment] = []
    for kind, i, k, j, m in SequenceMatcher(None, before, after).get_opcodes():
        if kind == "equal":
            found.append(Segment(kind="kept", text="".join(before[i:k])))
            continue
        if k > i:
            found.append(Segment(kind="removed", text="".join(before[i:k])))
        if m > j:
            found.append(Segment(kind="written", text="".join(after[j:m])))
    return tuple(found)


def share_kept(segments: Sequence[Segment]) -> float:
    """Share of the first text's words that are kept, 1 if it has none.

    Example:
        >>> share_kept(diff("a bad cat", "a cat"))
        0.6666666666666666
    """
    counts = Counter({"kept": 0, "removed": 0, "written": 0})
    for segment in segments:
        counts[segment.kind] += len(word_spans(segment.text))
    total = counts["kept"] + counts["removed"]
    return counts["kept"] / total if total else 1.0


def likeness(source: str, text: str) -> float:
    """How much of a text's spelling is kept, 0 to 1: F1 of its character n-grams, n up to 4.

    Case and white space do not count. The idea of chrF (Popović, 2015) with equal weight on
    precision and recall.

    Example:
        >>> likeness("A cat", "a  cat"), likeness("a cat", "")
        (1.0, 0.0)
    """
    one, other = ("".join(each.split()).casefold() for each in (source, text))
    sizes = range(1, 1 + min(_LONGEST_GRAM, max(len(one), len(other))))
    scores = [_overlap(_grams(one, size), _grams(other, size)) for size in sizes]
    return sum(scores) / len(scores) if scores else 1.0


def is_spaced_word(character: str) -> bool:
    """Whether a character is of a word that spaces part from its neighbours; "" is not.

    Example:
        >>> is_spaced_word("я"), is_spaced_word("猫"), is_spaced_word(".")
        (True, False, False)
    """
    return bool(character) and _class(character) in "wdm"


def is_unspaced(character: str) -> bool:
    """Whether a character is of a script that is written without spaces."""
    return bool(character) and _class(character) == "s"


@cache
def _class(character: str) -> str:
    if character in _KNOWN:
        return _KNOWN[character]
    category = unicodedata.category(character)
    if category[0] == "M":
        return "m"
    if _WITHOUT_SPACES.match(character):
        return "s" if category[0] in "LN" else "o"
    symbol = category in ("So", "Sk") and not character.isascii()
    return {"L": "w", "N": "d"}.get(category[0], "e" if symbol else "o")


def _grams(text: str, size: int) -> Counter[str]:
    return Counter(text[i : i + size] for i in range(len(text) - size + 1))


def _overlap(one: Counter[str], other: Counter[str]) -> float:
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 0.0
