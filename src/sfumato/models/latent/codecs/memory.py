"""Vectors that a frozen encoder need not compute twice.

A text is encoded in every epoch, and by a frozen encoder always to the same vectors.

Legend of shapes: `B` batch, `L` positions, `D` width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Encode = Callable[[Tensor, Tensor], Tensor]


class Memory:
    """Vectors of rows that were encoded before, in float16 in the memory of the CPU.

    Args:
        most: bytes; a row that does not fit any more is computed each time.

    Example:
        >>> asked = []
        >>> def encode(ids, seen):
        ...     asked.append(len(ids))
        ...     return ids[..., None].float()
        >>> ids = torch.tensor([[5, 6], [7, 0]])
        >>> memory = Memory(most=1000)
        >>> memory.recall(ids, ids > 0, encode).tolist(), asked
        ([[[5.0], [6.0]], [[7.0], [0.0]]], [2])
        >>> memory.recall(torch.tensor([[7], [8]]), torch.ones(2, 1) > 0, encode).tolist(), asked
        ([[[7.0]], [[8.0]]], [2, 1])
    """

    def __init__(self, *, most: int) -> None:
        self.free = most
        self.rows: dict[bytes, Tensor] = {}

    def recall(
        self, ids: Int[Tensor, "B L"], seen: Bool[Tensor, "B L"], encode: Encode
    ) -> Float[Tensor, "B L D"]:
        """The vectors of some rows; zero where no token is seen.

        Args:
            ids: tokens.
            seen: which of them the encoder sees.
            encode: ids and seen ↦ vectors, for rows that are not known.
        """
        # Where a token stands matters to an encoder, how far the padding goes does not.
        places = torch.arange(1, ids.shape[1] + 1, device=ids.device)
        lengths: list[int] = (seen * places).amax(1).tolist()
        marked = ids.masked_fill(~seen, -1).cpu().numpy()
        keys = [row[:n].tobytes() for row, n in zip(marked, lengths, strict=True)]
        new = [i for i, key in enumerate(keys) if key not in self.rows]
        found: dict[int, Tensor] = {}
        if new:
            rows = torch.tensor(new, device=ids.device)
            for i, vectors in zip(new, encode(ids[rows], seen[rows]), strict=True):
                # Rounded also when they are new, or a resumed run would see other vectors.
                found[i] = vectors[: lengths[i]].half()
                self._keep(keys[i], found[i])
        out: Tensor | None = None
        for i, key in enumerate(keys):
            vectors = found[i] if i in found else self.rows[key]
            if out is None:
                out = torch.zeros(*ids.shape, vectors.shape[1], device=ids.device)
            out[i, : lengths[i]] = vectors.to(out)
        assert out is not None, "a batch has rows"
        return out * seen[..., None]

    def _keep(self, key: bytes, vectors: Tensor) -> None:
        size = 2 * vectors.numel() + len(key)
        if size <= self.free and key not in self.rows:
            self.free -= size
            self.rows[key] = vectors.cpu().clone()
