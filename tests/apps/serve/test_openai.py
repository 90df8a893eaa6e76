"""The official client of OpenAI against a live server: every chunk parsed strictly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import openai
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from tests.apps.serve.living import Live, serving

from sfumato.models.checkpoints import load
from sfumato.sampling.tasks import write
from sfumato.sampling.tasks.writing import BLOCK
from sfumato_apps.choices import Decoding
from sfumato_apps.policies import policy_of

PROMPT = "The Eagle is"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(load(), tmp_path_factory.mktemp("shipped"), token="a token") as server:
        yield server


@pytest.fixture
def client(live: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="a token", max_retries=0) as client:
        yield client


def strict(model: type, data: object) -> None:
    """Parses what came as the type that it claims to be, without leniency."""
    model.model_validate_json(data.model_dump_json(), strict=True)


def with_reason(chunk: Completion) -> Completion:
    """OpenAI's type of a chunk knows no null, which its own servers send until the end."""
    found = chunk.model_copy(deep=True)
    for choice in found.choices:
        choice.finish_reason = choice.finish_reason or "stop"
    return found


def test_a_completion_is_the_text_of_sfumato_write(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=16, seed=3, n=2)
    strict(Completion, answer)
    opened = load()
    policy = policy_of(opened, Decoding(), block=BLOCK)
    alone = write(opened, prompt=PROMPT, length=16, n=2, seed=3, policy=policy)
    assert [PROMPT + one.text for one in answer.choices] == [one.text for one in alone]
    assert [one.finish_reason for one in answer.choices] in (["stop"] * 2, ["stop", "length"])
    usage = answer.usage
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    diffusion = usage.model_extra["diffusion"]
    assert diffusion["forwards"] == sum(one.passes for one in alone)
    written = sum(
        token not in (opened.vocabulary.pad, opened.vocabulary.eos)
        for one in alone
        for token, slot in zip(one.trajectory.ids, one.trace.slots, strict=True)
        if not slot.locked
    )
    assert usage.completion_tokens == written
    assert diffusion["tokens_per_forward"] == pytest.approx(written / diffusion["forwards"], 1e-5)


def test_a_stream_adds_up_to_the_answer(client: openai.OpenAI) -> None:
    asked = {"model": "sfumato", "prompt": PROMPT, "max_tokens": 24, "seed": 5, "n": 2}
    whole = client.completions.create(**asked)
    texts, ends = ["", ""], {}
    usage = None
    options = {"include_usage": True}
    for chunk in client.completions.create(**asked, stream=True, stream_options=options):
        strict(Completion, with_reason(chunk))
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            if choice.finish_reason is not None:
                ends[choice.index] = choice.finish_reason
    assert texts == [one.text for one in whole.choices]
    assert ends == {one.index: one.finish_reason for one in whole.choices}
    assert usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_a_dialogue_is_answered(client: openai.OpenAI) -> None:
    messages = [
        {"role": "system", "content": "Be short."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Where is "}, {"type": "text", "text": "it?"}],
        },
    ]
    asked = {"model": "tiny", "messages": messages, "max_completion_tokens": 20, "seed": 2}
    answer = client.chat.completions.create(**asked, logprobs=True)
    strict(ChatCompletion, answer)
    message = answer.choices[0].message
    assert message.role == "assistant"
    probabilities = answer.choices[0].logprobs
    assert probabilities is not None
    assert len(probabilities.content) == answer.usage.completion_tokens
    assert all(one.logprob <= 0 for one in probabilities.content)
    said, roles, reasons = "", [], []
    for chunk in client.chat.completions.create(**asked, stream=True):
        strict(ChatCompletionChunk, chunk)
        delta = chunk.choices[0].delta
        said += delta.content or ""
        roles += [delta.role] if delta.role else []
        reasons += [chunk.choices[0].finish_reason]
    assert said == message.content
    assert roles in (["assistant"], [])
    assert reasons[-1] == answer.choices[0].finish_reason
    assert not any(reasons[:-1])


def test_snapshots_replace_each_other(client: openai.OpenAI) -> None:
    """As Mercury sends them; progress never falls without remasking, and ends at 1."""
    messages = [{"role": "user", "content": "Hi"}]
    asked = {"model": "tiny", "messages": messages, "max_tokens": 24, "seed": 1}
    answer = client.chat.completions.create(**asked)
    shown, progress = [], []
    more = {"diffusing": True}
    for chunk in client.chat.completions.create(**asked, stream=True, extra_body=more):
        strict(ChatCompletionChunk, chunk)
        meta = (chunk.model_extra or {}).get("diffusion_meta")
        if meta is not None:
            assert meta["diffusion_content"] is True
            progress.append(meta["diffusion_progress"])
            shown.append(chunk.choices[0].delta.content)
    assert shown[-1] == answer.choices[0].message.content
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    assert chunk.choices[0].finish_reason == answer.choices[0].finish_reason
    assert not chunk.choices[0].delta.content


def test_a_stop_ends_the_text_before_it(client: openai.OpenAI) -> None:
    asked = {"model": "tiny", "prompt": PROMPT, "max_tokens": 40, "seed": 0}
    whole = client.completions.create(**asked).choices[0].text
    stop = whole[8:11]
    for streamed in (False, True):
        found = client.completions.create(**asked, stop=[stop, "zzzz"], stream=streamed)
        text = "".join(one.choices[0].text for one in found) if streamed else found.choices[0].text
        assert text == whole.partition(stop)[0]


def test_a_suffix_asks_for_the_middle(client: openai.OpenAI) -> None:
    asked = {"prompt": PROMPT, "suffix": " near Burger King.", "max_tokens": 8, "seed": 4}
    answer = client.completions.create(model="tiny", **asked)
    streamed = client.completions.create(model="tiny", **asked, stream=True)
    assert "".join(one.choices[0].text for one in streamed) == answer.choices[0].text


class Reworked(Completion):
    """Infill and edit answer as completions do, under names of their own."""

    object: Literal["text_infill", "text_edit"]


@pytest.mark.parametrize(
    ("path", "kind", "asked"),
    [
        ("/infill", Reworked, {"text": "The {4} is a {6} near {4}. {{x}}", "n": 2}),
        (
            "/edit",
            Reworked,
            {"text": "The Eagle is a pub. It is cheap.", "spans": [[15, 18], [26, 31]]},
        ),
        ("/fim/completions", Completion, {"prompt": PROMPT, "suffix": " pub.", "max_tokens": 12}),
    ],
)
def test_what_is_filled_or_edited_comes_piece_by_piece(
    client: openai.OpenAI, path: str, kind: type[Completion], asked: dict[str, object]
) -> None:
    """The pieces add up to the answer, and most texts come in several of them."""
    pieces = []
    for seed in range(3):
        body = {**asked, "seed": seed, "steps": 64}
        whole = client.post(path, cast_to=kind, body=body)
        strict(kind, whole)
        texts = [""] * len(whole.choices)
        stream = openai.Stream[kind]
        body["stream"] = True
        for chunk in client.post(path, cast_to=kind, body=body, stream=True, stream_cls=stream):
            strict(kind, with_reason(chunk))
            for choice in chunk.choices:
                pieces += [choice.text] if choice.text else []
                texts[choice.index] += choice.text
        assert texts == [one.text for one in whole.choices]
    assert len(pieces) > 2 * 3 * len(texts)


def test_every_slot_used_is_length(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=2, seed=0)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 2


def test_logprobs_of_a_text_say_where_each_token_is(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="tiny", prompt=PROMPT, max_tokens=12, seed=3, logprobs=0
    )
    found = answer.choices[0].logprobs
    assert "".join(found.tokens) == answer.choices[0].text
    assert found.text_offset == [len("".join(found.tokens[:i])) for i in range(len(found.tokens))]
    assert all(one <= 0 for one in found.token_logprobs)


@pytest.mark.parametrize(
    ("wrong", "error", "param"),
    [
        ({"max_tokens": -1}, openai.BadRequestError, "max_tokens"),
        ({"model": "gpt-4"}, openai.NotFoundError, "model"),
        ({"temperature": 9.0}, openai.BadRequestError, "temperature"),
        ({"presence_penalty": 1.0}, openai.BadRequestError, "presence_penalty"),
        ({"prompt": "cat " * 5000}, openai.BadRequestError, None),
    ],
)
def test_errors_are_the_client_s_own(
    client: openai.OpenAI, wrong: dict[str, object], error: type, param: str | None
) -> None:
    with pytest.raises(error) as caught:
        client.completions.create(**{"model": "tiny", "prompt": "a", **wrong})
    assert caught.value.param == param
    assert caught.value.body["message"]
    assert caught.value.code


def test_a_wrong_token_is_an_authentication_error(live: Live) -> None:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            client.models.list()
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="a token") as client:
        assert [one.id for one in client.models.list()] == ["tiny", "sfumato"]
