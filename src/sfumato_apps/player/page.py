"""One self-contained HTML page that plays how texts emerged from noise, token by token."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

from sfumato.errors import UsageError
from sfumato_apps.player.reading import Reading, Trace, read


def player_page(traces: Sequence[Trace], *, title: str) -> str:
    """A page that plays the denoising of one or several texts.

    It works from a file, without a network: style, script and traces are inside, and its content
    security policy admits nothing else. Text of the model enters it as text only.

    Args:
        traces: what the sampler recorded, in the order to play.
        title: heading of the page.

    Raises:
        UsageError: there is no trace.
        DataError: a trace is not of the expected format.
    """
    if not traces:
        raise UsageError("a player needs at least one trace, got none")
    readings = [read(trace) for trace in traces]
    style, script = _asset("page.css"), _asset("page.js")
    sources = f"script-src {_hash(script)}; style-src {_hash(style)}"
    return Template(_asset("page.html")).substitute(
        policy=f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'",
        title=escape(title),
        style=style,
        script=script,
        plain="".join(f"<p>{escape(reading.text)}</p>" for reading in readings),
        data=_embedded([_playable(reading, i) for i, reading in enumerate(readings, start=1)]),
    )


def _asset(name: str) -> str:
    return (files("sfumato_apps.player") / name).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _playable(reading: Reading, number: int) -> dict[str, object]:
    tokens = zip(reading.start, reading.locked, strict=True)
    return {
        "title": reading.title or f"Text {number}",
        "text": reading.text,
        "passes": reading.passes,
        "seed": reading.seed,
        "tokens": [{"piece": slot.piece, "locked": locked} for slot, locked in tokens],
        "steps": [
            {
                "step": event.step,
                "set": [[at, slot.piece, round(slot.sure, 4)] for at, slot in event.written],
                "remask": event.remasked,
            }
            for event in reading.events
        ],
    }


def _embedded(data: object) -> str:
    """JSON that cannot end the script element it stands in."""
    raw = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return raw.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
