"""What every task shares: rows to write, the run that writes them, and the best of them first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch

from sfumato.errors import UsageError
from sfumato.noise.gaussian import GaussianProcess
from sfumato.protocols import Codec, Denoiser, LatentDenoiser, Process
from sfumato.sampling.ancestral import Ancestral, marks_noise
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.frames import Frame, Specials
from sfumato.sampling.latent.descent import Descent
from sfumato.sampling.parts.constraints import Ban
from sfumato.sampling.parts.guidance import place
from sfumato.sampling.parts.planners import Order, entropy
from sfumato.sampling.parts.quotas import EntropyBound
from sfumato.sampling.running.pool import Entry, Pool, Turn
from sfumato.sampling.running.queue import Queue
from sfumato.sampling.running.recording import recorded
from sfumato.sampling.search import Search
from sfumato.sampling.trace import Sample
from sfumato.text.canvas import Canvas, stack
from sfumato.text.vocabulary import Vocabulary

Policy = DecodingPolicy | Ancestral | Descent
Watch = Callable[[Frame], None]
Read = Callable[[Sequence[int]], str]
AHEAD = 8  # batches: enough rows that those of like width find each other
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


@runtime_checkable
class LatentModel(Protocol):
    """What a task needs of a latent checkpoint."""

    @property
    def denoiser(self) -> LatentDenoiser:
        """The network."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """Text ↔ ids."""
        ...

    @property
    def codec(self) -> Codec:
        """Tokens ↔ vectors."""
        ...

    @property
    def process(self) -> GaussianProcess:
        """The noise that the network was trained on."""
        ...


Writer = Model | LatentModel


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """A canvas of one row, the seed to write it with, and how to read the text off its ids.

    Of the first of its ids, `read` gives how the text begins, whatever is written after them.
    """

    canvas: Canvas
    seed: int
    read: Read


@dataclass(frozen=True, kw_only=True, eq=False)
class How:
    """How rows are written."""

    policy: Policy | Search
    batch_size: int = 16
    require: Sequence[str] = ()
    watch: Watch | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """What a task wants written: its rows, how, and phrases that must be in each.

    Whoever runs it, and beside whatever else, the samples are those of the task.
    """

    rows: Sequence[Row]
    policy: Policy
    require: Sequence[str] = ()


def run_work(
    model: Writer, work: Work, *, batch_size: int, watch: Watch | None = None
) -> list[Sample]:
    """Writes the rows of a task, `batch_size` side by side; one sample a row.

    Raises:
        UsageError: no rows or a batch size below one.
    """
    how = How(policy=work.policy, batch_size=batch_size, require=work.require, watch=watch)
    return run(model, work.rows, how)


def run(model: Writer, rows: Sequence[Row], how: How) -> list[Sample]:
    """Writes rows, `batch_size` side by side; one sample a row.

    Raises:
        UsageError: no rows or a batch size below one.
    """
    if not rows or how.batch_size < 1:
        given = f"n={len(rows)}, batch_size={how.batch_size}"
        raise UsageError(f"expected n ≥ 1 and batch_size ≥ 1, got {given}")
    return list(stream(model, rows, how))


def stream(model: Writer, rows: Iterable[Row], how: How) -> Iterator[Sample]:
    """Writes any number of rows, a full batch at a time, and holds few of them.

    A row that is done makes room for the next one. Rows of a search, of a latent model, with a
    frozen context and those that are watched are written in batches that begin and end together.

    Args:
        model: what writes.
        rows: read some batches ahead, to put those of like width together.
        how: how to write them; the batch size is at least one.

    Yields:
        a sample a row, in the order of the rows.
    """
    pool = pool_for(model, how)
    queue: Queue[Row, Sample] = Queue(
        rows,
        width=lambda row: 0 if pool.together else row.canvas.ids.shape[1],
        ahead=how.batch_size * (1 if pool.together else AHEAD),
    )
    turns = pool.turns(queue.take, lambda entries: begin(model, [row for _, row in entries], how))
    watched = _watched(turns, how.watch)
    pieces = model.vocabulary.pieces
    found = recorded(watched, lambda one, ids: one[1].read(ids), pieces, pool.specials)
    for (number, _), sample in found:
        yield from queue.put(number, sample)


def pool_for(model: Writer, how: How) -> Pool[Any]:
    """The batch in which rows are written."""
    policy: Any = how.policy
    denoiser: Any = model.denoiser  # of tokens or of vectors, as `policy_for` made sure
    single = isinstance(policy, DecodingPolicy) and policy.context is None
    return Pool(
        denoiser=denoiser,
        policy=policy,
        specials=specials_of(model.vocabulary),
        size=how.batch_size,
        together=how.watch is not None or not (single or isinstance(policy, Ancestral)),
    )


def begin(model: Writer, rows: Sequence[Row], how: How) -> Frame:
    """The frame of rows before their first step.

    Raises:
        UsageError: a phrase that must be written fits into no hole.
    """
    vocabulary, specials = model.vocabulary, specials_of(model.vocabulary)
    seeds = [row.seed for row in rows]
    canvas = stack([row.canvas for row in rows], pad=vocabulary.pad).to(device_of(model.denoiser))
    phrases = [vocabulary.encode(f" {phrase.strip()}") for phrase in how.require]
    denoiser: Any = model.denoiser
    canvas = place(denoiser, canvas, phrases, specials, seeds=seeds)
    first: Frame = how.policy.start(canvas, seeds, specials)
    first = replace(first, passes=first.passes + len(phrases))
    if how.watch is not None:
        how.watch(first)
    return first


def _watched(turns: Iterable[Turn[Entry]], watch: Watch | None) -> Iterator[Turn[Entry]]:
    for turn in turns:
        if watch is not None and turn.after is not turn.before:
            watch(turn.after)
        yield turn


def policy_for(
    model: Writer,
    policy: Policy | None,
    *,
    steps: int,
    ban: Sequence[str] = (),
    require: Sequence[str] = (),
    usual: DecodingPolicy = SUREST,
    hold: bool = False,
) -> Policy:
    """The policy with the banned phrases.

    If none is given, it is the task's usual one, ancestral sampling for noise without marks, or a
    `Descent` for a latent model.

    Args:
        model: what writes.
        policy: the one that was asked for.
        steps: of ancestral sampling.
        ban: words and phrases that must not be written.
        require: phrases that must be written.
        usual: the task's policy for noise with marks.
        hold: text stands on both sides of what is written.

    Raises:
        UsageError: the policy or the phrases need noise that marks what is unwritten.
    """
    if isinstance(model, LatentModel):
        return _descent_for(model, policy, phrases=(*ban, *require), hold=hold)
    if isinstance(policy, Descent):
        raise UsageError("a Descent writes with a latent model, and this one works on tokens")
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


def _descent_for(
    model: LatentModel, policy: Policy | None, *, phrases: Sequence[str], hold: bool
) -> Descent:
    if phrases:
        raise UsageError("a latent model knows no words while it writes: leave out ban and require")
    if policy is None:
        return Descent(process=model.process, codec=model.codec, hold=hold)
    if not isinstance(policy, Descent):
        raise UsageError(
            f"{type(policy).__name__} is for models of tokens: use Descent(process=…, codec=…)"
        )
    return policy


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


def device_of(denoiser: Denoiser | LatentDenoiser) -> torch.device:
    """Where a network's weights are; the CPU for what has none."""
    parameters = denoiser.parameters() if isinstance(denoiser, torch.nn.Module) else iter(())
    first = next(parameters, None)
    return torch.device("cpu") if first is None else first.device
