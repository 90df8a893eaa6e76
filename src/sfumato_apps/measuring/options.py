"""What is measured beside the usual, as options of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sfumato.errors import UsageError

TokenName = Literal["words", "cased", "characters"]
RougeName = Literal["unicode", "ascii"]


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What is measured, and how.

    Attributes:
        encoder: Folder or hub name of an encoder that reads texts for BERTScore and MAUVE.
        layer: The layer of the encoder for BERTScore; the last one if left out.
        trained_on: Files of texts that the model was trained on, for memorisation.
        tokens: What diversity and memorisation count: words without case, words and punctuation
            marks with case as TEncDM counts them, or characters.
        rouge: What ROUGE counts: words of any script, or those of a-z and digits only as in
            published figures.
        floors: Measure beside the texts of --texts what needs no model, as answers: another
            row's reference, the source, its last sentence.
        resamples: Sets of texts that are drawn for the intervals of --against.
    """

    encoder: str | None = None
    layer: int | None = None
    trained_on: list[str] | None = None
    tokens: TokenName = "words"
    rouge: RougeName = "unicode"
    floors: bool = False
    resamples: int = 1000


def check(
    measures: Measures,
    *,
    data: list[str] | None,
    texts: Path | None,
    n: int | None,
    written: Mapping[str, object],
) -> None:
    """Refuses options that have nothing to act on.

    Args:
        measures: the options of measuring.
        data: files of real texts.
        texts: a file of generated texts.
        n: the most texts.
        written: options of a model that writes, None where they are not given.

    Raises:
        UsageError: nothing to measure, or an option that means nothing here.
    """
    if texts is None and not data:
        raise UsageError(
            "sfumato evaluate needs --data, texts that the model was not trained on, or --texts, "
            "a file of generated texts"
        )
    given = [name for name, value in written.items() if value is not None]
    if texts is not None and given:
        raise UsageError(f"{', '.join(given)}: only for texts that a model writes, not for --texts")
    if texts is None and measures.floors:
        raise UsageError("--floors: only for --texts with references")
    if measures.layer is not None and measures.encoder is None:
        raise UsageError("--layer needs --encoder, whose layer it is")
    for name, value in (("--resamples", measures.resamples), ("--n", n)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")
