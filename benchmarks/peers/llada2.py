"""diffusers' LLaDA2Pipeline on any masked language model, one pass of the network at a time.

What it is asked for is what LLaDA does: a fixed number of tokens a step, no editing, no early
stop. It differs in that a block does not see the masks to its right: its canvas grows.

Legend of shapes: `B` batch, `P` positions of the prompt, `W` positions of the canvas so far.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor, nn

from peers.turns import Report, in_turns


def generate(
    network: nn.Module,
    prompt: Int[Tensor, "B P"],
    *,
    length: int,
    steps: int,
    block: int,
    temperature: float,
    mask: int,
    generator: torch.Generator,
) -> Iterator[Int[Tensor, "B W"]]:
    """Yields the canvas up to its block after each pass; arguments as in `llada.generate`.

    Raises:
        ImportError: diffusers is not installed, or has no LLaDA2Pipeline.
        RuntimeError: the pipeline failed; its own error is on stderr.
    """
    from diffusers import BlockRefinementScheduler, LLaDA2Pipeline

    scheduler = BlockRefinementScheduler(block_length=block)
    pipeline = LLaDA2Pipeline(model=network, scheduler=scheduler, tokenizer=None)
    pipeline.set_progress_bar_config(disable=True)

    def work(report: Report) -> None:
        def after_step(
            _: object, step: int, timestep: int, tensors: dict[str, Tensor]
        ) -> dict[str, Tensor]:
            report(tensors["block_x"])
            return tensors

        pipeline(
            input_ids=prompt,
            gen_length=length,
            block_length=block,
            num_inference_steps=steps // (length // block),
            temperature=temperature,
            threshold=2.0,  # above 1, so that a step commits its quota and no more
            editing_threshold=None,
            eos_early_stop=False,
            mask_token_id=mask,
            generator=generator,
            output_type="seq",
            callback_on_step_end=after_step,
            callback_on_step_end_tensor_inputs=["block_x"],
        )

    return in_turns(work)
