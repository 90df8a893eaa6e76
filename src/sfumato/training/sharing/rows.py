"""Which rows of the global batch a process takes.

    every process reads the same global micro-batches, in the same order:

    rows of a micro-batch   0 1 2 3 | 4 5 6 7      process 0 takes the first share, 1 the second
    the last of an epoch    0 | 1 2                shares differ by a row at most
                            | 0                    process 0 has none: it takes row 0, at weight 0

Reading all rows everywhere costs nothing, the examples being in memory, and lets every process lay
out and noise the global batch alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from typing import Any, cast

import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader, Dataset

from sfumato.text.batching import buckets


@dataclass(frozen=True, kw_only=True)
class Share:
    """A process's rows of a micro-batch, `start` to `stop`, counted in the step's global batch.

    Attributes:
        start: the first row.
        stop: behind the last row.
        counts: False for a process that has no row and takes one only to keep in step.
    """

    start: int
    stop: int
    counts: bool = True


def shares(sizes: Sequence[int], *, process: int, processes: int) -> list[Share]:
    """A process's share of each micro-batch of a step.

    Args:
        sizes: rows of the global micro-batches, each at least one.
        process: which process.
        processes: of how many.

    Example:
        >>> [(one.start, one.stop) for one in shares([8, 3], process=1, processes=2)]
        [(4, 8), (9, 11)]
    """
    found, first = [], 0
    for size in sizes:
        start, stop = (first + size * at // processes for at in (process, process + 1))
        empty = start == stop
        found.append(
            Share(start=first, stop=first + 1, counts=False)
            if empty
            else Share(start=start, stop=stop)
        )
        first += size
    return found


def alone(own: Sequence[Share]) -> list[Share]:
    """The same rows where no others stand between them."""
    ends = [*accumulate((one.stop - one.start for one in own), initial=0)]
    return [
        replace(one, start=start, stop=stop)
        for one, start, stop in zip(own, ends, ends[1:], strict=False)
    ]


class LengthBuckets(torch.utils.data.Sampler[int]):
    """Visits each example once an epoch, in an order whose batches have similar lengths.

    Args:
        lengths: of the examples.
        batch_size: rows of a global batch, all devices and micro-batches together.
        seed: with the epoch, it fixes the order.
    """

    def __init__(self, lengths: Sequence[int], *, batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The Trainer says which epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        batches = buckets(self.lengths, self.batch_size, generator)
        # The one short batch must come last, or it would shift the borders of all after it.
        batches.sort(key=len, reverse=True)
        return chain.from_iterable(batches)


def read_alike(
    examples: Sequence[Any], order: LengthBuckets, *, rows: int, workers: int = 0
) -> DataLoader[list[Any]]:
    """Global micro-batches, the same in every process.

    Args:
        examples: what is trained on.
        order: in which they are visited.
        rows: of a micro-batch, all processes together.
        workers: processes that fetch them, for examples that are dear to fetch.
    """
    loader = DataLoader(
        cast(Dataset[Any], examples),
        batch_size=rows,
        sampler=order,
        collate_fn=list,
        num_workers=workers,
    )
    alike: DataLoader[list[Any]] = prepare_data_loader(loader, num_processes=1, process_index=0)
    return alike
