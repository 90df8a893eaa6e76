"""The studio: a page of static files that writes, edits and ranks through the server's API.

index.html  main.js  css/     the frame around the tools
core/                         requests, the store, controls, notices, dialogs
play/                         traces, the canvas, the player; also the pages of `--page`
tools/  edit/  rank/  runs/   the tools and what is theirs alone
share/                        a text taken along: page, film, command
"""

from __future__ import annotations

from pathlib import Path


def static_files() -> Path:
    """The folder of the studio's files, which the server sends as they are."""
    return Path(__file__).parent


__all__ = ["static_files"]
