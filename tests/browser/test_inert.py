"""Text is text: sixty payloads as prompts, output, names and errors run nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.browser.payloads import PAYLOADS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
SAYS = "said => document.querySelector('.write .notice.failed p')?.textContent === said"
MARKUP = "script, img, image, iframe, object, embed, video, audio, marquee, math, base, form"


def lines(payload: str) -> list[dict[str, Any]]:
    """A trace in which the payload is given, written, taken back and the text."""
    return [
        {
            "format": "sfumato-trace/2",
            "seed": 1,
            "mask": 0,
            "tokens": [
                {"id": 1, "piece": payload, "locked": True},
                {"id": 0, "piece": None, "locked": False},
                {"id": 0, "piece": None, "locked": False},
            ],
        },
        {"step": 1, "time": 0.5, "set": [[1, 2, f" {payload}", 0.5]], "remask": []},
        {"step": 2, "time": 0.2, "set": [[2, 2, payload, 0.9]], "remask": [1]},
        {"step": 3, "time": 0.0, "set": [[1, 2, f" {payload}", 0.5]], "remask": []},
        {"text": f"{payload} {payload}{payload}", "passes": 3},
    ]


def stream(payload: str) -> str:
    """What a server with a malicious model would send."""
    said = [f"event: denoise\ndata: {json.dumps({'index': 0, **one})}" for one in lines(payload)]
    choice = {"index": 0, "text": payload, "seed": 1, "finish_reason": "stop"}
    done = json.dumps({"choices": [choice], "usage": {}})
    return "\n\n".join([*said, f"event: done\ndata: {done}", "data: [DONE]", ""])


def send(
    page: Any, path: str, body: str, kind: str = "application/json", status: int = 200
) -> None:
    page.unroute(path)
    page.route(path, lambda r: r.fulfill(body=body, content_type=kind, status=status))


def results() -> dict[str, Any]:
    """A frontier, a sweep and a report in which every string is a payload, by their addresses."""
    kinds = ("frontier", "report", "report")
    names = [{"run": PAYLOADS[i], "file": f"{i}{PAYLOADS[i]}"} for i in range(3)]
    listed = [
        {**name, "format": f"sfumato-{kind}/1", "changed": 1}
        for name, kind in zip(names, kinds, strict=True)
    ]
    models = [
        {"model": one, "group": PAYLOADS[i % 3], "reward": i, "div": -i, "n": one, "kl": one}
        for i, one in enumerate(PAYLOADS)
    ]
    metrics = [{"name": one, "value": 1.0, "stderr": one} for one in PAYLOADS]
    swept = [{"label": f"{PAYLOADS[0]} {i}", "metrics": metrics} for i in range(2)]
    runs = [{"label": one, "metrics": metrics[:5]} for one in PAYLOADS]
    named = dict(zip(("title", "x_label", "y_label", "note"), PAYLOADS, strict=False))
    return {
        "**/v1/results": {"data": listed},
        "**/v1/results/0*": {**named, "models": models},
        "**/v1/results/1*": {**named, "runs": swept},
        "**/v1/results/2*": {**named, "runs": runs},
    }


def check_inert(page: Any, *, markup: int = 1) -> None:
    """Nothing ran, and no element came of the text; the page's own script is one."""
    assert page.evaluate("() => window.xss") is None
    assert page.locator(MARKUP).count() == markup


def test_as_prompt_and_as_output(page: Any) -> None:
    page.goto("#write")
    for payload in PAYLOADS:
        send(page, "**/v1/completions", stream(payload), "text/event-stream")
        if page.locator("#prompt").is_hidden():
            page.get_by_role("button", name="Change the beginning").click()
        page.fill("#prompt", payload.replace("\x00", ""))
        page.keyboard.press("Control+Enter")
        page.get_by_role("button", name="Write again").wait_for()
        page.locator(".mark").focus()
        page.keyboard.press("End")
        check_inert(page)
    assert PAYLOADS[-1] in page.locator(".write .text:visible").inner_text()


def test_as_text_to_edit_and_as_alternative(page: Any) -> None:
    page.goto("#edit")
    for payload in PAYLOADS[::3]:
        send(page, "**/v1/edit", stream(payload), "text/event-stream")
        page.keyboard.press("Escape")
        page.fill("#source", f"a {payload} b".replace("\x00", ""))
        page.get_by_role("button", name="Find what does not fit").click()
        page.get_by_role("button", name="Use this").first.click()
        page.get_by_role("button", name="Changes").click()
        check_inert(page)
        page.get_by_role("button", name="Changes").click()
        page.keyboard.press("Escape")


def test_as_names_rankings_samples_and_errors(page: Any, heard: Any) -> None:
    heard.allowed = ("status of 400",)
    models = [{"id": payload} for payload in PAYLOADS]
    ranked = [{"prompt": one, "completions": [one, one + "x"], "ranks": [1, 2]} for one in PAYLOADS]
    ranked[0]["prompt"] = [{"role": PAYLOADS[0], "content": PAYLOADS[1]}]
    entries = [{"kind": "sample", "step": 1, "prompt": one, "text": one} for one in PAYLOADS]
    entries += [{"kind": "train", "step": i, **dict.fromkeys(PAYLOADS, i)} for i in range(3)]
    send(page, "**/v1/models", json.dumps({"data": models}))
    send(page, "**/v1/preferences?*", json.dumps({"data": ranked, "total": 60}))
    send(page, "**/v1/runs", json.dumps({"data": [{"name": one} for one in PAYLOADS]}))
    send(page, "**/v1/runs/*/journal*", json.dumps({"data": entries}))
    for path, content in results().items():
        send(page, path, json.dumps(content))
    page.goto("#rank")
    page.locator(".kept summary").first.wait_for()
    for summary in page.locator(".kept summary").all()[:5]:
        summary.click()
    check_inert(page)
    page.get_by_role("button", name="Rank it again").first.click()
    assert page.locator(".candidate").count() == 2
    check_inert(page)
    page.evaluate("() => { location.hash = 'runs'; }")
    page.locator(".chart").first.wait_for()
    assert page.locator(".trainings .run").count() == 60
    page.locator(".result").first.wait_for()
    for index in (1, 2):
        page.locator(".shelf .run").nth(index).click()
    page.locator(".result").nth(2).wait_for()
    assert page.locator(".result .dot").count() == 60
    check_inert(page)
    page.evaluate("() => { location.hash = 'write'; }")
    page.locator("#prompt").wait_for()
    for payload in PAYLOADS[:6]:
        error = json.dumps({"error": {"message": payload, "param": payload, "code": payload}})
        send(page, "**/v1/completions", error, status=400)
        page.keyboard.press("Control+Enter")
        page.wait_for_function(SAYS, arg=payload)
        check_inert(page)


def test_in_the_pages_that_are_taken_along(
    page: Any, chromium: Any, heard: Any, tmp_path: Path
) -> None:
    """All sixty in one page, and the first of them through the menu."""
    page.goto("#write")
    source = page.evaluate(
        """async (texts) => {
          const { opened, grow } = await import('/play/trace.js');
          const { pageOf } = await import('/share/page.js');
          const traces = texts.map((lines) => ({ title: lines.at(-1).text,
            trace: lines.slice(1).reduce(grow, opened(lines[0], lines.at(-1).text)) }));
          return pageOf(texts[0].at(-1).text, traces);
        }""",
        [lines(payload) for payload in PAYLOADS],
    )
    path = tmp_path / "page.html"
    path.write_text(source, encoding="utf-8")
    alone = chromium.new_context(offline=True, reduced_motion="reduce").new_page()
    heard.follow(alone)
    alone.goto(path.as_uri())
    for number in range(len(PAYLOADS)):
        alone.locator("#index button").nth(number).click()
        alone.keyboard.press("End")
    check_inert(alone, markup=2)  # its data and its program
    assert alone.locator("#index button").count() == 60
    alone.context.close()
