"""Rankings as rows, our own and those of other libraries.

    {"prompt", "completions", "scores" | "ranks"}             ours
    {"prompt", "chosen", "rejected"}                          TRL; UltraFeedback as pairs
    {"instruction", "completions": [{"response", "overall_score"}]}     UltraFeedback
    {"prompt", "completion", "label"}                         TRL, unpaired: written, not read

A prompt is a text or a list of turns; completions beside turns may be turns as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sfumato.alignment.rankings.ranking import Strategy, pairs_of, places
from sfumato.alignment.rankings.sets import Prompt, RankedRecord
from sfumato.errors import DataError, UnusableError
from sfumato.text.dialogue import ASSISTANT, Message
from sfumato.text.files import Row

_ASKS = ("prompt", "messages", "instruction", "question", "src", "source", "document")


def read_ranking(row: Row, origin: str) -> RankedRecord:
    """A ranking from a row of any of the forms above.

    Args:
        row: the fields.
        origin: where it stands, for messages.

    Raises:
        DataError: no form fits, or a field is of another type.
        UnusableError: well-formed and without an order.

    Example:
        >>> read_ranking({"prompt": "Hi", "chosen": "Hello.", "rejected": "No."}, "line 1").ranks
        (1, 2)
    """
    for fields, build in _FORMS.items():
        if all(field in row for field in fields):
            return build(row, origin)
    known = ", or ".join(" + ".join(fields) for fields in _FORMS)
    raise DataError(
        f"{origin}: no ranking in the fields {', '.join(sorted(map(str, row)))}: expected {known}"
    )


def trl_pairs(records: Iterable[RankedRecord], strategy: Strategy) -> Iterator[dict[str, Any]]:
    """Rows of TRL's preference format: `prompt`, `chosen`, `rejected`; turns stay turns.

    Args:
        records: the rankings.
        strategy: which pairs.
    """
    for record in records:
        for pair in pairs_of(record, strategy):
            said = {"chosen": pair.chosen, "rejected": pair.rejected}
            yield _for_trl(record.prompt, said)


def trl_labels(records: Iterable[RankedRecord]) -> Iterator[dict[str, Any]]:
    """Rows of TRL's unpaired format: the best are labelled true, the worst false.

    Args:
        records: the rankings.
    """
    for record in records:
        ends = {min(record.ranks): True, max(record.ranks): False}
        for place, text in zip(record.ranks, record.completions, strict=True):
            if place in ends:
                yield _for_trl(record.prompt, {"completion": text}) | {"label": ends[place]}


def _for_trl(prompt: Prompt, texts: Mapping[str, str]) -> dict[str, Any]:
    """A row; where the prompt has turns, the texts are turns as well."""
    if isinstance(prompt, str):
        return {"prompt": prompt, **texts}
    said = {name: [{"role": ASSISTANT, "content": text}] for name, text in texts.items()}
    return {"prompt": prompt_row(prompt), **said}


def prompt_row(prompt: Prompt) -> Any:  # noqa: ANN401
    """A prompt as a field of a row: a text, or turns of `role` and `content`.

    Args:
        prompt: of a ranking.
    """
    return prompt if isinstance(prompt, str) else [vars(turn) for turn in prompt]


def read_prompt(value: Any, origin: str) -> Prompt:  # noqa: ANN401
    """A prompt from a field of a row: a text, or a list of turns.

    Args:
        value: of the field.
        origin: where it stands, for messages.

    Raises:
        DataError: it is neither.
    """
    if isinstance(value, str):
        return value
    turns = _list(value, "prompt", origin)
    return tuple(_turn(turn, origin) for turn in turns)


def prompt_of(row: Any, origin: str) -> Prompt:  # noqa: ANN401
    """What a row of any training data asks; an answer after it is left out.

    Args:
        row: the fields.
        origin: where it stands, for messages.

    Raises:
        DataError: it asks nothing.
    """
    value = next((row[field] for field in _ASKS if field in row), None)
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(map(_is_turn, value)):
        turns = [Message(role=one["role"], content=one["content"]) for one in value]
        while turns and turns[-1].role == ASSISTANT:
            turns.pop()
        if turns:
            return tuple(turns)
    raise DataError(f"{origin}: expected a prompt in one of the fields {', '.join(_ASKS)}")


def _is_turn(value: Any) -> bool:  # noqa: ANN401
    said = (value.get("role"), value.get("content")) if isinstance(value, dict) else (None,)
    return all(isinstance(one, str) for one in said)


def row_of(record: RankedRecord) -> dict[str, Any]:
    """A ranking as a row of our own form.

    Args:
        record: the ranking.
    """
    row: dict[str, Any] = {"prompt": prompt_row(record.prompt)}
    row["completions"] = [*record.completions]
    row["ranks"] = [*record.ranks]
    if record.scores is not None:
        row["scores"] = [*record.scores]
    return row


def _own(row: Row, origin: str) -> RankedRecord:
    prompt = read_prompt(row.get("prompt", ""), origin)
    texts = tuple(_text(one, origin) for one in _list(row["completions"], "completions", origin))
    scores = _numbers(row["scores"], "scores", origin) if row.get("scores") is not None else None
    if row.get("ranks") is not None:
        found = _numbers(row["ranks"], "ranks", origin)
        if any(rank != int(rank) for rank in found):
            raise DataError(f"{origin}: ranks must be whole numbers, got {row['ranks']!r:.80}")
        ranks = tuple(map(int, found))
    elif scores is not None:
        ranks = places(scores)
    else:
        raise DataError(f"{origin}: completions need scores or ranks beside them")
    return RankedRecord(prompt=prompt, completions=texts, ranks=ranks, scores=scores, origin=origin)


def _pair(row: Row, origin: str) -> RankedRecord:
    chosen, rejected = row["chosen"], row["rejected"]
    given = row.get("prompt", "")
    if isinstance(chosen, list) and isinstance(rejected, list):  # turns, perhaps with the prompt
        shared = _common(chosen, rejected)
        given = [*(given if isinstance(given, list) else ()), *chosen[:shared]] or given
        chosen, rejected = chosen[shared:], rejected[shared:]
    prompt = read_prompt(given, origin)
    return RankedRecord(
        prompt=prompt,
        completions=(_text(chosen, origin), _text(rejected, origin)),
        ranks=(1, 2),
        origin=origin,
    )


def _ultra(row: Row, origin: str) -> RankedRecord:
    prompt = (Message(role="user", content=_text(row["instruction"], origin)),)
    found = _list(row["completions"], "completions", origin)
    fields = {"response", "overall_score"}
    if not all(isinstance(one, Mapping) and fields <= {*one} for one in found):
        raise DataError(f"{origin}: each completion needs a response and an overall_score")
    texts = tuple(_text(one["response"], origin) for one in found)
    scores = _numbers([one["overall_score"] for one in found], "overall_score", origin)
    return RankedRecord(
        prompt=prompt, completions=texts, ranks=places(scores), scores=scores, origin=origin
    )


_FORMS: Mapping[tuple[str, ...], Callable[[Row, str], RankedRecord]] = MappingProxyType(
    {
        ("instruction", "completions"): _ultra,
        ("completions",): _own,
        ("chosen", "rejected"): _pair,
    }
)


def _turn(value: Any, origin: str) -> Message:  # noqa: ANN401
    if isinstance(value, Mapping) and isinstance(value.get("content"), str):
        return Message(role=str(value.get("role", "user")), content=value["content"])
    raise DataError(f"{origin}: expected a turn with role and content, got {value!r:.80}")


def _text(value: Any, origin: str) -> str:  # noqa: ANN401
    """A text, or the one turn that says it."""
    if isinstance(value, list) and len(value) == 1:
        value = _turn(value[0], origin).content
    if not isinstance(value, str):
        raise DataError(f"{origin}: expected a text or one turn, got {value!r:.80}")
    if not value.strip():
        raise UnusableError("a completion is empty", reason="empty completion", place=origin)
    return value


def _list(value: Any, name: str, origin: str) -> list[Any]:  # noqa: ANN401
    if not isinstance(value, list):
        raise DataError(f"{origin}: {name} is {value!r:.60}, expected a list")
    return value


def _numbers(value: Any, name: str, origin: str) -> tuple[float, ...]:  # noqa: ANN401
    found = _list(value, name, origin)
    if not all(isinstance(one, int | float) and math.isfinite(one) for one in found):
        raise DataError(f"{origin}: {name} must be finite numbers, got {found!r:.80}")
    return tuple(map(float, found))


def _common(left: Sequence[Any], right: Sequence[Any]) -> int:
    """How many turns two dialogues begin with together; the last of each is its own."""
    most = min(len(left), len(right)) - 1
    return next((i for i in range(most) if left[i] != right[i]), max(0, most))
