"""`sfumato rank`: candidates with scores and places, for `sfumato align`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def rank(
    *,
    data: list[str],
    by: list[str],
    out: Path,
    chosen: float | None = None,
    rejected: float | None = None,
    gap: float = 0.0,
    overlap: float = 1.0,
    most: int | None = None,
    form: Literal["rankings", "pairs", "labels"] = "rankings",
    pairs: Literal["all_pairs", "adjacent", "best_worst"] = "best_worst",
) -> None:
    """Scores candidates, orders them and writes rankings.

    A reward is a classifier FOLDER_OR_HUB_NAME@LABEL, a word list FILE.txt, words with valences
    valence:FILE, a regular expression pattern:REGEX, a wanted number of words length:N, an
    autoregressive model's log-probability fluency:FOLDER, or what `sfumato reward train` has learnt
    reward:FOLDER; less: before it turns it round, a number and a star weigh it. Several are added
    up.

    $ sfumato rank --data candidates.jsonl --by my-classifier@positive --out rankings.jsonl
    $ sfumato rank --data c.jsonl --by valence:vader.txt --by "0.2*length:12" --out rankings.jsonl

    Args:
        data: Files of candidates: prompt and completions.
        by: Rewards.
        out: Where the rankings go, as JSON lines.
        chosen: With --rejected: the good ones score at least this, the bad ones at most the other,
            and those between are left out.
        rejected: See --chosen.
        gap: Scores that differ by no more are tied.
        overlap: Leave out a text of which more than this share of word triples stand in better
            ones.
        most: Keep this many of a prompt: as many of the best as of the worst.
        form: Rankings; or TRL's pairs of chosen and rejected; or its completions with labels.
        pairs: Which pairs, for that form.
    """
    options = dict(locals())
    from sfumato_apps.judging.ranking import RankPlan, follow

    follow(RankPlan(**options))
