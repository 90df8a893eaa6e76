"""The pure modules of the studio, each against Python's answer."""

from __future__ import annotations

import ast
import base64
import io
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from tests.sampling.test_spelling import recited

from sfumato.text.vocabulary import learn_vocabulary
from sfumato_apps.player.replay import replay

pytestmark = pytest.mark.browser
Ask = Callable[..., Any]
NASTY = ("it's", 'say "no"', "a\\n$HOME `x`", "две\nстроки", "😀 \u2028 \x7f", "{8} {}", "-x", "")


@pytest.fixture
def ask(page: Any) -> Ask:
    """Calls a function of a module: ask("play/trace.js", "merged", one, two)."""
    page.route("**/favicon.ico", lambda route: route.fulfill(body=""))
    page.goto("icon.svg")

    def call(module: str, name: str, *given: Any) -> Any:
        source = "async ([path, name, given]) => (await import(path))[name](...given)"
        return page.evaluate(source, [f"/{module}", name, list(given)])

    return call


def test_merged_steps_lead_where_both_lead(ask: Ask) -> None:
    one = {"step": 1, "time": 0.5, "set": [[0, 7, "a", 0.5], [1, 8, "b", 0.5]], "remask": [2]}
    two = {"step": 2, "time": 0.2, "set": [[2, 9, "c", 0.9]], "remask": [1]}
    both = ask("play/trace.js", "merged", one, two)
    assert both == {
        "step": 2,
        "time": 0.2,
        "set": [[0, 7, "a", 0.5], [2, 9, "c", 0.9]],
        "remask": [1],
    }
    cells = [{"piece": piece, "sure": 1, "at": 0} for piece in "xyz"]
    stepped = cells
    for event in (one, two):
        stepped = ask("play/trace.js", "applied", stepped, event)
    merged = ask("play/trace.js", "applied", cells, both)
    pieces = [[cell["piece"] for cell in found] for found in (stepped, merged)]
    assert pieces == [["a", None, "c"]] * 2


@pytest.mark.parametrize("given", [0, 1, 9])
def test_letters_in_several_tokens_are_whole_or_not_there(ask: Ask, given: int) -> None:
    """The same file as Python's player plays, state by state; every byte is a token."""
    trace = recited(learn_vocabulary(["a"], size=300), given=given, seed=1)
    played = ask("play/trace.js", "parsed", trace.to_jsonl())
    shown = [[cell["piece"] for cell in cells] for cells in played["states"]]
    assert shown == [[ink.piece for ink in inks] for inks in replay(trace)]
    assert "".join(shown[-1]) == trace.text
    assert "\ufffd" not in "".join(piece or "" for cells in shown for piece in cells)
    written = len(trace.slots) - given
    assert f" {written} tokens written" in ask("play/trace.js", "facts", played)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a bad cat", "a good cat", "a [-bad-]{+good+} cat"),
        ("same", "same", "same"),
        ("", "new", "{+new+}"),
        ("ты дома", "ты не дома", "ты {+не +}дома"),
    ],
)
def test_differences_by_hand(ask: Ask, before: str, after: str, expected: str) -> None:
    found = ask("edit/diff.js", "diff", before, after)
    marks = {"kept": "{}", "removed": "[-{}-]", "written": "{{+{}+}}"}
    assert "".join(marks[one["kind"]].format(one["text"]) for one in found) == expected


def test_differences_spell_both_texts(ask: Ask) -> None:
    before, after = "The Eagle is a purple shop, near it.", "Eagle is one red, cheap shop. Near it!"
    found = ask("edit/diff.js", "diff", before, after)
    spelt = [
        "".join(s["text"] for s in found if s["kind"] != kind) for kind in ("written", "removed")
    ]
    assert spelt == [before, after]


def test_open_places_and_what_is_between(ask: Ask) -> None:
    text, marks = "😀 a {bad} cat", [{"start": 6, "stop": 9, "kind": "rewrite", "slots": None}]
    assert ask("edit/marks.js", "spansOf", text, marks) == [[5, 8]]
    assert ask("edit/marks.js", "bracedOf", text, marks) == "😀 a {{{4}}} cat"
    assert ask("edit/marks.js", "intact", text, marks, "😀 a {good} cat") is True
    assert ask("edit/marks.js", "intact", text, marks, "😀 a {good} dog") is False
    assert ask("edit/marks.js", "meant", "a bad cat", 3, 3, "rewrite") == [2, 5]
    assert ask("edit/marks.js", "meant", "a bad cat", 1, 6, "rewrite") == [2, 5]
    assert ask("edit/marks.js", "without", "a bad cat.", 2, 5) == "a cat."
    assert ask("edit/marks.js", "without", "a cat too.", 6, 9) == "a cat."


def test_orders_with_ties(ask: Ask) -> None:
    items = [
        {"id": name, "text": name, "tied": tied}
        for name, tied in zip("abcd", (0, 1, 0, 1), strict=True)
    ]
    assert ask("rank/order.js", "ranks", items) == [1, 1, 2, 2]
    found = ask("rank/order.js", "moved", items, 3, 0)
    assert [one["id"] for one in found] == ["d", "a", "b", "c"]
    assert ask("rank/order.js", "ranks", found) == [1, 2, 2, 3]
    found = ask("rank/order.js", "dropped", items, 0)
    assert ask("rank/order.js", "ranks", found) == [1, 2, 2]
    assert ask("rank/order.js", "ordered", [{**one, "tied": True} for one in items]) is False


@pytest.mark.parametrize("nasty", NASTY)
def test_commands_and_programs_say_what_was_asked(ask: Ask, nasty: str) -> None:
    values = {"steps": 8, "order": "max_prob", "temperature": 0.5, "top_p": 1, "seed": 3, "n": 2}
    fill = {"kind": "fill", "text": nasty, "values": values, "model": None}
    words = shlex.split(ask("share/command.js", "commandOf", fill))
    assert words[:3] == ["sfumato", "fill", nasty]
    options = shlex.split("--steps 8 --order max_prob --temperature 0.5 --seed 3 --n 2")
    assert words[3:] == options
    program = ast.parse(ask("share/command.js", "pythonOf", {**fill, "model": nasty or None}))
    strings = [one.value for one in ast.walk(program) if isinstance(one, ast.Constant)]
    assert nasty in strings


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (3, 47, [10, 20, 30, 40]), (2, 2, [2])],
)
def test_ticks_are_round(ask: Ask, low: float, high: float, expected: list[float]) -> None:
    assert ask("runs/frame.js", "ticks", low, high) == pytest.approx(expected)


def test_a_film_decodes_to_its_pixels(page: Any, ask: Ask) -> None:
    """Noise of 200 colours fills the table of codes more than once; the second frame is a patch."""
    image = pytest.importorskip("PIL.Image")
    wide, high = 120, 90
    raw = page.evaluate(
        """async ([width, height]) => {
          const { encodeGif } = await import('/share/gif.js');
          let state = 7;
          const noise = () => (state = (state * 48271) % 2147483647);
          const pixels = new Uint8ClampedArray(4 * width * height);
          for (let i = 0; i < pixels.length; i += 4) {
            const colour = noise() % 200;
            pixels.set([8 * (colour % 8) + 4, 8 * (colour >> 3) + 4, 100, 255], i);
          }
          const second = pixels.slice();
          for (let i = 4 * width * 10; i < 4 * width * 12; i += 4) second.set([4, 4, 100, 255], i);
          const frames = [{ pixels, delay: 10 }, { pixels: second, delay: 50 }];
          const film = encodeGif({ width, height, frames });
          const letters = (bytes) => Array.from(bytes, (one) => String.fromCharCode(one));
          const text = (bytes) => btoa(letters(bytes).join(''));
          return [film, pixels, second].map(text);
        }""",
        [wide, high],
    )
    film, first, second = map(base64.b64decode, raw)
    found = image.open(io.BytesIO(film))
    assert (found.size, found.n_frames, found.info["duration"], found.info["loop"]) == (
        (wide, high),
        2,
        100,
        0,
    )
    for number, pixels in enumerate((first, second)):
        found.seek(number)
        assert found.convert("RGBA").tobytes() == pixels
