"""Tokens and phrases that must not be written.

Legend of shapes: `B` batch, `L` positions, `M` predicted positions, `E` forbidden pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.sampling.parts.constraints.scene import Forbidden, Scene


@dataclass(frozen=True, kw_only=True)
class Ban:
    """Tokens and phrases that must not be written.

    A phrase is forbidden at the position that would complete it, whichever of its tokens that is.

    Attributes:
        phrases: sequences of ids; a sequence of one id bans the token.

    Raises:
        UsageError: no phrase, or an empty one.

    Example:
        >>> Ban(phrases=((7,), (8, 9)))
        Ban(phrases=((7,), (8, 9)))
    """

    phrases: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if not self.phrases or not all(self.phrases):
            raise UsageError(f"a ban needs phrases of at least one id each, got {self.phrases}")

    def __call__(self, view: Scene) -> Forbidden:
        """The pairs that would complete a phrase."""
        reach = max(map(len, self.phrases)) - 1
        text = view.text(reach)
        pairs = [
            (_completes(text, view, phrase, at, reach), phrase[at])
            for phrase in self.phrases
            for at in range(len(phrase))
        ]
        rows = [complete.nonzero()[:, 0] for complete, _ in pairs]
        tokens = [torch.full_like(row, token) for row, (_, token) in zip(rows, pairs, strict=True)]
        return Forbidden(row=torch.cat(rows), token=torch.cat(tokens))


def _completes(
    text: Int[Tensor, "B P"], view: Scene, phrase: tuple[int, ...], at: int, reach: int
) -> Bool[Tensor, "M"]:
    """Whether all tokens of a phrase but the one at `at` stand around each position."""
    found = torch.ones_like(view.batch, dtype=torch.bool)
    for offset, token in enumerate(phrase):
        if offset != at:
            found &= text[view.batch, view.position + reach + offset - at] == token
    return found
