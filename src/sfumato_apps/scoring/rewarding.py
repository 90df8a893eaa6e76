"""What `sfumato reward train` learns: which of several texts is better."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sfumato.alignment.scoring.learnt import LABEL, RewardObjective, ordered_rightly
from sfumato_apps.aligning.material import read_rankings
from sfumato_apps.scoring.fitting import Task, fit, text_kit
from sfumato_apps.scoring.options import Fitting


def follow(data: list[str], out: Path, fitting: Fitting) -> None:
    """Walks from rankings to a reward, and says how many pairs it orders rightly.

    Raises:
        SfumatoError: see `fit`.
    """
    task = Task(
        command="reward train",
        out=out,
        options={"data": data},
        kit=partial(text_kit, label=LABEL, objective=RewardObjective()),
        read=lambda encode, notes: read_rankings(
            data,
            fitting.valid or [],
            encode,
            fraction=fitting.valid_fraction,
            most=fitting.valid_texts,
            skip_bad=notes.skips(fitting.on_bad_line),
            seed=fitting.seed,
            notes=notes,
        ),
        measure=lambda logits, ranks: {"accuracy": ordered_rightly(logits, ranks)},
    )
    fit(task, fitting)
