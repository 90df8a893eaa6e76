"""At temperature 0 the presets write what the published algorithms write, token for token.

Each function below restates one algorithm plainly, for one row, with logits over the whole canvas
and float64 probabilities, as its paper or its repository has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from tests.sampling.fakes import SPECIALS, Whim, canvas, prompted
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.sampling import policies
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.loop import finish
from sfumato.sampling.parts.guidance import ClassifierFree
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Blocks, Order, entropy
from sfumato.sampling.parts.quotas import EntropyBound
from sfumato.text.canvas import Hole, Locked, stack

PROMPT, MASK = 4, SPECIALS.mask
NEVER = [SPECIALS.mask, SPECIALS.pad, SPECIALS.eos, 3, 4]
MODEL = Whim(sharpness=10.0)
Logits = Callable[[Tensor], Tensor]


def network(x: Tensor) -> Tensor:
    """Logits at every position of one row, without what must not be written here."""
    logits = MODEL(x[None], torch.ones_like(x[None], dtype=torch.bool)).double()
    logits[:, NEVER] = -torch.inf
    return logits


def llada(x: Tensor, steps: int, block: int, logits_of: Logits = network) -> Tensor:
    """LLaDA, algorithm 5 with semi-autoregressive remasking (2502.09992; `generate.py`)."""
    x, blocks = x.clone(), (len(x) - PROMPT) // block
    for b in range(blocks):
        end = PROMPT + (b + 1) * block
        masks = int((x[PROMPT + b * block : end] == MASK).sum())
        base, remainder = divmod(masks, steps // blocks)
        for i in range(steps // blocks):
            p = logits_of(x).softmax(-1)
            confidence, x_0 = p.max(-1)
            confidence[end:] = -math.inf
            confidence[x != MASK] = -math.inf
            chosen = confidence.topk(base + (i < remainder)).indices
            x[chosen] = x_0[chosen]
    return x


def dream(x: Tensor, steps: int, alg: str) -> Tensor:
    """Dream's `_sample` with temperature 0 and no `alg_temp` (2508.15487)."""
    x, times = x.clone(), torch.linspace(1, 1e-3, steps + 1, dtype=torch.float64)
    for i in range(steps):
        masks = (x == MASK).nonzero()[:, 0]
        p = network(x)[masks].softmax(-1)
        confidence, x_0 = p.max(-1)
        if alg == "topk_margin":
            top = p.sort(-1, descending=True).values
            confidence = top[:, 0] - top[:, 1]
        if alg == "entropy":
            confidence = (p * (p + 1e-10).log()).sum(-1)
        share = float(1 - times[i + 1] / times[i])
        count = int(len(masks) * share) if i < steps - 1 else len(masks)
        chosen = confidence.topk(count).indices
        x[masks[chosen]] = x_0[chosen]
    return x


def fast_dllm(
    x: Tensor, block: int, threshold: float | None = None, factor: float | None = None
) -> tuple[Tensor, int]:
    """Fast-dLLM, algorithm 1 and its factor rule (2505.22618, §3.3), without a cache."""
    x, passes = x.clone(), 0
    for start in range(PROMPT, len(x), block):
        while (x[start : start + block] == MASK).any():
            confidence, x_0 = network(x).softmax(-1).max(-1)
            passes += 1
            masks = [i for i in range(start, min(len(x), start + block)) if x[i] == MASK]
            masks.sort(key=lambda i: -float(confidence[i]))
            if threshold is not None:
                kept = [i for i in masks if confidence[i] >= threshold]
            else:
                fits = [
                    n
                    for n in range(1, len(masks) + 1)
                    if (n + 1) * (1 - float(confidence[masks[n - 1]])) < factor
                ]
                kept = masks[: max(fits, default=0)]
            for i in kept or masks[:1]:
                x[i] = x_0[i]
    return x, passes


def entropy_bound(x: Tensor, gamma: float) -> tuple[Tensor, int]:
    """EB-sampler with the entropy order (2505.24857), for one row."""
    x, passes = x.clone(), 0
    while (x == MASK).any():
        p = network(x).softmax(-1)
        h = -torch.where(p > 0, p * p.clamp(min=1e-300).log(), 0).sum(-1)
        passes += 1
        masks = sorted((x == MASK).nonzero()[:, 0].tolist(), key=lambda i: float(h[i]))
        total, most = 0.0, 0.0
        for rank, i in enumerate(masks):
            total, most = total + float(h[i]), max(most, float(h[i]))
            if rank and total - most > gamma:
                break
            x[i] = p[i].argmax()
    return x, passes


def ours(policy: DecodingPolicy, slots: int, rows: int = 1) -> tuple[Tensor, int]:
    last = finish(MODEL, prompted(slots, rows=rows), policy, SPECIALS)
    return last.ids[0], int(last.passes[0])


def blank(slots: int) -> Tensor:
    return prompted(slots).ids[0]


@pytest.mark.parametrize(
    ("slots", "steps", "block"), [(12, 12, 4), (12, 6, 12), (20, 8, 5), (14, 6, 7), (12, 12, 12)]
)
def test_llada(slots: int, steps: int, block: int) -> None:
    ids, passes = ours(policies.llada(steps=steps, block=block), slots)
    assert torch.equal(ids, llada(blank(slots), steps, block))
    assert passes == steps


def test_llada_with_guidance() -> None:
    """ℓ_u + (1 + w)(ℓ_c − ℓ_u), the prompt masked but for its special token (the first)."""

    def guided(x: Tensor) -> Tensor:
        null = x.clone()
        null[1:PROMPT] = MASK
        return network(null) + 2.5 * (network(x) - network(null)).nan_to_num(0.0)

    base = policies.llada(steps=8, block=4)
    policy = DecodingPolicy(
        blocks=base.blocks,
        order=base.order,
        quota=base.quota,
        tokens=base.tokens,
        guidance=ClassifierFree(scale=1.5),
    )
    ids, passes = ours(policy, 8)
    assert torch.equal(ids, llada(blank(8), 8, 4, guided))
    assert not torch.equal(ids, llada(blank(8), 8, 4))
    assert passes == 16


@pytest.mark.parametrize("alg", ["maskgit_plus", "topk_margin", "entropy"])
@pytest.mark.parametrize(("slots", "steps"), [(12, 12), (13, 5), (10, 25)])
def test_dream(alg: str, slots: int, steps: int) -> None:
    ids, passes = ours(policies.dream(steps=steps, alg=alg), slots)
    assert torch.equal(ids, dream(blank(slots), steps, alg))
    assert passes <= steps


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.9])
def test_fast_dllm_threshold(threshold: float) -> None:
    found = ours(policies.fast_dllm(threshold=threshold, block=8), 16)
    expected = fast_dllm(blank(16), 8, threshold=threshold)
    assert torch.equal(found[0], expected[0])
    assert found[1] == expected[1]


@pytest.mark.parametrize("factor", [0.5, 1.5, 2.5, 5.0])
def test_fast_dllm_factor(factor: float) -> None:
    found = ours(policies.fast_dllm(factor=factor, block=8), 16)
    expected = fast_dllm(blank(16), 8, factor=factor)
    assert torch.equal(found[0], expected[0])
    assert found[1] == expected[1]


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 8.0])
def test_entropy_bound(gamma: float) -> None:
    policy = policies.diffusion_gemma(gamma=gamma, temperature=0.0)
    found = ours(policy, 14)
    expected = entropy_bound(blank(14), gamma)
    assert torch.equal(found[0], expected[0])
    assert found[1] == expected[1]


def test_the_entropy_bound_does_not_look_across_the_batch() -> None:
    """Rows of unlike certainty side by side: each as alone (a sum down the batch would not be)."""
    policy = DecodingPolicy(
        order=Order(by=entropy),
        quota=EntropyBound(gamma=2.0),
        tokens=TokenSampler(temperature=0.0),
        blocks=Blocks(size=7),
    )
    boards = [canvas(Locked(ids=(4, 7, 8, k)), Hole(slots=14)) for k in (9, 10, 11)]
    last = finish(MODEL, stack(boards, pad=1), policy, SPECIALS)
    for row, board in enumerate(boards):
        alone = finish(MODEL, board, policy, SPECIALS)
        assert torch.equal(last.ids[row], alone.ids[0])
        assert last.passes[row] == alone.passes[0]


@pytest.mark.parametrize("name", sorted(policies.PRESETS))
def test_presets_are_built_by_name(name: str) -> None:
    assert policies.named_policy(name) == policies.PRESETS[name]()


def test_unknown_names_and_options_list_the_known_ones() -> None:
    with pytest.raises(
        UsageError, match=r"unknown policy: 'lada'; .*llada.*; did you mean 'llada'"
    ):
        policies.named_policy("lada")
    with pytest.raises(UsageError, match=r"'stepz'; known are steps, block, .*mean 'steps'"):
        policies.named_policy("llada", {"stepz": 3})
    with pytest.raises(UsageError, match="origin, maskgit_plus, topk_margin, entropy"):
        policies.dream(alg="margin")
    with pytest.raises(UsageError, match="cap, rescale, confidence, loop"):
        policies.remdm(kind="max")
    with pytest.raises(UsageError, match="not both"):
        policies.fast_dllm(threshold=0.5, factor=1.0)
    with pytest.raises(UsageError, match="no eta"):
        policies.remdm(kind="confidence", eta=0.1)
