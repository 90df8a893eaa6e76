"""A body that reads again only what has changed.

    pass 1            every token is read; keys and values of all layers are kept
    pass 2, 3, …      read: what was written since, and what is asked for within reach of it;
                      the rest is remembered
    after `refresh`   every token is read again

A frozen position does not see what changed elsewhere, so this is an approximation; with
`refresh=1` it is none. The idea is that of caches for diffusion language models (Fast-dLLM,
arXiv 2505.22618; dLLM-Cache, arXiv 2506.06295), without blocks: a position is read where it is
new or masked, wherever it stands. A mask far from what was written hardly hears of it, so it can
keep its last output; `reach` says how far is far.

Legend of shapes: `B` batch, `L` positions, `M` rows that are wanted, `D` width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sfumato.errors import UsageError
from sfumato.models.bodies.grid import close_up, grid_of
from sfumato.models.bodies.reading import Memory, Pass, read
from sfumato.models.bodies.spelling import Spelling
from sfumato.models.parts.products import Packed


class FrozenBody:
    """What has been read of one batch of rows.

    A row is read whole when it is new, when half of it has changed, when other positions of it
    exist, and after `refresh` passes.

    Args:
        body: of a masked language model.
        spelling: of its layers.
        refresh: passes from one whole reading of a row to the next; None for a single one.
        reach: how far from a change what is asked for is read again; None for everywhere.
        packed: the body's weights, laid out for few rows.

    Raises:
        UsageError: a refresh below 1 or a reach below 0.
    """

    _seen: Int[Tensor, "B L"]
    _exists: Bool[Tensor, "B L"]
    _age: Int[Tensor, "B"]
    _output: Float[Tensor, "B L D"]
    _known: Bool[Tensor, "B L"]

    def __init__(
        self,
        body: nn.Module,
        spelling: Spelling,
        *,
        refresh: int | None,
        reach: int | None,
        packed: Packed,
    ) -> None:
        if refresh is not None and refresh < 1:
            raise UsageError(f"expected a refresh every 1 or more passes, got {refresh}")
        if reach is not None and reach < 0:
            raise UsageError(f"expected a reach of 0 or more positions, got {reach}")
        self._packed = packed
        self._body = body
        self._spelling = spelling
        self._refresh = refresh
        self._reach = reach
        self._forget(torch.empty(0, 0, dtype=torch.long))

    def rows(
        self,
        inputs: Mapping[str, Tensor],
        where: Bool[Tensor, "B L"],
        exists: Bool[Tensor, "B L"],
    ) -> Float[Tensor, "M D"]:
        """The body's output at `where`, row-major.

        Args:
            inputs: ids and position ids, *shape* `B L`; the rows are those of the last call.
            where: positions that are asked for; a row without any is not read.
            exists: positions that may be read.
        """
        ids = inputs["input_ids"]
        if self._seen.shape != ids.shape:
            self._forget(ids)
        asked = where.any(1)
        changed = exists & (ids != self._seen)
        other = (exists != self._exists).any(1)
        whole = other | (2 * changed.sum(1) > exists.sum(1))
        if self._refresh is not None:
            whole |= self._age >= self._refresh
        whole &= asked
        self._known &= ~(changed | whole[:, None])
        stale = where & (self._near_a_change(changed) | ~self._known)
        near = (changed | stale) & (asked & ~whole)[:, None]
        for tokens, pass_over in ((exists & whole[:, None], self._whole), (near, self._near)):
            if bool(tokens.any()):
                wanted = where & tokens
                found = pass_over(inputs, wanted, tokens, exists)
                if self._output.shape[-1] != found.shape[-1]:
                    self._output = found.new_zeros(*where.shape, found.shape[-1])
                self._output[wanted] = found
                self._known |= wanted
        self._seen = torch.where(asked[:, None], ids, self._seen)
        self._exists = torch.where(asked[:, None], exists, self._exists)
        self._age = torch.where(whole, 1, self._age + asked)
        return self._output[where]

    def _forget(self, ids: Int[Tensor, "B L"]) -> None:
        self._memory = Memory()
        self._seen = torch.full_like(ids, -1)
        self._exists = torch.zeros_like(ids, dtype=torch.bool)
        self._age = ids.new_zeros(len(ids))
        self._output = torch.empty(*ids.shape, 0)
        self._known = torch.zeros_like(self._exists)

    def _near_a_change(self, changed: Bool[Tensor, "B L"]) -> Bool[Tensor, "B L"]:
        """Where something changed within reach."""
        if self._reach is None:
            return changed.any(1, keepdim=True).expand_as(changed)
        reach = min(self._reach, changed.shape[1])
        near = nn.functional.max_pool1d(changed.float(), 2 * reach + 1, stride=1, padding=reach)
        return near > 0

    def _whole(
        self, inputs: Mapping[str, Tensor], wanted: Tensor, tokens: Tensor, exists: Tensor
    ) -> Float[Tensor, "M D"]:
        """Reads some rows whole."""
        some = tokens.any(1).nonzero()[:, 0]
        own = {name: part[some] for name, part in inputs.items()}
        memory, places = Memory(), grid_of(tokens[some])
        run = Pass(
            tokens=places,
            queries=places,
            exists=None if places.whole else exists[some],
            rows=wanted[some].flatten()[places.index].nonzero()[:, 0],
            memory=memory,
        )
        hidden = read(self._body, self._spelling, own, run)
        if len(some) == len(wanted):
            self._memory = memory
        else:
            self._memory.replace(some, memory, len(wanted))
        return hidden

    def _near(
        self, inputs: Mapping[str, Tensor], wanted: Tensor, tokens: Tensor, exists: Tensor
    ) -> Float[Tensor, "M D"]:
        """Reads some positions; the others are remembered."""
        places = grid_of(tokens)
        run = Pass(
            tokens=places,
            queries=close_up(places),
            exists=None if bool(exists.all()) else exists,
            rows=wanted.flatten()[places.index].nonzero()[:, 0],
            memory=self._memory,
            packed=self._packed,
        )
        return read(self._body, self._spelling, inputs, run)
