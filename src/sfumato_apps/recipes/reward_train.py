"""`sfumato reward train`: a scorer that is learnt from rankings."""

from __future__ import annotations

from pathlib import Path

from sfumato_apps.scoring.options import Fitting


def reward_train(*, data: list[str], out: Path, fitting: Fitting = Fitting()) -> None:
    """Trains an encoder to give better texts higher numbers, and says how often it does.

    The result is an ordinary text classifier of transformers with the one label "reward". With
    `sfumato rank --by reward:FOLDER` it ranks candidates.

    $ sfumato reward train --data rankings.jsonl --out my-reward
    $ sfumato rank --data candidates.jsonl --by reward:my-reward --out more-rankings.jsonl

    Args:
        data: Files of rankings, or hub:owner/name, as `sfumato align` takes them.
        out: Folder for the reward.
        fitting: How it is trained.
    """
    from sfumato_apps.owning import owned
    from sfumato_apps.scoring.rewarding import follow

    with owned(out):
        follow(data, out, fitting)
