"""`sfumato frontier`: what alignment gained, and what it paid."""

from __future__ import annotations

from pathlib import Path


def frontier(
    *,
    models: list[str],
    by: list[str],
    out: Path,
    reference: str | None = None,
    fluency: str | None = None,
    prompts: list[str] | None = None,
    n: int = 200,
    steps: int | None = None,
    length: int | None = None,
    words: int = 8,
    resamples: int = 200,
    draws: int = 16,
    seed: int = 0,
) -> None:
    """Writes texts with several aligned models and says which are on the frontier.

    For each model: the reward, the diversity of texts cut to the same number of words, the share
    of texts that loop, the distance to the reference, perhaps the perplexity; which of them nobody
    beats in both reward and diversity, and in how many draws of half of their texts. Prints one
    JSON line a model; the folder gets the texts, a table, a plot, and the same as JSON.

    $ sfumato frontier --models aligned-1 aligned-2 --by my-classifier@good --out sweep
    $ sfumato frontier --models aligned-1 --by length:8 --reference my-model --out sweep

    Args:
        models: Folders of models of one family, such as those of `sfumato align` with several β.
        by: Rewards, as `sfumato rank` takes them.
        out: Folder for texts, table, plot and JSON; texts that are there are not written again.
        reference: The model before alignment; it takes part, and distances are measured to it.
        fluency: Folder or hub name of an autoregressive model that judges fluency.
        prompts: Files of prompts; without them the models write freely.
        n: Texts of each model.
        steps: Denoising steps, for diffusion models.
        length: The most tokens of a text.
        words: Texts are cut to so many words before their diversity is measured; shorter ones do
            not count.
        resamples: Halves of the texts to draw, for the intervals.
        draws: Noise draws a text, for the distance.
        seed: Seed of the texts.
    """
    options = dict(locals())
    from sfumato_apps.judging.frontier import FrontierPlan, follow

    follow(FrontierPlan(**options))
