"""Rank, images: sets from files, ranked by key and kept by name; the images stay in the browser."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.browser.conftest import PHONE
from tests.browser.payloads import PAYLOADS
from tests.browser.test_inert import MARKUP, send

from sfumato.alignment.images.records import pixels, read_images

pytestmark = pytest.mark.browser
NAMES = ("images/0-1.png", "images/0-2.png", "images/дом 3.png")
Show = Callable[..., Any]


def png(shade: int) -> bytes:
    """A grey square of 8 × 8 pixels."""
    rows = (b"\x00" + bytes([shade] * 8)) * 8

    def chunk(kind: bytes, body: bytes) -> bytes:
        said = struct.pack(">I", len(body)) + kind + body
        return said + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def image(name: str, shade: int = 90) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/png", "buffer": png(shade)}


def lines(*rows: dict[str, Any]) -> dict[str, Any]:
    """A file of candidates."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    return {"name": "candidates.jsonl", "mimeType": "", "buffer": text.encode()}


def row(prompt: str, *paths: str, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "completions": [{"path": path} for path in paths], **more}


@pytest.fixture
def show(page: Any) -> Show:
    """Gives files to the mode, on a fresh page."""
    page.goto("#rank")
    page.get_by_role("button", name="Images").click()

    def give(*files: dict[str, Any]) -> Any:
        page.set_input_files("#pictures", list(files))
        return page

    return give


def order(page: Any) -> list[str]:
    return page.locator(".pictures .candidate img").evaluate_all("all => all.map((one) => one.alt)")


def test_a_set_of_a_folder_is_ranked_kept_and_read_by_training(
    page: Any, show: Show, tmp_path: Path
) -> None:
    """The file of candidates and its images, as `candidates image` lays them out."""
    folder = tmp_path / "drawn"
    (folder / "images").mkdir(parents=True)
    for shade, name in enumerate(NAMES):
        (folder / name).write_bytes(png(80 * shade))
    rows = [row("a red house", *NAMES), row("alone", NAMES[0]), row("two", *NAMES[:2])]
    (folder / "candidates.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    page.set_input_files("#folder", folder)
    page.locator(".pictures .candidate").nth(2).wait_for()
    assert order(page) == list(NAMES)
    assert page.locator("#caption").input_value() == "a red house"
    assert page.locator(".pictures .count").inner_text() == "1 of 2"
    page.locator(".pictures .candidate").nth(2).focus()
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Shift+ArrowUp")
    page.locator(".pictures .candidate").nth(2).focus()
    page.keyboard.press("=")
    assert page.locator(".pictures .place").all_inner_texts() == ["1", "=2", "=2"]
    with page.expect_request("**/v1/preferences") as sent:
        page.keyboard.press("Control+Enter")
    assert len(sent.value.post_data) < 300
    page.locator(".pictures .count", has_text="2 of 2").wait_for()
    page.locator(".kept summary", has_text="a red house").wait_for()  # other tests keep some too
    assert page.locator(".kept summary").first.inner_text() == f"a red house\n{NAMES[2]}"

    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export .jsonl").click()
    path = folder / "rankings.jsonl"
    waiting.value.save_as(path)
    *_, line, _ = path.read_text(encoding="utf-8").split("\n")
    found = read_images(json.loads(line), "the line", folder)
    assert (found.prompt, found.ranks) == ("a red house", (1, 2, 2))
    assert [one.relative_to(folder).as_posix() for one in found.images] == [
        NAMES[2],
        *NAMES[:2],
    ]
    assert [round(float(127.5 * pixels(one, 2).mean() + 127.5)) for one in found.images] == [
        160,
        0,
        80,
    ]

    page.set_input_files("#folder", folder)  # what is ranked is left out
    page.get_by_text("1 of 2 sets are ranked already").wait_for()
    assert order(page) == list(NAMES[:2])
    page.locator(".kept summary").first.click()
    page.get_by_role("button", name="Rank it again").click()
    assert order(page) == [NAMES[2], *NAMES[:2]]
    assert page.locator(".pictures .place").all_inner_texts() == ["1", "=2", "=2"]


def test_images_alone_are_a_set_with_a_typed_caption(page: Any, show: Show) -> None:
    show(image("b.png"), image("a.png"))
    assert order(page) == ["b.png", "a.png"]
    show(image("c.png"))
    page.fill("#caption", "что угодно")
    page.locator(".pictures .candidate").nth(1).focus()
    page.keyboard.press("Delete")
    assert order(page) == ["b.png", "c.png"]
    with page.expect_request("**/v1/preferences") as sent:
        page.get_by_role("button", name="Keep this order").locator("visible=true").click()
    assert sent.value.post_data_json == row("что угодно", "b.png", "c.png", ranks=[1, 2])
    page.locator(".pictures .candidate").first.wait_for(state="detached")
    show(image("d.png"), image("e.png"))
    assert order(page) == ["d.png", "e.png"]


def test_missing_and_broken_images_are_said_and_nothing_is_kept(page: Any, show: Show) -> None:
    other = {"name": "not.png", "mimeType": "image/png", "buffer": b"no image"}
    show(lines(row("w", "not.png", "0-2.png"), row("x", *NAMES[:2], ranks=[2, 1])), other)
    page.get_by_text("not.png cannot be shown.").wait_for()
    page.get_by_role("button", name="Skip").click()
    show(image("0-2.png"))
    page.get_by_text("1 of 2 images are not here yet").wait_for()
    keep = page.get_by_role("button", name="Keep this order").locator("visible=true")
    assert keep.is_disabled()
    assert order(page) == [NAMES[1]]
    broken = {"name": "0-1.png", "mimeType": "image/png", "buffer": b"no image"}
    show(broken)
    page.get_by_text("images/0-1.png cannot be shown.").wait_for()
    assert keep.is_disabled()
    show(image("0-1.png"))
    page.locator(".pictures .candidate img").nth(1).wait_for()
    assert order(page) == [NAMES[1], NAMES[0]]  # as it was ranked
    assert keep.is_enabled()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "Line 1 is no JSON."),
        (json.dumps({"prompt": "a", "completions": ["b", "c"]}), "Line 1: expected completions"),
        (json.dumps(row("a", "b.png")), "No line of the file has two images."),
    ],
)
def test_a_file_that_has_no_sets_says_so(page: Any, show: Show, text: str, said: str) -> None:
    show({"name": "rows.jsonl", "mimeType": "", "buffer": text.encode()})
    page.get_by_text(said).wait_for()
    assert page.locator(".pictures .candidate").count() == 0


def test_images_are_dropped_anywhere_and_seen_large(page: Any, show: Show) -> None:
    drop = """bytes => {
      const data = new DataTransfer();
      for (const name of ['one.png', 'two.png'])
        data.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/png' }));
      data.items.add(new File(['<svg/>'], 'three.svg', { type: 'image/svg+xml' }));
      for (const kind of ['dragover', 'drop'])
        document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true }));
    }"""
    page.evaluate(drop, list(png(9)))
    page.locator(".pictures .candidate").nth(1).wait_for()
    assert order(page) == ["one.png", "two.png"]
    page.locator(".pictures .candidate").first.focus()
    page.keyboard.press("Enter")
    sheet = page.get_by_role("dialog", name="Image")
    assert sheet.locator("img").get_attribute("alt") == "one.png"
    assert sheet.locator("img").get_attribute("src").startswith("blob:")
    page.keyboard.press("Escape")
    assert sheet.is_hidden()
    page.set_viewport_size(PHONE)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]


def test_names_and_captions_are_text(page: Any, show: Show) -> None:
    """Sixty payloads as captions and paths; kept ones too."""
    kept = [row(one, one, f"{one}x", ranks=[1, 2]) for one in PAYLOADS]
    send(page, "**/v1/preferences?*", json.dumps({"data": kept, "total": 60}))
    send(page, "**/v1/preferences/export?*", "")
    page.reload()
    page.locator(".kept summary").first.wait_for()
    for summary in page.locator(".kept summary").all()[:5]:
        summary.click()
    rows = [row(one, one, f"{one}.png") for one in PAYLOADS]
    show(lines(*rows), *(image(one.replace("\0", "")) for one in PAYLOADS if "/" not in one))
    for number in range(1, len(rows) + 1):
        page.locator(".pictures .count", has_text=f"{number} of 60").wait_for()
        assert page.locator(".pictures .candidate").count() == 2
        if number < len(rows):
            page.get_by_role("button", name="Skip").click()
    shown = page.locator(".pictures img").count()
    assert page.evaluate("() => window.xss") is None
    assert page.locator(MARKUP).count() == 1 + shown
