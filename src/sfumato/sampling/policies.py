"""Policies named after the papers they restate.

At temperature 0 each writes the published algorithm's tokens, one for one (a test holds them
against plain restatements). At higher temperatures the published rules rank a position by the
token they drew for it, which biases the text toward the mode; here the rank reads the predicted
distribution only, unless `biased` is asked for.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import TypeVar

from sfumato.errors import UsageError
from sfumato.noise.schedules import Linear
from sfumato.protocols import Schedule
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import (
    Blocks,
    Order,
    Score,
    entropy,
    left_to_right,
    margin,
    max_prob,
    random,
    sampled_prob,
)
from sfumato.sampling.parts.quotas import (
    EntropyBound,
    Even,
    Factor,
    FirstHitting,
    Scheduled,
    Threshold,
)
from sfumato.sampling.parts.revision import (
    Cap,
    Confidence,
    Plateau,
    ReMDM,
    Rescale,
)

T = TypeVar("T")

ORDERS: Mapping[str, Score] = {
    score.__name__: score
    for score in (random, left_to_right, max_prob, margin, entropy, sampled_prob)
}


def llada(
    *, steps: int = 64, block: int | None = 32, temperature: float = 0.0, biased: bool = False
) -> DecodingPolicy:
    """Low-confidence remasking in blocks (LLaDA, 2502.09992, algorithm 5 and §2.4).

    Args:
        steps: steps of the run, divided among the blocks.
        block: positions of a block; None for the whole canvas.
        temperature: of the token draw.
        biased: rank by the drawn token, as published; temperature then hardly acts.

    Example:
        >>> llada(steps=32).quota
        Even(steps=32)
    """
    return DecodingPolicy(
        blocks=Blocks(size=block),
        order=Order(by=sampled_prob if biased else max_prob),
        quota=Even(steps=steps),
        tokens=TokenSampler(temperature=temperature),
    )


def dream(
    *,
    steps: int = 64,
    alg: str = "entropy",
    temperature: float = 0.0,
    top_p: float | None = None,
    alg_temp: float = 0.0,
) -> DecodingPolicy:
    """Dream's samplers over the whole canvas (2508.15487; `generation_utils.py`).

    Args:
        steps: steps of the run, on times from 1 to 1e-3.
        alg: origin (random order), maskgit_plus (probability), topk_margin or entropy.
        temperature: of the token draw.
        top_p: mass that is kept of each prediction.
        alg_temp: temperature of the order.

    Raises:
        UsageError: an unknown `alg`.

    Example:
        >>> dream(alg="topk_margin").order.by is margin
        True
    """
    scores: Mapping[str, Score] = {
        "origin": random,
        "maskgit_plus": max_prob,
        "topk_margin": margin,
        "entropy": entropy,
    }
    score = look_up("alg of dream", alg, scores)
    return DecodingPolicy(
        order=Order(by=score, temperature=alg_temp),
        quota=Scheduled(steps=steps, binomial=score is random, end=1e-3),
        tokens=TokenSampler(temperature=temperature, top_p=top_p),
    )


def fast_dllm(
    *,
    threshold: float | None = None,
    factor: float | None = None,
    block: int | None = 32,
    temperature: float = 0.0,
) -> DecodingPolicy:
    """Parallel decoding by confidence (Fast-dLLM, 2505.22618), without its cache.

    Args:
        threshold: write every position at least this sure; 0.9 if neither is given.
        factor: write n positions while (n + 1)·(1 − c_n) stays below it.
        block: positions of a block; None for the whole canvas.
        temperature: of the token draw.

    Raises:
        UsageError: both a threshold and a factor.

    Example:
        >>> fast_dllm().quota
        Threshold(probability=0.9)
    """
    if threshold is not None and factor is not None:
        raise UsageError("fast_dllm takes a threshold or a factor, not both")
    if factor is not None:
        quota: Threshold | Factor = Factor(factor=factor)
    else:
        quota = Threshold(probability=0.9 if threshold is None else threshold)
    return DecodingPolicy(
        blocks=Blocks(size=block), quota=quota, tokens=TokenSampler(temperature=temperature)
    )


def mdlm(*, steps: int = 64, schedule: Schedule | None = None) -> DecodingPolicy:
    """Ancestral sampling of masked noise (MDLM, 2406.07524, algorithm 2).

    Only the positions that are written are predicted, and a step that writes none is free.

    Args:
        steps: steps of the run.
        schedule: α(t); linear if not given.

    Example:
        >>> mdlm(steps=1000).informed
        False
    """
    return DecodingPolicy(
        order=Order(by=random),
        quota=Scheduled(steps=steps, schedule=schedule or Linear(), binomial=True),
    )


def first_hitting() -> DecodingPolicy:
    """The same law as `mdlm` with infinitely many steps, in one pass a token (2409.02908).

    Example:
        >>> first_hitting().quota.planned
        0
    """
    return DecodingPolicy(order=Order(by=random), quota=FirstHitting())


def remdm(
    *, steps: int = 128, kind: str = "cap", eta: float | None = None, top_p: float | None = 0.9
) -> DecodingPolicy:
    """Ancestral sampling that takes tokens back (ReMDM, 2503.00307).

    Args:
        steps: steps of the run.
        kind: cap, rescale, confidence, or loop (a cap on a plateau of the schedule).
        eta: strength; 0.02 for cap and loop and 0.1 for rescale if not given.
        top_p: mass that is kept of each prediction.

    Raises:
        UsageError: an unknown kind, or an eta for `confidence`, which has none.

    Example:
        >>> remdm(kind="rescale").revision
        ReMDM(remasking=Rescale(eta=0.1), window=None)
    """
    if kind == "confidence" and eta is not None:
        raise UsageError("remdm of kind 'confidence' has no eta: drop it")
    plateau = Plateau()
    cap = Cap() if eta is None else Cap(eta=eta)
    kinds = {
        "cap": ReMDM(remasking=cap),
        "rescale": ReMDM(remasking=Rescale() if eta is None else Rescale(eta=eta)),
        "confidence": ReMDM(remasking=Confidence()),
        "loop": ReMDM(remasking=cap, window=(plateau.on, plateau.off)),
    }
    revision = look_up("kind of remdm", kind, kinds)
    schedule = Linear() if revision.window is None else plateau
    return DecodingPolicy(
        order=Order(by=random),
        quota=Scheduled(steps=steps, schedule=schedule, binomial=True),
        tokens=TokenSampler(top_p=top_p),
        revision=revision,
    )


def diffusion_gemma(
    *, gamma: float = 0.1, temperature: float | tuple[float, float] = (0.8, 0.4)
) -> DecodingPolicy:
    """The entropy bound of DiffusionGemma with its falling temperature, on a masked canvas.

    Its own canvas holds random tokens where ours holds masks.

    Args:
        gamma: the bound, nats.
        temperature: from the beginning to the end of the run.

    Example:
        >>> diffusion_gemma().tokens.temperature
        (0.8, 0.4)
    """
    return DecodingPolicy(
        order=Order(by=entropy),
        quota=EntropyBound(gamma=gamma),
        tokens=TokenSampler(temperature=temperature),
    )


PRESETS: Mapping[str, Callable[..., DecodingPolicy]] = {
    preset.__name__: preset
    for preset in (llada, dream, fast_dllm, mdlm, first_hitting, remdm, diffusion_gemma)
}


def named_policy(name: str, options: Mapping[str, object] | None = None) -> DecodingPolicy:
    """A policy by the name of its paper, for command lines and YAML.

    Args:
        name: a key of `PRESETS`.
        options: keyword arguments of that preset.

    Raises:
        UsageError: an unknown name or option; the message lists the known ones.

    Example:
        >>> named_policy("llada", {"steps": 8}).quota
        Even(steps=8)
    """
    preset = look_up("policy", name, PRESETS)
    known = inspect.signature(preset).parameters
    for option in options or {}:
        look_up(f"option of {name}", option, known)
    return preset(**dict(options or {}))


def look_up(what: str, name: str, known: Mapping[str, T]) -> T:
    """The value of a name that a person typed.

    Args:
        what: what is looked up, for the message.
        name: the name.
        known: all names.

    Raises:
        UsageError: an unknown name; the message lists the known ones.
    """
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"unknown {what}: {name!r}; known are {', '.join(known) or 'none'}{hint}")
