"""The iterator of frames: everything that watches a run consumes it.

    start ─▶ frame ─▶ step ─▶ frame ─▶ step ─▶ … ─▶ done
               └─ progress bar, stream, trace, page

A frame holds all that determines the rest, so a run resumes from any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from sfumato.errors import UsageError
from sfumato.protocols import Denoiser
from sfumato.sampling.frames import Frame, Specials
from sfumato.text.canvas import Canvas

Network = TypeVar("Network")
Network_contra = TypeVar("Network_contra", contravariant=True)


@runtime_checkable
class Policy(Protocol[Network_contra]):
    """How a canvas is written: a first frame, a move, and a bound on their number.

    It knows what kind of network it asks: one of tokens or one of vectors.
    """

    def start(self, canvas: Canvas, seeds: int | Sequence[int], specials: Specials) -> Frame:
        """The frame before the first step."""
        ...

    def move(self, frame: Frame, denoiser: Network_contra, specials: Specials) -> Frame:
        """One step."""
        ...

    def limit(self, frame: Frame) -> int:
        """A bound on the steps from `frame` to the end."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A policy that asks a denoiser of its own, made for each run."""

    def prepared(self, denoiser: Any) -> Any:  # noqa: ANN401
        """The denoiser for one run over one batch."""
        ...


@runtime_checkable
class Freezable(Protocol):
    """A denoiser that can read again only what has changed."""

    def frozen(self, *, refresh: int | None = None, reach: int | None = None) -> Denoiser:
        """The same network, for one run over one batch of rows."""
        ...


@dataclass(frozen=True, kw_only=True)
class FrozenContext:
    """Positions that neither changed nor are asked for are read every `refresh` passes only.

    What is written no longer changes how the rest of the text is read, until it is read again: a
    large gain where a little is written into much, and an approximation. How near it comes to
    reading everything depends on model and text; `sfumato tune` measures it.

    Attributes:
        refresh: passes from one whole reading to the next; 1 is exact, None never reads again.
        reach: between them, a masked position is read where something changed at most so many
            positions away; None reads all masked positions.

    Raises:
        UsageError: a refresh below 1 or a reach below 0.

    Example:
        >>> FrozenContext(refresh=8)
        FrozenContext(refresh=8, reach=None)
    """

    refresh: int | None = None
    reach: int | None = None

    def __post_init__(self) -> None:
        if self.refresh is not None and self.refresh < 1:
            raise UsageError(f"expected a refresh every 1 or more passes, got {self.refresh}")
        if self.reach is not None and self.reach < 0:
            raise UsageError(f"expected a reach of 0 or more positions, got {self.reach}")

    def of(self, denoiser: Denoiser) -> Denoiser:
        """The denoiser for one run.

        Raises:
            UsageError: it cannot read in parts.
            ModelError: its network cannot.
        """
        if not isinstance(denoiser, Freezable):
            raise UsageError(
                f"{type(denoiser).__name__} reads all of a text at every pass: leave the context "
                "unfrozen"
            )
        return denoiser.frozen(refresh=self.refresh, reach=self.reach)


def sample(
    denoiser: Network,
    canvas: Canvas,
    policy: Policy[Network],
    specials: Specials,
    *,
    seeds: int | Sequence[int] = 0,
) -> Iterator[Frame]:
    """Writes a canvas, frame by frame, the untouched one first.

    Args:
        denoiser: the network.
        canvas: what to write; nothing but its editable positions changes.
        policy: how.
        specials: ids with a meaning of their own.
        seeds: one for each row, or one that row i adds i to. The same seed gives the same
            tokens, for a row alone and in any batch.

    Example:
        >>> import torch
        >>> from sfumato.sampling.decoding import DecodingPolicy
        >>> from sfumato.text.canvas import Hole, Locked, lay_out
        >>> def coin(x_t, where, *, attend=None, t=None):
        ...     return torch.zeros(int(where.sum()), 6)
        >>> canvas = lay_out([Locked(ids=(4,)), Hole(slots=3)], mask=0)
        >>> specials = Specials(mask=0, pad=1, eos=2, unwritable=frozenset({3}))
        >>> *_, last = sample(coin, canvas, DecodingPolicy(), specials, seeds=1)
        >>> last.ids.shape, last.passes.tolist()
        (torch.Size([1, 4]), [3])
    """
    frame = policy.start(canvas, seeds, specials)
    yield frame
    yield from resume(denoiser, frame, policy, specials)


def resume(
    denoiser: Network, frame: Frame, policy: Policy[Network], specials: Specials
) -> Iterator[Frame]:
    """The frames after `frame`: the same as those of the run that it was taken from."""
    denoiser = prepared(denoiser, policy)
    limit, made = policy.limit(frame), 0
    while not bool(frame.done.all()):
        assert made < limit, f"a policy must finish within {limit} steps"
        frame, made = step(denoiser, frame, policy, specials), made + 1
        yield frame
    assert not bool(frame.pending.any()), "a finished run leaves no position unwritten"


def prepared(denoiser: Network, policy: Policy[Network]) -> Network:
    """The denoiser that a policy asks in one run over one batch."""
    own: Network = policy.prepared(denoiser) if isinstance(policy, Preparing) else denoiser
    return own


def step(denoiser: Network, frame: Frame, policy: Policy[Network], specials: Specials) -> Frame:
    """The frame after `frame`."""
    return policy.move(frame, denoiser, specials)


def finish(
    denoiser: Network,
    canvas: Canvas,
    policy: Policy[Network],
    specials: Specials,
    *,
    seeds: int | Sequence[int] = 0,
) -> Frame:
    """The last frame of a run; arguments as for `sample`."""
    frame = policy.start(canvas, seeds, specials)
    for later in resume(denoiser, frame, policy, specials):
        frame = later
    return frame
