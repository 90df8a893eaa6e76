from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sfumato.errors import UsageError
from sfumato.sampling.trace import Commit, Event, Slot, Trace, read_jsonl
from sfumato_apps.player import emergence_svg, player_page
from sfumato_apps.player.replay import Ink, opening, replay

Step = tuple[list[tuple[int, str, float]], list[int]]
SVG = "{http://www.w3.org/2000/svg}"
PAYLOADS = (
    "</script><img src=x onerror=document.title='xss'>",
    "</title><script>document.title='xss'</script>",
    "<!--<script>",
    "\u2028\u2029😀 &lt;b&gt; ${1} $title `x` \\u003cimg\\u003e",
    "\x00\x0b\x7f]]>",
)


def trace(
    tokens: Sequence[tuple[str | None, bool]],
    events: Sequence[Step],
    *,
    text: str,
    passes: int | None = None,
) -> Trace:
    """A run: (piece, locked) of each slot; (position, piece, confidence) and remasks of a step."""
    return Trace(
        text=text,
        seed=11,
        passes=len(events) if passes is None else passes,
        mask=0,
        slots=tuple(Slot(id=0, piece=piece, locked=locked) for piece, locked in tokens),
        events=tuple(
            Event(
                step=step,
                time=0.5,
                commits=tuple(
                    Commit(position=at, id=1, piece=piece, confidence=sure)
                    for at, piece, sure in written
                ),
                remasked=tuple(remasked),
            )
            for step, (written, remasked) in enumerate(events, start=1)
        ),
    )


def story(word: str = " cat") -> Trace:
    """ "The" is given; "dog" is written, taken back and becomes `word`; one slot vanishes."""
    return trace(
        [("[CLS]", True), ("The", True), (None, False), (None, False), (None, False)],
        [
            ([(2, " dog", 0.31)], []),
            ([(3, " sat", 0.9)], [2]),
            ([(2, word, 0.8), (4, "", 0.7)], []),
        ],
        text=f"The{word} sat",
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


def test_a_run_is_replayed() -> None:
    pieces = [[ink.piece for ink in moment] for moment in replay(story())]
    assert pieces == [
        ["", "The", None, None, None],
        ["", "The", " dog", None, None],
        ["", "The", None, " sat", None],
        ["", "The", " cat", " sat", ""],
    ]
    assert replay(story())[1][2] == Ink(piece=" dog", sure=0.31)


@pytest.mark.parametrize(
    ("piece", "text", "shown"),
    [
        ("[CLS]", "a", ""),
        ("<|user|>", "a", ""),
        ("</s>", "a", ""),
        ("[SEP]", "we print [SEP] here", "[SEP]"),
        (" cat", "a", " cat"),
        ("[", "a", "["),
    ],
)
def test_names_of_control_tokens_are_no_text(piece: str, text: str, shown: str) -> None:
    assert opening(trace([(piece, True)], [], text=text))[0].piece == shown


def test_what_may_still_change_counts_as_unsure() -> None:
    """Uniform noise opens with random tokens, and so does a draft."""
    run = trace([("given", True), (" noise", False), (None, False)], [], text="given")
    assert [ink.sure for ink in opening(run)] == [1.0, 0.0, 0.0]


def test_the_page_carries_every_step() -> None:
    page = Parsed(player_page([story(), story(word=" мышь")], title="sfumato"))
    first, second = json.loads(page.scripts[0])
    written = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in first["lines"])
    assert read_jsonl(written) == story()
    assert second["lines"][-1] == {"text": "The мышь sat", "passes": 3}


def test_texts_are_called_by_name_or_by_what_was_given() -> None:
    long = trace([("It was  a dark\nand", True), (" stormy night, and the", True)], [], text="It")
    free = trace([(None, False)], [([(0, "a", 1.0)], [])], text="a")
    page = Parsed(player_page([story(), long, free], title="t"))
    titles = [one["title"] for one in json.loads(page.scripts[0])]
    assert titles == ["The …", "It was a dark and stormy night, and …", "Text 3"]
    named = Parsed(player_page([story(), free], title="t", names=["One", "Two"]))
    assert [one["title"] for one in json.loads(named.scripts[0])] == ["One", "Two"]


def test_the_page_stands_alone_under_a_strict_policy() -> None:
    source = player_page([story()], title="sfumato")
    page = Parsed(source)
    assert not {"link", "img", "iframe", "object", "base", "form"} & set(page.tags)
    assert not {"src", "href", "style"} & {name for name, _ in page.attributes}
    named = source.replace("http://www.w3.org/2000/svg", "")  # a namespace, never fetched
    assert not re.findall(r"https?:|@import|url\(|//cdn", named)
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
    page = Parsed(player_page([story(word=payload)], title=payload, names=[payload]))
    assert page.tags == plain.tags
    assert page.scripts[1] == plain.scripts[1]
    (data,) = json.loads(page.scripts[0])
    assert (data["title"], data["lines"][3]["set"][0][2]) == (payload, payload)
    assert page.title == payload.replace("\x00", "\ufffd") or page.title == payload


def test_the_page_can_be_used_by_keyboard_and_by_ear() -> None:
    """Every control has a name, and what changes is announced when it stands still."""
    page = Parsed(player_page([story()], title="t"))
    assert ("aria-label", "Texts") in page.attributes
    for name in ("Play", "One step back", "One step on", "Step", "Playback"):
        assert f'"{name}"' in page.scripts[1]
    assert 'role: "status"' in page.scripts[1]
    for key in ('" "', "ArrowLeft", "ArrowRight", "Home", "End"):
        assert key in page.scripts[1]
    source = player_page([story()], title="t")
    assert "prefers-reduced-motion: reduce" in source
    assert "color-scheme: light dark" in source


def test_without_script_the_texts_are_there() -> None:
    assert "<noscript><p>The cat sat</p></noscript>" in player_page([story()], title="t")


def test_pages_without_texts_or_with_too_few_names_are_refused() -> None:
    with pytest.raises(UsageError, match="0 traces"):
        player_page([], title="t")
    with pytest.raises(UsageError, match="1 traces and 2 names"):
        player_page([story()], title="t", names=["a", "b"])


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
    events: list[Step] = [([(i, " w", 1.0)], []) for i in range(11)]
    picture = emergence_svg(trace(tokens, events, text=" w" * 11), rows=6)
    labels = [t.text for t in ElementTree.fromstring(picture).iter(f"{SVG}text") if t.get("class")]
    assert labels == ["0", "2", "4", "7", "9", "11 passes"]
    guided = emergence_svg(trace(tokens, events, text=" w", passes=22), rows=2)
    assert "11</text>" in guided  # two passes a step: the last step is not the last pass
    short = emergence_svg(story(), rows=6)
    assert len(rows(short, "given")) == 4  # no moment is shown twice


def test_long_texts_are_broken_between_words_and_fit() -> None:
    words = ["Слово", *[" слово", ",", " w", "ord"] * 30]
    events: list[Step] = [([(i, word, 1.0) for i, word in enumerate(words)], [])]
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
        emergence_svg(trace([(None, False)], [([(0, "", 1.0)], [])], text=" "))


@pytest.mark.browser
def test_a_browser_runs_the_page_and_no_payload(tmp_path: Path) -> None:
    """Chromium plays all texts; afterwards the last one stands there, letter by letter."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium on the path")
    page = tmp_path / "page.html"
    traces = [story(), *(story(word=payload) for payload in PAYLOADS[:3])]
    source = player_page(traces, title="sfumato", names=["A story", *PAYLOADS[:3]])
    page.write_text(source, encoding="utf-8")
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
