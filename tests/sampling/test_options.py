"""No option without an effect: each is flipped, and what comes out must change."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass, replace
from functools import cache

import pytest
import torch
from tests.sampling.fakes import SIZE, SPECIALS, Whim, canvas
from torch import Tensor

from sfumato.noise.masked import MaskedProcess
from sfumato.noise.schedules import Cosine, Linear
from sfumato.noise.uniform import UniformProcess
from sfumato.sampling import policies
from sfumato.sampling.ancestral import Ancestral
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.loop import FrozenContext, Policy, finish
from sfumato.sampling.parts import planners
from sfumato.sampling.parts.constraints import Ban, Repetition
from sfumato.sampling.parts.guidance import ClassifierFree
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Blocks, Order
from sfumato.sampling.parts.quotas import (
    EntropyBound,
    Even,
    Factor,
    FirstHitting,
    Fixed,
    Scheduled,
    Threshold,
)
from sfumato.sampling.parts.revision import (
    Cap,
    Confidence,
    EditByThreshold,
    Plateau,
    ReMDM,
    Rescale,
)
from sfumato.sampling.parts.steering import Bias, FirstOrder
from sfumato.text.canvas import Hole, Locked

BOARD = canvas(
    Locked(ids=(4, 7, 8, 9)),
    Hole(slots=7),
    Locked(ids=(11,)),
    Hole(slots=3, optional=True),
    rows=2,
)
SCHEDULED = DecodingPolicy(order=Order(by=planners.random), quota=Scheduled(steps=6))
REMDM = DecodingPolicy(
    order=Order(by=planners.random),
    quota=Scheduled(steps=8, binomial=True),
    revision=ReMDM(remasking=Cap(eta=0.4)),
)
WARM = DecodingPolicy(tokens=TokenSampler(temperature=(1.5, 0.8)))
HITTING = DecodingPolicy(
    order=Order(by=planners.random),
    quota=FirstHitting(),
    tokens=TokenSampler(temperature=(3.0, 0.1)),
)


@cache
def fingerprint(policy: Policy) -> tuple[list, list, list]:
    last = finish(Whim(sharpness=6.0), BOARD, policy, SPECIALS, seeds=2)
    return last.ids.tolist(), last.committed.tolist(), last.passes.tolist()


def policy_with(part: str, value: object, base: DecodingPolicy | None = None) -> DecodingPolicy:
    return replace(base or DecodingPolicy(), **{part: value})


def order(**options: object) -> DecodingPolicy:
    base = {"by": planners.max_prob, "temperature": 0.3, "spacing": 3}
    return policy_with("order", Order(**base | options), DecodingPolicy(quota=Fixed(size=4)))


def tokens(**options: object) -> DecodingPolicy:
    base = {"temperature": 1.5, "top_k": 12, "top_p": 0.8, "min_p": 0.05}
    return policy_with("tokens", TokenSampler(**base | options))


def repetition(**options: object) -> DecodingPolicy:
    base = {"size": 1, "penalty": 1.5, "prompt": True}
    return policy_with("constraints", (Repetition(**base | options),))


def loop(window: tuple[float, float], **options: float) -> DecodingPolicy:
    plateau = Plateau(**{"level": 0.6, "on": 0.7, "off": 0.2} | options)
    quota = Scheduled(steps=12, schedule=plateau, binomial=True)
    return replace(REMDM, quota=quota, revision=ReMDM(remasking=Cap(eta=0.5), window=window))


def ancestral(**options: object) -> Ancestral:
    base = {"process": UniformProcess(size=SIZE), "steps": 5, "tokens": TokenSampler()}
    return Ancestral(**base | options)


FLIPS: dict[str, tuple[Policy, Policy]] = {
    "Blocks.size": (
        policy_with("blocks", Blocks(size=4)),
        policy_with("blocks", Blocks(size=5)),
    ),
    "Blocks.sliding": (
        policy_with("blocks", Blocks(size=4)),
        policy_with("blocks", Blocks(size=4, sliding=True)),
    ),
    "Order.by": (order(), order(by=planners.entropy)),
    "Order.temperature": (order(temperature=0.0), order(temperature=3.0)),
    "Order.spacing": (order(), order(spacing=None)),
    "Order.distinct": (order(), order(distinct=True)),
    "Even.steps": (policy_with("quota", Even(steps=5)), policy_with("quota", Even(steps=6))),
    "Scheduled.steps": (SCHEDULED, policy_with("quota", Scheduled(steps=7), SCHEDULED)),
    "Scheduled.schedule": (
        SCHEDULED,
        policy_with("quota", Scheduled(steps=6, schedule=Cosine()), SCHEDULED),
    ),
    "Scheduled.binomial": (
        SCHEDULED,
        policy_with("quota", Scheduled(steps=6, binomial=True), SCHEDULED),
    ),
    "Scheduled.end": (SCHEDULED, policy_with("quota", Scheduled(steps=6, end=0.5), SCHEDULED)),
    "FirstHitting.schedule": (
        HITTING,
        policy_with("quota", FirstHitting(schedule=Cosine()), HITTING),
    ),
    "Fixed.size": (policy_with("quota", Fixed(size=2)), policy_with("quota", Fixed(size=3))),
    "Threshold.probability": (
        policy_with("quota", Threshold(probability=0.2)),
        policy_with("quota", Threshold(probability=0.4)),
    ),
    "Factor.factor": (
        policy_with("quota", Factor(factor=2.0)),
        policy_with("quota", Factor(factor=4.0)),
    ),
    "EntropyBound.gamma": (
        policy_with("quota", EntropyBound(gamma=2.0)),
        policy_with("quota", EntropyBound(gamma=6.0)),
    ),
    "TokenSampler.temperature": (tokens(), tokens(temperature=0.9)),
    "TokenSampler.top_k": (tokens(), tokens(top_k=2)),
    "TokenSampler.top_p": (tokens(), tokens(top_p=0.3)),
    "TokenSampler.min_p": (tokens(), tokens(min_p=0.6)),
    "Cap.eta": (REMDM, policy_with("revision", ReMDM(remasking=Cap(eta=0.1)), REMDM)),
    "Rescale.eta": (
        policy_with("revision", ReMDM(remasking=Rescale(eta=0.1)), REMDM),
        policy_with("revision", ReMDM(remasking=Rescale(eta=0.9)), REMDM),
    ),
    "ReMDM.remasking": (REMDM, policy_with("revision", ReMDM(remasking=Confidence()), REMDM)),
    "ReMDM.window": (loop((0.7, 0.2)), loop((0.5, 0.2))),
    "Plateau.level": (loop((0.7, 0.2)), loop((0.7, 0.2), level=0.9)),
    "Plateau.on": (loop((0.7, 0.2)), loop((0.7, 0.2), on=0.5)),
    "Plateau.off": (loop((0.7, 0.2)), loop((0.7, 0.2), off=0.4)),
    "EditByThreshold.probability": (
        policy_with("revision", EditByThreshold(probability=0.2)),
        policy_with("revision", EditByThreshold(probability=0.6)),
    ),
    "ClassifierFree.scale": (
        policy_with("guidance", ClassifierFree(scale=0.5)),
        policy_with("guidance", ClassifierFree(scale=3.0)),
    ),
    "Ban.phrases": (
        policy_with("constraints", (Ban(phrases=((7,),)),)),
        policy_with("constraints", (Ban(phrases=tuple((i,) for i in range(5, 15))),)),
    ),
    "Repetition.size": (repetition(), repetition(size=2)),
    "Repetition.penalty": (repetition(), repetition(penalty=9.0)),
    "Repetition.prompt": (repetition(penalty=9.0), repetition(penalty=9.0, prompt=False)),
    "DecodingPolicy.blocks": (DecodingPolicy(), policy_with("blocks", Blocks(size=3))),
    "DecodingPolicy.order": (DecodingPolicy(), order()),
    "DecodingPolicy.quota": (DecodingPolicy(), policy_with("quota", Even(steps=3))),
    "DecodingPolicy.tokens": (DecodingPolicy(), tokens()),
    "DecodingPolicy.revision": (
        DecodingPolicy(),
        policy_with("revision", EditByThreshold(probability=0.3)),
    ),
    "DecodingPolicy.steering": (
        policy_with("steering", ()),
        policy_with("steering", (FirstOrder(log_p=lambda onehot: 9 * onehot[..., 9].sum(1)),)),
    ),
    "DecodingPolicy.guidance": (
        DecodingPolicy(),
        policy_with("guidance", ClassifierFree(scale=1.0)),
    ),
    "DecodingPolicy.constraints": (DecodingPolicy(), repetition()),
    "DecodingPolicy.context": (DecodingPolicy(), policy_with("context", FrozenContext())),
    "FrozenContext.refresh": (
        policy_with("context", FrozenContext()),
        policy_with("context", FrozenContext(refresh=4)),
    ),
    "FrozenContext.reach": (
        policy_with("context", FrozenContext()),
        policy_with("context", FrozenContext(reach=4)),
    ),
    "DecodingPolicy.stopping": (WARM, replace(WARM, stopping=False)),
    "Ancestral.process": (ancestral(), ancestral(process=MaskedProcess(mask=0))),
    "Ancestral.steps": (ancestral(), ancestral(steps=6)),
    "Ancestral.tokens": (ancestral(), ancestral(tokens=TokenSampler(temperature=0.3))),
    "Ancestral.steering": (ancestral(), ancestral(steering=(Bias(lifts=((7, 9.0),)),))),
    "Bias.lifts": (
        policy_with("steering", (Bias(lifts=((7, 9.0),)),)),
        policy_with("steering", (Bias(lifts=((8, 9.0),)),)),
    ),
}
PARTS = (
    *(Blocks, Order, Even, Scheduled, FirstHitting, Fixed, Threshold, Factor, EntropyBound),
    *(TokenSampler, Cap, Rescale, Confidence, ReMDM, Plateau, EditByThreshold),
    *(ClassifierFree, Ban, Repetition, Bias, DecodingPolicy, FrozenContext, Ancestral),
)


@pytest.mark.parametrize("option", FLIPS)
def test_an_option_changes_what_comes_out(option: str) -> None:
    one, other = FLIPS[option]
    assert fingerprint(one) != fingerprint(other)


def test_every_option_of_every_part_is_flipped() -> None:
    assert all(is_dataclass(part) for part in PARTS)
    options = {f"{part.__name__}.{one.name}" for part in PARTS for one in fields(part)}
    assert options == set(FLIPS)


PRESET_OPTIONS: dict[str, dict[str, tuple[object, object]]] = {
    "llada": {
        "steps": (4, 5),
        "block": (4, 7),
        "temperature": (0.5, 2.0),
        "biased": (False, True),
    },
    "dream": {
        "steps": (4, 5),
        "alg": ("entropy", "maskgit_plus"),
        "temperature": (0.5, 2.0),
        "top_p": (0.2, 0.9),
        "alg_temp": (0.0, 2.0),
    },
    "fast_dllm": {
        "threshold": (0.2, 0.8),
        "factor": (2.0, 6.0),
        "block": (4, 7),
        "temperature": (0.5, 2.0),
    },
    "mdlm": {"steps": (4, 5), "schedule": (Linear(), Cosine())},
    "first_hitting": {},
    "remdm": {
        "steps": (8, 9),
        "kind": ("cap", "loop"),
        "eta": (0.1, 0.9),
        "top_p": (0.2, 0.9),
    },
    "diffusion_gemma": {"gamma": (1.0, 5.0), "temperature": (0.3, 2.0)},
}


@pytest.mark.parametrize(
    ("name", "option"), [(name, o) for name, known in PRESET_OPTIONS.items() for o in known]
)
def test_an_option_of_a_preset_changes_what_comes_out(name: str, option: str) -> None:
    known = PRESET_OPTIONS[name]
    base = {"temperature": 1.0, "steps": 8}
    base = {key: value for key, value in base.items() if key in known}
    one, other = (policies.named_policy(name, base | {option: value}) for value in known[option])
    assert fingerprint(one) != fingerprint(other)


def test_every_option_of_every_preset_is_flipped() -> None:
    signatures = {
        name: set(inspect.signature(preset).parameters) for name, preset in policies.PRESETS.items()
    }
    assert signatures == {name: set(known) for name, known in PRESET_OPTIONS.items()}


def test_guidance_sees_a_canvas_without_its_prompt() -> None:
    seen: list[Tensor] = []

    def spy(x_t: Tensor, where: Tensor, **_: object) -> Tensor:
        seen.append(x_t)
        return torch.zeros(int(where.sum()), SIZE)

    policy = DecodingPolicy(guidance=ClassifierFree(scale=1.0))
    finish(spy, canvas(Locked(ids=(4, 7, 2, 8)), Hole(slots=1)), policy, SPECIALS)
    assert seen[0].tolist() == [[4, 7, 2, 8, 0], [4, 0, 2, 0, 0]]
