"""What `engine.py` has written: problems, the networks that all share, and one draw of prompts."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from networks import Size, llama, modernbert, never_special
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from sfumato.models.encoders import EncoderDenoiser


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is to be written.

    Attributes:
        name: what tables call it.
        size: of the network.
        prompts: tokens of each row's prompt.
        answers: tokens of each row's answer.
        steps: passes of the longest answer.
        block: positions of a block; None for the whole answer.
    """

    name: str
    size: Size
    prompts: tuple[int, ...]
    answers: tuple[int, ...]
    steps: int
    block: int | None

    @property
    def longest(self) -> int:
        """Tokens of the longest answer."""
        return max(self.answers)


def alone(size: Size, *, length: int = 64, block: int = 32) -> Problem:
    """One row, as many tokens of prompt as of answer, a pass a token."""
    name = f"{size.name}, V = {size.vocabulary:,}, batch 1"
    own = (length,)
    return Problem(name=name, size=size, prompts=own, answers=own, steps=length, block=block)


def together(size: Size, *, rows: int = 16, longest: int = 64) -> Problem:
    """Rows whose lengths are spread evenly: prompts from a quarter, answers from an eighth."""
    spread = random.Random(0)

    def lengths(shortest: int) -> tuple[int, ...]:
        step = (longest - shortest) / (rows - 1)
        found = [round(shortest + step * row) for row in range(rows)]
        return tuple(spread.sample(found, rows))

    return Problem(
        name=f"{size.name}, V = {size.vocabulary:,}, batch {rows}",
        size=size,
        prompts=lengths(longest // 4),
        answers=lengths(longest // 8),
        steps=longest,
        block=None,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """The networks that all share, made when they are first asked for.

    Attributes:
        size: of the networks.
        device: where they stand.
        dtype: of their weights.
        compiled: run `torch.compile` on what each sampler calls.
    """

    size: Size
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    compiled: bool = False

    @cached_property
    def network(self) -> PreTrainedModel:
        """An encoder with its head."""
        network = modernbert(self.size)
        never_special(network, self.size.specials)
        network = network.to(self.device, self.dtype)
        if self.compiled:
            mode = "default" if self.device == "cpu" else "reduce-overhead"
            network.forward = torch.compile(network.forward, mode=mode)
        return network

    @cached_property
    def half(self) -> Stage:
        """The same stage in bfloat16."""
        return replace(self, dtype=torch.bfloat16)

    @cached_property
    def denoiser(self) -> EncoderDenoiser:
        """The encoder under sfumato's interface."""
        denoiser = EncoderDenoiser(self.network, mask=self.size.specials.mask).eval()
        if self.compiled:
            denoiser.forward = torch.compile(denoiser.forward)  # type: ignore[method-assign]
        return denoiser

    @cached_property
    def causal(self) -> PreTrainedModel:
        """An autoregressive model of the same size."""
        return llama(self.size).to(self.device, self.dtype)


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One problem at one temperature, with one draw of prompts: the same for all samplers."""

    stage: Stage
    problem: Problem
    temperature: float
    seed: int
    prompts: list[Tensor]

    @property
    def mask(self) -> int:
        """The id of the mask token."""
        return self.problem.size.specials.mask

    @property
    def noise(self) -> torch.Generator:
        """What peers draw from."""
        return torch.Generator(self.stage.device).manual_seed(self.seed)

    @cached_property
    def canvas(self) -> tuple[Tensor, Tensor]:
        """Prompts with masks to their right, padded on the right; what of it exists."""
        pairs = zip(self.prompts, self.problem.answers, strict=True)
        rows = [torch.cat([p, p.new_full((n,), self.mask)]) for p, n in pairs]
        return self._padded(rows, side="right")

    @cached_property
    def left(self) -> tuple[Tensor, Tensor]:
        """Prompts padded on the left; what of them exists."""
        return self._padded(self.prompts, side="left")

    def _padded(self, rows: list[Tensor], side: str) -> tuple[Tensor, Tensor]:
        pad = self.problem.size.specials.pad
        ids = pad_sequence(rows, batch_first=True, padding_value=pad, padding_side=side)
        ones = [torch.ones_like(row, dtype=torch.bool) for row in rows]
        attend = pad_sequence(ones, batch_first=True, padding_side=side)
        return ids.to(self.stage.device), attend.to(self.stage.device)

    def right_answers(self, canvas: Tensor) -> list[Tensor]:
        """The answers of a canvas that is padded on the right."""
        spans = zip(canvas, self.problem.prompts, self.problem.answers, strict=True)
        return [row[start : start + count].cpu() for row, start, count in spans]

    def left_answers(self, canvas: Tensor) -> list[Tensor]:
        """The answers of a canvas whose prompts are padded on the left."""
        start = max(self.problem.prompts)
        rows = zip(canvas, self.problem.answers, strict=True)
        return [row[start : start + count].cpu() for row, count in rows]


def draw(stage: Stage, problem: Problem, *, temperature: float, seed: int) -> Task:
    """A task with prompts of random tokens."""
    noise, last = torch.Generator().manual_seed(seed), problem.size.specials.eos
    prompts = [torch.randint(0, last, (count,), generator=noise) for count in problem.prompts]
    return Task(stage=stage, problem=problem, temperature=temperature, seed=seed, prompts=prompts)
