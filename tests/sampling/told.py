"""A model that says what it is told, and one that says anything; with their vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from tests.sampling.fakes import Whim
from torch import Tensor

from sfumato.noise.masked import MaskedProcess
from sfumato.protocols import Denoiser, Process
from sfumato.text.batching import encode
from sfumato.text.records import PairRecord
from sfumato.text.spans import open_spans, spans_of
from sfumato.text.vocabulary import Vocabulary, learn_vocabulary

WORDS = learn_vocabulary(["the cat sat on the mat and the stupid dog ran home"] * 4, size=330)


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    denoiser: Denoiser
    vocabulary: Vocabulary = WORDS
    process: Process = field(default_factory=lambda: MaskedProcess(mask=WORDS.mask))
    lengths: tuple[int, ...] = ()
    answers: tuple[int, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)


def whimsical(words: Vocabulary = WORDS, **more: object) -> Model:
    process = MaskedProcess(mask=words.mask)
    return Model(denoiser=Whim(size=words.size), vocabulary=words, process=process, **more)


@dataclass(frozen=True, kw_only=True)
class Told:
    """Believes that each position holds a given id, and nothing where it was told nothing."""

    ids: Mapping[int, int]

    def __call__(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        places = where.nonzero()[:, 1].tolist()
        logits = torch.zeros(len(places), WORDS.size)
        for row, position in enumerate(places):
            logits[row, self.ids.get(position, WORDS.pad)] = 40.0
        return logits


def told(start: int, text: str) -> Model:
    """A model that writes a text from a position on, and nothing after it."""
    return Model(denoiser=Told(ids=dict(enumerate(WORDS.encode(text), start))))


def in_span(text: str, span: tuple[int, int], written: str, extra: int = 2) -> Model:
    """A model that writes into the first span of an opened text."""
    return told(open_spans(text, [span], WORDS, extra=extra).fill.holes[0][0], written)


@dataclass(frozen=True, kw_only=True)
class Expects:
    """Gives a token at a position the probability 0.9 if it stands in a text, else little."""

    text: str
    prompt: str = ""

    def __call__(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        pair = PairRecord(prompt=self.prompt, completion=self.text)
        ids = torch.tensor(encode(pair, WORDS, max_length=200).ids)
        share = torch.full((int(where.sum()), WORDS.size), 0.1 / (WORDS.size - 1))
        places = where.nonzero()[:, 1].clamp(max=len(ids) - 1)
        return share.scatter(1, ids[places][:, None], 0.9).log()


TEXT = "the stupid dog sat on the mat"
SPAN = spans_of(TEXT, "stupid")[0]
