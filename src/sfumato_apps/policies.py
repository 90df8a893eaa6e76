"""From the options of the command line to a model that writes and how it does."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import fields, replace
from typing import Any

import torch

from sfumato.errors import DataError, UsageError
from sfumato.evaluation.tuning.paces import pace_from_json
from sfumato.models.checkpoints import SHIPPED, Checkpoint, load
from sfumato.models.latent.storage import LatentCheckpoint, is_latent, load_latent
from sfumato.models.storage.folders import locate
from sfumato.sampling.ancestral import Ancestral, marks_noise
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.latent.descent import Descent
from sfumato.sampling.latent.guides import Contrast
from sfumato.sampling.latent.solvers import SOLVERS
from sfumato.sampling.loop import FrozenContext
from sfumato.sampling.parts import planners
from sfumato.sampling.parts.constraints import Loops, Repetition
from sfumato.sampling.parts.guidance import ClassifierFree
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Blocks, Order
from sfumato.sampling.parts.quotas import Even, Threshold
from sfumato.sampling.tasks import Policy, specials_of
from sfumato_apps.choices import DEVICE, WEIGHTS, Decoding
from sfumato_apps.fingerprints import digest_of_model, short

FLOAT32 = "float32"
DECODING = Decoding()
_STEPS, _LATENT_STEPS = 64, 20
_LATENT = {"steps", "temperature", "solver"}
_OF_MASKS = ("threshold", "block", "no_repeat", "refresh", "reach", "tuned")
_PACE = ("steps", "threshold", "order", "refresh", "reach")


def open_model(name: str | None) -> Checkpoint:
    """The model of a folder or hub name, the shipped one if None; ready to write."""
    return load(SHIPPED if name is None else name, device=usual_device(), weights=weights_held())


def open_writer(
    name: str | None, *, device: torch.device | str | None = None
) -> Checkpoint | LatentCheckpoint:
    """The same, or a latent model.

    Args:
        name: folder or hub name; the shipped model if None.
        device: where it goes; `usual_device` if None.

    Raises:
        UsageError: `--weights` for a latent model.
    """
    folder = SHIPPED if name is None else locate(name)
    device = usual_device() if device is None else device
    if not is_latent(folder):
        return load(folder, device=device, weights=weights_held())
    if weights_held() != FLOAT32:
        raise UsageError("--weights: latent models are held in float32")
    return load_latent(folder, device=device)


def usual_device() -> torch.device:
    """What `sfumato --device` names, else a GPU with CUDA if there is one, else the CPU.

    Raises:
        UsageError: there is no such device.
    """
    name = os.environ.get(DEVICE) or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise UsageError(f"--device {name}: PyTorch cannot use it here: {why}") from error


def weights_held() -> str:
    """What `sfumato --weights` says of the numbers that a network's weights are held in."""
    return os.environ.get(WEIGHTS) or FLOAT32


def of_model(name: str | None) -> dict[str, str]:
    """What a text depends on of a model: its digest, and what its weights are held in.

    Args:
        name: folder or hub name; the shipped model if None.
    """
    return {"model": digest_of_model(name), "weights": weights_held()}


def policy_of(
    model: Checkpoint | LatentCheckpoint,
    decoding: Decoding = DECODING,
    *,
    name: str | None = None,
    guidance: float | None = None,
    block: int = 0,
) -> Policy:
    """How to write with a model, from the options of the command line.

    Args:
        model: what writes.
        decoding: the options.
        name: folder or hub name of the model, the shipped one if None; `--tuned` compares it.
        guidance: strength of classifier-free guidance.
        block: the size of a block that text written freely has, if the options name none; 0 for
            text between other text, which is written on the whole canvas.

    Raises:
        UsageError: an option that the model's noise has no use for.
    """
    if isinstance(model, LatentCheckpoint):
        return descent_of(model, decoding, guidance=guidance, hold=not block)
    if decoding.solver is not None:
        raise UsageError("--solver: only for latent models, which `sfumato latent` makes")
    tokens = TokenSampler(
        temperature=decoding.temperature, top_k=decoding.top_k, top_p=decoding.top_p
    )
    threshold, size, repeat = decoding.threshold, decoding.block, decoding.no_repeat
    if not marks_noise(model.process, specials_of(model.vocabulary)):
        masked = {name: getattr(decoding, name) for name in _OF_MASKS}
        masked |= {"block": size or None, "guidance": guidance}
        named = (name.replace("_", "-") for name, value in masked.items() if value is not None)
        if given := [f"--{name}" for name in named]:
            raise UsageError(f"{', '.join(given)}: only for models of masked noise")
        return Ancestral(process=model.process, steps=decoding.steps or _STEPS, tokens=tokens)
    steps = decoding.steps or _STEPS
    usual = (Loops(),) if block and repeat is None else ()
    policy = DecodingPolicy(
        blocks=Blocks(size=(block if size is None else size) or None),
        order=Order(by=getattr(planners, decoding.order)),
        quota=Even(steps=steps) if threshold is None else Threshold(probability=threshold),
        tokens=tokens,
        guidance=None if guidance is None else ClassifierFree(scale=guidance),
        constraints=(Repetition(size=repeat),) if repeat else usual,
        context=context_of(decoding.refresh, decoding.reach),
    )
    return policy if decoding.tuned is None else at_tuned_pace(policy, decoding, name)


def options_of(model: Checkpoint | LatentCheckpoint) -> frozenset[str]:
    """The options of the command line that a model has a use for: fields of `Decoding`, guidance.

    Args:
        model: what writes.
    """
    every = {one.name for one in fields(Decoding)}
    if isinstance(model, LatentCheckpoint):
        return frozenset(_LATENT | {"guidance"})
    if marks_noise(model.process, specials_of(model.vocabulary)):
        return frozenset((every - {"solver"}) | {"guidance"})
    return frozenset(every - {"solver", "order", *_OF_MASKS})


def at_tuned_pace(
    policy: DecodingPolicy, decoding: Decoding, name: str | None = None
) -> DecodingPolicy:
    """A policy at the pace, and with the context, of the file that `--tuned` names.

    Says on stderr what the pace was tuned with and is not so now.

    Args:
        policy: how to write otherwise.
        decoding: the options.
        name: folder or hub name of the model; the shipped one if None.

    Raises:
        UsageError: the options choose a pace of their own too.
        DataError: the file is not one of `sfumato tune`.
    """
    assert decoding.tuned is not None
    given = [f"--{name}" for name in _PACE if getattr(decoding, name) != getattr(DECODING, name)]
    if given:
        raise UsageError(
            f"--tuned says how many tokens to write and where: drop {', '.join(given)}"
        )
    try:
        record = json.loads(decoding.tuned.read_text(encoding="utf-8"))
        pace, context = record["pace"], record.get("context", {})
        refresh, reach = context.get("refresh"), context.get("reach")
        before, model = dict(record.get("options", {})), record.get("model")
        told = None if model is None else (model["name"], model["sha256"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{decoding.tuned}: expected a file that `sfumato tune --out` wrote: {error}"
        ) from error
    paced = replace(pace_from_json(pace).of(policy), context=context_of(refresh, reach))
    now = settings_of(paced)
    changed = [] if told is None else _other_model(*told, name)
    changed += [
        f"{option} {before[option]}, not {value}"
        for option, value in now.items()
        if before.get(option, value) != value
    ]
    if changed:
        print(
            f"{decoding.tuned} was tuned with {', '.join(changed)}: what it promises may not "
            "hold; tune with the model and the options that you write with",
            file=sys.stderr,
        )
    return paced


def _other_model(before: str | None, digest: str, now: str | None) -> list[str]:
    """What to say of a model that was tuned with, if it is not the one that writes."""
    if digest == (found := digest_of_model(now)):
        return []
    old, new = before or "shipped", now or "shipped"
    return [f"model {old} ({short(digest)}), not {new} ({short(found)})"]


def settings_of(policy: DecodingPolicy) -> dict[str, Any]:
    """What a pace is tuned with, and depends on: `--weights`, and a policy without its pace."""
    tokens, guidance = policy.tokens, policy.guidance
    repeats = [one.size for one in policy.constraints if isinstance(one, Repetition)]
    return {
        "temperature": tokens.temperature,
        "top_k": tokens.top_k,
        "top_p": tokens.top_p,
        "block": policy.blocks.size,
        "no_repeat": repeats[0] if repeats else None if policy.constraints else 0,
        "guidance": guidance.scale if isinstance(guidance, ClassifierFree) else None,
        "weights": weights_held(),
    }


def context_of(refresh: int | None, reach: int | None) -> FrozenContext | None:
    """How the text around is read, from `--refresh`, of which 0 means never again, and `--reach`.

    Raises:
        UsageError: a reach alone.
    """
    if refresh is not None:
        return FrozenContext(refresh=refresh or None, reach=reach)
    if reach is not None:
        raise UsageError("--reach says what is read between whole readings: give --refresh too")
    return None


def descent_of(
    model: LatentCheckpoint,
    decoding: Decoding = DECODING,
    *,
    guidance: float | None = None,
    hold: bool = False,
) -> Descent:
    """How a latent model writes.

    Args:
        model: what writes.
        decoding: the options.
        guidance: strength of classifier-free guidance.
        hold: text stands on both sides of what is written.

    Raises:
        UsageError: an option of models of tokens.
    """
    others = [one.name for one in fields(Decoding) if one.name not in _LATENT]
    given = [name for name in others if getattr(decoding, name) != getattr(DECODING, name)]
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"{names}: not for latent models, which write all words at once")
    return Descent(
        process=model.process,
        codec=model.codec,
        steps=decoding.steps or _LATENT_STEPS,
        solver=SOLVERS[decoding.solver or "dpm-solver"],
        guidance=None if guidance is None else Contrast(scale=guidance),
        hold=hold,
        temperature=decoding.temperature,
    )
