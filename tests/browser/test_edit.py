"""Edit: what is open changes, what is locked cannot."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from sfumato_apps.cli import main

pytestmark = pytest.mark.browser
TEXT = "The Eagle is a purple coffee shop near the river."


def begin(page: Any, text: str = TEXT) -> None:
    page.goto("#edit")
    page.keyboard.press("Escape")
    page.fill("#source", text)


def select(page: Any, words: str) -> None:
    """As a mouse would."""
    page.evaluate(
        """(words) => {
          const field = document.getElementById('source'), at = field.value.indexOf(words);
          field.focus();
          field.setSelectionRange(at, at + words.length);
          field.dispatchEvent(new Event('select'));
        }""",
        words,
    )


def value(page: Any) -> str:
    return page.input_value("#source")


def test_a_span_is_rewritten_and_the_rest_is_as_it_was(page: Any) -> None:
    begin(page)
    select(page, "purple")
    page.get_by_role("button", name="Rewrite").click()
    assert page.locator(".open.rewrite").inner_text() == "purple"
    assert page.locator("#lock").inner_text() == "9 of 10 words are locked."
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Write again").wait_for()
    assert page.locator(".card").count() == 3
    assert page.get_by_text("locked text unchanged").count() >= 1
    assert page.locator(".card del").first.inner_text().strip() == "purple"
    page.get_by_role("button", name="Use this").first.click()
    before, after = TEXT.split("purple")
    assert value(page).startswith(before.rstrip())
    assert value(page).endswith(after)
    assert "purple" not in value(page)
    page.keyboard.press("Control+z")
    assert value(page) == TEXT
    page.keyboard.press("Control+Shift+z")
    assert value(page) != TEXT


def test_locked_text_cannot_be_typed_into(page: Any) -> None:
    begin(page)
    select(page, "purple")
    page.get_by_role("button", name="Rewrite").click()
    page.keyboard.press("End")
    page.keyboard.type("xyz")
    page.keyboard.press("Backspace")
    page.keyboard.press("Control+x")
    page.evaluate("() => document.execCommand('insertText', false, 'forced')")
    assert value(page) == TEXT
    assert page.get_attribute("#source", "aria-readonly") == "true"
    page.keyboard.press("Escape")
    page.keyboard.press("End")
    page.keyboard.type(" Yes.")
    assert value(page) == f"{TEXT} Yes."


def test_holes_are_filled_by_key(page: Any) -> None:
    begin(page, "Zizzi is a {pub} near the river.")
    select(page, "near the river")
    page.get_by_role("button", name="Lock the text").click()
    select(page, "near the river")
    page.keyboard.press("h")
    page.get_by_label("Tokens at most").fill("4")
    page.get_by_label("Tokens at most").blur()
    with page.expect_request("**/v1/infill") as asked:
        page.keyboard.press("Control+Enter")
    parts = asked.value.post_data_json["parts"]
    assert parts == [{"text": "Zizzi is a {pub} "}, {"hole": 4}, {"text": "."}]
    page.get_by_role("button", name="Use this").first.wait_for()
    page.get_by_role("button", name="Write again").wait_for()
    page.get_by_role("button", name="Use this").first.click()
    assert value(page).startswith("Zizzi is a {pub}")
    assert value(page).endswith(".")


def test_a_deletion_takes_its_space_along_and_is_undone(page: Any) -> None:
    begin(page)
    select(page, "purple")
    page.get_by_role("button", name="Delete").click()
    assert value(page) == "The Eagle is a coffee shop near the river."
    page.get_by_role("button", name="Changes").click()
    assert page.locator(".compared del").inner_text().strip() == "purple"
    page.get_by_role("button", name="Undo").click()
    assert value(page) == TEXT


def test_spans_are_counted_in_code_points(page: Any) -> None:
    begin(page, "😀😀 Орёл хороший кафе.")
    select(page, "хороший")
    page.get_by_role("button", name="Rewrite").click()
    with page.expect_request("**/v1/edit") as asked:
        page.keyboard.press("Control+Enter")
    (span,) = asked.value.post_data_json["spans"]
    assert span == [8, 15]
    page.get_by_role("button", name="Write again").wait_for()


def test_without_marks_the_words_that_do_not_fit_are_found(page: Any) -> None:
    begin(page)
    with page.expect_request("**/v1/edit") as asked:
        page.get_by_role("button", name="Find what does not fit").click()
    assert asked.value.post_data_json["spans"] is None
    page.get_by_role("button", name="Write again").wait_for()
    page.get_by_role("button", name="Back to the text").click()
    assert value(page) == TEXT


@pytest.mark.parametrize("open_place", ["r", "h", None])
def test_the_command_makes_the_same_alternatives(
    page: Any, capsys: pytest.CaptureFixture[str], open_place: str | None
) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    begin(page, "The {Eagle} is a purple coffee shop.")
    if open_place is not None:
        page.get_by_role("button", name="Lock the text").click()
        select(page, "purple")
        page.keyboard.press(open_place)
    kind = "infill" if open_place == "h" else "edit"
    streams: list[str] = []

    def overheard(route: Any) -> None:  # Chromium does not keep the body of a stream
        answer = route.fetch()
        streams.append(answer.text())
        route.fulfill(response=answer)

    page.route(f"**/v1/{kind}", overheard)
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Write again").wait_for()
    done = next(part for part in streams[0].split("\n\n") if "event: done" in part)
    found = [one["text"] for one in json.loads(done.partition("data: ")[2])["choices"]]
    page.locator(".edit .menu summary").click()
    page.get_by_role("menuitem", name="Copy the command").click()
    page.get_by_text("Copied").wait_for()
    words = shlex.split(page.evaluate("() => navigator.clipboard.readText()"))
    with pytest.raises(SystemExit):
        main(words[1:])
    assert capsys.readouterr().out == "".join(f"{text}\n" for text in found)


def test_a_written_text_goes_on_into_edit(page: Any) -> None:
    page.goto("#write")
    page.fill("#prompt", "Near the river,")
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Edit it").click()
    assert value(page).startswith("Near the river,")
    assert page.url.endswith("#edit")
