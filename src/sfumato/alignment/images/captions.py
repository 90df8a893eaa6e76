"""Captions of images by a model that looks at them: LLaVA and its kind, through transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sfumato.alignment.images.records import Picture, as_image, pixels
from sfumato.errors import MissingExtraError, ModelError

_ASKED, _SIDE, _MOST = "Describe the image in one sentence.", 336, 60


def captioner(
    name: str | Path, *, asked: str = _ASKED, device: torch.device | str = "cpu"
) -> Callable[[Picture], str]:
    """Opens an image-text-to-text model as a function from an image to its caption.

    Args:
        name: folder or hub name.
        asked: what it is asked.
        device: where it goes.

    Raises:
        ModelError: there is no such model, or it sees no images.
        MissingExtraError: pillow is not installed.
    """
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("pillow", "images") from error
    from transformers import pipeline

    try:
        opened: Any = pipeline("image-text-to-text", model=str(name), device=device)
    except (OSError, ValueError, KeyError) as error:
        message = f"{name}: cannot be opened as an image-text-to-text model: {error}"
        raise ModelError(message) from error

    def caption(image: Picture) -> str:
        shown = {"type": "image", "image": as_image(pixels(image, _SIDE))}
        turns = [{"role": "user", "content": [shown, {"type": "text", "text": asked}]}]
        found = opened(text=turns, max_new_tokens=_MOST, do_sample=False, return_full_text=False)
        return " ".join(found[0]["generated_text"].split())

    return caption
