"""How near a pass is to what the machine allows, and where the rest goes.

The machine's limit is measured: the fastest matrix product of those that PyTorch has, and the
fastest pass over memory. The floor of a pass is the sum over its products of the longer of two
times: its operations at that speed, and its weights at that bandwidth.

Legend of shapes: `T` positions that exist, `M` positions that are predicted, `D` width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import growth
import torch
from contest import race, table
from networks import Size
from samplers import OURS, samplers
from tasks import Stage, alone, draw
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.profiler import ProfilerActivity, profile

KINDS = {
    "matrix products": ("mm", "linear", "matmul", "gemm"),
    "attention": ("attention", "flash"),
    "copies": ("copy", "cat", "index", "gather", "clone", "roll", "fill", "zero"),
    "norms and activations": ("norm", "gelu", "softmax", "mul", "add"),
}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a machine can do with one type of number.

    Attributes:
        product: operations a second of the fastest matrix product.
        kernel: whose it was.
        bandwidth: bytes a second of the fastest pass over memory.
    """

    product: float
    kernel: str
    bandwidth: float


def measure(stage: Stage, *, size: int = 1024) -> Machine:
    """The machine of a stage; `size` is the width of the products."""
    kernels: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"torch": linear}
    onednn: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if stage.device == "cpu" and onednn is not None:
        kernels["oneDNN"] = lambda rows, weight: onednn(rows, weight, None, "none", [], "")
    found = {}
    for rows in (size // 8, size, 2 * size):
        left = torch.randn(rows, size, device=stage.device, dtype=stage.dtype)
        right = torch.randn(3 * size, size, device=stage.device, dtype=stage.dtype)
        for name, kernel in kernels.items():
            seconds = fastest(partial(kernel, left, right))
            found[f"{name}, {rows} rows"] = 2 * rows * right.numel() / seconds
    best = max(found, key=lambda name: found[name])
    memory = torch.zeros(64 * size * size, device=stage.device)
    other, whole = torch.empty_like(memory), memory.numel() * memory.element_size()
    paces = [whole / fastest(memory.sum), 2 * whole / fastest(lambda: other.copy_(memory))]
    return Machine(product=found[best], kernel=best, bandwidth=max(paces))


@torch.no_grad()
def fastest(work: Callable[[], object], times: int = 7) -> float:
    """Seconds on the wall of the fastest of some runs, after one that is not timed."""
    found = []
    for _ in range(times + 1):
        begin = time.perf_counter()
        work()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        found.append(time.perf_counter() - begin)
    return min(found[1:])


@dataclass(frozen=True, kw_only=True)
class Work:
    """Products of a pass: rows through a weight, and its bytes."""

    rows: int
    weight: int
    width: int

    def floor(self, on: Machine) -> float:
        """Seconds at the machine's limit."""
        operations = 2 * self.rows * self.weight / on.product
        return max(operations, self.weight * self.width / on.bandwidth)


def body(network: nn.Module, tokens: int, predicted: int | None) -> list[Work]:
    """The linear layers of a ModernBERT's body; of the last, what is predicted if given."""
    last = network.layers[-1]
    late = {id(last.attn.Wo), *map(id, last.mlp.modules())} if predicted is not None else set()
    return [
        Work(
            rows=predicted if id(one) in late and predicted is not None else tokens,
            weight=one.weight.numel(),
            width=one.weight.element_size(),
        )
        for one in network.modules()
        if isinstance(one, nn.Linear)
    ]


def head(network: nn.Module, predicted: int) -> list[Work]:
    """The linear layers above the body."""
    parts = [*network.head.modules(), network.decoder]
    return [
        Work(rows=predicted, weight=one.weight.numel(), width=one.weight.element_size())
        for one in parts
        if isinstance(one, nn.Linear)
    ]


def attention(config: Any, tokens: int, on: Machine) -> float:  # noqa: ANN401
    """Seconds of the products of queries, keys and values at the machine's limit."""
    spans = [
        min(tokens, 2 * config.sliding_window + 1) if kind == "sliding_attention" else tokens
        for kind in config.layer_types
    ]
    return sum(4 * tokens * span * config.hidden_size for span in spans) / on.product


def reach(stage: Stage, machine: Machine, *, length: int, block: int) -> dict[str, float]:
    """Seconds of a pass and its floor, for the encoder alone and for sfumato.

    Over the first block of a text: the positions that are predicted fall from `block` to one.
    """
    task = draw(stage, alone(stage.size, length=length, block=block), temperature=0.0, seed=0)
    ours = next(sampler.on(task) for sampler in samplers(task) if sampler.name == OURS)
    race([ours, growth.bare(task)], turns=2)
    mine, encoder = race([ours, growth.bare(task)], turns=block)
    clock = "cpu" if stage.device == "cpu" else "wall"
    tokens, network = 2 * length, stage.network
    mixing = attention(network.config, tokens, machine)
    floors = [
        sum(w.floor(machine) for w in [*body(network.base_model, tokens, m), *head(network, m)])
        for m in range(1, block + 1)
    ]
    bare = sum(work.floor(machine) for work in body(network.base_model, tokens, None))
    seconds = getattr(mine.total, clock) / block
    return {
        "encoder": getattr(encoder.total, clock) / block,
        "encoder floor": bare + mixing,
        "sfumato": seconds,
        "sfumato floor": sum(floors) / block + mixing,
        "in the network": 1 - mine.beyond,
    }


def kinds(stage: Stage, *, length: int, block: int, passes: int = 4) -> dict[str, float]:
    """The shares of a pass of sfumato by the kind of its operations; all else is the rest."""
    task = draw(stage, alone(stage.size, length=length, block=block), temperature=0.0, seed=0)
    ours = next(sampler.on(task) for sampler in samplers(task) if sampler.name == OURS)
    run = ours.run()
    next(run)
    gpu = stage.device != "cpu"
    watched = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    begin = time.perf_counter()
    with profile(activities=watched) as trace:
        for _ in range(passes):
            next(run)
    whole = time.perf_counter() - begin
    spent = dict.fromkeys(KINDS, 0.0)
    for one in trace.key_averages():
        seconds = (one.self_device_time_total if gpu else one.self_cpu_time_total) / 1e6
        kind = next((k for k, names in KINDS.items() if any(n in one.key for n in names)), None)
        if kind is not None:
            spent[kind] += seconds
    shares = {kind: seconds / whole for kind, seconds in spent.items()}
    return shares | {"all else": 1 - sum(shares.values())}


def report(
    like: Stage, sizes: Sequence[Size], *, length: int, block: int, width: int
) -> dict[str, Any]:
    """Prints the machine's limits and a table of the sizes; returns the figures."""
    machine = measure(like, size=width)
    print(
        f"\nfastest product: {machine.product / 1e9:.0f} GFLOP/s ({machine.kernel}); "
        f"memory: {machine.bandwidth / 1e9:.1f} GB/s\n",
        flush=True,
    )
    found: dict[str, Any] = {"machine": vars(machine), "sizes": {}}
    rows = []
    for size in sizes:
        stage = Stage(size=size, device=like.device, dtype=like.dtype, compiled=like.compiled)
        one = reach(stage, machine, length=length, block=block)
        parts = kinds(stage, length=length, block=block)
        found["sizes"][size.name] = {"seconds": one, "shares": parts}
        rows.append(
            [
                size.name,
                f"{1000 * one['encoder']:.1f}",
                f"{one['encoder floor'] / one['encoder']:.0%}",
                f"{1000 * one['sfumato']:.1f}",
                f"{one['sfumato floor'] / one['sfumato']:.0%}",
                f"{one['encoder'] / one['sfumato']:.0%}",
                f"{one['in the network']:.1%}",
                *(f"{part:.0%}" for part in parts.values()),
            ]
        )
    head = ["size", "encoder alone, ms", "of the floor", "sfumato, ms", "of the floor"]
    head += ["encoder over sfumato", "in the network", *KINDS, "all else"]
    print(table(head, rows), flush=True)
    return found
