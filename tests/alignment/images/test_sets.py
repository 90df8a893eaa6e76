"""Rows to ranked images, files to pixels."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from PIL import Image

from sfumato.alignment.images.records import as_image, pixels, read_images
from sfumato.errors import DataError, UnusableError

HERE = Path("folder")


def png(size: tuple[int, int], colour: tuple[int, int, int]) -> bytes:
    """A file in memory."""
    kept = io.BytesIO()
    Image.new("RGB", size, colour).save(kept, format="PNG")
    return kept.getvalue()


def test_scores_become_places_and_paths_are_relative_to_the_file() -> None:
    images = [{"path": "a.png"}, {"path": "b.png"}, {"path": "c.png"}]
    row = {"prompt": "a cat", "completions": images, "scores": [0.1, 2.0, 0.1]}
    found = read_images(row, "line 1", HERE)
    assert found.ranks == (2, 1, 2)
    assert found.images[1] == HERE / "b.png"
    assert found.ranked


def test_rows_of_pick_a_pic_are_pairs() -> None:
    row = {"caption": "a cat", "jpg_0": b"0", "jpg_1": b"1", "label_0": 0.0, "label_1": 1.0}
    assert read_images(row, "line 1", HERE).ranks == (2, 1)
    with pytest.raises(UnusableError, match="neither image"):
        read_images(row | {"label_0": 0.5, "label_1": 0.5}, "line 1", HERE)


def test_a_picture_with_its_caption_is_a_real_image() -> None:
    found = read_images({"caption": "a cat", "image": "a.jpg"}, "line 1", HERE)
    assert found.sources == ("real",)
    assert not found.ranked


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"completions": []}, "expected a caption"),
        ({"prompt": "a"}, "expected images in completions"),
        ({"prompt": "a", "completions": []}, "expected a list of images"),
        ({"prompt": "a", "completions": [{}]}, "expected an image as a path"),
        ({"prompt": "a", "completions": ["x.png"], "ranks": [1, 2]}, "one for each of 1 images"),
        ({"prompt": "a", "completions": ["x.png"], "scores": ["good"]}, "scores"),
        ({"prompt": "a", "completions": ["x.png", "y.png"], "ranks": [0, 1]}, "places from 1 on"),
        ({"prompt": "a", "jpg_0": b"", "jpg_1": b"", "label_0": "x"}, "expected numbers"),
    ],
)
def test_other_rows_are_refused(row: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_images(row, "line 1", HERE)


def test_the_middle_square_is_seen() -> None:
    wide = Image.new("RGB", (40, 20), (0, 0, 0))
    wide.paste((255, 255, 255), (10, 0, 30, 20))
    kept = io.BytesIO()
    wide.save(kept, format="PNG")
    assert torch.equal(pixels(kept.getvalue(), 8), torch.ones(3, 8, 8))


def test_pixels_and_images_are_inverse() -> None:
    found = pixels(png((8, 8), (255, 51, 0)), 8)
    assert as_image(found).getpixel((3, 3)) == (255, 51, 0)


def test_images_of_pillow_are_read() -> None:
    row = {"caption": "a", "image": Image.new("RGB", (8, 8), (255, 51, 0))}
    found = read_images(row, "line 1", HERE).images[0]
    assert as_image(pixels(found, 8)).getpixel((3, 3)) == (255, 51, 0)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    whole = png((8, 8), (0, 0, 0))
    for broken in (b"text", whole[:20], whole[:40] + b"x" + whole[41:]):
        with pytest.raises(DataError, match="cannot be read as an image"):
            pixels(broken, 8)
    with pytest.raises(DataError, match="no-such"):
        pixels(tmp_path / "no-such.png", 8)
