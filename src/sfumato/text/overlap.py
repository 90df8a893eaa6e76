"""What a middle repeats of the texts on both sides of it."""

from __future__ import annotations

from sfumato.text.words import word_spans

_LEAST_OVERLAP = 8


def trimmed(prefix: str, middle: str, suffix: str) -> str:
    r"""A middle without what repeats its surroundings.

    It ends where the suffix's first line begins, if that line is long enough to be no accident;
    and what it shares with the end of the prefix or the beginning of the suffix is dropped, if
    it is a whole line or at least two words. Short repetitions, such as brackets, stay.

    Example:
        >>> trimmed("def f(x):\n", "    y = 1\n    return y\n    retu", "    return y\n")
        '    y = 1\n'
        >>> trimmed("f(", "g(x)", ")")
        'g(x)'
    """
    middle = _before_line(middle, suffix)
    for size in range(min(len(middle), len(suffix)), 0, -1):
        if middle.endswith(suffix[:size]) and _telling(suffix[:size]):
            middle = middle[: len(middle) - size]
            break
    return _after(prefix, middle)


def begun(prefix: str, middle: str, suffix: str) -> str:
    """How `trimmed` begins for a middle of which this is the beginning, whatever follows.

    What may turn out to repeat the prefix or the suffix waits.

    Example:
        >>> begun("the cat", " sat on the m", " on the mat."), begun("A tall man", "A t", "")
        (' sat', '')
    """
    middle = _before_line(middle, suffix)
    sizes = range(min(len(middle), len(suffix)), 0, -1)
    held = next((size for size in sizes if middle.endswith(suffix[:size])), 0)
    middle = middle[: len(middle) - held]
    core = _core(prefix, middle)
    repeats = 0 <= prefix.find(core) < len(prefix) - len(core)
    return "" if repeats else _after(prefix, middle)


def _before_line(middle: str, suffix: str) -> str:
    """A middle up to where it goes on as the suffix does."""
    blank = len(suffix) - len(suffix.lstrip())
    line = suffix[: suffix.find("\n", blank) + 1] or suffix
    if len(line.strip()) >= _LEAST_OVERLAP and line in middle:
        return middle[: middle.index(line)]
    return middle


def _after(prefix: str, middle: str) -> str:
    """A middle without the end of the prefix, if that is how it begins."""
    core = _core(prefix, middle)
    for size in range(min(len(core), len(prefix)), 0, -1):
        if core.startswith(prefix[-size:]) and _telling(prefix[-size:]):
            return core[size:]
    return middle


def _core(prefix: str, middle: str) -> str:
    return middle if prefix[-1:].isspace() else middle.lstrip(" ")


def _telling(overlap: str) -> bool:
    """Whether a repetition is too long to be meant."""
    letters = sum(stop - start for start, stop in word_spans(overlap))
    return letters >= _LEAST_OVERLAP and (len(word_spans(overlap)) > 1 or "\n" in overlap)
