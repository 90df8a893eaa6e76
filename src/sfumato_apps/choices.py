"""Names on the command line → parts of the library, parsed once, here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sfumato.errors import UsageError

if TYPE_CHECKING:
    from sfumato.models.checkpoints import Checkpoint
    from sfumato.sampling.tasks import Policy

BLOCK = 8
OrderName = Literal["max_prob", "margin", "entropy", "random", "left_to_right", "sampled_prob"]


def open_model(name: str | None) -> Checkpoint:
    """The model of a folder or hub name, the shipped one if None; ready to write."""
    from sfumato.models.checkpoints import load

    return load() if name is None else load(name)


def policy_of(
    model: Checkpoint,
    *,
    order: OrderName = "max_prob",
    steps: int = 64,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    threshold: float | None = None,
    block: int | None = None,
    no_repeat: int | None = None,
    guidance: float | None = None,
) -> Policy:
    """How to write with a model, from the options of `write`, `fill`, `chat` and `evaluate`.

    If `block` is None, masked noise writes in blocks of `BLOCK` tokens; 0 takes the whole canvas.

    Raises:
        UsageError: an option that the model's noise has no use for.
    """
    from sfumato.sampling.ancestral import Ancestral, marks_noise
    from sfumato.sampling.decoding import DecodingPolicy
    from sfumato.sampling.parts import planners
    from sfumato.sampling.parts.constraints import Repetition
    from sfumato.sampling.parts.guidance import ClassifierFree
    from sfumato.sampling.parts.logits import TokenSampler
    from sfumato.sampling.parts.planners import Blocks, Order
    from sfumato.sampling.parts.quotas import Even, Threshold
    from sfumato.sampling.tasks import specials_of

    tokens = TokenSampler(temperature=temperature, top_k=top_k, top_p=top_p)
    if not marks_noise(model.process, specials_of(model.vocabulary)):
        masked = {
            "threshold": threshold,
            "block": block or None,
            "no-repeat": no_repeat,
            "guidance": guidance,
        }
        given = [f"--{name}" for name, value in masked.items() if value is not None]
        if given:
            raise UsageError(f"{', '.join(given)}: only for models of masked noise")
        return Ancestral(process=model.process, steps=steps, tokens=tokens)
    size = BLOCK if block is None else block
    return DecodingPolicy(
        blocks=Blocks(size=size or None),
        order=Order(by=getattr(planners, order)),
        quota=Even(steps=steps) if threshold is None else Threshold(probability=threshold),
        tokens=tokens,
        guidance=None if guidance is None else ClassifierFree(scale=guidance),
        constraints=() if no_repeat is None else (Repetition(size=no_repeat),),
    )
