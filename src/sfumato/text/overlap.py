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
    blank = len(suffix) - len(suffix.lstrip())
    line = suffix[: suffix.find("\n", blank) + 1] or suffix
    if len(line.strip()) >= _LEAST_OVERLAP and line in middle:
        middle = middle[: middle.index(line)]
    for size in range(min(len(middle), len(suffix)), 0, -1):
        if middle.endswith(suffix[:size]) and _telling(suffix[:size]):
            middle = middle[: len(middle) - size]
            break
    core = middle if prefix[-1:].isspace() else middle.lstrip(" ")
    for size in range(min(len(core), len(prefix)), 0, -1):
        if core.startswith(prefix[-size:]) and _telling(prefix[-size:]):
            return core[size:]
    return middle


def _telling(overlap: str) -> bool:
    """Whether a repetition is too long to be meant."""
    letters = sum(stop - start for start, stop in word_spans(overlap))
    return letters >= _LEAST_OVERLAP and (len(word_spans(overlap)) > 1 or "\n" in overlap)
