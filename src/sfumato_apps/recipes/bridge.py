"""`sfumato bridge`: text that connects two texts."""

from __future__ import annotations

from sfumato_apps.choices import Candidates, Decoding, Delivery


def bridge(
    first: str,
    second: str,
    *,
    model: str | None = None,
    joint: str = " ",
    length: int | None = None,
    candidates: Candidates = Candidates(),
    decoding: Decoding = Decoding(),
    delivery: Delivery = Delivery(),
) -> None:
    r"""Writes what connects two texts, which come back byte for byte around it.

    $ sfumato bridge "The Eagle is a coffee shop." "It is near Burger King."

    Args:
        first: The text before.
        second: The text after.
        model: Folder or hub name; the shipped model if left out.
        joint: What stands on either side of the bridge, \n for a line break, where the texts
            have no white space of their own.
        length: The most tokens to write; if left out, several are tried and the best fit kept.
        candidates: How many, from which seed, in which order.
        decoding: How to write.
        delivery: What to print and to keep.
    """
    from sfumato.sampling.tasks import bridge as bridge_texts
    from sfumato_apps.choices import scorer_of
    from sfumato_apps.output import deliver
    from sfumato_apps.policies import open_model, policy_of

    opened = open_model(model)
    found = bridge_texts(
        opened,
        first,
        second,
        joint=joint.replace("\\n", "\n"),
        length=length,
        n=candidates.n,
        seed=candidates.seed,
        policy=policy_of(opened, decoding, name=model),
        rank=scorer_of(candidates.rank, opened),
    )
    deliver(found, delivery)
