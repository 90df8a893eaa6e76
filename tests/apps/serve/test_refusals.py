"""What is refused: the bad requests that other servers stumble over, and large ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.apps.serve.living import ROOM, Live, serving, tiny

from sfumato_apps.serve.limits import Limits

WRITING = "/v1/completions"
CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "hi"}]
CONTEXT = "context_length_exceeded"


def check(answer: Any, status: int, code: str | None = None, param: str | None = None) -> str:
    """The answer is one envelope with that status; its message."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    (error,) = answer.json().values()
    assert set(error) == {"message", "type", "param", "code"}
    if code is not None:
        assert error["code"] == code
    if param is not None:
        assert error["param"] == param
    assert error["type"] == (
        "rate_limit_error" if status == 429 else "server_error" if status > 499 else error["type"]
    )
    assert isinstance(error["message"], str)
    return error["message"]


TABLE: list[tuple[str, Any, int, str, str | None]] = [
    (WRITING, {"prompt": "cat " * 5000}, 400, CONTEXT, None),
    (CHAT, {"messages": [{"role": "user", "content": "cat " * 5000}]}, 400, CONTEXT, None),
    ("/v1/infill", {"text": "cat " * 5000 + "{}"}, 400, CONTEXT, None),
    ("/v1/edit", {"text": "cat " * 5000}, 400, CONTEXT, None),
    ("/v1/edit", {"text": "cat " * 5000, "spans": [[0, 3]]}, 400, CONTEXT, None),
    ("/v1/score", {"text": "cat " * 5000}, 400, CONTEXT, None),
    (WRITING, {"max_tokens": -1}, 400, "invalid_value", "max_tokens"),
    (WRITING, {"max_tokens": 0}, 400, "invalid_value", "max_tokens"),
    (WRITING, {"max_tokens": 10**9}, 400, "length_limit_exceeded", None),
    (WRITING, {"max_tokens": 10**30}, 400, "invalid_value", "max_tokens"),
    (WRITING, {"temperature": "abc"}, 400, "invalid_value", "temperature"),
    (WRITING, b'{"temperature": NaN}', 400, "invalid_value", "temperature"),
    (WRITING, b'{"temperature": Infinity}', 400, "invalid_value", "temperature"),
    (WRITING, b'{"temperature": 1e999}', 400, "invalid_value", "temperature"),
    (WRITING, {"temperature": -5}, 400, "invalid_value", "temperature"),
    (WRITING, {"top_p": 7}, 400, "invalid_value", "top_p"),
    (WRITING, {"top_k": 0}, 400, "invalid_value", "top_k"),
    (CHAT, {"messages": "hi"}, 400, "invalid_value", "messages"),
    (CHAT, {"messages": []}, 400, "invalid_value", "messages"),
    (CHAT, {"messages": [{"role": "x"}]}, 400, "invalid_value", "messages.0.role"),
    (CHAT, {"messages": [{"role": "user"}]}, 400, "invalid_value", "messages.0.content"),
    (CHAT, {"messages": HI, "chat_template": "{{ 1 }}"}, 400, "unknown_field", "chat_template"),
    (WRITING, {"propmt": "a"}, 400, "unknown_field", "propmt"),
    (WRITING, {"model": "/etc"}, 400, "invalid_value", "model"),
    (WRITING, {"model": "../../.."}, 400, "invalid_value", "model"),
    (WRITING, {"model": "a\nb"}, 400, "invalid_value", "model"),
    (WRITING, {"model": "gpt-4"}, 404, "model_not_found", "model"),
    (WRITING, {"n": 10**6}, 400, "n_limit_exceeded", "n"),
    (WRITING, {"n": 0}, 400, "invalid_value", "n"),
    (WRITING, {"n": True}, 400, "invalid_value", "n"),
    (WRITING, {"n": 1.5}, 400, "invalid_value", "n"),
    (WRITING, {"steps": 10**6}, 400, "steps_limit_exceeded", "steps"),
    (WRITING, {"seed": -1}, 400, "invalid_value", "seed"),
    (WRITING, {"seed": 2**70}, 400, "invalid_value", "seed"),
    (WRITING, {"prompt": 7}, 400, "invalid_value", "prompt"),
    (WRITING, {"prompt": None}, 400, "invalid_value", "prompt"),
    (WRITING, b'{"prompt": "\\ud800"}', 400, "invalid_value", "prompt"),
    (
        "/v1/judgements",
        b'{"a":"\\udfff","b":"b","text_a":"","text_b":"","winner":"a"}',
        400,
        "invalid_value",
        "a",
    ),
    (WRITING, {"stop": [""]}, 400, "invalid_value", None),
    (WRITING, {"stop": ["a"] * 5}, 400, "invalid_value", None),
    (WRITING, {"guidance": 0.0}, 400, "invalid_value", None),
    (WRITING, {"diffusing": "yes", "stream": True}, 400, "invalid_value", None),
    (WRITING, {"require": ["cat " * 30], "max_tokens": 4}, 400, "invalid_value", None),
    (WRITING, b"", 400, "invalid_value", None),
    (WRITING, b"{", 400, "invalid_json", None),
    (WRITING, b"null", 400, "invalid_value", None),
    (WRITING, b"[]", 400, "invalid_value", None),
    (WRITING, b"[" * 100_000, 400, None, None),
    (WRITING, b"\xff\xfe", 400, None, None),
    (WRITING, b'{"n": ' + b"9" * 5000 + b"}", 400, None, None),
    ("/v1/infill", {"text": "no hole"}, 400, "invalid_value", None),
    ("/v1/infill", {"text": "a { b"}, 400, "invalid_value", None),
    ("/v1/infill", {}, 400, "invalid_value", None),
    ("/v1/infill", {"text": "{}", "parts": [{"hole": 1}]}, 400, "invalid_value", None),
    ("/v1/infill", {"parts": [{"hole": 0}]}, 400, "invalid_value", None),
    ("/v1/infill", {"parts": [{"hole": 99999}]}, 400, CONTEXT, None),
    ("/v1/edit", {"text": "a", "spans": [[0, 9]]}, 400, "invalid_value", None),
    ("/v1/edit", {"text": "a", "spans": [[1, 0]]}, 400, "invalid_value", None),
    ("/v1/edit", {"text": "a", "spans": [[0]]}, 400, "invalid_value", None),
    ("/v1/edit", {"text": "a", "budget": 1.5}, 400, "invalid_value", None),
    ("/v1/edit", {"text": "a", "spans": [], "scorer": "surprise"}, 400, "invalid_value", None),
    ("/v1/score", {"text": "a", "texts": ["b"]}, 400, "invalid_value", None),
    ("/v1/score", {"texts": ["a"] * 65}, 400, "texts_limit_exceeded", None),
    ("/v1/score", {"text": "a", "draws": 65}, 400, "draws_limit_exceeded", None),
]


@pytest.mark.parametrize(("path", "body", "status", "code", "param"), TABLE)
def test_bad_requests_say_what_is_wrong(
    live: Live, path: str, body: Any, status: int, code: str | None, param: str | None
) -> None:
    check(live.post(path, body), status, code, param)


def test_both_numbers_are_said(live: Live) -> None:
    message = check(live.post(WRITING, {"prompt": "cat " * 5000}), 400, CONTEXT)
    assert f"at most {ROOM} tokens" in message
    assert any(int(word) > 5000 for word in message.replace(":", "").split() if word.isdecimal())


def test_the_cost_is_estimated_before_anything_is_written(tmp_path: Path) -> None:
    """n × passes × width: 4 × 8 × 11 tokens for the prompt's 3 and 8 slots."""
    with serving(tiny(), tmp_path, limits=Limits(cost=300)) as live:
        asked = {"prompt": "the cat", "max_tokens": 8, "n": 4}
        width = 8 + live.post(WRITING, {**asked, "n": 1}).json()["usage"]["prompt_tokens"]
        passes = live.service.engine.meters.passes
        message = check(live.post(WRITING, asked), 400, "cost_limit_exceeded")
        assert f"cost {4 * 8 * width} " in message
        assert " 300 " in message
        check(live.post(WRITING, {**asked, "guidance": 1.0}), 400, "cost_limit_exceeded")
        check(
            live.post("/v1/score", {"text": "the cat sat", "draws": 64}), 400, "cost_limit_exceeded"
        )
        long = {"text": "the cat sat on the mat " * 4}
        check(live.post("/v1/edit", long), 400, "cost_limit_exceeded")
        assert live.service.engine.meters.passes == passes
        assert live.post(WRITING, {**asked, "steps": 1}).status_code == 200


def test_a_body_above_the_cap_is_refused_before_it_is_parsed(live: Live) -> None:
    check(live.post(WRITING, {"prompt": "a" * 2**21}), 413, "request_too_large")

    def parts() -> Iterator[bytes]:
        yield b'{"prompt": "'
        for _ in range(40):
            yield b"a" * 2**16

    with live.client() as client:
        kind = {"Content-Type": "application/json"}
        answer = client.post(WRITING, content=parts(), headers=kind)
    check(answer, 413, "request_too_large")
    assert live.get("/healthz").status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", None])
def test_only_json_is_read(live: Live, kind: str | None) -> None:
    with live.client() as client:
        headers = {} if kind is None else {"Content-Type": kind}
        check(client.post(WRITING, content=b'{"prompt":"a"}', headers=headers), 415)
    answer = live.post(
        WRITING,
        {"prompt": "a", "max_tokens": 2},
        **{"Content-Type": "application/json; charset=utf-8"},
    )
    assert answer.status_code == 200


def test_unknown_paths_and_methods_have_the_envelope(live: Live) -> None:
    for path in (
        "/nothing",
        "/v1/nothing",
        "/reset",
        "/load_model",
        "/docs",
        "/redoc",
        "/v1//models",
    ):
        check(live.get(path), 404, "not_found")
    with live.client() as client:
        for method in ("GET", "DELETE", "PUT", "PATCH", "TRACE", "OPTIONS"):
            answer = client.request(method, WRITING)
            check(answer, 405, "method_not_allowed")
            assert answer.headers["allow"] == "POST"
    check(live.get("/v1/models/nobody"), 404, "model_not_found")
    check(live.get("/v1/preferences?limit=0"), 400, "invalid_value", "query.limit")


@pytest.mark.parametrize("stream", [False, True])
def test_logits_that_are_not_numbers_are_an_error_and_no_text(tmp_path: Path, stream: bool) -> None:
    model = tiny()
    model.denoiser.register_forward_hook(lambda *_: _[-1] * torch.nan)
    with serving(model, tmp_path) as live:
        if not stream:
            assert "not finite" in check(live.post(WRITING, {"prompt": "a"}), 500, "model_error")
            assert "not finite" in check(live.post("/v1/score", {"text": "a"}), 500, "model_error")
            return
        (wrong, end) = live.events(WRITING, {"prompt": "a"})
        assert "not finite" in wrong[1]["error"]["message"]
        assert end[1] == "[DONE]"
        *_, wrong, end = live.events(WRITING, {"prompt": "a", "diffusing": "events"})
        assert wrong[0] == "error"
        assert wrong[1]["error"]["code"] == "model_error"
        assert not [name for name, _ in _ if name == "done"]
        assert live.get("/readyz").status_code == 200


def test_an_error_never_repeats_what_was_sent(live: Live) -> None:
    """Neither the value of a field nor the text reaches messages, which logs might keep."""
    secret = "my secret words"
    for body in ({"prompt": [secret]}, {"prompt": secret, "n": secret}, {"prompt": secret * 500}):
        answer = live.post(WRITING, body)
        assert answer.status_code == 400
        assert secret not in json.dumps(answer.json())
