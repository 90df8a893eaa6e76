"""A disk that fails: at the k-th write, fsync, rename or other change of what is on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import safetensors.torch
import transformers.modeling_utils
from safetensors import SafetensorError

CHANGES = ("fsync", "rename", "replace", "mkdir", "rmdir", "unlink")


class Disk:
    """Counts what is asked of it and fails once."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.asked: list[str] = []

    def fails(self, what: str) -> bool:
        self.asked.append(what)
        return len(self.asked) == self.at


@contextmanager
def failing(at: int | None = None) -> Iterator[Disk]:
    """Makes the `at`-th change fail; half of what was to be written is there then."""
    disk = Disk(at)
    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGES:
            patch.setattr(os, name, _refusing(disk, name, getattr(os, name)))
        patch.setattr(Path, "write_text", _tearing_text(disk, Path.write_text))
        for module, name in (
            (safetensors.torch, "save_file"),
            (safetensors.torch, "save_model"),
            (transformers.modeling_utils, "safe_save_file"),
        ):
            patch.setattr(module, name, _tearing(disk, name, getattr(module, name)))
        yield disk


def _refusing(disk: Disk, name: str, real: Callable) -> Callable:
    def change(*args: object, **kwargs: object) -> object:
        if disk.fails(name):
            raise OSError(5, "Input/output error")
        return real(*args, **kwargs)

    return change


def _tearing_text(disk: Disk, real: Callable) -> Callable:
    def write(self: Path, text: str, **kwargs: object) -> int:
        if disk.fails(f"write {self.name}"):
            real(self, text[: len(text) // 2], **kwargs)
            raise OSError(28, "No space left on device")
        return real(self, text, **kwargs)

    return write


def _tearing(disk: Disk, name: str, real: Callable) -> Callable:
    def save(tensors: object, filename: str, *args: object, **kwargs: object) -> object:
        if disk.fails(f"{name} {Path(filename).name}"):
            Path(filename).write_bytes(b"torn")
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        return real(tensors, filename, *args, **kwargs)

    return save
