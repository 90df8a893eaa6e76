"""From files to examples with labels or pairs, and from examples to vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch

from sfumato.errors import DataError
from sfumato.models.latent.codecs.embedding import EmbeddingCodec
from sfumato.models.latent.codecs.encoder import EncoderCodec
from sfumato.models.latent.storage import LatentCheckpoint
from sfumato.text.batching import Example, encode
from sfumato.text.corpora import parse_source
from sfumato.text.files import Row, rows
from sfumato.text.records import TextRecord, split
from sfumato.text.slots import Slots, lay_slots
from sfumato.text.vocabulary import Vocabulary
from sfumato.training.classifying.batches import LabelledVectors, PairedVectors
from sfumato.training.objectives import moved
from sfumato.types import Condition
from sfumato_apps.classifying.plan import ClassifierPlan
from sfumato_apps.notes import Notes
from sfumato_apps.reading import encode_all, read_corpus

Compose = Callable[[Sequence[Any], torch.Generator], LabelledVectors | PairedVectors]


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A text and the number of its class."""

    example: Example
    label: int

    @property
    def ids(self) -> tuple[int, ...]:
        """The text's tokens."""
        return self.example.ids


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a run trains on and is measured by.

    Attributes:
        examples: to train on.
        held: to measure on.
        labels: names of the classes; none for pairs.
    """

    examples: Sequence[Labelled | Example]
    held: Sequence[Labelled | Example]
    labels: tuple[str, ...] = ()


def pairs(plan: ClassifierPlan, start: LatentCheckpoint, notes: Notes) -> Material:
    """Prompts with their answers.

    Raises:
        DataError: the data hold no pairs, or cannot be read.
    """
    corpus = read_corpus(
        [parse_source(text, max_line_bytes=plan.max_line_bytes) for text in plan.data],
        [parse_source(text, max_line_bytes=plan.max_line_bytes) for text in plan.valid or []],
        fraction=plan.valid_fraction,
        most=plan.valid_texts,
        skip_bad=notes.skips(plan.on_bad_line),
        seed=plan.seed,
        notes=notes,
    )
    records = list(chain.from_iterable(part.records for part in corpus.train))
    alone = next((record for record in records if isinstance(record, TextRecord)), None)
    if alone is not None:
        raise DataError(
            f"{alone.origin or plan.data[0]}: expected pairs, such as prompt and completion, but "
            "got a text alone: name the field of its label with --label to tell labels"
        )
    longest = plan.given + start.denoiser.sizes.slots
    words = start.vocabulary
    examples = [encode_all(part, words, longest, notes) for part in corpus.train]
    held = encode_all(corpus.validation, words, longest, notes)
    notes.sum_up()
    return Material(examples=list(chain(*examples)), held=held)


def labelled(plan: ClassifierPlan, label: str, words: Vocabulary, notes: Notes) -> Material:
    """Texts with labels, which are numbered in the order of their names.

    Raises:
        DataError: a row lacks a field, or there are fewer than two labels.
    """
    found = _rows(plan, label, plan.data, notes)
    given = _rows(plan, label, plan.valid or [], notes)
    counts = Counter(name for _, name in found)
    if len(counts) < 2:
        raise DataError(
            f"{plan.data[0]}: expected two labels or more in the field {label!r}, got "
            f"{', '.join(counts) or 'none'}"
        )
    notes.say("labels: " + ", ".join(f"{name} ({n})" for name, n in sorted(counts.items())))
    labels = tuple(sorted(counts))
    share = 0.0 if given else min(plan.valid_fraction, plan.valid_texts / len(found))
    held = split([record for record, _ in found], share, plan.seed).validation.records
    kept = {id(record) for record in held}
    train = [(record, name) for record, name in found if id(record) not in kept]
    known = [(r, name) for r, name in given if name in counts][: plan.valid_texts]
    valid = [(r, name) for r, name in found if id(r) in kept] + known
    longest = 1 << 20  # cut to the slots, where it is laid out
    sides = [
        [
            Labelled(example=encode(r, words, max_length=longest), label=labels.index(name))
            for r, name in side
        ]
        for side in (train, valid)
    ]
    return Material(examples=sides[0], held=sides[1], labels=labels)


def _rows(
    plan: ClassifierPlan, label: str, paths: Sequence[str], notes: Notes
) -> list[tuple[TextRecord, str]]:
    found = []
    skip_bad = notes.skips(plan.on_bad_line)
    every = (rows(path, max_line_bytes=plan.max_line_bytes) for path in paths)
    for origin, read in chain.from_iterable(every):
        try:
            row = read()
            text, name = _value(row, plan.field, origin), _value(row, label, origin)
            found.append((TextRecord(text=text, origin=origin), name))
        except DataError as error:
            if not skip_bad:
                raise
            notes.skip(error)
    return found


def _value(row: Row, field: str, origin: str) -> str:
    value = row.get(field)
    if not isinstance(value, str | int) or value == "":
        known = ", ".join(map(repr, row))
        raise DataError(
            f"{origin}: expected a text or a number in the field {field!r}, got {value!r}; the "
            f"fields are {known}: see --label and --field"
        )
    return str(value)


def composer(start: LatentCheckpoint, *, given: int) -> Compose:
    """Lays examples out in the slots of the latent model and encodes them."""
    slots, pad, codec = start.denoiser.sizes.slots, start.vocabulary.pad, start.codec

    def laid(examples: Sequence[Example]) -> Slots:
        return lay_slots(examples, slots=slots, pad=pad)

    def compose(examples: Sequence[Any], generator: torch.Generator) -> Any:  # noqa: ANN401
        if isinstance(examples[0], Labelled):
            ids = laid([one.example for one in examples]).ids
            label = torch.tensor([one.label for one in examples])
            return LabelledVectors(x_0=_vectors(codec, ids, ids >= 0), label=label)
        batch = laid(examples)
        told = _told(codec, batch.given[:, :given], batch.attend[:, :given])
        x_0 = _vectors(codec, batch.ids, batch.ids >= 0)
        return PairedVectors(x_0=x_0, given=told.latents, attend=told.attend)

    return compose


@torch.no_grad()
def _vectors(
    codec: EmbeddingCodec | EncoderCodec, ids: torch.Tensor, attend: torch.Tensor
) -> torch.Tensor:
    device = next(codec.parameters()).device
    return codec.encode(ids.to(device), attend.to(device)).cpu()


@torch.no_grad()
def _told(
    codec: EmbeddingCodec | EncoderCodec, ids: torch.Tensor, attend: torch.Tensor
) -> Condition:
    device = next(codec.parameters()).device
    return moved(codec.told(ids.to(device), attend.to(device)), "cpu")
