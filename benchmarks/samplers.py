"""Who writes what in `engine.py`: every sampler on one network.

Rows of a batch have prompts and answers of their own length. LLaDA and `generate` of transformers
take one length for all rows: they are asked for the longest, with prompts padded on the left, and
what is beyond a row's own answer is not counted. For LLaDA that is not the same law, for a row
then has more masks; it is with dLLM, which takes masks where they stand, and with LLaDA one row
at a time.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from contest import Contestant
from peers import causal, dllm, fast_dllm, llada, llada2
from tasks import Stage, Task
from torch import Tensor, nn

from sfumato.sampling import policies
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.loop import sample
from sfumato.text.canvas import Hole, Locked, lay_out, stack

OURS, AS_LLADA = "sfumato", "sfumato, ranks by the drawn token"
SURE, GROWING = "sfumato, threshold 0.9", "sfumato, canvas grows"
LLADA, BY_ROW = "LLaDA, restated", "LLaDA, restated, row by row"
DLLM, DLLM_HALF, OURS_HALF = "dLLM, restated", "dLLM, restated, bfloat16", "sfumato, bfloat16"
FAST, LLADA2 = "Fast-dLLM, restated, no cache", "LLaDA2Pipeline"
CAUSAL = "autoregressive, generate"
SAME, ONE_LENGTH, ROUNDED = "same", "one length for all", "same, rounded"
THRESHOLD = 0.9


def as_llada(task: Task, *, biased: bool) -> DecodingPolicy:
    """The policy of LLaDA; biased means that it ranks by the drawn token, as published."""
    problem, temperature = task.problem, task.temperature
    return policies.llada(
        steps=problem.steps, block=problem.block, temperature=temperature, biased=biased
    )


def ours(task: Task, policy: DecodingPolicy) -> Iterator[Tensor]:
    """What sfumato writes: every row has a hole of its own."""
    pairs = zip(task.prompts, task.problem.answers, strict=True)
    parts = [[Locked(ids=tuple(p.tolist())), Hole(slots=count)] for p, count in pairs]
    specials = task.problem.size.specials
    canvas = stack([lay_out(row, mask=task.mask) for row in parts], pad=specials.pad)
    frames = sample(
        task.stage.denoiser, canvas.to(task.stage.device), policy, specials, seeds=task.seed
    )
    next(frames)
    yield from (frame.ids for frame in frames)


def ours_as_llada(task: Task, *, biased: bool) -> Iterator[Tensor]:
    """What sfumato makes of LLaDA's policy."""
    return ours(task, as_llada(task, biased=biased))


def growing(task: Task, *, biased: bool) -> Iterator[Tensor]:
    """The same, block after block on a canvas that ends with it, as LLaDA2Pipeline does."""
    problem, size = task.problem, task.problem.block
    assert size is not None
    blocks = problem.longest // size
    for _ in range(blocks):
        lengths = tuple(map(len, task.prompts))
        steps = problem.steps // blocks
        part = replace(problem, prompts=lengths, answers=(size,) * len(lengths), steps=steps)
        piece = replace(task, problem=part)
        for canvas in ours(piece, as_llada(piece, biased=biased)):
            task = replace(task, prompts=list(canvas.cpu()))
            yield canvas


def lladas(task: Task, generate: Callable[..., Iterator[Tensor]]) -> Iterator[Tensor]:
    """A peer with LLaDA's interface: one length for all rows."""
    problem = task.problem
    prompts, attend = task.left
    padded = {} if bool(attend.all()) else {"attend": attend}
    return generate(
        task.stage.network,
        prompts,
        length=problem.longest,
        steps=problem.steps,
        block=problem.block or problem.longest,
        temperature=task.temperature,
        mask=task.mask,
        generator=task.noise,
        **padded,
    )


def row_by_row(task: Task) -> Iterator[Tensor]:
    """LLaDA one row after another, each with its own length and as many passes."""
    canvas, noise = task.canvas[0].clone(), task.noise
    for row, (prompt, count) in enumerate(zip(task.prompts, task.problem.answers, strict=True)):
        written = llada.generate(
            task.stage.network,
            prompt[None].to(task.stage.device),
            length=count,
            steps=count,
            block=count,
            temperature=task.temperature,
            mask=task.mask,
            generator=noise,
        )
        for one in written:
            canvas[row, : one.shape[1]] = one[0]
            yield canvas


def dllms(task: Task) -> Iterator[Tensor]:
    """dLLM, every row with masks of its own."""
    canvas, attend = task.canvas
    return dllm.generate(
        task.stage.network,
        canvas,
        attend=attend,
        steps=task.problem.steps,
        block=task.problem.block,
        temperature=task.temperature,
        mask=task.mask,
        generator=task.noise,
    )


def fast(task: Task) -> Iterator[Tensor]:
    """Fast-dLLM, every row with masks of its own."""
    canvas, attend = task.canvas
    return fast_dllm.generate(
        task.stage.network,
        canvas,
        attend=attend,
        threshold=THRESHOLD,
        block=task.problem.block,
        temperature=task.temperature,
        mask=task.mask,
        generator=task.noise,
    )


def autoregressive(task: Task) -> Iterator[Tensor]:
    """A causal model with its cache: one length for all rows."""
    prompts, attend = task.left
    return causal.generate(
        task.stage.causal,
        prompts,
        attend=attend,
        length=task.problem.longest,
        temperature=task.temperature,
        seed=task.seed,
    )


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Who can take part.

    Attributes:
        name: what tables call it.
        write: begins a run.
        module: the network as it calls it.
        against: the run of sfumato with the same law, or the nearest to it.
        law: how the law of its text compares with that run's; where it is the same, the tokens
            must be at temperature 0.
        left: its canvases have prompts that are padded on the left.
    """

    name: str
    write: Callable[[Task], Iterator[Tensor]]
    module: Callable[[Stage], nn.Module]
    against: str = OURS
    law: str = SAME
    left: bool = False

    def on(self, task: Task) -> Contestant:
        """This sampler at work."""
        return Contestant(
            name=self.name,
            run=partial(self.write, task),
            module=self.module(task.stage),
            against=self.against,
            law=self.law,
            exact=self.law == SAME and not task.temperature,
            answers=task.left_answers if self.left else task.right_answers,
        )


def samplers(task: Task) -> list[Sampler]:
    """Who takes part in a task, ours first."""
    batch, warm = len(task.prompts) > 1, task.temperature > 0
    published = AS_LLADA if warm else OURS
    length = ONE_LENGTH if batch else SAME
    found = [
        _ours(OURS, partial(ours_as_llada, biased=False)),
        _peer(LLADA, partial(lladas, generate=llada.generate), published, law=length, left=True),
        _peer(DLLM, dllms, published),
    ]
    if warm:
        found.insert(1, _ours(AS_LLADA, partial(ours_as_llada, biased=True)))
    else:
        policy = policies.fast_dllm(threshold=THRESHOLD, block=task.problem.block)
        found += [_ours(SURE, partial(ours, policy=policy)), _peer(FAST, fast, SURE)]
    if batch:
        found.append(_peer(BY_ROW, row_by_row, published))
    else:
        found += _halved(task, biased=warm) + _block_by_block(biased=warm)
    rival = Sampler(
        name=CAUSAL,
        write=autoregressive,
        module=lambda stage: stage.causal,
        law="autoregressive" + f", {ONE_LENGTH}" * batch,
        left=True,
    )
    return [*found, rival]


def _halved(task: Task, *, biased: bool) -> list[Sampler]:
    """What dLLM does unless told otherwise, weights in bfloat16, and sfumato so too."""
    if task.stage.dtype is torch.bfloat16:
        return []

    def in_half(write: Callable[[Task], Iterator[Tensor]]) -> Callable[[Task], Iterator[Tensor]]:
        return lambda task: write(replace(task, stage=task.stage.half))

    ours = _ours(OURS_HALF, in_half(partial(ours_as_llada, biased=biased)))
    peer = _peer(DLLM_HALF, in_half(dllms), OURS_HALF, law=ROUNDED)
    return [
        replace(ours, module=lambda stage: stage.half.denoiser),
        replace(peer, module=lambda stage: stage.half.network),
    ]


def _block_by_block(*, biased: bool) -> list[Sampler]:
    """The pipeline of diffusers, where it is installed, and sfumato under its rule."""
    if not importlib.util.find_spec("diffusers"):
        return []
    theirs = partial(lladas, generate=llada2.generate)
    return [
        _ours(GROWING, partial(growing, biased=biased)),
        _peer(LLADA2, theirs, GROWING),
    ]


def _ours(name: str, write: Callable[[Task], Iterator[Tensor]]) -> Sampler:
    return Sampler(name=name, write=write, module=lambda stage: stage.denoiser, against=name)


def _peer(
    name: str,
    write: Callable[[Task], Iterator[Tensor]],
    against: str,
    *,
    law: str = SAME,
    left: bool = False,
) -> Sampler:
    return Sampler(
        name=name,
        write=write,
        module=lambda stage: stage.network,
        against=against,
        law=law,
        left=left,
    )
