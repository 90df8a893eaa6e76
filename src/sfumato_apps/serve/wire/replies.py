"""Answers as JSON, whatever is in them: numbers that are none are null, half characters escaped."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from sfumato_apps.serve.wire.errors import Refusal


def reply(data: Any, status: int = 200) -> Response:  # noqa: ANN401
    """An answer."""
    body = json.dumps(_plain(data), allow_nan=False)
    return Response(body, status, media_type="application/json")


def refused(wrong: Refusal) -> Response:
    """An error."""
    return Response(wrong.body(), wrong.status, dict(wrong.headers or {}), "application/json")


def _plain(data: Any) -> Any:  # noqa: ANN401
    """The same without NaN and infinity, which JSON does not have."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {name: _plain(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    return data
