"""Names on the command line → parts of the library, parsed once, here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sfumato.models.checkpoints import Checkpoint

    from sfumato.sampling.decoding import DecodingPolicy

SHIPPED = Path(__file__).parent / "shipped"

OrderName = Literal["max_prob", "margin", "entropy", "random", "left_to_right", "sampled_prob"]


def open_model(name: str | None) -> Checkpoint:
    """The model of a folder or hub name, the shipped one if None; ready to write."""
    from sfumato.models.checkpoints import load

    checkpoint = load(str(SHIPPED) if name is None else name)
    checkpoint.denoiser.eval()
    return checkpoint


def policy_of(
    *,
    order: OrderName,
    steps: int,
    threshold: float | None,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    block: int | None,
    no_repeat: int | None,
    guidance: float | None,
) -> DecodingPolicy:
    """The decoding policy that the options of `write`, `fill` and `chat` describe."""
    from sfumato.sampling.parts.guidance import ClassifierFree

    from sfumato.sampling.decoding import DecodingPolicy
    from sfumato.sampling.parts import planners
    from sfumato.sampling.parts.constraints import Repetition
    from sfumato.sampling.parts.logits import TokenSampler
    from sfumato.sampling.parts.planners import Blocks, Order
    from sfumato.sampling.parts.quotas import Even, Threshold

    return DecodingPolicy(
        blocks=Blocks(size=block),
        order=Order(by=getattr(planners, order)),
        quota=Even(steps=steps) if threshold is None else Threshold(probability=threshold),
        tokens=TokenSampler(temperature=temperature, top_k=top_k, top_p=top_p),
        guidance=None if guidance is None else ClassifierFree(scale=guidance),
        constraints=() if no_repeat is None else (Repetition(size=no_repeat),),
    )
