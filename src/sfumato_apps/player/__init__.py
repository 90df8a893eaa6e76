"""Denoising made visible: pages, cells and terminals that play it, and a picture of it.

page.py                         a page that plays traces: the studio's parts and the traces, joined
emergence.py                    the same text at several moments, as one SVG
terminal.py                     the same on a terminal, while a text is written
notebook.py                     the same in a cell of a notebook
replay.py                       what stood in each slot at each moment
"""

from __future__ import annotations

from sfumato_apps.player.emergence import emergence_svg
from sfumato_apps.player.notebook import Player
from sfumato_apps.player.page import player_page

__all__ = ["Player", "emergence_svg", "player_page"]
