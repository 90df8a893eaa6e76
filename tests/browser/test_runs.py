"""Runs: journals as curves and samples, frontiers and sweeps, and what is said without any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.browser.conftest import PHONE

pytestmark = pytest.mark.browser


def test_curves_and_samples_of_a_run(page: Any) -> None:
    page.goto("#runs")
    page.locator(".chart").first.wait_for()
    titles = page.locator(".see > section > .charts figcaption").all_inner_texts()
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
    for path in ("**/v1/runs", "**/v1/results"):
        page.route(path, lambda r: r.fulfill(body=nothing, content_type="application/json"))
    page.goto("#runs")
    page.get_by_text("No runs here yet").wait_for()


def shelf(page: Any) -> Any:
    """The results that there are, on a fresh page."""
    page.goto("#runs")
    page.locator(".result").first.wait_for()
    return page.locator(".shelf .run")


def test_a_frontier_is_drawn_and_told(page: Any) -> None:
    """The newest result is there at once: its points, who is beaten, and the numbers as a table."""
    names = shelf(page).all_inner_texts()
    assert names == ["betas", "guidance.json"]
    picture = page.locator(".result svg")
    assert picture.get_attribute("aria-label") == (
        "Reward and diversity: 2 of 3 on the frontier: "
        "beta-5 with reward 0.25 and div of 8 words 0.75; "
        "beta-1 with reward 0.5 and div of 8 words 0.5"
    )
    assert picture.locator(".dot").count() == 3
    assert picture.locator(".beaten").count() == 1
    assert picture.locator(".axis").all_text_contents() == ["reward →", "↑ div of 8 words"]
    titled = picture.locator(".name").all_text_contents()  # each with its whole name as a title
    assert titled == ["beta-5beta-5", "beta-1beta-1", "beta-.1beta-.1"]
    row = page.locator(".figures tbody tr").nth(2).locator("th, td").all_inner_texts()
    assert row == [
        "beta-.1",
        "40",
        "0.375 0.25 … 0.5",
        "0.25 0.125 … 0.375",
        "no, in 13 % of draws",
    ]


def test_a_sweep_is_drawn_over_its_scale(page: Any) -> None:
    shelf(page).nth(1).click()
    chart = page.locator(".result .chart", has_text="bleu")
    assert chart.locator("svg").get_attribute("aria-label") == (
        "bleu: bleu from 0.25 to 0.75 at guidance 2"
    )
    assert chart.locator(".reading").inner_text() == "0.75 ± 0.125 at guidance 2"
    assert chart.locator(".span").count() == 3
    assert chart.locator(".axis").text_content() == "guidance →"
    page.reload()
    page.locator(".result").nth(1).wait_for()
    shelf(page).nth(0).click()
    assert page.locator(".result h3").all_inner_texts() == ["guidance.json · 100 prompts"]


def test_another_report_is_a_table(page: Any, runs: Path) -> None:
    one = {"label": "ours", "metrics": [{"name": "div", "value": 0.5, "stderr": None}]}
    other = {"label": "theirs", "metrics": [{"name": "loop_rate", "value": 0.25, "stderr": 0.125}]}
    report = {"format": "sfumato-report/1", "title": "E2E", "runs": [one, other], "note": ""}
    path = runs / "curry" / "report.json"
    try:
        path.write_text(json.dumps(report), encoding="utf-8")
        shelf(page)
        rows = page.locator(".figures tr").all()
        told = [row.locator("th, td").all_inner_texts() for row in rows]
        assert told == [
            ["", "ours", "theirs"],
            ["div", "0.5", "–"],
            ["loop rate", "–", "0.25 ± 0.125"],
        ]
    finally:
        path.unlink()


def test_a_result_that_changes_or_breaks_is_shown_as_it_is(
    page: Any, runs: Path, heard: Any
) -> None:
    heard.allowed = ("status of 400",)
    shelf(page)
    path = runs / "betas" / "frontier.json"
    before = path.read_text(encoding="utf-8")
    try:
        path.write_text(before[:-9], encoding="utf-8")
        page.get_by_text("expected JSON as it was written").wait_for()
        path.write_text(json.dumps({**json.loads(before), "models": [{"reward": "x"}]}))
        page.get_by_text("No model in it has both numbers.").wait_for()
    finally:
        path.write_text(before, encoding="utf-8")


def test_results_have_room_on_a_phone(page: Any) -> None:
    page.set_viewport_size(PHONE)
    shelf(page).nth(1).click()
    page.locator(".result").nth(1).wait_for()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
