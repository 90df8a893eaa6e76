"""Letters of several tokens: the bytes of each, by the tokenizer's own names of them.

Byte-level tokenizers have a letter for each byte (`Ð` is 0xD0), sentence-piece models a token
`<0xD0>`.
"""

from __future__ import annotations

import re
from functools import cache

from tokenizers import pre_tokenizers

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_LOST = "\ufffd"


def with_bytes(piece: str, name: str) -> str:
    r"""A piece whose half letters are bytes, as Python's `surrogateescape` spells them.

    Args:
        piece: what the token decodes to alone: "\ufffd" for half a letter.
        name: of the token, which spells its bytes; if it does not, the piece stays as it is.

    Example:
        >>> with_bytes("\ufffd", "<0xD0>"), with_bytes(" \ufffd", "ĠÐ"), with_bytes("\ufffd", "?")
        ('\udcd0', ' \udcd0', '�')
    """
    if _LOST not in piece:
        return piece
    one, letters = _BYTE.fullmatch(name), _byte_letters()
    if one is not None:
        raw = bytes.fromhex(one[1])
    elif all(letter in letters for letter in name):
        raw = bytes(letters[letter] for letter in name)
    else:
        return piece
    same = raw.decode("utf-8", "replace") == piece
    return raw.decode("utf-8", "surrogateescape") if same else piece


@cache
def _byte_letters() -> dict[str, int]:
    """The byte of each letter of byte-level tokenizers; those that UTF-8 never has are left out."""
    first = [*range(0x800), *range(0x1000, 0xD000, 0x1000), 0xD000, 0xE000, 0xF000]
    text = "".join(map(chr, [*first, 0x800, 0x10000, 0x40000, 0x80000, 0xC0000, 0x100000]))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    spelled = "".join(part for part, _ in level.pre_tokenize_str(text))
    return dict(zip(spelled, text.encode("utf-8"), strict=True))
