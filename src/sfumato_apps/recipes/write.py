"""`sfumato write`: text from noise, with or without a beginning."""

from __future__ import annotations

from pathlib import Path

from sfumato_apps.choices import OrderName


def write(
    *,
    model: str | None = None,
    prompt: str | None = None,
    n: int = 1,
    length: int | None = None,
    steps: int = 64,
    order: OrderName = "max_prob",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    threshold: float | None = None,
    block: int | None = None,
    no_repeat: int | None = None,
    guidance: float | None = None,
    seed: int = 0,
    json: bool = False,
    trace: Path | None = None,
    page: Path | None = None,
) -> None:
    """Writes text from noise.

    $ sfumato write --n 3
    $ sfumato write --prompt "The Eagle is" --temperature 0.7 --json

    Args:
        model: Folder or hub name; the shipped model if left out.
        prompt: How the text begins; it comes back unchanged.
        n: How many texts.
        length: The most tokens to write; by default drawn from the lengths trained on.
        steps: Denoising steps; with as many steps as tokens, one token is written at a time.
        order: Which positions go first.
        temperature: 0 takes the likeliest token, 1 draws as the model believes.
        top_k: Draw among this many likeliest tokens.
        top_p: Draw among the likeliest tokens that hold this much probability.
        threshold: Write every token that is at least this sure, instead of a fixed number.
        block: Write from left to right in blocks of this many tokens, by default 8; 0 works on
            the whole canvas.
        no_repeat: Forbid token sequences of this length to come twice.
        guidance: Strength of classifier-free guidance by the prompt.
        seed: Seed of the first text; the next texts count on from it.
        json: Print JSON lines with text, seed and passes.
        trace: Write every step of the first text to this file (JSON lines).
        page: Write a page that plays how the texts emerged.
    """
    from sfumato.sampling.tasks import write as write_texts
    from sfumato_apps.choices import open_model, policy_of
    from sfumato_apps.output import deliver

    opened = open_model(model)
    policy = policy_of(
        opened,
        order=order,
        steps=steps,
        threshold=threshold,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        block=block,
        no_repeat=no_repeat,
        guidance=guidance,
    )
    samples = write_texts(opened, prompt=prompt, n=n, length=length, policy=policy, seed=seed)
    deliver(samples, json_lines=json, trace=trace, page=page)
