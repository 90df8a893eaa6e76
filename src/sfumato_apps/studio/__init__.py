"""The studio: a page that the server shows at /, static files without a build step."""

from __future__ import annotations

from pathlib import Path


def static_files() -> Path:
    """The folder of its files."""
    return Path(__file__).parent
