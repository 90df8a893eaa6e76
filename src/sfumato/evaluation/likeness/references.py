"""What texts are compared with: one reference a text, or several."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from sfumato.errors import UsageError

References = Sequence[str | Sequence[str]]


def listed(texts: Sequence[str], references: References) -> list[list[str]]:
    """The references of each text as a list.

    Args:
        texts: texts to judge.
        references: for each text a reference or several.

    Raises:
        UsageError: another number of them than texts, no texts, or a text without references.

    Example:
        >>> listed(["a", "b"], ["A", ["B", "β"]])
        [['A'], ['B', 'β']]
    """
    if not texts or len(texts) != len(references):
        raise UsageError(
            "expected one reference, or a list of them, for each of at least one text, got "
            f"{len(texts)} texts and {len(references)} entries of references"
        )
    found = [[entry] if isinstance(entry, str) else [*entry] for entry in references]
    if not all(found):
        raise UsageError(f"text {found.index([])} has no reference: drop it or give it one")
    return found


def fingerprint(*parts: object) -> str:
    """A short name of texts by what they say, for the `reference` of a record.

    Two systems that were measured on the same references get the same name, wherever the
    references stood.

    Example:
        >>> fingerprint(["one", "two"]) == fingerprint(["one", "two"]), len(fingerprint("x"))
        (True, 12)
    """
    raw = json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return hashlib.sha256(raw).hexdigest()[:12]
