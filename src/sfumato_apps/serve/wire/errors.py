"""One envelope for every error: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sfumato.errors import DataError, ModelError, ResourceError, SfumatoError, UsageError
from sfumato_apps.serve.engine.engine import BusyError, EndingError
from sfumato_apps.serve.limits import LimitError

_INVALID, _SERVER = "invalid_request_error", "server_error"
_RETRY = "1"  # seconds
_CODES = {
    400: "bad_request",
    401: "invalid_api_key",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
    415: "unsupported_media_type",
    429: "queue_full",
    500: "internal_error",
    503: "unavailable",
}


class NotThereError(UsageError):
    """A name that stands for nothing.

    Attributes:
        code: of the error, as clients read it.
        param: the field that has the name; None if it stands in the address.
    """

    def __init__(self, message: str, *, code: str = "not_found", param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What a client is told.

    Attributes:
        status: of HTTP.
        message: what was expected, what came and what to do.
        code: for programs.
        param: the field at fault.
        headers: that belong to the status.
    """

    status: int
    message: str
    code: str
    param: str | None = None
    headers: Mapping[str, str] | None = None

    def record(self) -> dict[str, Any]:
        """The envelope."""
        kind = _INVALID if self.status < 500 and self.status != 429 else _SERVER
        if self.status == 429:
            kind = "rate_limit_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}

    def body(self) -> bytes:
        """The envelope as JSON, in ASCII: what came need not be valid Unicode."""
        return json.dumps(self.record()).encode()


def refusal(status: int, message: str, *, headers: Mapping[str, str] | None = None) -> Refusal:
    """A refusal with the usual code of its status."""
    code = _CODES.get(status, "error")
    return Refusal(status=status, message=message, code=code, headers=headers)


def refusal_of(error: SfumatoError) -> Refusal:
    """What a client is told of an error of ours."""
    retry = {"Retry-After": _RETRY}
    said = str(error)
    wrong = refusal(500, "something failed that should not: see the server's log")
    match error:
        case NotThereError():
            wrong = Refusal(status=404, message=said, code=error.code, param=error.param)
        case LimitError():
            wrong = Refusal(status=400, message=said, code=error.code, param=error.param)
        case UsageError() | DataError():
            wrong = Refusal(status=400, message=said, code="invalid_value")
        case BusyError():
            wrong = refusal(429, said, headers=retry)
        case EndingError():
            wrong = Refusal(status=503, message=said, code="server_shutting_down", headers=retry)
        case ResourceError():
            wrong = refusal(503, said, headers=retry)
        case ModelError():
            wrong = Refusal(status=500, message=said, code="model_error")
    return wrong


def refusal_of_fields(errors: Sequence[Mapping[str, Any]]) -> Refusal:
    """What a client is told of fields that are not as they should be, the first of them."""
    first = errors[0]
    where = [str(part) for part in first["loc"] if part != "body"]
    param = ".".join(where) or None
    kind, message = first["type"], first["msg"]
    code = "unknown_field" if kind == "extra_forbidden" else "invalid_value"
    if kind == "json_invalid":
        return Refusal(status=400, message=f"the body is no JSON: {message}", code="invalid_json")
    said = f"{param}: {message}" if param else message
    return Refusal(status=400, message=said, code=code, param=param)
