"""Records to ids to batches: the one encode path, and what the noise may touch.

    record   → encode      [CLS]  A  cat  sat  [SEP]               all but [CLS] trained
    a tail   → compose     [CLS]  A  cat  sat  [SEP] [PAD] [PAD]   the pads are content:
               editable      ·    ●   ●    ●     ●     ●     ●     "nothing more here"
    a hole   → compose     [CLS]  A  cat [PAD] sat  [SEP]          a span, or the middle of an
               editable      ·    ·   ●    ●    ·     ·            infill, and spare slots

Training, sampling and evaluation all call `encode` and `prompt_ids`, so their ids agree.

Legend of shapes: `B` batch, `L` positions.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sfumato.errors import UnusableError, UsageError
from sfumato.text.canvas import Canvas, insert_slots
from sfumato.text.dialogue import (
    Message,
    Trained,
    check_answered,
    encode_dialogue,
    encode_dialogue_prompt,
)
from sfumato.text.records import DialogueRecord, InfillRecord, PairRecord, Record, TextRecord
from sfumato.text.template import middle_ids, sides
from sfumato.text.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Example:
    """An encoded record.

    Attributes:
        ids: tokens, with the bos and, unless the text was cut, the eos.
        trained: which of them training learns; the others are context.
        origin: where the record came from.
        hole: what is trained stands between other text.
    """

    ids: tuple[int, ...]
    trained: tuple[bool, ...]
    origin: str = ""
    hole: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """A batch to train on.

    Attributes:
        canvas: clean ids and what the noise may touch.
        weight: weight of each position in the loss, *shape* `B L`; 0 where nothing is learnt.
    """

    canvas: Canvas
    weight: Float[Tensor, "B L"]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(canvas=self.canvas.to(device), weight=self.weight.to(device))


def encode(
    record: Record, vocabulary: Vocabulary, *, max_length: int, trained: Trained = "every"
) -> Example:
    """Encodes a record: the only way from text to training, sampling and evaluation ids.

    A text is `[bos] text [eos]`, all but the bos trained. A pair is
    `[bos] prompt completion [eos]`, the completion and the eos trained. A dialogue is laid out by
    `encode_dialogue`. What does not fit is cut at the end, and a cut text has no eos. An infill is
    `[bos] prefix middle suffix [eos]`, the middle trained, and cut at its far ends.

    Args:
        record: what to encode.
        vocabulary: text to ids.
        max_length: the most tokens an example may have; leave room for `compose`'s slack.
        trained: in a dialogue, learn "every" assistant turn or the "last".

    Raises:
        UnusableError: nothing would be left to learn: the prompt alone fills `max_length`,
            nobody answers in the dialogue, or a middle is empty or takes more than half.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["hi"], size=300)
        >>> example = encode(PairRecord(prompt="a", completion="b"), words, max_length=8)
        >>> [words.name(i) for i in example.ids], example.trained
        (['[CLS]', 'a', 'b', '[SEP]'], (False, False, True, True))
    """
    match record:
        case InfillRecord():
            return _infill(record, vocabulary, max_length)
        case DialogueRecord():
            check_answered(record.messages, record.origin)
            dialogue = encode_dialogue(record.messages, vocabulary, trained)
            ids, flags = dialogue.ids, dialogue.trained
        case PairRecord():
            ids, flags = _complete(record.prompt, record.completion, vocabulary)
        case TextRecord():
            ids, flags = _complete("", record.text, vocabulary)
    if not any(flags[:max_length]):
        raise UnusableError(
            f"the prompt takes {flags.index(True)} tokens of {max_length}, none is left for the "
            "answer: shorten the prompt or raise the maximum length",
            reason="answer cut away",
            place=record.origin,
        )
    return Example(ids=ids[:max_length], trained=flags[:max_length], origin=record.origin)


def _complete(
    prompt: str, completion: str, vocabulary: Vocabulary
) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    context = prompt_ids(prompt, vocabulary)
    learnt = (*vocabulary.encode(completion), vocabulary.eos)
    return context + learnt, (False,) * len(context) + (True,) * len(learnt)


def _infill(record: InfillRecord, vocabulary: Vocabulary, max_length: int) -> Example:
    middle = middle_ids(record.prefix, record.middle, vocabulary)
    if not 0 < len(middle) <= max_length // 2:
        raise UnusableError(
            f"the middle has {len(middle)} tokens, expected 1 to {max_length // 2}, half of a "
            "text: shorten it or raise the maximum length",
            reason="no middle" if not middle else "middle too long",
            place=record.origin,
        )
    room = max_length - len(middle)
    before, after = sides(record.prefix, record.suffix, vocabulary, room=room)
    trained = (False,) * len(before) + (True,) * len(middle) + (False,) * len(after)
    return Example(ids=before + middle + after, trained=trained, origin=record.origin, hole=True)


def prompt_ids(prompt: str | Sequence[Message], vocabulary: Vocabulary) -> tuple[int, ...]:
    """Ids of a prompt for sampling: what `encode` puts before the completion or the answer.

    Args:
        prompt: the beginning of a text, or the turns of a dialogue so far.
        vocabulary: text to ids.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["hi"], size=300)
        >>> whole = encode(PairRecord(prompt="to", completion="b"), words, max_length=8)
        >>> prompt_ids("to", words) == whole.ids[:3]
        True
    """
    if isinstance(prompt, str):
        bos = () if vocabulary.bos is None else (vocabulary.bos,)
        return bos + vocabulary.encode(prompt)
    return encode_dialogue_prompt(prompt, vocabulary)


def compose(
    examples: Sequence[Example],
    vocabulary: Vocabulary,
    generator: torch.Generator,
    *,
    slack: int,
    holes: float,
    answer_holes: float = 0.0,
) -> Batch:
    """Lays examples out as a batch: what is editable, spare slots, loss weights.

    With probability `holes` a whole text (all but its bos trained) gets a hole, with probability
    `answer_holes` a completion: a span of one token to half of it becomes editable and
    r ~ U{0 … slack} pads follow it. The middle of an infill is such a hole. Any other example is
    editable where it is trained, and after a trained eos comes a tail of r pads, so that the
    canvas does not give the length away. These pads are attended and mean "nothing here"; being
    one decision, they weigh 1/r each. Padding of the batch is not attended and weighs nothing.
    The result depends on examples and generator only.

    Args:
        examples: at least one.
        vocabulary: for the pad and the eos.
        generator: on the CPU; advances by the same amount for any `slack` and `holes`.
        slack: the most spare slots a row.
        holes: probability of a hole for a whole text, 0 to 1.
        answer_holes: the same for what is trained to its end after a prompt.

    Raises:
        UsageError: no examples, a negative slack or a probability outside 0 to 1.
    """
    if not examples or slack < 0 or not 0 <= holes <= 1 or not 0 <= answer_holes <= 1:
        came = f"{len(examples)} examples, slack {slack}, holes {holes} and {answer_holes}"
        raise UsageError(f"expected ≥ 1 example, slack ≥ 0 and holes from 0 to 1, but got {came}")
    rows = _stack(examples, vocabulary.pad)
    uniform = torch.rand((4, len(examples)), generator=generator)
    given = torch.tensor([example.hole for example in examples])
    plan = _plan(rows, given, vocabulary, uniform, slack, (holes, answer_holes))
    return _weigh(rows, plan, vocabulary.pad)


def buckets(lengths: Sequence[int], batch_size: int, generator: torch.Generator) -> list[list[int]]:
    """Groups indices into batches of similar length, in random order; each index once.

    Lengths are sorted within random neighbourhoods of 50 batches: each epoch's batches differ.

    Raises:
        UsageError: a batch size below one.

    Example:
        >>> sorted(map(sorted, buckets([3, 9, 3, 9], 2, torch.Generator())))
        [[0, 2], [1, 3]]
    """
    if batch_size < 1:
        raise UsageError(f"a batch needs at least one example, but batch_size is {batch_size}")
    order = torch.randperm(len(lengths), generator=generator).tolist()
    ordered: list[int] = []
    for i in range(0, len(order), 50 * batch_size):
        ordered += sorted(order[i : i + 50 * batch_size], key=lengths.__getitem__)
    batches = [ordered[i : i + batch_size] for i in range(0, len(ordered), batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    """Where pads go: `pads` of them before old position `at`; a hole begins at `start`."""

    hole: Bool[Tensor, "B"]
    start: Int[Tensor, "B"]
    at: Int[Tensor, "B"]
    pads: Int[Tensor, "B"]


def _stack(examples: Sequence[Example], pad: int) -> Canvas:
    """Examples as they are, side by side."""
    length = torch.tensor([len(example.ids) for example in examples])
    exists = torch.arange(int(length.max()))[None] < length[:, None]
    ids = torch.full(exists.shape, pad)
    # By the buffer protocol: tensors of Python numbers take five times as long to make.
    tokens = array("q", chain.from_iterable(e.ids for e in examples))
    ids[exists] = torch.frombuffer(tokens, dtype=torch.long)
    trained = torch.zeros_like(exists)
    flags = bytearray(chain.from_iterable(e.trained for e in examples))
    trained[exists] = torch.frombuffer(flags, dtype=torch.bool)
    return Canvas(ids=ids, editable=trained, attend=exists, optional=torch.zeros_like(exists))


def _plan(
    rows: Canvas,
    given: Bool[Tensor, "B"],
    words: Vocabulary,
    u: Float[Tensor, "4 B"],
    slack: int,
    holes: tuple[float, float],
) -> _Plan:
    length = rows.attend.sum(1)
    opening = rows.ids == (-1 if words.bos is None else words.bos)
    whole = (rows.editable | opening | ~rows.attend).all(1)
    first = rows.editable.int().argmax(1)
    prompt = torch.arange(rows.ids.shape[1]) < first[:, None]
    answer = (rows.editable | prompt | ~rows.attend).all(1) & ~whole
    ends = (rows.editable & (rows.ids == words.eos)).gather(1, length[:, None] - 1)[:, 0]
    content = length - first - ends.long()
    hole = given | ((content > 0) & (u[0] < whole * holes[0] + answer * holes[1]))
    span = 1 + _below(u[1], (content // 2).clamp(min=1))
    start = first + _below(u[2], (content - span + 1).clamp(min=1))
    span = torch.where(given, rows.editable.sum(1), span)
    start = torch.where(given, rows.editable.long().argmax(1), start)
    at = torch.where(hole, start + span, length)
    # After the last token of a text that was cut, "nothing more here" would be false.
    pads = torch.where(ends | (at < length), _below(u[3], torch.full_like(length, slack + 1)), 0)
    return _Plan(hole=hole, start=start, at=at, pads=pads)


def _below(u: Float[Tensor, "B"], bound: Int[Tensor, "B"]) -> Int[Tensor, "B"]:
    """Integers 0 … bound − 1, uniform if u is; float32 rounds u · bound up to bound at times."""
    return torch.minimum((u * bound).long(), bound - 1)


def _weigh(rows: Canvas, plan: _Plan, pad: int) -> Batch:
    """Inserts the pads and weighs every position."""
    wide = insert_slots(rows, plan.at, plan.pads, token=pad)
    spare, hole = wide.optional, plan.hole[:, None]
    place = torch.arange(spare.shape[1])[None]
    inside = (place >= plan.start[:, None]) & (place < plan.at[:, None])
    learnt = wide.editable & ~spare & (inside | ~hole)
    editable = learnt | spare
    return Batch(
        canvas=replace(wide, editable=editable, optional=torch.where(hole, editable, spare)),
        weight=learnt + spare / plan.pads[:, None].clamp(min=1),
    )
