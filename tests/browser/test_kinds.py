"""Only what the model takes is asked of it, and only those controls are there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.browser.test_inert import send

pytestmark = pytest.mark.browser
LATENT = {"id": "poet", "kind": "latent", "takes": ["steps", "temperature", "guidance"]}
OF_TOKENS = {"order", "block", "top_p"}


@pytest.fixture
def latent(page: Any) -> Any:
    """A page whose server says that its model is a latent one."""
    send(page, "**/v1/models", json.dumps({"data": [LATENT]}))
    page.goto("#write")
    page.locator(".model", has_text="poet").wait_for()
    return page


def asked(page: Any, path: str, act: Any) -> dict[str, Any]:
    """The body of the request that an act sends."""
    with page.expect_request(path) as sent:
        act()
    found: dict[str, Any] = sent.value.post_data_json
    return found


def test_writing(latent: Any) -> None:
    controls = latent.locator(".write .field:visible label").all_inner_texts()
    assert controls == ["Steps", "Temperature", "Length", "Seed", "Texts"]
    body = asked(latent, "**/v1/completions", lambda: latent.keyboard.press("Control+Enter"))
    assert not OF_TOKENS & body.keys()
    assert {"steps", "temperature", "seed", "n"} <= body.keys()
    latent.get_by_role("button", name="Write again").wait_for()


def test_ranking_and_judging_blindly(latent: Any) -> None:
    latent.goto("#rank")
    body = asked(
        latent,
        "**/v1/completions",
        latent.get_by_role("button", name="Write candidates").click,
    )
    assert not OF_TOKENS & body.keys()
    latent.get_by_role("button", name="Blind").click()
    body = asked(latent, "**/v1/completions", latent.get_by_role("button", name="Begin").click)
    assert not OF_TOKENS & body.keys()
    latent.locator(".side:not([disabled])").first.wait_for()
    vote = asked(latent, "**/v1/judgements", lambda: latent.keyboard.press("ArrowLeft"))
    assert vote["a"] == "32 steps, temperature 0.6"


def test_a_latent_model_fills_what_is_to_be_rewritten(latent: Any) -> None:
    latent.goto("#edit")
    latent.fill("#source", "a bad cat")
    go = latent.locator(".edit .primary")
    assert go.is_disabled()  # it finds nothing by itself
    latent.evaluate(
        """() => {
          const field = document.getElementById('source');
          field.focus();
          field.setSelectionRange(2, 5);
          field.dispatchEvent(new Event('select'));
        }"""
    )
    latent.get_by_role("button", name="Rewrite").click()
    assert go.is_enabled()
    body = asked(latent, "**/v1/infill", lambda: latent.keyboard.press("Control+Enter"))
    assert body["parts"] == [{"text": "a "}, {"hole": 4}, {"text": " cat"}]
    assert not OF_TOKENS & body.keys()


def test_a_model_of_tokens_has_all_controls(page: Any) -> None:
    page.goto("#write")
    page.locator(".model", has_text="sfumato").wait_for()
    body = asked(page, "**/v1/completions", lambda: page.keyboard.press("Control+Enter"))
    assert body.keys() >= OF_TOKENS
