"""What the fields of a request mean to the library; run on the engine's thread.

Completion ─▶ Asked(work, head, …) ─▶ the rows of `sfumato write` with the same options
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sfumato.errors import UsageError
from sfumato.models.checkpoints import Checkpoint
from sfumato.models.latent.storage import LatentCheckpoint
from sfumato.sampling.tasks import Policy, Sample
from sfumato.sampling.tasks.between import middles
from sfumato.sampling.tasks.editing import editing, words_to_edit
from sfumato.sampling.tasks.filling import filling
from sfumato.sampling.tasks.jobs import Work, specials_of
from sfumato.sampling.tasks.writing import BLOCK, writing
from sfumato.text.dialogue import Message
from sfumato.text.template import escape_braces
from sfumato.text.words import diff, share_kept, word_spans
from sfumato_apps.choices import TALKING, Decoding
from sfumato_apps.policies import policy_of
from sfumato_apps.serve.engine.job import Outcome, cut_at, outcome_of
from sfumato_apps.serve.limits import Limits
from sfumato_apps.serve.wire.requests import (
    Chat,
    Completion,
    Edit,
    HolePart,
    Infill,
    Middle,
    Writing,
)
from sfumato_apps.serve.wire.shapes import chat_logprobs, text_logprobs, written_tokens

Opened = Checkpoint | LatentCheckpoint
Describe = Callable[[Outcome], Mapping[str, Any]]
_FITS_AT_ONCE = 16
TALK = 128
_OPTIONS = (
    "steps",
    "block",
    "temperature",
    "top_k",
    "top_p",
    "threshold",
    "no_repeat",
    "refresh",
    "reach",
)


def _nothing(_: Outcome) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """What a request wants written.

    Attributes:
        work: its rows.
        head: characters of a text that were given, and do not come back.
        whole: what was given stands among what is written, and comes back with it.
        stop: strings that end a text.
        live: a row is a choice; otherwise choices are made among rows at the end.
        choose: from the outcomes of all rows to those of the choices, on the engine's thread; None
            if these are the same.
        describe: what an answer adds to a choice.
    """

    work: Work
    head: int = 0
    whole: bool = False
    stop: tuple[str, ...] = ()
    live: bool = True
    choose: Callable[[Sequence[Outcome]], list[Outcome]] | None = None
    describe: Describe = _nothing


def decoding_of(asked: Writing, usual: Decoding) -> Decoding:
    """The options of a request; what it leaves out is as usual."""
    given = {name: getattr(asked, name) for name in _OPTIONS}
    said = {name: value for name, value in given.items() if value is not None}
    return replace(usual, order=asked.order, **said)


def policy_for(
    model: Opened, asked: Writing, *, block: int = 0, usual: Decoding | None = None
) -> Policy:
    """How a request is written."""
    decoding = decoding_of(asked, Decoding() if usual is None else usual)
    return policy_of(model, decoding, guidance=asked.guidance, block=block)


def completion(model: Opened, asked: Completion) -> Asked:
    """What `sfumato write --prompt` writes after the prompt."""
    work = writing(
        model,
        asked.prompt,
        length=asked.max_tokens,
        seeds=range(asked.seed, asked.seed + asked.n),
        policy=policy_for(model, asked, block=BLOCK),
        ban=asked.ban,
        require=asked.require,
    )
    return Asked(
        work=work,
        head=len(asked.prompt),
        stop=stops_of(asked.stop),
        describe=_text_logprobs(model, asked),
    )


def chat(model: Opened, asked: Chat) -> Asked:
    """What `sfumato chat` answers."""
    turns = [Message(**turn.row()) for turn in asked.messages]
    work = writing(
        model,
        turns,
        length=asked.max_completion_tokens or asked.max_tokens or _room(model),
        seeds=range(asked.seed, asked.seed + asked.n),
        policy=policy_for(model, asked, usual=_talking(model)),
        ban=asked.ban,
        require=asked.require,
    )
    describe = _chat_logprobs(model, asked)
    return Asked(work=work, stop=stops_of(asked.stop), describe=describe)


def middle(model: Opened, asked: Middle | Completion) -> Asked:
    """What `sfumato fim` writes between prompt and suffix."""
    opened = _of_tokens(model)
    found = middles(
        opened,
        asked.prompt,
        asked.suffix or "",
        length=asked.max_tokens,
        seeds=range(asked.seed, asked.seed + asked.n),
        policy=policy_for(model, asked),
        ban=asked.ban,
    )
    specials = specials_of(model.vocabulary)
    stops = stops_of(asked.stop)

    def choose(outcomes: Sequence[Outcome]) -> list[Outcome]:
        samples = [one.sample for one in outcomes if isinstance(one.sample, Sample)]
        chosen = []
        for one in found.best(opened, samples, batch_size=_FITS_AT_ONCE):
            text, stopped = cut_at(one.middle, stops)
            rest = outcome_of(one, specials, keep=True)
            chosen.append(replace(rest, text=text, ended=rest.ended or stopped))
        return chosen

    live = len(found.work.rows) == asked.n
    describe = _text_logprobs(model, asked)
    return Asked(work=found.work, stop=stops, live=live, choose=choose, describe=describe)


def infill(model: Opened, asked: Infill) -> Asked:
    """What `sfumato fill` makes of a text with holes."""
    parts = asked.parts or []
    text = asked.text if asked.text is not None else "".join(map(_spelled, parts))
    work = filling(
        model,
        text,
        free_slots=asked.slots,
        seeds=range(asked.seed, asked.seed + asked.n),
        policy=policy_for(model, asked),
        ban=asked.ban,
        require=asked.require,
    )
    return Asked(work=work, whole=True)


def edit(model: Opened, asked: Edit, limits: Limits) -> Asked:
    """What `sfumato edit` makes of a text.

    Raises:
        LimitError: finding the words to change would take too much.
    """
    opened = _of_tokens(model)
    if asked.spans is None:
        width = len(opened.vocabulary.encode(asked.text))
        limits.check_width(width, opened.denoiser.max_length)
        limits.check_cost(width * len(word_spans(asked.text)))
        spans = words_to_edit(
            opened, asked.text, budget=asked.budget, least=asked.least, prompt=asked.prompt
        )
    else:
        if asked.scorer is not None:
            raise UsageError("spans say what to change, so scorer has no use: drop one of them")
        spans = tuple((start, stop) for start, stop in asked.spans)
    work = editing(
        opened,
        asked.text,
        spans,
        extra=asked.extra,
        seeds=range(asked.seed, asked.seed + asked.n),
        policy=policy_for(model, asked),
        ban=asked.ban,
        prompt=asked.prompt,
    )

    def describe(outcome: Outcome) -> Mapping[str, Any]:
        segments = diff(asked.text, outcome.text)
        found, place = [], 0
        for segment in segments:
            if segment.kind == "removed":
                continue
            stop = place + len(segment.text)
            found += [[place, stop]] if segment.kind == "written" else []
            place = stop
        return {"kept": round(share_kept(segments), 4), "spans": found}

    return Asked(work=work, whole=True, describe=describe)


def stops_of(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    """Strings that end a text."""
    return () if stop is None else (stop,) if isinstance(stop, str) else tuple(stop)


def _text_logprobs(model: Opened, asked: Completion | Middle) -> Describe:
    if not isinstance(asked, Completion) or asked.logprobs is None:
        return _nothing
    return lambda one: {"logprobs": text_logprobs(written_tokens(one, model.vocabulary))}


def _chat_logprobs(model: Opened, asked: Chat) -> Describe:
    if not asked.logprobs:
        return _nothing
    return lambda one: {"logprobs": chat_logprobs(written_tokens(one, model.vocabulary))}


def _of_tokens(model: Opened) -> Checkpoint:
    if isinstance(model, LatentCheckpoint):
        raise UsageError("a latent model writes from noise and fills: it has no such task")
    return model


def _talking(model: Opened) -> Decoding:
    """How an answer is written, as far as the model's noise has a use for it."""
    if isinstance(model, LatentCheckpoint):
        return Decoding()
    try:
        policy_of(model, TALKING)
    except UsageError:
        return replace(TALKING, block=None)
    return TALKING


def _room(model: Opened) -> int | None:
    return None if isinstance(model, LatentCheckpoint) else TALK


def _spelled(part: Any) -> str:  # noqa: ANN401
    """A part as `fill` reads it."""
    if not isinstance(part, HolePart):
        return escape_braces(part.text)
    return "{}" if part.hole is None else f"{{{part.hole}}}"
