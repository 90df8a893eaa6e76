"""`sfumato fill`: holes in a text, everything else left alone."""

from __future__ import annotations

from pathlib import Path

from sfumato_apps.choices import OrderName


def fill(
    text: str,
    *,
    model: str | None = None,
    n: int = 1,
    slots: int = 16,
    steps: int = 64,
    order: OrderName = "max_prob",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    threshold: float | None = None,
    no_repeat: int | None = None,
    seed: int = 0,
    json: bool = False,
    trace: Path | None = None,
    page: Path | None = None,
) -> None:
    """Fills the holes of a text and leaves everything else byte for byte as it was.

    A hole is {} (the model chooses the length) or {8} (at most eight tokens); a literal brace
    is doubled.

    $ sfumato fill "The Eagle is a {} near {8}."

    Args:
        text: The text with holes; - reads it from standard input.
        model: Folder or hub name; the shipped model if left out.
        n: How many ways to fill it.
        slots: The most tokens of a hole {} without a number.
        steps: Denoising steps; with as many steps as slots, one token is written at a time.
        order: Which positions go first.
        temperature: 0 takes the likeliest token, 1 draws as the model believes.
        top_k: Draw among this many likeliest tokens.
        top_p: Draw among the likeliest tokens that hold this much probability.
        threshold: Write every token that is at least this sure, instead of a fixed number.
        no_repeat: Forbid token sequences of this length to come twice.
        seed: Seed of the first text; the next texts count on from it.
        json: Print JSON lines with text, seed and passes.
        trace: Write every step of the first text to this file (JSON lines).
        page: Write a page that plays how the texts emerged.
    """
    import sys

    from sfumato.sampling.tasks import fill as fill_texts
    from sfumato_apps.choices import open_model, policy_of
    from sfumato_apps.output import deliver

    if text == "-":
        text = sys.stdin.read()
    opened = open_model(model)
    policy = policy_of(
        opened,
        order=order,
        steps=steps,
        threshold=threshold,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        block=0,
        no_repeat=no_repeat,
    )
    samples = fill_texts(opened, text, n=n, free_slots=slots, policy=policy, seed=seed)
    deliver(samples, json_lines=json, trace=trace, page=page)
