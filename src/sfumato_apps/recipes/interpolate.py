"""`sfumato interpolate`: texts between two texts, by a latent model."""

from __future__ import annotations

from sfumato_apps.choices import Decoding, Delivery


def interpolate(
    first: str,
    last: str,
    *,
    model: str,
    n: int = 7,
    decoding: Decoding = Decoding(),
    delivery: Delivery = Delivery(),
) -> None:
    """Writes texts on the way from one text to another.

    Both are carried to noise by the probability flow; between the two points of noise the way is
    spherical, and from each point on it the flow leads back to a text.

    $ sfumato interpolate "Cotto is cheap." "The Eagle is by the river." --model my-latent

    Args:
        first: Where to begin.
        last: Where to end.
        model: Folder or hub name of a latent model, as `sfumato latent` makes.
        n: How many texts, both ends among them.
        decoding: How to write.
        delivery: What to print and to keep.
    """
    from sfumato.models.latent.storage import load_latent
    from sfumato.sampling.tasks import interpolate as texts_between
    from sfumato_apps.output import deliver
    from sfumato_apps.policies import descent_of

    opened = load_latent(model)
    policy = descent_of(opened, decoding)
    deliver(texts_between(opened, first, last, n=n, policy=policy), delivery)
