"""Ranked candidates as batches: every candidate of a prompt on a canvas of the same width.

    [CLS] Was it good?  It was great .  [SEP]                  rank 1
    [CLS] Was it good?  No .  [SEP] [PAD] [PAD] [PAD]          rank 2
           ·   ·   ·     ●  ●    ●     ●     ●     ●           judged: the answer, and where it ends

So a diffusion model is asked the same of all of them, and noise can be shared. An autoregressive
model needs no padding; what lies behind the end is not judged there.

Legend of shapes: `B` sets, `N` candidates, `L` positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sfumato.errors import UnusableError, UsageError
from sfumato.text.batching import Example, encode
from sfumato.text.dialogue import ASSISTANT, Message
from sfumato.text.records import DialogueRecord, PairRecord, Record, TextRecord
from sfumato.text.vocabulary import Vocabulary

Prompt = str | tuple[Message, ...]


@dataclass(frozen=True, kw_only=True)
class RankedRecord:
    """Candidates for one prompt and their order.

    Attributes:
        prompt: the beginning of a text, or the turns of a dialogue; "" for texts as such.
        completions: the candidates.
        ranks: the place of each, 1 for the best; ties are allowed.
        scores: what the places come from, the higher the better; None if people ranked.
        origin: where the record came from.

    Raises:
        UnusableError: fewer than two candidates, a rank or score too few, a rank below 1, or
            candidates that are all tied.
    """

    prompt: Prompt
    completions: tuple[str, ...]
    ranks: tuple[int, ...]
    scores: tuple[float, ...] | None = None
    origin: str = ""

    def __post_init__(self) -> None:
        n = len(self.completions)
        if n < 2 or len(self.ranks) != n or (self.scores is not None and len(self.scores) != n):
            raise UnusableError(
                f"expected a rank and perhaps a score for each of two or more completions, got "
                f"{n} completions, {len(self.ranks)} ranks",
                reason="not a ranking",
                place=self.origin,
            )
        if min(self.ranks) < 1 or len(set(self.ranks)) < 2:
            raise UnusableError(
                f"expected places from 1 on that are not all the same, got {self.ranks}",
                reason="no order",
                place=self.origin,
            )

    @property
    def group(self) -> str:
        """What rankings on two sides of a split must not share."""
        return str(self.prompt) or self.completions[0]


@dataclass(frozen=True, kw_only=True)
class RankedExample:
    """An encoded ranking.

    Attributes:
        candidates: encoded, in the order of the record.
        ranks: their places.
    """

    candidates: tuple[Example, ...]
    ranks: tuple[int, ...]

    @property
    def ids(self) -> Sequence[int]:
        """Tokens of the longest candidate, by which sets are sorted into batches."""
        return max((one.ids for one in self.candidates), key=len)


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedSets:
    """A batch of rankings; sets with fewer candidates are filled up with absent ones.

    Attributes:
        ids: clean tokens, *shape* `B N L`.
        judged: positions whose likelihood counts, *shape* `B N L`.
        attend: positions that exist, *shape* `B N L`.
        ranks: places, 0 for an absent candidate, *shape* `B N`.
    """

    ids: Int[Tensor, "B N L"]
    judged: Bool[Tensor, "B N L"]
    attend: Bool[Tensor, "B N L"]
    ranks: Int[Tensor, "B N"]


def encode_ranked(
    record: RankedRecord, vocabulary: Vocabulary, *, max_length: int
) -> RankedExample:
    """Encodes every candidate of a record, as `encode` does.

    Args:
        record: what to encode.
        vocabulary: text to ids.
        max_length: the most tokens of prompt and candidate.

    Raises:
        UnusableError: nothing of a candidate is left.
    """
    found = [
        encode_answer(record.prompt, text, vocabulary, max_length=max_length, origin=record.origin)
        for text in record.completions
    ]
    return RankedExample(candidates=tuple(found), ranks=record.ranks)


def encode_answer(
    prompt: Prompt, text: str, vocabulary: Vocabulary, *, max_length: int, origin: str = ""
) -> Example:
    """Encodes one candidate, as `encode` does.

    Args:
        prompt: what it answers; "" for a text as such.
        text: the candidate.
        vocabulary: text to ids.
        max_length: the most tokens of prompt and candidate.
        origin: where it stands, for messages.

    Raises:
        UnusableError: nothing of it is left.
    """
    record = _record(prompt, text, origin)
    return encode(record, vocabulary, max_length=max_length, trained="last")


def lay_sets(
    examples: Sequence[RankedExample], vocabulary: Vocabulary, *, slack: int = 0
) -> RankedSets:
    """Lays rankings out for diffusion models: within a set all canvases are equally wide.

    Pads behind an eos are part of the answer ("nothing more here"): they are attended and judged.

    Args:
        examples: at least one.
        vocabulary: for the pad and the eos.
        slack: spare slots behind the longest candidate of each set.

    Raises:
        UsageError: no examples or a negative slack.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a b"], size=300)
        >>> record = RankedRecord(prompt="", completions=("b", "b a"), ranks=(1, 2))
        >>> sets = lay_sets([encode_ranked(record, words, max_length=9)], words)
        >>> [*map(words.name, sets.ids[0, 0].tolist())], sets.judged.sum(2).tolist()
        (['[CLS]', 'b', '[SEP]', '[PAD]', '[PAD]'], [[4, 4]])
    """
    if slack < 0:
        raise UsageError(f"expected slack ≥ 0, got {slack}")
    return _laid(examples, vocabulary.pad, slack, eos=vocabulary.eos)


def lay_rows(examples: Sequence[RankedExample], *, pad: int) -> RankedSets:
    """Lays rankings out for autoregressive models: padding behind the end does not exist.

    Args:
        examples: at least one.
        pad: fills the rows.

    Raises:
        UsageError: no examples.
    """
    return _laid(examples, pad, 0, eos=None)


def _laid(
    examples: Sequence[RankedExample], pad: int, slack: int, *, eos: int | None
) -> RankedSets:
    """Rows of one width; behind an eos, if it is given, a set's canvas goes on."""
    if not examples:
        raise UsageError("expected at least one ranking")
    most = max(len(one.candidates) for one in examples)
    width = max(len(one.ids) for one in examples) + slack
    ids = torch.full((len(examples), most, width), pad)
    judged, attend = torch.zeros((2, *ids.shape), dtype=torch.bool)
    ranks = torch.zeros(ids.shape[:2], dtype=torch.long)
    for b, one in enumerate(examples):
        canvas = len(one.ids) + slack
        ranks[b, : len(one.ranks)] = torch.tensor(one.ranks)
        for n, candidate in enumerate(one.candidates):
            size = len(candidate.ids)
            ids[b, n, :size] = torch.tensor(candidate.ids)
            judged[b, n, :size] = torch.tensor(candidate.trained)
            exists = canvas if candidate.ids[-1] == eos else size
            attend[b, n, :exists] = True
            judged[b, n, size:exists] = True
    return RankedSets(ids=ids, judged=judged, attend=attend, ranks=ranks)


def _record(prompt: Prompt, text: str, origin: str) -> Record:
    if not isinstance(prompt, str):
        turns = (*prompt, Message(role=ASSISTANT, content=text))
        return DialogueRecord(messages=turns, origin=origin)
    if not prompt:
        return TextRecord(text=text, origin=origin)
    return PairRecord(prompt=prompt, completion=text, origin=origin)
