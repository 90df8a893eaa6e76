"""What every task shares: rows to write, the run that writes them, and the best of them first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol, TypeVar, runtime_checkable

import torch

from sfumato.errors import ModelError, UsageError
from sfumato.protocols import Denoiser, Process, Scorer
from sfumato.sampling.ancestral import Ancestral, marks_noise
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.frames import Frame, Specials, Trajectory
from sfumato.sampling.loop import resume
from sfumato.sampling.parts.constraints import Ban
from sfumato.sampling.parts.guidance import place
from sfumato.sampling.parts.planners import Order, entropy
from sfumato.sampling.parts.quotas import EntropyBound
from sfumato.sampling.trace import Sample, Trace, record
from sfumato.text.canvas import Canvas, stack
from sfumato.text.vocabulary import Vocabulary
from sfumato.text.words import Segment, diff, share_kept

Policy = DecodingPolicy | Ancestral
Watch = Callable[[Frame], None]
Read = Callable[[Sequence[int]], str]
SUREST = DecodingPolicy(order=Order(by=entropy), quota=EntropyBound())


@runtime_checkable
class Model(Protocol):
    """What a task needs of a checkpoint."""

    @property
    def denoiser(self) -> Denoiser:
        """The network."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """Text ↔ ids."""
        ...

    @property
    def process(self) -> Process:
        """The noise that the network was trained on."""
        ...


@dataclass(frozen=True, kw_only=True)
class Infill:
    """A text that was written between two others.

    Attributes:
        text: the whole text; what was given stands at its ends as it was typed.
        middle: what was written.
        seed: writes it again.
        passes: evaluations of the network.
        trajectory: ids, with the step and the confidence of each.
        trace: every step, for players and files.
        score: what a ranking scorer gave the text.
    """

    text: str
    middle: str
    seed: int
    passes: int
    trajectory: Trajectory
    trace: Trace
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a text is worth as a detoxified form of its source.

    Attributes:
        toxicity: by the scorer.
        meaning: how much of the source is kept, 0 to 1.
        fluency: 0 to 1.
        joint: (1 − toxicity) · meaning · fluency.
        clean: the toxicity is at most the threshold.
    """

    toxicity: float
    meaning: float
    fluency: float
    joint: float
    clean: bool


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A text that was rewritten, and what became of its source.

    Attributes:
        text: the new text.
        source: the old one.
        segments: what is kept, removed and written, in order.
        seed: writes it again.
        passes: evaluations of the network.
        trace: every step; None if nothing was written, as when words are only deleted.
        verdict: what `detox` found.
        score: what a ranking scorer gave the text.
    """

    text: str
    source: str
    segments: tuple[Segment, ...]
    seed: int
    passes: int
    trace: Trace | None = None
    verdict: Verdict | None = None
    score: float | None = None

    @property
    def kept(self) -> float:
        """Share of the source's words that are kept."""
        return share_kept(self.segments)


def edited(
    source: str,
    text: str,
    *,
    seed: int,
    passes: int = 0,
    trace: Trace | None = None,
    verdict: Verdict | None = None,
) -> Edit:
    """An edit with its diff."""
    segments = diff(source, text)
    return Edit(
        text=text,
        source=source,
        segments=segments,
        seed=seed,
        passes=passes,
        trace=trace,
        verdict=verdict,
    )


Candidate = TypeVar("Candidate", Sample, Infill, Edit)


def best_first(candidates: Sequence[Candidate], rank: Scorer | None) -> list[Candidate]:
    """Candidates by the score of their texts, the highest first; as they are without a scorer.

    Example:
        >>> from sfumato.sampling.tasks.jobs import edited
        >>> found = [edited("", text, seed=0) for text in ("a", "abc", "ab")]
        >>> [one.text for one in best_first(found, lambda texts: [float(len(t)) for t in texts])]
        ['abc', 'ab', 'a']
    """
    if rank is None:
        return list(candidates)
    scores = scores_of(rank, [one.text for one in candidates])
    scored = [replace(one, score=score) for one, score in zip(candidates, scores, strict=True)]
    return sorted(scored, key=lambda one: -(one.score or 0.0))


def scores_of(scorer: Scorer, texts: Sequence[str]) -> list[float]:
    """A scorer's numbers, checked.

    Raises:
        ModelError: not one number a text, or no number at all.
    """
    scores = scorer(texts) if texts else []
    if len(scores) != len(texts) or any(map(math.isnan, scores)):
        raise ModelError(
            f"the scorer must give one number for each of {len(texts)} texts, but gave "
            f"{len(scores)}, {sum(map(math.isnan, scores))} of them NaN"
        )
    return [float(score) for score in scores]


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """A canvas of one row, the seed to write it with, and how to read the text off its ids."""

    canvas: Canvas
    seed: int
    read: Read


@dataclass(frozen=True, kw_only=True, eq=False)
class How:
    """How rows are written."""

    policy: Policy
    batch_size: int = 16
    require: Sequence[str] = ()
    watch: Watch | None = None


def run(model: Model, rows: Sequence[Row], how: How) -> list[Sample]:
    """Writes rows, `batch_size` side by side; one sample a row.

    Raises:
        UsageError: no rows or a batch size below one.
    """
    if not rows or how.batch_size < 1:
        given = f"n={len(rows)}, batch_size={how.batch_size}"
        raise UsageError(f"expected n ≥ 1 and batch_size ≥ 1, got {given}")
    samples: list[Sample] = []
    for first in range(0, len(rows), how.batch_size):
        samples += _batch(model, rows[first : first + how.batch_size], how)
    return samples


def _batch(model: Model, rows: Sequence[Row], how: How) -> list[Sample]:
    vocabulary, specials = model.vocabulary, specials_of(model.vocabulary)
    seeds = [row.seed for row in rows]
    canvas = stack([row.canvas for row in rows], pad=vocabulary.pad).to(device_of(model.denoiser))
    phrases = [vocabulary.encode(f" {phrase.strip()}") for phrase in how.require]
    canvas = place(model.denoiser, canvas, phrases, specials, seeds=seeds)
    first = how.policy.start(canvas, seeds, specials)
    first = replace(first, passes=first.passes + len(phrases))
    frames = chain([first], resume(model.denoiser, first, how.policy, specials))
    reads = [row.read for row in rows]
    return record(_watched(frames, how.watch), reads, vocabulary.pieces, specials)


def _watched(frames: Iterable[Frame], watch: Watch | None) -> Iterator[Frame]:
    for frame in frames:
        if watch is not None:
            watch(frame)
        yield frame


def policy_for(
    model: Model,
    policy: Policy | None,
    *,
    steps: int,
    ban: Sequence[str] = (),
    require: Sequence[str] = (),
    usual: DecodingPolicy = SUREST,
) -> Policy:
    """The policy with the banned phrases.

    If none is given, it is the task's usual one, or ancestral sampling for noise without marks.

    Raises:
        UsageError: the policy or the phrases need noise that marks what is unwritten.
    """
    marked = marks_noise(model.process, specials_of(model.vocabulary))
    if not marked and (ban or require or isinstance(policy, DecodingPolicy)):
        raise UsageError(
            f"{model.process} does not mark what is unwritten, so decoding policies, `ban` and "
            "`require` cannot be used with it: leave them out, or use Ancestral(process=…)"
        )
    if policy is None:
        policy = usual if marked else Ancestral(process=model.process, steps=max(1, steps))
    if not ban:
        return policy
    if not isinstance(policy, DecodingPolicy):
        raise UsageError("ancestral sampling takes no constraints: ban with a DecodingPolicy")
    return replace(policy, constraints=(*policy.constraints, ban_texts(ban, model.vocabulary)))


def ban_texts(texts: Sequence[str], vocabulary: Vocabulary) -> Ban:
    """A ban of words and phrases, at the beginning of a word and inside one.

    It bans the tokens that the vocabulary spells them with, not every other spelling.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["cat cat"], size=300)
        >>> len(ban_texts(["cat"], words).phrases)
        2
    """
    spelled = [vocabulary.encode(form) for text in texts for form in (text, f" {text}")]
    return Ban(phrases=tuple(dict.fromkeys(spelled)))


def specials_of(vocabulary: Vocabulary) -> Specials:
    """What a sampler knows of a vocabulary."""
    return Specials(
        mask=vocabulary.mask,
        pad=vocabulary.pad,
        eos=vocabulary.eos,
        unwritable=vocabulary.unwritable,
    )


def device_of(denoiser: Denoiser) -> torch.device:
    """Where a network's weights are; the CPU for what has none."""
    parameters = denoiser.parameters() if isinstance(denoiser, torch.nn.Module) else iter(())
    first = next(parameters, None)
    return torch.device("cpu") if first is None else first.device
