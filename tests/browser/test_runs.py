"""Runs: journals as curves and samples, and what is said when there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser


def test_curves_and_samples_of_a_run(page: Any) -> None:
    page.goto("#runs")
    page.locator(".chart").first.wait_for()
    titles = page.locator(".chart figcaption").all_inner_texts()
    assert titles == ["Loss", "ELBO bound, nats a token", "Learning rate"]
    assert page.locator(".chart .reading").first.inner_text() == "3.25 at step 20"
    label = page.locator(".chart svg").first.get_attribute("aria-label")
    assert label == "Loss: curry from 4.5 to 3.25 at step 20"
    assert page.locator(".written p").all_inner_texts() == ["the the curry", "The curry is cheap."]


def test_a_run_that_goes_on_is_followed(page: Any, runs: Path) -> None:
    page.goto("#runs")
    page.locator(".chart").first.wait_for()
    journal = runs / "curry" / "journal.jsonl"
    before = journal.read_text(encoding="utf-8")
    try:
        with journal.open("a", encoding="utf-8") as file:
            file.write('{"kind": "train", "step": 30, "loss": 2.5, "learning_rate": 0.001}\n')
        page.get_by_text("2.5 at step 30").wait_for()
    finally:
        journal.write_text(before, encoding="utf-8")


def test_without_runs_the_page_says_how_to_make_one(page: Any) -> None:
    nothing = '{"object": "list", "data": []}'
    page.route("**/v1/runs", lambda r: r.fulfill(body=nothing, content_type="application/json"))
    page.goto("#runs")
    page.get_by_text("No runs here yet").wait_for()
