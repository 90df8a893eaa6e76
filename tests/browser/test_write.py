"""Write: tokens appear, the time line is scrubbed, the text is taken along."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from sfumato.sampling.trace import read_jsonl

pytestmark = pytest.mark.browser
PROMPT = "The Golden Curry is"


def write(page: Any, prompt: str = PROMPT, **controls: str) -> None:
    """Opens the tool, sets controls and writes to the end."""
    page.goto("#write")
    for name, value in controls.items():
        page.fill(f"#write-{name}", value)
        page.locator(f"#write-{name}").blur()
    page.fill("#prompt", prompt)
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Write again").wait_for()


def shown(page: Any) -> str:
    return re.sub(r"\s+", " ", page.locator(".write .text:visible").inner_text()).strip()


def test_a_text_emerges_token_by_token(page: Any) -> None:
    page.goto("#write")
    page.fill("#prompt", PROMPT)
    page.get_by_role("button", name="Write", exact=True).click()
    page.locator(".ink .word").first.wait_for()
    early = page.locator(".haze .word").count()
    assert early > 1, "the first words are there and others are still haze"
    page.wait_for_function("() => document.querySelectorAll('.text .haze').length === 0")
    assert shown(page).startswith(PROMPT)
    assert len(shown(page)) > len(PROMPT) + 10
    assert page.locator(".write .locked").inner_text() == PROMPT


def test_the_time_line_goes_back_and_on(page: Any) -> None:
    write(page)
    page.keyboard.press("Escape")
    page.locator(".mark").focus()
    page.keyboard.press("End")
    final, seek = shown(page), page.get_by_role("slider", name="Step", exact=True)
    page.keyboard.press("Home")
    assert page.locator(".text .ink").count() == 0
    page.keyboard.press("ArrowRight")
    assert seek.input_value() == "1"
    assert page.locator(".text .ink").count() > 0
    steps = int(seek.get_attribute("max"))
    seek.fill(str(steps))
    assert shown(page) == final
    assert f"of {steps}" in seek.get_attribute("aria-valuetext") or steps > 1
    page.keyboard.press("Home")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => document.querySelectorAll('.text .haze').length === 0")
    assert shown(page) == final


def test_the_same_seed_writes_the_same_text(page: Any) -> None:
    write(page, seed="3")
    page.locator(".mark").focus()
    page.keyboard.press("End")
    first = shown(page)
    page.reload()
    write(page, seed="3")
    page.locator(".mark").focus()
    page.keyboard.press("End")
    assert shown(page) == first
    page.get_by_role("button", name="Write again").click()
    page.wait_for_function("() => document.querySelector('#write-seed').value === '4'")


def test_several_texts_are_written_side_by_side(page: Any) -> None:
    write(page, n="3")
    cards = page.locator(".strip button")
    assert cards.count() == 3
    texts = [cards.nth(i).inner_text() for i in range(3)]
    assert len(set(texts)) == 3
    page.locator(".mark").focus()
    page.keyboard.press("2")
    page.keyboard.press("End")
    assert shown(page) == re.sub(r"\s+", " ", texts[1]).strip()
    assert cards.nth(1).get_attribute("aria-pressed") == "true"


def take(page: Any, label: str, folder: Path) -> Path:
    page.locator(".write .menu summary").click()
    with page.expect_download() as waiting:
        page.get_by_role("menuitem", name=label).click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_a_text_is_taken_along(page: Any, chromium: Any, heard: Any, tmp_path: Path) -> None:
    """The trace is one of the library's, the page plays it from a file, the film has its steps."""
    image = pytest.importorskip("PIL.Image")
    write(page, length="12")
    page.locator(".mark").focus()
    page.keyboard.press("End")
    final = shown(page)
    trace = read_jsonl(take(page, "Trace", tmp_path).read_text(encoding="utf-8"))
    assert " ".join(trace.text.split()) == final

    alone = chromium.new_context(offline=True).new_page()
    heard.follow(alone)
    alone.goto(take(page, "Page", tmp_path).as_uri())
    alone.keyboard.press("End")
    assert " ".join(alone.locator("#text").inner_text().split()) == final
    alone.context.close()

    with image.open(take(page, "Film", tmp_path)) as film:
        assert film.format == "GIF"
        assert film.n_frames == len(trace.events) + 1
        film.seek(film.n_frames - 1)
        assert len(film.convert("RGB").getcolors(1 << 20)) > 10


def test_the_command_and_the_program_write_the_same_text(
    page: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from sfumato_apps.cli import main

    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    write(page, prompt="It's “near” the $river,", length="10", seed="2")
    page.locator(".mark").focus()
    page.keyboard.press("End")
    copied = {}
    for label in ("Copy the command", "Copy as Python"):
        page.locator(".write .menu summary").click()
        page.get_by_role("menuitem", name=label).click()
        page.get_by_text("Copied").wait_for()
        copied[label] = page.evaluate("() => navigator.clipboard.readText()")
    program, *words = shlex.split(copied["Copy the command"])
    assert program == "sfumato"
    with pytest.raises(SystemExit):
        main(words)
    written = capsys.readouterr().out
    assert " ".join(written.split()) == shown(page)
    exec(compile(copied["Copy as Python"], "copied", "exec"), {})
    assert capsys.readouterr().out == written


def test_a_beginning_and_its_controls_are_kept(page: Any) -> None:
    page.goto("#write")
    page.fill("#prompt", "Ты не")
    page.fill("#write-steps", "7")
    page.locator("#write-steps").blur()
    page.fill("#write-temperature", "99")
    page.locator("#write-temperature").blur()
    page.reload()
    assert page.input_value("#prompt") == "Ты не"
    assert page.input_value("#write-steps") == "7"
    assert page.input_value("#write-temperature") == "0.6", "what is out of range is not taken"


def test_writing_is_stopped(page: Any) -> None:
    page.goto("#write")
    page.route("**/v1/completions", lambda route: None)
    page.get_by_role("button", name="Write", exact=True).click()
    page.get_by_text("Waiting for the model").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Write", exact=True).wait_for()
    assert page.locator("#prompt").is_visible()
