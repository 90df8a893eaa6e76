"""diffusers' LLaDA2Pipeline on any masked language model, one pass of the network at a time.

The pipeline runs to its end when it is called. Here it runs in a thread of its own that waits
after every step for its turn, so that it can be timed in turns with others.

What it is asked for is what LLaDA does: a fixed number of tokens a step, no editing, no early
stop. It differs in that a block does not see the masks to its right: its canvas grows.

Legend of shapes: `B` batch, `P` positions of the prompt, `W` positions of the canvas so far.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue

import torch
from jaxtyping import Int
from torch import Tensor, nn


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
    turn, results = threading.Semaphore(0), SimpleQueue[Tensor | None]()

    def after_step(_: object, step: int, timestep: int, tensors: dict[str, Tensor]) -> object:
        results.put(tensors["block_x"].clone())
        turn.acquire()
        return tensors

    def run(threads: int) -> None:
        torch.set_num_threads(threads)  # a setting of each thread
        turn.acquire()
        try:
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
        finally:
            results.put(None)

    threading.Thread(target=run, args=[torch.get_num_threads()], daemon=True).start()
    turn.release()
    for step in range(steps):
        canvas = results.get()
        if canvas is None:
            raise RuntimeError(f"LLaDA2Pipeline ended after {step} of {steps} steps")
        yield canvas
        turn.release()
    results.get()
