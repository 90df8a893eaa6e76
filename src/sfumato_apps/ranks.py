"""Several processes, one run: which of them this is, and how they agree.

`accelerate launch` and `torchrun` start the same command once a device and number the processes.
All of them read and train; only the first one writes files and speaks.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from accelerate import PartialState

T = TypeVar("T")


def is_first() -> bool:
    """Whether this process writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def share_cpus() -> bool:
    """Whether several processes train together without a GPU; accelerate has to be told so."""
    import torch

    return count() > 1 and not torch.cuda.is_available()


def patient() -> PartialState:
    """What accelerate knows of the processes, which may wait for each other as long as it takes."""
    from accelerate import PartialState

    return PartialState(cpu=share_cpus(), timeout=timedelta(days=365))


def leave() -> None:
    """Ends what connects the processes: gloo's threads, left to the end of Python, may abort it."""
    if count() > 1:
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()


def agreed(value: T) -> T:
    """The first process's value, in all of them."""
    if count() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    found: list[T] = broadcast_object_list([value])
    return found[0]
