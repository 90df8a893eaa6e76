"""Takes the studio's pictures for the manual, from a server that runs.

sfumato serve --runs runs & python tools/screens.py http://127.0.0.1:8000/
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

TARGET = Path(__file__).parents[1] / "docs" / "_static"
MOST = 150_000  # bytes of a picture
SIZES = {"desktop": (1280, 800, 1.25), "phone": (390, 844, 2)}
TEXT = "The Eagle is a purple coffee shop near the river. It has a low customer rating."
SELECT = """(words) => {
  const field = document.getElementById('source'), at = field.value.indexOf(words);
  field.focus();
  field.setSelectionRange(at, at + words.length);
  field.dispatchEvent(new Event('select'));
}"""


def write(page: Page, size: str) -> None:
    """A text on its way out of noise."""
    page.goto("#write")
    _set(page, "write", seed="1")
    page.fill("#prompt", "The Golden Curry is")
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Write again").wait_for()
    _pause(page, steps=13)


def edit(page: Page, size: str) -> None:
    """Alternatives for two open places; on a phone the places."""
    page.goto("#edit")
    page.fill("#source", TEXT)
    page.evaluate(SELECT, "purple")
    page.get_by_role("button", name="Rewrite").click()
    page.evaluate(SELECT, "a low")
    page.keyboard.press("h")
    if size == "phone":
        page.locator("h1").first.evaluate("(one) => document.activeElement.blur()")
        return
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Write again").wait_for()
    _pause(page, steps=3)


def rank(page: Page, size: str) -> None:
    """Candidates in their order, with a tie, and what was kept before."""
    page.goto("#rank")
    _set(page, "rank", seed="5")
    for prompt in ("Near the river,", "The Golden Curry is"):
        page.fill("#ask", prompt)
        page.get_by_role("button", name="Write candidates").click()
        page.get_by_role("button", name="Write more").wait_for()
        page.locator(".candidate").nth(2).focus()
        page.keyboard.press("=")
        if prompt.startswith("Near"):
            page.keyboard.press("Control+Enter")
            page.get_by_role("button", name="Write candidates").wait_for()
    page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")


def runs(page: Page, size: str) -> None:
    """Curves and samples."""
    page.goto("#runs")
    page.locator(".chart").nth(1).wait_for()


def frontier(page: Page, size: str) -> None:
    """The newest frontier alone."""
    page.goto("#runs")
    page.locator(".result .dot").first.wait_for()
    while page.locator(".trainings input:checked").count():
        page.locator(".trainings input:checked").first.click()
    top = 0 if size == "desktop" else page.locator(".result").bounding_box()["y"] - 110
    page.evaluate("(top) => { document.activeElement.blur(); scrollTo(0, top); }", top)


def _set(page: Page, tool: str, **controls: str) -> None:
    for name, value in controls.items():
        page.locator(f"#{tool}-{name}").evaluate(
            "(one, value) => { one.value = value; one.dispatchEvent(new Event('change')); }", value
        )


def _pause(page: Page, *, steps: int) -> None:
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("Home")
    for _ in range(steps):
        page.keyboard.press("ArrowRight")
    page.mouse.move(640, 700)


SCENES: dict[str, Callable[[Page, str], None]] = {
    one.__name__: one for one in (write, edit, rank, runs, frontier)
}


def picture(browser: Browser, address: str, scene: str, size: str, colours: str) -> bytes:
    """One scene as a PNG with a palette."""
    width, height, scale = SIZES[size]
    context = browser.new_context(
        base_url=address,
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        color_scheme=colours,
    )
    page = context.new_page()
    SCENES[scene](page, size)
    page.wait_for_timeout(900)
    raw = page.screenshot(animations="disabled")
    context.close()
    told = BytesIO()
    Image.open(BytesIO(raw)).convert("RGB").quantize(160, dither=Image.Dither.NONE).save(
        told, "PNG", optimize=True
    )
    return told.getvalue()


def main(address: str, only: str = "") -> None:
    """Takes all pictures, or those whose name holds a word."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*flags, "--font-render-hinting=none"]
        )
        for scene in SCENES:
            for size in SIZES:
                for colours in ("light", "dark"):
                    name = f"studio-{scene}-{size}-{colours}.png"
                    if only not in name:
                        continue
                    data = picture(browser, address, scene, size, colours)
                    if len(data) > MOST:
                        raise SystemExit(f"{name}: {len(data)} bytes, more than {MOST}")
                    (TARGET / name).write_bytes(data)
                    print(f"{name}  {len(data) / 1000:.0f} kB", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
