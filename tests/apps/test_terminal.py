"""The same text on a terminal, and in a notebook."""

from __future__ import annotations

import html
import io
import re
import sys
from dataclasses import replace

import pytest

import sfumato
from sfumato.sampling.trace import Commit, Event, Slot, Trace
from sfumato_apps.cli import main
from sfumato_apps.player import Player
from sfumato_apps.player.replay import Ink
from sfumato_apps.player.terminal import moment, watching

TRACE = Trace(
    text="The <b> sat",
    seed=1,
    passes=2,
    mask=0,
    slots=(
        Slot(id=1, piece="The", locked=True),
        Slot(id=0, piece=None, locked=False),
        Slot(id=0, piece=None, locked=False),
    ),
    events=(
        Event(
            step=1,
            time=0.5,
            commits=(Commit(position=1, id=2, piece=" <b>", confidence=0.5),),
            remasked=(),
        ),
        Event(
            step=2,
            time=0.0,
            commits=(Commit(position=2, id=3, piece=" sat", confidence=1.0),),
            remasked=(),
        ),
    ),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_moment_is_haze_and_warm_words() -> None:
    """Half as sure is a quarter of the way from warm to grey: 240 − 90 / 4, and so on."""
    inks = [Ink(piece="The", sure=1.0), Ink(piece=" cat", sure=0.5), Ink(piece=None, sure=0.0)]
    shown = moment(inks, [True, False, False])
    assert shown.plain == "The cat░"
    assert [str(span.style) for span in shown.spans] == ["dim", "#da8b5d", "dim"]


def test_live_texts_are_those_that_are_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["write", "--prompt", "The Eagle is", "--length", "6", "--seed", "2"]
    with pytest.raises(SystemExit):
        main(words)
    written = capsys.readouterr().out
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with pytest.raises(SystemExit):
        main([*words, "--live"])
    assert capsys.readouterr().out == written
    seen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert "░" in seen
    assert written.strip() in seen


def test_where_nothing_can_be_seen_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    model = sfumato.load()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with watching(model, wanted=True) as watch:
        assert watch is None
    monkeypatch.setattr(sys, "stderr", Terminal())
    with watching(model, wanted=False) as watch:
        assert watch is None


def test_a_notebook_shows_a_trace_and_plays_it() -> None:
    begins = Slot(id=9, piece="[CLS]", locked=True)
    assert "CLS" not in replace(TRACE, slots=(begins, *TRACE.slots[1:]))._repr_html_()
    still = TRACE._repr_html_()
    assert html.unescape(re.sub(r"<[^>]+>", "", still)) == "The <b> sat"
    assert "currentcolor 25%" in still
    played = Player(traces=(TRACE,), height=300)._repr_html_()
    frame = re.fullmatch(r'<iframe srcdoc="([^"]*)" sandbox="allow-scripts" .*></iframe>', played)
    assert frame is not None
    assert html.unescape(frame[1]).startswith("<!doctype html>")
