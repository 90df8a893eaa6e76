"""Denoising made visible: a page that plays it, and a picture of it.

page.py                         a page that plays traces: the studio's parts and the traces, joined
emergence.py                    the same text at several moments, as one SVG
replay.py                       what stood in each slot at each moment
"""

from __future__ import annotations

from sfumato_apps.player.emergence import emergence_svg
from sfumato_apps.player.page import player_page

__all__ = ["emergence_svg", "player_page"]
