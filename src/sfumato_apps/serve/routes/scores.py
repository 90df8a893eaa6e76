"""How likely texts are: the model's likelihood bound, with its standard error."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from sfumato.errors import ModelError, UsageError
from sfumato.evaluation.bounds import text_bounds
from sfumato.models.checkpoints import Checkpoint
from sfumato.noise.times import Stratified
from sfumato.sampling.ancestral import marks_noise
from sfumato.sampling.tasks import specials_of
from sfumato.sampling.tasks.jobs import device_of
from sfumato.text.batching import Example, encode
from sfumato.text.records import PairRecord, TextRecord
from sfumato_apps.serve.service import Service
from sfumato_apps.serve.wire.replies import reply
from sfumato_apps.serve.wire.requests import Score

_LONG = 2**30  # tokens: nothing is cut, what is too long is refused
_MOST = 700.0  # nats a token whose exponential is still a number


def routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter()

    @router.post("/v1/score", response_model=None)
    async def score(body: Score) -> Response:
        service.check_name(body.model)
        texts = body.texts if body.texts is not None else [body.text or ""]
        service.limits.check("texts", len(texts))
        service.limits.check("draws", body.draws)
        examples = await service.call(partial(encoded, service, texts, body))
        # One call a text, so that steps of others come between.
        data = [
            await service.call(partial(bound, service, one, body), counted=False)
            for one in examples
        ]
        numbered = [{"index": i, **one} for i, one in enumerate(data)]
        return reply({"object": "list", "model": service.name, "data": numbered})

    return router


def encoded(service: Service, texts: list[str], body: Score) -> list[Example]:
    """The texts as ids.

    Raises:
        UsageError: a latent model, which has no such bound.
        LimitError: a text is longer than the model reads, or all of it costs too much.
    """
    model = service.model
    if not isinstance(model, Checkpoint):
        raise UsageError("a latent model has no likelihood bound: /v1/score is not for it")
    records = [
        TextRecord(text=text)
        if body.prompt is None
        else PairRecord(prompt=body.prompt, completion=text)
        for text in texts
    ]
    found = [encode(record, model.vocabulary, max_length=_LONG) for record in records]
    widths = [len(example.ids) for example in found]
    service.limits.check_width(max(widths), model.denoiser.max_length)
    service.limits.check_cost(body.draws * sum(widths))
    return found


def bound(service: Service, example: Example, body: Score) -> dict[str, Any]:
    """What one text costs the model, as `text_bounds` finds it for that text alone.

    Raises:
        ModelError: the model's logits are not numbers.
    """
    model = service.model
    assert isinstance(model, Checkpoint)
    marked = marks_noise(model.process, specials_of(model.vocabulary))
    found = text_bounds(
        model,
        [example],
        draws=body.draws,
        seed=body.seed,
        times=None if marked else Stratified(),
        device=device_of(model.denoiser),
    )
    nats, error, tokens = (
        float(found.nats.mean()),
        float(found.draw_error[0]),
        int(found.tokens[0]),
    )
    if not math.isfinite(nats):
        raise ModelError("the model's logits are not finite: its weights are damaged")
    each = nats / tokens
    return {
        "nats": nats,
        "standard_error": error,
        "tokens": tokens,
        "nats_per_token": each,
        "perplexity_bound": math.exp(each) if each < _MOST else None,
        "draws": body.draws,
    }
