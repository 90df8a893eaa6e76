"""A body read for some of its tokens: the same numbers and gradients, with less work.

    canvas `B L` ─ tokens that exist ─▶ `T D` ─ layers ─▶ `T D` ─ rows wanted ─▶ `M D`

Linear layers run on the tokens in one line, so padding costs nothing; attention alone sees rows.
What follows the last attention runs on the rows that are wanted.

Legend of shapes: `B` batch, `L` positions, `T` tokens, `M` rows that are wanted, `D` width,
`H` heads, `E` width of a head, `Q` queries of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sfumato.models.bodies.grid import Grid, grid_of, whole_grid
from sfumato.models.bodies.spelling import Heads, Spelling
from sfumato.models.parts.attention import (
    attention,
    attention_in_bands,
    mask_of_bands,
    pays_in_bands,
)
from sfumato.models.parts.products import Packed, fast_linear


@dataclass(frozen=True, kw_only=True, eq=False)
class Memory:
    """Keys and values of every layer at every position of a canvas, *shape* `B H L E` each."""

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    def put(self, layer: int, tokens: Grid, heads: Heads) -> tuple[Tensor, Tensor]:
        """Keeps keys and values of some tokens; those of the whole canvas come back.

        Args:
            layer: its number.
            tokens: where they stand; at the first call of a layer, all that exist.
            heads: queries, keys and values, *shape* `T H E` each.
        """
        _, key, value = heads
        if layer == len(self.keys):
            batch, length = tokens.shape
            self.keys.append(key.new_zeros(batch, key.shape[1], length, key.shape[2]))
            self.values.append(torch.zeros_like(self.keys[-1]))
        self.keys[layer][tokens.row, :, tokens.place] = key
        self.values[layer][tokens.row, :, tokens.place] = value
        return self.keys[layer], self.values[layer]

    def replace(self, rows: Int[Tensor, "_"], other: Memory, batch: int) -> None:
        """Takes over what another memory holds of some rows.

        Args:
            rows: their numbers here, in the other's order.
            other: of these rows only.
            batch: number of rows here.
        """
        for own, others in ((self.keys, other.keys), (self.values, other.values)):
            for number, part in enumerate(others):
                if number == len(own):
                    own.append(part.new_zeros(batch, *part.shape[1:]))
                own[number][rows] = part


@dataclass(frozen=True, kw_only=True, eq=False)
class Pass:
    """What a pass through a body computes.

    Attributes:
        tokens: positions of the canvas whose vectors are computed.
        queries: the same tokens as attention sees them; `tokens` itself, or closed up.
        exists: positions that may be read, *shape* `B L`; None for all.
        rows: the tokens whose output is wanted, as places in the line, *shape* `M`.
        memory: keys and values of the other positions; None if all that exist are computed.
        packed: weights laid out for few rows; None takes them as they are.
    """

    tokens: Grid
    queries: Grid
    exists: Bool[Tensor, "B L"] | None
    rows: Int[Tensor, "M"]
    memory: Memory | None = None
    packed: Packed | None = None

    def in_bands(self, window: int | None) -> bool:
        """Whether a layer with such a window is worked off in bands."""
        return self.queries is self.tokens and pays_in_bands(self.tokens.shape[1], window)

    def mask(self, window: int | None) -> Bool[Tensor, "_ 1 _ _"] | None:
        """Where attention may read, with a window or without; None for everywhere."""
        length, device = self.tokens.shape[1], self.tokens.row.device
        if window is not None and self.in_bands(window):
            return mask_of_bands(self.exists, length, window, device)
        shown = None if self.exists is None else self.exists[:, None, None]
        if window is None or window >= length - 1:
            return shown
        columns = torch.arange(length, device=device)
        own = columns[None]
        if self.queries is not self.tokens:
            own = self.queries.spread(self.tokens.place)
        near = ((own[:, :, None] - columns).abs() <= window)[:, None]
        return near if shown is None else near & shown


@dataclass(frozen=True, kw_only=True, eq=False)
class Spot:
    """Tokens of one row that stand near each other, and what a window lets them see.

    Attributes:
        tokens: where they stand in the line.
        row: theirs.
        seen: positions of the row that at least one of them sees.
        mask: which of these each of them sees, *shape* `1 1 Q K`.
    """

    tokens: slice
    row: int
    seen: slice
    mask: Bool[Tensor, "1 1 Q K"]


def spots_of(run: Pass, window: int) -> list[Spot] | None:
    """The tokens of a pass in groups that see little of their rows; None if they see much.

    On a CPU, where a product of few rows costs as much as it has terms.

    Args:
        run: a pass that remembers what it does not compute.
        window: how far a layer looks to either side.
    """
    length = run.tokens.shape[1]
    partial = run.memory is not None and run.queries is not run.tokens
    if not partial or run.rows.device.type != "cpu" or not pays_in_bands(length, window):
        return None
    places, rows = run.tokens.place, run.tokens.row
    same = torch.stack([rows, places // (2 * window)])
    counts = torch.unique_consecutive(same, dim=1, return_counts=True)[1].tolist()
    found, start = [], 0
    for count in counts:
        own, row = places[start : start + count, None], int(rows[start])
        first, last = max(0, int(own[0]) - window), min(length, int(own[-1]) + window + 1)
        mask = (own - torch.arange(first, last)).abs() <= window
        if run.exists is not None:
            mask &= run.exists[row, first:last]
        tokens, seen = slice(start, start + count), slice(first, last)
        found.append(Spot(tokens=tokens, row=row, seen=seen, mask=mask[None, None]))
        start += count
    return found


def read_at(
    body: nn.Module,
    spelling: Spelling,
    inputs: Mapping[str, Tensor],
    where: Bool[Tensor, "B L"],
    attend: Bool[Tensor, "B L"] | None,
) -> Float[Tensor, "M D"]:
    """The body's output at `where`, row-major, all tokens being read.

    Args:
        body: of a masked language model.
        spelling: of its layers.
        inputs: ids or embeddings, and position ids, of the whole canvas, `B L` or `B L D`.
        where: positions that are wanted.
        attend: positions that exist; None means all.
    """
    if attend is None or bool(attend.all()):
        attend, tokens = None, whole_grid(where.shape[0], where.shape[1], where.device)
    else:
        tokens = grid_of(attend | where)
    rows = where.flatten()[tokens.index].nonzero()[:, 0]
    run = Pass(tokens=tokens, queries=tokens, exists=attend, rows=rows)
    return read(body, spelling, inputs, run)


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What the tokens of a pass see in a layer: everything, a mask, bands or spots.

    Attributes:
        window: how far they look to either side; None for everywhere.
        mask: where they may read, for bands or for whole rows; None for everywhere.
        spots: groups of tokens; None if they are worked off together.
    """

    window: int | None
    mask: Tensor | None
    spots: list[Spot] | None

    @classmethod
    def of(cls, run: Pass, window: int | None) -> Look:
        """The cheapest way to work off a window."""
        spots = None if window is None else spots_of(run, window)
        mask = run.mask(window) if spots is None else None
        return cls(window=window, mask=mask, spots=spots)


def read(
    body: nn.Module, spelling: Spelling, inputs: Mapping[str, Tensor], run: Pass
) -> Float[Tensor, "M D"]:
    """The body's output at the wanted rows of a pass.

    Args:
        body: of a masked language model.
        spelling: of its layers.
        inputs: ids or embeddings, and position ids, of the whole canvas, `B L` or `B L D`.
        run: what to compute.
    """
    own = {name: run.tokens.gather(part)[None] for name, part in inputs.items()}
    hidden = spelling.embed(body, own)
    angles = spelling.angles(body, hidden, own["position_ids"])
    layers = [*body.get_submodule(spelling.layers).children()]
    windows = {spelling.window(layer) for layer in layers}
    looks = {window: Look.of(run, window) for window in windows}

    for number, layer in enumerate(layers):

        def step(hidden: Tensor, layer: Any = layer, number: int = number) -> Tensor:  # noqa: ANN401
            dropout = spelling.dropout(layer) if layer.training else 0.0
            # Inside, as a checkpointed layer runs again in the backward pass.
            with fast_linear(hidden.device, run.packed):
                heads = spelling.project(layer, hidden, angles)
                look = looks[spelling.window(layer)]
                mixed = _mix(run, number, heads, look, dropout)
                if layer is layers[-1]:
                    mixed, hidden = (part.index_select(0, run.rows) for part in (mixed, hidden))
                return spelling.finish(layer, hidden, mixed)

        if layer.training and getattr(layer, "gradient_checkpointing", False):
            again = cast(Any, layer)._gradient_checkpointing_func
            hidden = again(step, hidden)
        else:
            hidden = step(hidden)
    return spelling.after(body, hidden)


def _mix(run: Pass, number: int, heads: Heads, look: Look, dropout: float) -> Float[Tensor, "T D"]:
    """What attention gives each token of a pass."""
    if run.memory is None:
        key, value = (run.tokens.spread(part).transpose(1, 2) for part in heads[1:])
    else:
        key, value = run.memory.put(number, run.tokens, heads)
    if look.spots is not None:
        return torch.cat([_at_spot(heads[0], key, value, spot) for spot in look.spots])
    query = run.queries.spread(heads[0]).transpose(1, 2)
    if look.window is not None and look.mask is not None and run.in_bands(look.window):
        window, mask = look.window, look.mask
        mixed = attention_in_bands(query, key, value, mask, window=window, dropout=dropout)
    else:
        mixed = attention(query, key, value, look.mask, dropout=dropout)
    return run.queries.gather(mixed.transpose(1, 2)).flatten(1)


def _at_spot(query: Tensor, key: Tensor, value: Tensor, spot: Spot) -> Float[Tensor, "Q D"]:
    """What attention gives the tokens of a spot."""
    own = query[None, spot.tokens].transpose(1, 2)
    key, value = (part[None, spot.row, :, spot.seen] for part in (key, value))
    return attention(own, key, value, spot.mask).transpose(1, 2)[0].flatten(1)
