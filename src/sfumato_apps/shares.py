"""A long file worked off by several processes: whose lines are whose, and one file in the end.

lines     0 1 2 3 4 5 6      out.jsonl.0of2   0 2 4 6  ┐
                             out.jsonl.1of2   1 3 5    ┴▶  out.jsonl   0 1 2 3 4 5 6
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TypeVar

from sfumato.errors import DataError
from sfumato_apps.fingerprints import beside

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Share:
    """The part of a process.

    Attributes:
        rank: its number, from 0.
        count: how many processes there are.

    Example:
        >>> second = Share(rank=1, count=3)
        >>> "".join(second.own("abcdefg")), second.part(Path("o")).name
        ('be', 'o.1of3')
    """

    rank: int = 0
    count: int = 1

    def own(self, items: Iterable[T]) -> Iterator[T]:
        """Every `count`-th, from number `rank` on."""
        return islice(items, self.rank, None, self.count)

    def part(self, out: Path) -> Path:
        """Where the process writes: the file itself if there is no other process."""
        return out if self.count == 1 else out.with_name(f"{out.name}.{self.rank}of{self.count}")


ALONE = Share()


def joined(out: Path, count: int) -> None:
    """Puts the parts of all processes together, line by line in turn, and removes them.

    What the parts were made with is kept beside the file.

    The file appears when it is whole: what is cut short before leaves the parts as they are.

    Args:
        out: the file.
        count: how many parts there are.

    Raises:
        DataError: a part lacks lines.
    """
    parts = [Share(rank=rank, count=count).part(out) for rank in range(count)]
    growing = out.with_name(f"{out.name}.growing")
    with ExitStack() as opened:
        target = opened.enter_context(growing.open("wb"))
        files = [opened.enter_context(part.open("rb")) for part in parts]
        for file in cycle(files):
            line = file.readline()
            if not line:
                break
            target.write(line)
        if any(file.readline() for file in files):
            raise DataError(f"the parts of {out} do not belong together: run the command again")
    if beside(parts[0]).exists():
        os.replace(beside(parts[0]), beside(out))
    os.replace(growing, out)
    for part in parts:
        part.unlink()
        beside(part).unlink(missing_ok=True)
