"""`sfumato summarise`: the gist of a text, by a model of texts and their summaries."""

from __future__ import annotations

from sfumato_apps.choices import Candidates, Decoding, Delivery


def summarise(
    text: str,
    *,
    model: str,
    length: int = 64,
    guidance: float | None = None,
    candidates: Candidates = Candidates(n=8, rank="consensus"),
    decoding: Decoding = Decoding(),
    delivery: Delivery = Delivery(),
) -> None:
    """Writes the summary that most of several candidates agree on.

    The model was trained on pairs of a text and its summary, by `sfumato train` or by
    `sfumato latent`. Of the candidates the one that has most in common with the others is printed.

    $ sfumato summarise - --model my-summariser < article.txt

    Args:
        text: The text; - reads it from standard input.
        model: Folder or hub name.
        length: The most tokens of a summary; a latent model writes as many as it was trained on.
        guidance: Strength of classifier-free guidance by the text.
        candidates: How many, from which seed, in which order.
        decoding: How to write.
        delivery: What to print and to keep.
    """
    from sfumato.models.latent.storage import LatentCheckpoint
    from sfumato.sampling.tasks import best_first, complete
    from sfumato.sampling.tasks.writing import BLOCK
    from sfumato_apps.choices import prompt_of_pair, scorer_of, text_of
    from sfumato_apps.output import deliver
    from sfumato_apps.policies import open_writer, policy_of

    opened = open_writer(model)
    latent = isinstance(opened, LatentCheckpoint)
    samples = complete(
        opened,
        prompt_of_pair(text_of(text)),
        n=candidates.n,
        length=None if latent else length,
        policy=policy_of(opened, decoding, guidance=guidance, block=BLOCK),
        seed=candidates.seed,
    )
    # Candidates are judged by what was written, not by the text that all of them begin with.
    deliver(best_first(samples, scorer_of(candidates.rank, opened))[:1], delivery)
