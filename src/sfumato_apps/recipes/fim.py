"""`sfumato fim`: the middle of a text or of code."""

from __future__ import annotations

from pathlib import Path

from sfumato_apps.choices import Candidates, Decoding, Delivery


def fim(
    *,
    model: str | None = None,
    prefix: str = "",
    suffix: str = "",
    file: Path | None = None,
    marker: str = "<fill>",
    length: int | None = None,
    trim: bool = True,
    candidates: Candidates = Candidates(),
    decoding: Decoding = Decoding(),
    delivery: Delivery = Delivery(),
) -> None:
    """Fills in the middle between a prefix and a suffix, or where a marker stands in a file.

    The whole text is printed; with --json, the middle too.

    $ sfumato fim --prefix "The Eagle is" --suffix " near Burger King."
    $ sfumato fim --file module.py --model my-code-model

    Args:
        model: Folder or hub name; the shipped model if left out.
        prefix: What comes before.
        suffix: What comes after.
        file: A file that holds prefix, marker and suffix instead.
        marker: What stands for the middle in the file, once.
        length: The most tokens to write; if left out, several are tried and the best fit kept.
        trim: Drop what repeats the prefix or the suffix.
        candidates: How many, from which seed, in which order.
        decoding: How to write.
        delivery: What to print and to keep.
    """
    from sfumato.sampling.tasks import fim as fill_middle
    from sfumato_apps.choices import scorer_of
    from sfumato_apps.output import deliver
    from sfumato_apps.policies import open_model, policy_of
    from sfumato_apps.reading import around_marker

    if file is not None:
        prefix, suffix = around_marker(file, marker)
    opened = open_model(model)
    found = fill_middle(
        opened,
        prefix,
        suffix,
        length=length,
        trim=trim,
        n=candidates.n,
        seed=candidates.seed,
        policy=policy_of(opened, decoding, name=model),
        rank=scorer_of(candidates.rank, opened),
    )
    deliver(found, delivery)
