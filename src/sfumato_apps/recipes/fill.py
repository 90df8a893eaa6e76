"""`sfumato fill`: holes in a text, everything else left alone."""

from __future__ import annotations

from sfumato_apps.choices import Candidates, Decoding, Delivery


def fill(
    text: str,
    *,
    model: str | None = None,
    slots: int = 16,
    live: bool = False,
    candidates: Candidates = Candidates(),
    decoding: Decoding = Decoding(),
    delivery: Delivery = Delivery(),
) -> None:
    """Fills the holes of a text and leaves everything else byte for byte as it was.

    A hole is {} (the model chooses the length) or {8} (at most eight tokens); a literal brace
    is doubled.

    $ sfumato fill "The Eagle is a {} near {8}."

    Args:
        text: The text with holes; - reads it from standard input.
        model: Folder or hub name; the shipped model if left out.
        slots: The most tokens of a hole {} without a number.
        live: Show the texts on the terminal while they emerge.
        candidates: How many, from which seed, in which order.
        decoding: How to write.
        delivery: What to print and to keep.
    """
    from sfumato.sampling.tasks import fill as fill_texts
    from sfumato_apps.choices import scorer_of, text_of
    from sfumato_apps.output import deliver
    from sfumato_apps.player.terminal import watching
    from sfumato_apps.policies import open_writer, policy_of

    opened = open_writer(model)
    with watching(opened, wanted=live) as watch:
        samples = fill_texts(
            opened,
            text_of(text),
            n=candidates.n,
            free_slots=slots,
            policy=policy_of(opened, decoding, name=model),
            seed=candidates.seed,
            rank=scorer_of(candidates.rank, opened),
            watch=watch,
        )
    deliver(samples, delivery)
