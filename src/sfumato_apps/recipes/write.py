"""`sfumato write`: text from noise, with or without a beginning."""

from __future__ import annotations

from sfumato_apps.choices import Candidates, Decoding, Delivery


def write(
    *,
    model: str | None = None,
    prompt: str | None = None,
    length: int | None = None,
    guidance: float | None = None,
    candidates: Candidates = Candidates(),
    decoding: Decoding = Decoding(),
    delivery: Delivery = Delivery(),
) -> None:
    """Writes text from noise.

    $ sfumato write --n 3
    $ sfumato write --prompt "The Eagle is" --temperature 0.7 --json

    Args:
        model: Folder or hub name; the shipped model if left out.
        prompt: How the text begins; it comes back unchanged.
        length: The most tokens to write; by default drawn from the lengths trained on.
        guidance: Strength of classifier-free guidance by the prompt.
        candidates: How many, from which seed, in which order.
        decoding: How to write.
        delivery: What to print and to keep.
    """
    from sfumato.sampling.tasks import write as write_texts
    from sfumato.sampling.tasks.writing import BLOCK
    from sfumato_apps.choices import scorer_of
    from sfumato_apps.output import deliver
    from sfumato_apps.policies import open_writer, policy_of

    opened = open_writer(model)
    samples = write_texts(
        opened,
        prompt=prompt,
        n=candidates.n,
        length=length,
        policy=policy_of(opened, decoding, guidance=guidance, block=BLOCK),
        seed=candidates.seed,
        rank=scorer_of(candidates.rank, opened),
    )
    deliver(samples, delivery)
