"""Each route does what its command does, and streams as it says."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tests.apps.serve.living import ROOM, Live, serving, tiny

from sfumato.evaluation.bounds import text_bounds
from sfumato.sampling.tasks import edit, fill, fim, write
from sfumato.sampling.trace import read_jsonl
from sfumato.text.batching import encode
from sfumato.text.records import PairRecord, TextRecord
from sfumato_apps.choices import Decoding
from sfumato_apps.policies import policy_of

MODEL = tiny()
TEXT = "the {} sat on {3}. {{x}}"


def texts(answer: dict[str, Any]) -> list[str]:
    return [one["text"] for one in answer["choices"]]


def test_infill_is_sfumato_fill(live: Live) -> None:
    asked = {"seed": 2, "n": 2, "temperature": 0.5, "steps": 4}
    policy = policy_of(MODEL, Decoding(temperature=0.5, steps=4))
    alone = [one.text for one in fill(MODEL, TEXT, n=2, seed=2, policy=policy)]
    assert texts(live.post("/v1/infill", {"text": TEXT, **asked}).json()) == alone
    parts = [{"text": "the "}, {"hole": None}, {"text": " sat on "}, {"hole": 3}, {"text": ". {x}"}]
    assert texts(live.post("/v1/infill", {"parts": parts, **asked}).json()) == alone


@pytest.mark.parametrize("spans", [None, [[4, 7]], [[0, 3], [8, 8]]])
def test_edit_is_sfumato_edit(live: Live, spans: list[list[int]] | None) -> None:
    """Spans count characters, also beyond the basic plane; what is written is named."""
    source = "the cat 😀 sat. Кот"
    given = None if spans is None else [tuple(span) for span in spans]
    alone = edit(MODEL, source, spans=given, n=2, seed=1, policy=policy_of(MODEL), budget=2)
    answer = live.post("/v1/edit", {"text": source, "spans": spans, "n": 2, "seed": 1, "budget": 2})
    choices = answer.json()["choices"]
    assert [one["text"] for one in choices] == [one.text for one in alone]
    for choice, one in zip(choices, alone, strict=True):
        assert choice["kept"] == pytest.approx(one.kept, abs=1e-4)
        written = [each.text for each in one.segments if each.kind == "written"]
        assert [choice["text"][a:b] for a, b in choice["spans"]] == written


@pytest.mark.parametrize("length", [None, 5])
def test_fim_is_sfumato_fim(live: Live, length: int | None) -> None:
    asked = {"prompt": "the cat", "suffix": " on the mat.", "n": 2, "seed": 3}
    (one, two) = fim(
        MODEL, "the cat", " on the mat.", length=length, n=2, seed=3, policy=policy_of(MODEL)
    )
    more = {} if length is None else {"max_tokens": length}
    answer = live.post("/v1/fim/completions", {**asked, **more}).json()
    assert texts(answer) == [one.middle, two.middle]
    forwards = answer["usage"]["diffusion"]["forwards"]
    assert forwards == one.passes + two.passes
    *events, done, end = live.events(
        "/v1/fim/completions", {**asked, **more, "diffusing": "events"}
    )
    assert texts(done[1]) == texts(answer)
    assert end[1] == "[DONE]"
    for index, found in enumerate((one, two)):
        mine = [data for _, data in events if data["index"] == index]
        trace = read_jsonl("".join(json.dumps(line) + "\n" for line in mine))
        assert list(trace.states())[-1] == found.trajectory.ids


def test_events_are_the_lines_of_a_trace(live: Live) -> None:
    """Of each choice: a file of them is read as one, and replays to the same ids."""
    body = {"prompt": "the cat", "n": 3, "max_tokens": 12, "seed": 4, "diffusing": "events"}
    policy = policy_of(MODEL, block=8)
    alone = write(MODEL, prompt="the cat", n=3, length=12, seed=4, policy=policy)
    *events, (name, done), end = live.events("/v1/completions", body)
    assert (name, end) == ("done", ("", "[DONE]"))
    assert {name for name, _ in events} == {"denoise"}
    for index, sample in enumerate(alone):
        mine = [data for _, data in events if data["index"] == index]
        trace = read_jsonl("".join(json.dumps(line) + "\n" for line in mine))
        assert (trace.text, trace.seed, trace.passes) == (sample.text, sample.seed, sample.passes)
        assert list(trace.states())[-1] == sample.trajectory.ids
    assert ["the cat" + one for one in texts(done)] == [one.text for one in alone]
    assert done["usage"]["diffusion"]["forwards"] == sum(one.passes for one in alone)


def test_drafts_of_an_infill_show_the_whole_text(live: Live) -> None:
    found = live.events("/v1/infill", {"text": "the {4} sat.", "diffusing": True, "steps": 4})
    *shown, close, end = found
    for _, one in shown:
        assert one["choices"][0]["text"].startswith("the")
        assert one["choices"][0]["text"].endswith(" sat.")
        assert 0 <= one["diffusion_meta"]["diffusion_progress"] <= 1
    assert close[1]["choices"][0]["finish_reason"] in ("stop", "length")
    assert end[1] == "[DONE]"


@pytest.mark.parametrize("prompt", [None, "the dog "])
def test_scores_are_bounds_with_their_error(live: Live, prompt: str | None) -> None:
    given = ["the cat sat", "Кот"]
    more = {} if prompt is None else {"prompt": prompt}
    answer = live.post("/v1/score", {"texts": given, "draws": 8, "seed": 5, **more}).json()
    for text, one in zip(given, answer["data"], strict=True):
        record = (
            TextRecord(text=text) if prompt is None else PairRecord(prompt=prompt, completion=text)
        )
        example = encode(record, MODEL.vocabulary, max_length=ROOM)
        bounds = text_bounds(MODEL, [example], draws=8, seed=5)
        assert one["nats"] == pytest.approx(float(bounds.nats.mean()), rel=1e-5)
        assert one["standard_error"] == pytest.approx(float(bounds.draw_error[0]), rel=1e-4)
        assert one["tokens"] == int(bounds.tokens[0])
        assert one["perplexity_bound"] == pytest.approx(math.exp(one["nats"] / one["tokens"]))
    one = live.post("/v1/score", {"text": given[0], "draws": 8, "seed": 5, **more}).json()
    assert one["data"][0] == answer["data"][0]


def test_metrics_count_what_was_done(live: Live) -> None:
    def value(name: str) -> float:
        lines = live.get("/metrics").text.split("\n")
        return float(next(line.split()[-1] for line in lines if line.startswith(name + " ")))

    before = {name: value(f"sfumato_{name}_total") for name in ("requests", "passes", "tokens")}
    answer = live.post("/v1/completions", {"prompt": "a", "max_tokens": 6}).json()
    usage = answer["usage"]
    assert value("sfumato_requests_total") == before["requests"] + 1
    assert value("sfumato_passes_total") == before["passes"] + usage["diffusion"]["forwards"]
    assert value("sfumato_tokens_total") == before["tokens"] + usage["completion_tokens"]
    assert value("process_resident_memory_bytes") > 10e6
    assert value('sfumato_http_requests_total{method="POST",status="200"}') >= 1


def test_models_health_and_readiness(live: Live) -> None:
    assert live.get("/healthz").json() == {"status": "ok"}
    assert live.get("/readyz").json() == {"status": "ready"}
    assert [one["id"] for one in live.get("/v1/models").json()["data"]] == ["tiny", "sfumato"]
    assert live.get("/v1/models/tiny").json()["object"] == "model"


def test_a_server_whose_engine_has_stopped_is_not_ready(tmp_path: Path) -> None:
    with serving(tiny(), tmp_path) as live:
        live.service.engine.stop()
        answer = live.get("/readyz")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert live.get("/healthz").status_code == 200
        assert live.post("/v1/completions", {"prompt": "a"}).status_code == 503


def test_the_studio_is_served_and_nothing_else_of_its_folder(tmp_path: Path) -> None:
    static = tmp_path / "studio"
    (static / "js").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html><title>studio</title>")
    (static / "js" / "main.js").write_text("export {};")
    (static / "__init__.py").write_text("")
    (tmp_path / "secret").write_text("no")
    with serving(tiny(), tmp_path, token="t", static=static) as live:
        page = live.get("/")
        assert "studio" in page.text
        assert page.headers["content-type"].startswith("text/html")
        script = live.get("/js/main.js")
        assert script.headers["content-type"].startswith("text/javascript")
        for path in ("/__init__.py", "/../secret", "/%2e%2e/secret", "/js/", "/v1/models"):
            assert live.get(path).status_code == 401
            assert live.get(path, Authorization="Bearer t").status_code in (200, 404)
            assert live.get(path, Authorization="Bearer t").text != "no"
        policy = page.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
