"""Answers, chunks and snapshots, in the form that OpenAI's clients read."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sfumato.text.vocabulary import Vocabulary
from sfumato_apps.serve.engine.job import Outcome

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One form of answers.

    Attributes:
        kind: the `object` of an answer.
        prefix: of an answer's id.
        model: name of the model.
        chat: a choice holds a message instead of a text.
    """

    kind: str
    prefix: str
    model: str
    chat: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def answer(self, choices: Sequence[Json], usage: Json) -> Json:
        """The whole of it."""
        return self._top(self.kind) | {"choices": [*choices], "usage": usage}

    def choice(self, index: int, outcome: Outcome, more: Mapping[str, Any]) -> Json:
        """What came of one text."""
        text = outcome.text
        said: Json = (
            {"message": {"role": "assistant", "content": text, "refusal": None}}
            if self.chat
            else {"text": text}
        )
        end = {"seed": outcome.seed, "finish_reason": finish_reason(outcome)}
        return {"index": index, **said, "logprobs": None, **end, **more}

    def part(self, index: int, text: str, *, first: bool = False) -> Json:
        """Some more of a text."""
        role = {"role": "assistant"} if first else {}
        said = {"delta": {**role, "content": text}} if self.chat else {"text": text}
        return self._one({"index": index, **said, "logprobs": None, "finish_reason": None})

    def snapshot(self, index: int, text: str, progress: float) -> Json:
        """The whole text as it is now, in place of what came before."""
        said: Json = (
            {"delta": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        )
        meta = {"diffusion_content": True, "diffusion_progress": round(progress, 6)}
        one = self._one({"index": index, **said, "logprobs": None, "finish_reason": None})
        return one | {"diffusion_meta": meta}

    def close(self, index: int, outcome: Outcome, more: Mapping[str, Any]) -> Json:
        """The end of one text."""
        said: Json = {"delta": {}} if self.chat else {"text": ""}
        reason = {"logprobs": None, "finish_reason": finish_reason(outcome)}
        return self._one({"index": index, **said, **reason, "seed": outcome.seed, **more})

    def totals(self, usage: Json) -> Json:
        """The last part of a stream that was asked for its usage."""
        return self._top(self._chunk) | {"choices": [], "usage": usage}

    def _one(self, choice: Json) -> Json:
        return self._top(self._chunk) | {"choices": [choice]}

    @property
    def _chunk(self) -> str:
        """The `object` of a part of a stream."""
        return f"{self.kind}.chunk" if self.chat else self.kind

    def _top(self, kind: str) -> Json:
        name = f"{self.prefix}-{self.id}"
        return {"id": name, "object": kind, "created": self.created, "model": self.model}


def finish_reason(outcome: Outcome) -> str:
    """Whether a text ended by itself or used every slot."""
    return "stop" if outcome.ended else "length"


def usage_of(outcomes: Sequence[Outcome]) -> Json:
    """What the texts took: tokens, and what diffusion made of them."""
    given = max((one.given for one in outcomes), default=0)
    written = sum(one.written for one in outcomes)
    forwards = sum(one.passes for one in outcomes)
    return {
        "prompt_tokens": given,
        "completion_tokens": written,
        "total_tokens": given + written,
        "diffusion": {
            "steps": sum(one.steps for one in outcomes),
            "forwards": forwards,
            "tokens_per_forward": round(written / max(1, forwards), 6),
            "remasked": sum(one.remasked for one in outcomes),
        },
    }


def written_tokens(outcome: Outcome, vocabulary: Vocabulary) -> list[tuple[str, float]]:
    """Each token that was written, with the log of its probability when it was written.

    The probability was given what stood on the canvas in that step, at temperature 1: it is not
    the token's probability given the whole text, and not calibrated.
    """
    found = []
    for token, sure in zip(outcome.ids, outcome.confidence, strict=True):
        known = 0.0 if math.isnan(sure) else sure
        piece = _without_halves(vocabulary.pieces([token])[0])
        found.append((piece, math.log(max(known, 1e-30))))
    return found


def _without_halves(piece: str) -> str:
    """A piece as Unicode: half a letter is one of its own."""
    return piece.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def chat_logprobs(tokens: Sequence[tuple[str, float]]) -> Json:
    """The tokens of a message."""
    return {
        "content": [
            {
                "token": piece,
                "logprob": round(value, 6),
                "bytes": [*piece.encode("utf-8", "replace")],
                "top_logprobs": [],
            }
            for piece, value in tokens
        ],
        "refusal": None,
    }


def text_logprobs(tokens: Sequence[tuple[str, float]]) -> Json:
    """The tokens of a text."""
    places, start = [], 0
    for piece, _ in tokens:
        places.append(start)
        start += len(piece)
    return {
        "tokens": [piece for piece, _ in tokens],
        "token_logprobs": [round(value, 6) for _, value in tokens],
        "top_logprobs": None,
        "text_offset": places,
    }
