"""`sfumato vary`: texts near a text, by a latent model."""

from __future__ import annotations

from sfumato_apps.choices import Candidates, Decoding, Delivery


def vary(
    text: str,
    *,
    model: str,
    by: float = 0.5,
    candidates: Candidates = Candidates(),
    decoding: Decoding = Decoding(),
    delivery: Delivery = Delivery(),
) -> None:
    """Writes texts near a text: it is noised part of the way and denoised again.

    $ sfumato vary "The Eagle is a coffee shop." --model my-latent --by 0.4 --n 3

    Args:
        text: The text; - reads it from standard input.
        model: Folder or hub name of a latent model, as `sfumato latent` makes.
        by: Share of the way to pure noise, up to 1: a little changes a word or none, 1 forgets
            the text.
        candidates: How many, from which seed, in which order.
        decoding: How to write.
        delivery: What to print and to keep.
    """
    from sfumato.models.latent.storage import load_latent
    from sfumato.sampling.tasks import best_first
    from sfumato.sampling.tasks import vary as vary_text
    from sfumato_apps.choices import scorer_of, text_of
    from sfumato_apps.output import deliver
    from sfumato_apps.policies import descent_of

    opened = load_latent(model)
    samples = vary_text(
        opened,
        text_of(text),
        by=by,
        n=candidates.n,
        policy=descent_of(opened, decoding),
        seed=candidates.seed,
    )
    deliver(best_first(samples, scorer_of(candidates.rank, opened)), delivery)
