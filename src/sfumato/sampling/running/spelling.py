r"""Letters that are several tokens: each is shown where its last byte is written.

    tokens      ▒▒  ▒▒        \xd0  ▒▒        \xd0  \xb6
    pieces      –   –         half  –         half  ж

Pieces hold the bytes of a part of a letter as Python's `surrogateescape` spells them.
"""

from __future__ import annotations

from collections.abc import Sequence

from sfumato.sampling.trace import HALF


def is_whole(pieces: Sequence[str]) -> bool:
    """Whether no piece holds a part of a letter."""
    try:
        "".join(pieces).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def spelled(pieces: Sequence[str], written: Sequence[int]) -> list[str]:
    r"""The pieces of a row as they can be shown: whole letters, joined to all that is there.

    A letter goes to the token that came last of those that it is made of. A token that completes
    none shows as `HALF`, until the others are there and after.

    Args:
        pieces: of all tokens of a row, in its order; bytes of a letter as surrogates.
        written: when each came.

    Example:
        >>> spelled(["a", "\udcd0", "\udcb6"], [0, 2, 1])
        ['a', 'ж', '\ufffd']
        >>> spelled(["a", "\udcd0", "[MASK]"], [0, 2, 1])
        ['a', '\ufffd', '[MASK]']
    """
    if is_whole(pieces):
        return [*pieces]
    owners = [i for i, piece in enumerate(pieces) for _ in _bytes(piece)]
    shown = [""] * len(pieces)
    start = 0
    for letter in _bytes("".join(pieces)).decode("utf-8", "surrogateescape"):
        stop = start + len(_bytes(letter))
        if is_whole(letter):
            last = max(owners[start:stop], key=lambda one: (written[one], one))
            shown[last] += letter
        start = stop
    return [HALF if piece and not own else own for piece, own in zip(pieces, shown, strict=True)]


def _bytes(piece: str) -> bytes:
    return piece.encode("utf-8", "surrogateescape")
