"""`sfumato discriminator train`: a judge that tells real texts from generated ones."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sfumato_apps.scoring.options import Fitting


def discriminator_train(
    *,
    out: Path,
    data: list[str] | None = None,
    real: list[str] | None = None,
    generated: list[str] | None = None,
    n: int = 1,
    loss: Literal["binary", "choice"] = "binary",
    fitting: Fitting = Fitting(),
) -> None:
    """Trains an encoder to tell real texts or images from generated ones; says how often it does.

    The result is an ordinary text classifier of transformers with the one label "real", also for
    `sfumato rank --by FOLDER@real`. Judge what you aligned by it with another one, trained on
    other texts.

    With a CLIP as --model the sets are images, as `sfumato candidates image --real` writes them.

    $ sfumato discriminator train --real texts.txt --generated candidates.jsonl --out my-judge
    $ sfumato discriminator train --data sets.jsonl --out my-judge --loss choice
    $ sfumato discriminator train --data c/candidates.jsonl --model my-clip --out my-judge

    Args:
        out: Folder for the discriminator.
        data: Files of sets, as --valid takes them too: prompt, completions, and a source for each
            completion, which is "real" for a real text. Rows with ranks or scores count the best
            as real.
        real: Instead of sets, files of real texts, in any form of training data.
        generated: With --real: files of generated texts, or what `sfumato candidates` wrote. Sets
            are made at random of texts to the same prompt.
        n: Generated texts in such a set, beside one real one.
        loss: Each text by itself, real or not; or which text of a set is the real one. The second
            learns no zero, so that its accuracy and calibration say nothing.
        fitting: How it is trained.
    """
    options = dict(locals())
    from sfumato_apps.owning import owned
    from sfumato_apps.scoring.discriminating import DiscriminatorPlan, follow

    with owned(out):
        follow(DiscriminatorPlan(**options))
