"""Ranked images as rows of files.

    {"prompt", "completions": [{"path"}, …], "scores" | "ranks", "source"}        ours
    {"caption", "jpg_0", "jpg_1", "label_0", "label_1"}                           Pick-a-Pic
    {"caption", "image", "aesthetic_score"}                                       a picture in COYO

A path is relative to the folder of the file that names it; an image may also stand in the row, as
`{"bytes"}`, as parquet files hold it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.alignment.rankings.ranking import places
from sfumato.alignment.rankings.sources import REAL
from sfumato.errors import DataError, MissingExtraError, UnusableError
from sfumato.text.files import Row

_CAPTIONS = ("prompt", "caption", "text", "Prompt")
Picture = Path | bytes


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images for one caption, perhaps ranked.

    Attributes:
        prompt: the caption.
        images: files, or what stood in them.
        ranks: the place of each, 1 for the best; None if nothing is known.
        sources: where each came from; "real" for one that no model made.
        origin: where the set came from.
    """

    prompt: str
    images: tuple[Picture, ...]
    ranks: tuple[int, ...] | None = None
    sources: tuple[str, ...] = ()
    origin: str = ""

    @property
    def ids(self) -> Sequence[int]:
        """The numbers of its images: sets of the same size share a batch."""
        return range(len(self.images))

    @property
    def group(self) -> str:
        """What sets on two sides of a split must not share."""
        return self.prompt or self.origin

    @property
    def ranked(self) -> bool:
        """Whether some image is better than another."""
        return self.ranks is not None and len(set(self.ranks)) > 1


def read_images(row: Row, origin: str, folder: Path) -> ImageSet:
    """A set of images from a row of any of the forms above.

    Args:
        row: the fields.
        origin: where it stands, for messages.
        folder: what paths are relative to.

    Raises:
        DataError: no form fits, or a field is of another type.
        UnusableError: two images of which none is better.

    Example:
        >>> row = {"prompt": "a seven", "completions": [{"path": "1.png"}], "source": ["real"]}
        >>> read_images(row, "line 1", Path("digits")).images
        (PosixPath('digits/1.png'),)
    """
    caption = caption_of(row, origin)
    if "completions" in row:
        return _own(row, caption, origin, folder)
    for name in ("jpg", "image"):
        if f"{name}_0" in row and f"{name}_1" in row:
            return _picked(row, caption, name, origin, folder)
    if "image" in row:
        images = (_picture(row["image"], origin, folder),)
        return ImageSet(prompt=caption, images=images, sources=(REAL,), origin=origin)
    raise DataError(
        f"{origin}: expected images in completions, in jpg_0 and jpg_1, or in image, got the "
        f"fields {', '.join(sorted(map(str, row)))}"
    )


def caption_of(row: Row, origin: str) -> str:
    """What a row says that its images show.

    Args:
        row: the fields.
        origin: where it stands, for messages.

    Raises:
        DataError: none of the fields that may say it is a text.

    Example:
        >>> caption_of({"caption": "a seven"}, "line 1")
        'a seven'
    """
    found = next((row[name] for name in _CAPTIONS if isinstance(row.get(name), str)), None)
    if not isinstance(found, str):
        raise DataError(f"{origin}: expected a caption in one of {', '.join(_CAPTIONS)}")
    return found


def _own(row: Row, caption: str, origin: str, folder: Path) -> ImageSet:
    found = row["completions"]
    if not isinstance(found, list) or not found:
        raise DataError(f"{origin}: completions: expected a list of images")
    columns: dict[str, tuple[Any, ...] | None] = {}
    for name, kinds in (("ranks", int), ("scores", (int, float)), ("source", str)):
        value = row.get(name)
        good = isinstance(value, list) and all(isinstance(one, kinds) for one in value)
        if value is not None and not (good and len(value) == len(found)):  # type: ignore[arg-type]
            raise DataError(f"{origin}: {name}: expected one for each of {len(found)} images")
        columns[name] = None if value is None else tuple(value)  # type: ignore[arg-type]
    ranks, scores = columns["ranks"], columns["scores"]
    if ranks is None and scores is not None:
        ranks = tuple(places([float(score) for score in scores]))
    if ranks is not None and min(ranks) < 1:
        raise DataError(f"{origin}: ranks: expected places from 1 on, got {ranks}")
    return ImageSet(
        prompt=caption,
        images=tuple(_picture(one, origin, folder) for one in found),
        ranks=ranks,
        sources=columns["source"] or (),
        origin=origin,
    )


def _picked(row: Row, caption: str, name: str, origin: str, folder: Path) -> ImageSet:
    """Two images, of which somebody liked one better."""
    labels = row.get("label_0"), row.get("label_1")
    if not all(isinstance(label, int | float) for label in labels):
        raise DataError(f"{origin}: expected numbers in label_0 and label_1, got {labels}")
    if labels[0] == labels[1]:
        raise UnusableError("neither image was liked better", reason="no order", place=origin)
    first = float(labels[0]) > float(labels[1])  # type: ignore[arg-type]
    images = tuple(_picture(row[f"{name}_{side}"], origin, folder) for side in (0, 1))
    return ImageSet(prompt=caption, images=images, ranks=(1, 2) if first else (2, 1), origin=origin)


def _picture(value: Any, origin: str, folder: Path) -> Picture:  # noqa: ANN401
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if hasattr(value, "save"):  # an image of pillow, as `datasets` gives them
        kept = io.BytesIO()
        value.convert("RGB").save(kept, format="PNG")
        return kept.getvalue()
    if isinstance(value, str) and value:
        return folder / value
    raise DataError(f"{origin}: expected an image as a path or as bytes, got {value!r:.60}")


def pixels(image: Picture, size: int) -> Float[Tensor, "3 S S"]:
    """An image's middle square in `size` pixels a side, from −1 to 1.

    Args:
        image: a file, or what stood in it.
        size: pixels a side.

    Raises:
        DataError: no such file, or no image.
        MissingExtraError: pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingExtraError("pillow", "images") from error
    name = "an image in a row" if isinstance(image, bytes) else str(image)
    try:
        opened = Image.open(io.BytesIO(image) if isinstance(image, bytes) else image)
        full = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{name}: cannot be read as an image: {error}") from error
    side = min(full.size)
    left, top = (full.width - side) // 2, (full.height - side) // 2
    square = full.crop((left, top, left + side, top + side)).resize((size, size))
    values = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8)
    return values.view(size, size, 3).permute(2, 0, 1).float() / 127.5 - 1


def as_image(values: Float[Tensor, "3 S S"]) -> Any:  # noqa: ANN401
    """An image of pillow.

    Args:
        values: from −1 to 1.
    """
    from PIL import Image

    levels = ((values + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())
