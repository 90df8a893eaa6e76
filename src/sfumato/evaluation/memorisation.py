"""Memorisation: how much of the generated text stands in the training data word by word."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sfumato.errors import UsageError
from sfumato.evaluation.diversity import words
from sfumato.evaluation.records import Metric, ratio_metric


def memorisation(
    texts: Sequence[str],
    training: Iterable[str],
    n: int = 4,
    *,
    tokens: Callable[[str], list[str]] = words,
    seed: int | None = None,
    reference: str | None = None,
) -> Metric:
    """Share of the texts' n-grams that occur in the training data, `memorisation_<n>`.

    The `mem` of Lovelace et al. 2023 (Latent Diffusion for Language Generation, §4) and of
    TEncDM, where n = 4. Real texts share many of their n-grams with other real texts, so the
    figure of held-out texts belongs beside it.

    Args:
        texts: generated texts.
        training: texts that were trained on; read once, one by one.
        n: length of the n-grams, in tokens.
        tokens: what a token is, such as `words` or `cased`.
        seed: seed that the texts were drawn with, for the record.
        reference: what the training data are, for the record.

    Raises:
        UsageError: no text has n tokens.

    Example:
        >>> memorisation(["a cat sat down"], ["the cat sat here", "sat down"], 2).value
        0.6666666666666666
    """
    if n < 1:
        raise UsageError(f"memorisation needs n-grams of at least one token, got n = {n}")
    split = [_grams(tokens(text), n) for text in texts]
    wanted = {gram for grams in split for gram in grams}
    found: set[tuple[str, ...]] = set()
    for text in training:
        found.update(gram for gram in _grams(tokens(text), n) if gram in wanted)
    return ratio_metric(
        f"memorisation_{n}",
        [float(sum(gram in found for gram in grams)) for grams in split],
        [len(grams) for grams in split],
        seed=seed,
        reference=reference,
        settings={"tokens": tokens.__name__},
    )


def _grams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[shift:] for shift in range(n)), strict=False))
