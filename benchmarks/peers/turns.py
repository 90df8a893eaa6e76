"""A run that cannot be interrupted, made to wait after each of its steps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import torch
from torch import Tensor

Report = Callable[[Tensor], None]


def in_turns(work: Callable[[Report], object]) -> Iterator[Tensor]:
    """Yields what `work` reports, and lets it go on when the next is asked for.

    Args:
        work: runs to its end in a thread of its own; reports after every step.

    Raises:
        RuntimeError: it failed, by the error that is told as its cause.
    """
    turn, results = threading.Semaphore(0), SimpleQueue[Tensor | None]()
    failed: list[Exception] = []

    def report(canvas: Tensor) -> None:
        results.put(canvas.clone())
        turn.acquire()

    def run(threads: int) -> None:
        torch.set_num_threads(threads)  # a setting of each thread
        turn.acquire()
        try:
            work(report)
        except Exception as error:  # noqa: BLE001  told to who takes the turns
            failed.append(error)
        finally:
            results.put(None)

    threading.Thread(target=run, args=[torch.get_num_threads()], daemon=True).start()
    steps = 0
    turn.release()
    while (canvas := results.get()) is not None:
        steps += 1
        yield canvas
        turn.release()
    if failed:
        raise RuntimeError(f"a peer failed after {steps} steps: {failed[0]}") from failed[0]
