"""An autoregressive model that fills gaps: prefix, suffix, middle, told apart by sentinels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import autoregressive
import contestants
from library import Piece
from transformers import LlamaForCausalLM

from sfumato.errors import UnusableError
from sfumato.models.checkpoints import Checkpoint
from sfumato.text.batching import Example, encode
from sfumato.text.records import InfillRecord, TextRecord
from sfumato.text.template import sides
from sfumato.text.vocabulary import Vocabulary

MIDDLE = 96


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A Llama trained on reordered pieces, over the vocabulary of its opponent."""

    llama: LlamaForCausalLM
    words: Vocabulary
    length: int

    def write(self, gaps: Sequence[InfillRecord]) -> tuple[list[str], float]:
        """The likeliest next token at a time; middles, and passes for each."""
        heads = [self._asked(gap) for gap in gaps]
        texts = [
            *autoregressive.write(
                self.llama, heads, self.words, temperature=0.0, length=MIDDLE, seed=contestants.SEED
            )
        ]
        passes = mean(min(MIDDLE, len(self.words.encode(text)) + 1) for text in texts)
        # The space at the end of a prefix is carried by the first word of the middle.
        return [
            text.removeprefix(" ") if gap.prefix.endswith(" ") else text
            for gap, text in zip(gaps, texts, strict=True)
        ], passes

    def _asked(self, gap: InfillRecord) -> list[int]:
        room = self.length - MIDDLE // 4  # a middle of the usual length fits what it was trained on
        before, after = sides(gap.prefix, gap.suffix, self.words, room=room)
        return reordered(before, (), after, self.words)


def reordered(
    before: Sequence[int], middle: Sequence[int], after: Sequence[int], words: Vocabulary
) -> list[int]:
    """`[bos] <prefix> … <suffix> … <middle> …`; the markers of roles serve as sentinels."""
    prefix, suffix, between = words.roles.values()
    opening = len(before) and before[0] == words.bos
    return [
        *before[:opening],
        prefix,
        *before[opening:],
        suffix,
        *after,
        between,
        *middle,
    ]


def examples(pieces: Sequence[Piece], words: Vocabulary, length: int) -> list[Example]:
    """What the rival learns: the pieces that its opponent learns, every token of them."""
    found = []
    for piece in pieces:
        found.append(encode(TextRecord(text=piece.text), words, max_length=length))
        if piece.gap is None:
            continue
        try:
            one = encode(piece.gap, words, max_length=length)
        except UnusableError:
            continue
        start = one.trained.index(True)
        stop = start + sum(one.trained)
        ids = reordered(one.ids[:start], one.ids[start:stop], one.ids[stop:], words)
        ids.append(words.eos)
        found.append(Example(ids=tuple(ids), trained=(False,) + (True,) * (len(ids) - 1)))
    return found


def learn(out: Path, model: Checkpoint, pieces: Sequence[Piece], *, length: int) -> Rival:
    """Trains for as long as `model` took, or takes what an earlier run left in the folder."""
    words = model.vocabulary
    learnt = examples(pieces, words, length)
    folder = out / "autoregressive"
    llama = contestants.rival(folder, out / "diffusion", learnt, length=length)
    return Rival(llama=llama, words=words, length=length)
