"""What the studio says when the server is busy, refuses, fails or is gone; themes, keys, phones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.browser.conftest import PHONE

pytestmark = pytest.mark.browser
TOOLS = ("write", "edit", "rank", "runs")
BUSY = {"error": {"message": "the queue is full", "type": "t", "param": None, "code": "c"}}


def test_a_full_queue_is_waited_for(page: Any, heard: Any) -> None:
    heard.allowed = ("status of 429",)
    refusals = [2]

    def answer(route: Any) -> None:
        refusals[0] -= 1
        if refusals[0] < 0:
            route.continue_()
        else:
            kind = "application/json"
            headers = {"Retry-After": "1", "Content-Type": kind}
            route.fulfill(status=429, headers=headers, body=json.dumps(BUSY))

    page.route("**/v1/completions", answer)
    page.goto("#write")
    page.keyboard.press("Control+Enter")
    page.get_by_text("The server is busy. Trying again in 1 s.").wait_for()
    page.get_by_role("button", name="Write again").wait_for()
    assert refusals == [-1]


def test_a_token_is_asked_for_and_kept_by_the_tab(page: Any, heard: Any) -> None:
    heard.allowed = ("status of 401",)
    wanted = "Bearer geheim"

    def guarded(route: Any) -> None:
        if route.request.headers.get("authorization") == wanted:
            route.continue_()
        else:
            body = json.dumps(
                {"error": {"message": "a token is needed", "param": None, "code": "c"}}
            )
            route.fulfill(status=401, content_type="application/json", body=body)

    page.route("**/v1/**", guarded)
    page.goto("#write")
    page.get_by_text("This server needs a token").wait_for()
    page.fill("#token", "falsch")
    page.keyboard.press("Enter")
    page.locator("dialog:has(#token)").wait_for(state="detached")
    page.keyboard.press("Control+Enter")
    page.get_by_text("That token is not this server’s").wait_for()
    page.fill("#token", "geheim")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Write again").wait_for()
    page.reload()
    page.locator(".model", has_text="sfumato").wait_for()


def test_a_token_in_the_address_is_taken_and_hidden(page: Any) -> None:
    page.goto("#token=abc%20d")
    page.locator(".model", has_text="sfumato").wait_for()
    assert "token" not in page.url
    assert page.evaluate("() => sessionStorage.getItem('sfumato.token')") == "abc d"


def test_a_server_that_is_gone_is_missed_and_welcomed(page: Any, heard: Any) -> None:
    heard.allowed = ("ERR_",)
    page.goto("#write")
    page.locator(".model", has_text="sfumato").wait_for()
    page.fill("#prompt", "Ты не")
    page.context.set_offline(True)
    page.keyboard.press("Control+Enter")
    page.get_by_text("The server does not answer.").wait_for()
    page.locator("#gone").wait_for()
    assert page.input_value("#prompt") == "Ты не"
    page.context.set_offline(False)
    page.locator("#gone").wait_for(state="hidden")
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("button", name="Write again").wait_for()


def test_a_break_in_the_stream_is_told(page: Any) -> None:
    said = {"error": {"message": "the logits are not numbers", "param": None, "code": "c"}}
    body = f": queued 2\n\nevent: error\ndata: {json.dumps(said)}\n\ndata: [DONE]\n\n"
    kind = "text/event-stream"
    page.route("**/v1/completions", lambda r: r.fulfill(body=body, content_type=kind))
    page.goto("#write")
    page.keyboard.press("Control+Enter")
    page.get_by_text("the logits are not numbers").wait_for()
    assert page.locator("#prompt").is_visible()


def test_themes_go_round_and_stay(page: Any) -> None:
    page.goto("#write")
    button, paper = (
        page.locator(".theme"),
        "() => getComputedStyle(document.documentElement).backgroundColor",
    )
    light = page.evaluate(paper)
    button.click()
    button.click()
    assert page.evaluate(paper) != light
    page.reload()
    assert page.locator(".theme").get_attribute("aria-label") == "Colours: Dark"
    page.locator(".theme").click()
    assert page.evaluate(paper) == light


def test_keys_lead_to_the_tools_and_to_help(page: Any) -> None:
    page.goto("#write")
    page.keyboard.press("Alt+3")
    assert page.locator(".tabs [aria-current]").inner_text() == "Rank"
    page.locator(".mark").focus()
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").is_hidden()


@pytest.mark.parametrize("tool", TOOLS)
def test_a_phone_has_room_and_every_control_a_name(page: Any, tool: str) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"#{tool}")
    page.wait_for_timeout(300)
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= PHONE["width"]
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, textarea, a[href]')]
          .filter((one) => one.checkVisibility() && !one.closest('[aria-hidden=true]')
            && !one.textContent.trim() && !one.getAttribute('aria-label') && !one.labels?.length)
          .map((one) => one.outerHTML)"""
    )
    assert nameless == []


def test_a_phone_has_room_for_a_text_and_its_player(page: Any) -> None:
    page.set_viewport_size(PHONE)
    page.goto("#write")
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Write again").wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    bar = page.locator(".player").bounding_box()
    assert bar["y"] + bar["height"] == pytest.approx(PHONE["height"], abs=1)


def test_whoever_wants_calm_sees_the_text_at_once(page: Any) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto("#write")
    page.fill("#prompt", "Near the river,")
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Write again").wait_for()
    page.wait_for_function("() => document.querySelectorAll('.text .haze').length === 0")
    moving = "() => document.getAnimations().filter((one) => one.playState === 'running').length"
    assert page.evaluate(moving) == 0
