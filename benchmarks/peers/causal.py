"""An autoregressive model that writes by transformers' `generate`, one token at a time.

Legend of shapes: `B` batch, `P` positions of the prompt, `W` positions written so far.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedModel

from peers.turns import Report, in_turns


class _Streamer:
    """Gets the prompt, then the tokens of each step."""

    def __init__(self, report: Report) -> None:
        self.canvas: Tensor | None = None
        self.report = report

    def put(self, tokens: Tensor) -> None:
        if self.canvas is None:
            self.canvas = tokens.reshape(-1, tokens.shape[-1])
            return
        self.canvas = torch.cat([self.canvas, tokens[:, None]], 1)
        self.report(self.canvas)

    def end(self) -> None:
        pass


def generate(
    network: PreTrainedModel,
    prompt: Int[Tensor, "B P"],
    *,
    attend: Bool[Tensor, "B P"],
    length: int,
    temperature: float,
    seed: int,
) -> Iterator[Int[Tensor, "B W"]]:
    """Yields prompt and answer after each pass; no token ends a row.

    Args:
        network: a causal language model without an end of text in its configuration.
        prompt: padded on the left.
        attend: positions of it that exist.
        length: tokens of every answer.
        temperature: greedy at 0, else ancestral sampling.
        seed: of torch's own random numbers, which `generate` draws from.
    """
    warm = {"do_sample": True, "temperature": temperature, "top_k": 0}

    def work(report: Report) -> None:
        torch.manual_seed(seed)
        network.generate(
            prompt,
            attention_mask=attend.long(),
            max_new_tokens=length,
            streamer=_Streamer(report),
            **(warm if temperature else {"do_sample": False}),
        )

    return in_turns(work)
