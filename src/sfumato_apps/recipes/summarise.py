"""`sfumato summarise`: the gist of a text, by a model of texts and their summaries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sfumato.errors import UsageError
from sfumato_apps.choices import Candidates, Decoding, Delivery

if TYPE_CHECKING:
    from sfumato.models.latent.storage import LatentCheckpoint


def summarise(
    text: str,
    *,
    model: str,
    length: int = 64,
    extract: int | None = None,
    guidance: float | None = None,
    candidates: Candidates = Candidates(n=8, rank="consensus"),
    decoding: Decoding = Decoding(),
    delivery: Delivery = Delivery(),
) -> None:
    """Writes the summary that most of several candidates agree on.

    The model was trained on pairs of a text and its summary, by `sfumato train` or by
    `sfumato latent`. Of the candidates the one that has most in common with the others is printed.

    $ sfumato summarise - --model my-summariser < article.txt
    $ sfumato summarise - --model my-latent-summariser --extract 2 < article.txt

    Args:
        text: The text; - reads it from standard input.
        model: Folder or hub name.
        length: The most tokens of a summary; a latent model writes as many as it was trained on.
        extract: Print so many sentences of the text itself, those that a latent model denoises
            best when it is told the text; nothing is written.
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
    if extract is not None:
        if not isinstance(opened, LatentCheckpoint) or opened.denoiser.sizes.reading == "none":
            raise UsageError("--extract: only latent models of pairs can weigh sentences")
        for sentence, score in _extracted(opened, text_of(text), extract, candidates.seed):
            record = {"text": sentence, "score": round(score, 3)}
            print(json.dumps(record, ensure_ascii=False) if delivery.json else sentence)
        return
    samples = complete(
        opened,
        prompt_of_pair(text_of(text)),
        n=candidates.n,
        length=None if latent else length,
        policy=policy_of(opened, decoding, name=model, guidance=guidance, block=BLOCK),
        seed=candidates.seed,
    )
    # Candidates are judged by what was written, not by the text that all of them begin with.
    deliver(best_first(samples, scorer_of(candidates.rank, opened))[:1], delivery)


def _extracted(
    model: LatentCheckpoint, text: str, count: int, seed: int
) -> Iterator[tuple[str, float]]:
    """The sentences that gain most from the text, in its order, with their gains."""
    from sfumato.sampling.tasks import DenoisingGain
    from sfumato.text.words import sentences
    from sfumato_apps.choices import prompt_of_pair

    if count < 1:
        raise UsageError(f"--extract must be at least 1, got {count}")
    found, slots = sentences(text), model.answers[0]
    gain = DenoisingGain(model=model, prompt=prompt_of_pair(text), slots=slots, seed=seed)
    scores = gain(found)
    best = sorted(range(len(found)), key=scores.__getitem__, reverse=True)[:count]
    yield from ((found[i], scores[i]) for i in sorted(best))
