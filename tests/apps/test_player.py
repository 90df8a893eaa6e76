from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sfumato.errors import DataError, UsageError
from sfumato_apps.player import emergence_svg, player_page
from sfumato_apps.player.reading import Slot, read

SVG = "{http://www.w3.org/2000/svg}"
PAYLOADS = (
    "</script><img src=x onerror=document.title='xss'>",
    "</title><script>document.title='xss'</script>",
    "<!--<script>",
    "\u2028\u2029😀 &lt;b&gt; ${1} $title `x` \\u003cimg\\u003e",
    "\x00\x0b\x7f]]>",
)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A trace made of plain records."""

    records: tuple[dict[str, object], ...]

    def to_jsonl(self) -> str:
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in self.records)


def trace(
    tokens: Sequence[tuple[str | None, bool]],
    events: Sequence[tuple[list[list[object]], list[int]]],
    *,
    text: str,
    title: str | None = None,
) -> Recorded:
    header: dict[str, object] = {
        "format": "sfumato-trace/1",
        "text": text,
        "tokens": [{"piece": piece, "locked": locked} for piece, locked in tokens],
        "passes": len(events),
        "seed": 11,
    }
    steps = [
        {"step": i, "time": 0.5, "set": written, "remask": remasked}
        for i, (written, remasked) in enumerate(events, start=1)
    ]
    named = {"title": title} if title is not None else {}
    return Recorded(records=({**header, **named}, *steps))


def story(title: str | None = "A story", word: str = " cat") -> Recorded:
    """ "The" is given; "dog" is written, taken back and becomes `word`; one slot vanishes."""
    return trace(
        [("The", True), (None, False), (None, False), (None, False)],
        [
            ([[1, 5, " dog", 0.31]], []),
            ([[2, 6, " sat", 0.9]], [1]),
            ([[1, 7, word, 0.8], [3, 0, "", 0.7]], []),
        ],
        text=f"The{word} sat",
        title=title,
    )


class Parsed(HTMLParser):
    """Elements, attributes, and the contents of script elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.title = ""
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._open = tag
        self.scripts += [""] * (tag == "script")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            self.scripts[-1] += data
        if self._open == "title":
            self.title += data


def test_a_reading_replays_the_run() -> None:
    reading = read(story())
    pieces = [[slot.piece for slot in frame] for frame in reading.frames()]
    assert pieces == [
        ["The", None, None, None],
        ["The", " dog", None, None],
        ["The", None, " sat", None],
        ["The", " cat", " sat", ""],
    ]
    assert reading.frames()[1][1] == Slot(piece=" dog", sure=0.31)
    assert (reading.passes, reading.seed, reading.title) == (3, 11, "A story")
    assert reading.locked == (True, False, False, False)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ((), "expected a trace of format 'sfumato-trace/1', got None"),
        (({"format": "other"},), "got 'other'"),
        ((*story().records, {"step": 4, "set": [[9, 1, "x", 1.0]], "remask": []}), r"has 4"),
        ((*story().records, {"step": 4, "set": [], "remask": [-1]}), "step 4 .* has 4"),
    ],
)
def test_broken_traces_are_refused(records: tuple[dict[str, object], ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        player_page([Recorded(records=records)], title="t")


def test_the_page_carries_every_step() -> None:
    page = Parsed(player_page([story(), story(title=None, word=" мышь")], title="sfumato"))
    first, second = json.loads(page.scripts[0])
    assert (first["title"], second["title"]) == ("A story", "Text 2")
    assert (first["passes"], first["seed"], first["text"]) == (3, 11, "The cat sat")
    assert second["text"] == "The мышь sat"
    assert first["steps"][1] == {"step": 2, "set": [[2, " sat", 0.9]], "remask": [1]}
    assert first["tokens"][:2] == [
        {"piece": "The", "locked": True},
        {"piece": None, "locked": False},
    ]


def test_the_page_stands_alone_under_a_strict_policy() -> None:
    source = player_page([story()], title="sfumato")
    page = Parsed(source)
    assert not {"link", "img", "iframe", "object", "base", "form"} & set(page.tags)
    assert not {"src", "href", "style"} & {name for name, _ in page.attributes}
    assert not re.findall(r"https?:|@import|url\(|//cdn", source)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    policy = next(v for n, v in page.attributes if n == "content" and v and "default-src" in v)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    style = re.search(r"<style>(.*?)</style>", source, re.S)
    assert style is not None
    for name, content in (("script-src", page.scripts[1]), ("style-src", style[1])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"


def test_the_script_never_makes_markup_of_text() -> None:
    script = Parsed(player_page([story()], title="t")).scripts[1]
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_of_the_model_stays_text(payload: str) -> None:
    plain = Parsed(player_page([story()], title="t"))
    page = Parsed(player_page([story(title=payload, word=payload)], title=payload))
    assert page.tags == plain.tags
    assert page.scripts[1] == plain.scripts[1]
    (data,) = json.loads(page.scripts[0])
    assert (data["title"], data["steps"][2]["set"][0][1]) == (payload, payload)
    assert page.title == payload.replace("\x00", "\ufffd") or page.title == payload


def test_the_page_can_be_used_by_keyboard_and_by_ear() -> None:
    """Every control has a name, and what changes is announced when it stands still."""
    page = Parsed(player_page([story()], title="t"))
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert {"Play", "One step back", "One step on", "Step", "Texts", "Playback"} <= set(labels)
    assert ("role", "status") in page.attributes
    assert page.tags.count("button") == 3
    assert ("type", "range") in page.attributes
    for key in ('" "', "ArrowLeft", "ArrowRight", "Home", "End"):
        assert key in page.scripts[1]
    source = player_page([story()], title="t")
    assert "prefers-reduced-motion: reduce" in source
    assert "prefers-color-scheme: dark" in source


def test_without_script_the_texts_are_there() -> None:
    assert "<noscript><p>The cat sat</p></noscript>" in player_page([story()], title="t")


def test_a_page_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one trace"):
        player_page([], title="t")


def rows(picture: str, kind: str) -> list[str]:
    """The text of the picture's spans of one kind, row by row (a row is a group of lines)."""
    layers = list(ElementTree.fromstring(picture).iter(f"{SVG}g"))
    pairs = zip(layers[::2], layers[1::2], strict=True)
    return [
        "".join(
            span.text or ""
            for layer in pair
            for span in layer.iter(f"{SVG}tspan")
            if re.fullmatch(kind, span.get("class", ""))
        )
        for pair in pairs
    ]


def test_the_picture_shows_haze_giving_way_to_words() -> None:
    """Frames 0 … 3 of the story; haze has the shape of what will stand there at the end."""
    picture = emergence_svg(story(), rows=4)
    assert rows(picture, "given") == ["The"] * 4
    assert rows(picture, "haze") == [" cat sat", " sat", " cat", ""]
    assert rows(picture, r"t\d") == ["", " dog", " sat", " cat sat"]


def test_ink_darkens_with_confidence() -> None:
    """Squared and cut into fifths: 0.31² is in the first, 0.8² in the fourth, 0.9² in the last."""
    picture = emergence_svg(story(), rows=4)
    assert rows(picture, "t0")[1] == " dog"
    assert rows(picture, "t4")[3] == " sat"
    assert rows(picture, "t3")[3] == " cat"


def test_rows_are_spread_over_the_run() -> None:
    tokens: list[tuple[str | None, bool]] = [(None, False)] * 11
    events: list[tuple[list[list[object]], list[int]]] = [
        ([[i, 1, " w", 1.0]], []) for i in range(11)
    ]
    picture = emergence_svg(trace(tokens, events, text=" w" * 11), rows=6)
    labels = [t.text for t in ElementTree.fromstring(picture).iter(f"{SVG}text") if t.get("class")]
    assert labels == ["0", "2", "4", "7", "9", "11 passes"]
    short = emergence_svg(story(), rows=6)
    assert len(rows(short, "given")) == 4  # no moment is shown twice


def test_long_texts_are_broken_between_words_and_fit() -> None:
    words = ["Слово", *[" слово", ",", " w", "ord"] * 30]
    events: list[tuple[list[list[object]], list[int]]] = [
        ([[i, 1, word, 1.0] for i, word in enumerate(words)], [])
    ]
    picture = emergence_svg(trace([(None, False)] * len(words), events, text="".join(words)))
    root = ElementTree.fromstring(picture)
    lines = ["".join(t.itertext()) for t in root.iter(f"{SVG}text") if not t.get("class")]
    layer = lines[: len(lines) // 4]  # two moments of two layers
    assert " ".join(layer) == "".join(words)
    assert len(layer) > 3
    assert max(map(len, lines)) <= 80
    assert all(line.startswith(("Слово", "слово", "word")) for line in lines)
    height = float(root.get("viewBox", "").split()[3])
    assert all(float(t.get("y", "")) < height for t in root.iter(f"{SVG}text"))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_picture_is_well_formed_whatever_the_text(payload: str) -> None:
    picture = emergence_svg(story(word=payload))
    tags = {element.tag for element in ElementTree.fromstring(picture).iter()}
    assert not {f"{SVG}script", f"{SVG}image", f"{SVG}img"} & tags


def test_a_picture_needs_rows_and_a_text() -> None:
    with pytest.raises(UsageError, match="at least two rows"):
        emergence_svg(story(), rows=1)
    with pytest.raises(UsageError, match="and a text"):
        emergence_svg(trace([(None, False)], [([[0, 0, "", 1.0]], [])], text=" "))


@pytest.mark.browser
def test_a_browser_runs_the_page_and_no_payload(tmp_path: Path) -> None:
    """Chromium plays all texts; afterwards the last one stands there, letter by letter."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium on the path")
    page = tmp_path / "page.html"
    traces = [story(), *(story(title=payload, word=payload) for payload in PAYLOADS[:3])]
    page.write_text(player_page(traces, title="sfumato"), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'user'}"]
    done = subprocess.run(
        [browser, *flags, "--virtual-time-budget=60000", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    shown = re.search(r'<p id="text".*?</p>', done.stdout, re.S)
    assert shown is not None
    words = re.sub(r"<[^>]+>", "", shown[0])
    assert words == "The&lt;!--&lt;script&gt; sat"
    assert "<title>sfumato</title>" in done.stdout
    assert "pass 3 of 3" in done.stdout
