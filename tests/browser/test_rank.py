"""Rank: candidates are brought into order, kept, found again and exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sfumato.alignment.rankings.formats import read_ranking

pytestmark = pytest.mark.browser
PROMPT = "Near the river,"


def candidates(page: Any, prompt: str = PROMPT) -> list[str]:
    """Has candidates written; what follows the prompt in each, from the top."""
    page.goto("#rank")
    page.evaluate("() => localStorage.clear()")
    page.reload()
    page.fill("#ask", prompt)
    page.get_by_role("button", name="Write candidates").click()
    page.get_by_role("button", name="Write more").wait_for()
    return order(page, prompt)


def order(page: Any, prompt: str = PROMPT) -> list[str]:
    return [
        text.removeprefix(prompt) for text in page.locator(".candidate .mini").all_inner_texts()
    ]


def places(page: Any) -> list[str]:
    return page.locator(".candidate .place").all_inner_texts()


def test_candidates_are_ordered_by_key_kept_and_found(page: Any, tmp_path: Path) -> None:
    first, second, third, fourth = candidates(page)
    page.locator(".candidate").nth(2).focus()
    page.keyboard.press("Shift+ArrowUp")
    assert order(page) == [first, third, second, fourth]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("=")
    assert places(page) == ["1", "=2", "=2", "3"]
    with page.expect_response("**/v1/preferences"):
        page.keyboard.press("Control+Enter")

    page.reload()
    page.locator(".kept summary").first.click()
    assert page.locator(".kept ol").first.locator("b").all_inner_texts() == ["1", "2", "2", "3"]
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export .jsonl").click()
    path = tmp_path / "preferences.jsonl"
    waiting.value.save_as(path)
    rows = [json.loads(line) for line in path.read_text().split("\n") if line]
    record = read_ranking(rows[-1], "the last line")
    assert record.prompt == PROMPT
    assert record.ranks == (1, 2, 2, 3)
    assert [" ".join(text.split()) for text in record.completions] == [
        " ".join(text.split()) for text in (first, third, second, fourth)
    ]


def test_candidates_are_dragged(page: Any) -> None:
    first, *others = candidates(page)
    grip = page.locator(".candidate .grip").first.bounding_box()
    last = page.locator(".candidate").last.bounding_box()
    page.mouse.move(grip["x"] + 6, grip["y"] + 6)
    page.mouse.down()
    page.mouse.move(grip["x"] + 6, last["y"] + last["height"] - 2, steps=6)
    page.mouse.up()
    assert order(page) == [*others, first]
    assert places(page) == ["1", "2", "3", "4"]


def test_a_draft_is_kept_and_may_hold_texts_of_ones_own(page: Any) -> None:
    texts = candidates(page)
    page.get_by_role("button", name="Add a text").click()
    page.fill("#own", "мы пьём чай.")
    page.get_by_role("button", name="Add", exact=True).click()
    page.reload()
    assert order(page)[:-1] == texts
    assert order(page)[-1].strip() == "мы пьём чай."
    page.locator(".candidate").first.focus()
    page.keyboard.press("Delete")
    assert order(page)[:-1] == texts[1:]


def test_an_order_without_two_places_cannot_be_kept(page: Any) -> None:
    candidates(page)
    for row in (1, 2, 3):
        page.locator(".candidate").nth(row).focus()
        page.keyboard.press("=")
    assert places(page) == ["=1"] * 4
    assert page.get_by_role("button", name="Keep this order").is_disabled()


def test_two_ways_are_judged_blindly(page: Any) -> None:
    page.goto("#rank")
    page.evaluate("() => localStorage.clear()")
    page.reload()
    page.get_by_role("button", name="Blind").click()
    page.fill("#blind-a-steps", "9")  # names of their own: other tests vote too
    page.locator("#blind-a-steps").blur()
    assert page.locator(".meter").is_hidden()
    page.get_by_role("button", name="Begin").click()
    for key in ("ArrowLeft", "ArrowDown"):
        page.locator(".side:not([disabled])").first.wait_for()
        with page.expect_response("**/v1/judgements") as kept:
            page.keyboard.press(key)
        assert kept.value.status == 201
    page.locator(".meter figcaption", has_text="2 votes, 1 as good").wait_for()
    said = page.locator(".meter .rate").first.inner_text()
    assert said in ("75 % for A", "25 % for A")
    assert "No difference is certain yet." in page.locator(".meter figcaption").inner_text()
