"""A trace in a cell of a notebook, played by the page that `--page` writes."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from sfumato.sampling.trace import Trace
from sfumato_apps.player.page import player_page


@dataclass(frozen=True, kw_only=True)
class Player:
    """Plays traces where it is the last line of a notebook's cell.

    Attributes:
        traces: what the sampler recorded, in the order to play.
        height: pixels.

    Example:
        >>> trace = Trace(text="a", seed=0, passes=0, mask=0, slots=(), events=())
        >>> Player(traces=(trace,))._repr_html_()[:8]
        '<iframe '
    """

    traces: tuple[Trace, ...]
    height: int = 480

    def _repr_html_(self) -> str:
        """The page in a frame of its own, which may run its script and reach nothing."""
        page = escape(player_page(self.traces, title="sfumato"))
        return (
            f'<iframe srcdoc="{page}" sandbox="allow-scripts" width="100%" '
            f'height="{self.height}" style="border:0"></iframe>'
        )
