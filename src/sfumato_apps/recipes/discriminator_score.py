"""`sfumato discriminator score`: candidates with a discriminator's scores, and how right it is."""

from __future__ import annotations

from pathlib import Path


def discriminator_score(
    *,
    model: str,
    data: list[str],
    out: Path,
    max_length: int = 256,
    batch: int = 16,
) -> None:
    """Scores candidates by how real they look, best first, and says how often real ones win.

    Each row is written with scores, log-odds of being real, and ranks, so that `sfumato align`
    takes the file (and `sfumato align image`, where a discriminator of images judged images);
    prompts are read too. Of rows with real and generated ones the figures are
    printed, one JSON line each: accuracy within sets, by pairs and at one half, and calibration.

    $ sfumato discriminator score --model my-judge --data candidates.jsonl --out rankings.jsonl
    $ sfumato align --data rankings.jsonl --out my-aligned-model

    Args:
        model: Folder or hub name of a discriminator.
        data: Files of candidates: prompt, completions and perhaps their sources, "real" or others.
        out: Where the rows go, as JSON lines.
        max_length: Most tokens of prompt and text; no more than the discriminator reads.
        batch: Rows judged together.
    """
    options = dict(locals())
    from sfumato_apps.judging.realness import RealnessPlan, follow

    follow(RealnessPlan(**options))
