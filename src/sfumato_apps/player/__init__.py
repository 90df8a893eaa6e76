"""Denoising made visible: a page that plays it, and a picture of it.

page.html  page.css  page.js    the page's parts; `page.py` joins them and the traces
emergence.py                    the same text at several moments, as one SVG
reading.py                      a trace's JSON lines → the values that both draw
"""

from __future__ import annotations

from sfumato_apps.player.emergence import emergence_svg
from sfumato_apps.player.page import player_page

__all__ = ["emergence_svg", "player_page"]
