"""Files as people write them, for the tests that read them."""

from __future__ import annotations

from pathlib import Path


def put(folder: Path, name: str, content: str | bytes) -> str:
    """A file in a folder, as the path that a source names."""
    raw = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(raw)
    return str(folder / name)
