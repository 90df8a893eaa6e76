"""One self-contained HTML page that plays how texts emerged from noise, token by token."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

from sfumato.errors import UsageError
from sfumato.sampling.trace import Trace
from sfumato_apps.player.replay import opening

_NAME = 36
_STYLES = ("css/tokens.css", "css/play.css", "play/page.css")
_SCRIPTS = tuple(f"play/{name}.js" for name in ("dom", "trace", "canvas", "player", "page"))


def player_page(traces: Sequence[Trace], *, title: str, names: Sequence[str] = ()) -> str:
    """A page that plays the denoising of one or several texts.

    It works from a file, without a network: style, script and traces are inside, and its content
    security policy admits nothing else. Text of the model enters it as text only.

    Args:
        traces: what the sampler recorded, in the order to play.
        title: heading of the page.
        names: what each text is called in the list; if empty, the beginning of what was given
            in it, or its number.

    Raises:
        UsageError: there is no trace, or there are names but not one for each.
    """
    if not traces or len(names) not in (0, len(traces)):
        raise UsageError(
            "a player needs at least one trace, and as many names or none; got "
            f"{len(traces)} traces and {len(names)} names"
        )
    called = names or [_name(trace, number) for number, trace in enumerate(traces, start=1)]
    style, script = "\n".join(map(_asset, _STYLES)), _joined(map(_asset, _SCRIPTS))
    sources = f"script-src {_hash(script)}; style-src {_hash(style)}"
    return Template(_asset("play/page.html")).substitute(
        nonce="",
        policy=f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'",
        title=escape(title),
        style=style,
        script=script,
        plain="".join(f"<p>{escape(trace.text)}</p>" for trace in traces),
        data=_embedded([_playable(*pair) for pair in zip(traces, called, strict=True)]),
    )


def _asset(name: str) -> str:
    return (files("sfumato_apps.studio") / name).read_text(encoding="utf-8")


def _joined(modules: Iterable[str]) -> str:
    """Modules as one: what they import from each other stands above them."""
    return re.sub(r"^import .*\n|^export ", "", "\n".join(modules), flags=re.MULTILINE)


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _name(trace: Trace, number: int) -> str:
    """What was given, its holes as dots: "The Eagle is a … coffee shop"; else "Text 3"."""
    slots = zip(opening(trace), trace.slots, strict=True)
    given = "".join(ink.piece or "" if slot.locked else " … " for ink, slot in slots)
    words = re.sub(r"\s*…[\s…]*", " … ", " ".join(given.split())).strip()
    if not words.strip("… "):
        return f"Text {number}"
    if len(words) <= _NAME:
        return words
    return words[:_NAME].rsplit(" ", 1)[0].rstrip("… ") + " …"


def _playable(trace: Trace, name: str) -> dict[str, object]:
    """A title and the lines of the trace, as they stand in a file."""
    lines = [json.loads(line) for line in trace.to_jsonl().split("\n") if line]
    return {"title": name, "lines": lines}


def _embedded(data: object) -> str:
    """JSON that cannot end the script element it stands in."""
    raw = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return raw.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
