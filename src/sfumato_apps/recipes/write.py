"""`sfumato write`: text from noise, with or without a beginning, one or a file of them."""

from __future__ import annotations

from pathlib import Path

from sfumato_apps.choices import Candidates, Decoding, Delivery


def write(
    *,
    model: str | None = None,
    prompt: str | None = None,
    prompts: Path | None = None,
    output: Path | None = None,
    field: str = "prompt",
    batch: int = 32,
    length: int | None = None,
    guidance: float | None = None,
    live: bool = False,
    candidates: Candidates = Candidates(),
    decoding: Decoding = Decoding(),
    delivery: Delivery = Delivery(),
) -> None:
    """Writes text from noise.

    A file of prompts is worked off line by line: one line of JSON for each, in their order, errors
    as records; after Ctrl-C or a crash the same command goes on where it stopped. Under
    `accelerate launch` or `torchrun` the processes share the lines out.

    $ sfumato write --n 3
    $ sfumato write --prompt "The Eagle is" --temperature 0.7 --json
    $ sfumato write --prompts prompts.jsonl --output texts.jsonl --batch 64

    Args:
        model: Folder or hub name; the shipped model if left out.
        prompt: How the text begins; it comes back unchanged.
        prompts: A file of prompts instead: JSON lines, or plain text with one a line; an empty one
            is a text from noise.
        output: Where the texts go, as JSON lines; needed with --prompts.
        field: The field of a JSON line that holds its prompt.
        batch: Texts of a file written side by side; one that is done makes room for the next.
        length: The most tokens to write; by default drawn from the lengths trained on.
        guidance: Strength of classifier-free guidance by the prompt.
        live: Show the texts on the terminal while they emerge.
        candidates: How many, from which seed, in which order.
        decoding: How to write.
        delivery: What to print and to keep.
    """
    from sfumato.errors import UsageError
    from sfumato.sampling.tasks import write as write_texts
    from sfumato.sampling.tasks.writing import BLOCK
    from sfumato_apps.bulk import BulkPlan, follow
    from sfumato_apps.choices import scorer_of
    from sfumato_apps.output import deliver
    from sfumato_apps.player.terminal import watching
    from sfumato_apps.policies import open_writer, policy_of

    if (prompts is None) != (output is None):
        raise UsageError("--prompts FILE and --output FILE.jsonl need each other")
    if prompts is not None and output is not None:
        if prompt is not None or delivery != Delivery():
            raise UsageError("--prompts writes a file: leave out --prompt, --json, --trace, --page")
        plan = BulkPlan(
            model=model,
            prompts=prompts,
            output=output,
            field=field,
            batch=batch,
            length=length,
            guidance=guidance,
            candidates=candidates,
            decoding=decoding,
        )
        follow(plan)
        return
    opened = open_writer(model)
    with watching(opened, wanted=live) as watch:
        samples = write_texts(
            opened,
            prompt=prompt,
            n=candidates.n,
            length=length,
            policy=policy_of(opened, decoding, name=model, guidance=guidance, block=BLOCK),
            seed=candidates.seed,
            rank=scorer_of(candidates.rank, opened),
            watch=watch,
        )
    deliver(samples, delivery)
