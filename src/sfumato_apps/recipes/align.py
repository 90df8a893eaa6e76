"""`sfumato align`: a model that learns from rankings which text is better."""

from __future__ import annotations

from pathlib import Path

from sfumato_apps.aligning.options import Preferring


def align(
    *,
    data: list[str],
    out: Path,
    model: str | None = None,
    max_length: int = 512,
    slack: int = 0,
    complementary: bool = False,
    adversary: str | None = None,
    adversarial: float = 0.1,
    learning: Preferring = Preferring(),
) -> None:
    """Teaches a model which of several texts is better, so that it writes more like the better.

    The data are rankings: rows of prompt, completions and their scores or ranks, or of prompt,
    chosen and rejected as TRL has them. The model is one of sfumato's, masked, uniform or latent,
    or an autoregressive one of transformers. Names of options and of what is logged are TRL's.

    $ sfumato align --data rankings.jsonl --out my-aligned-model --steps 50
    $ sfumato align --model my-model --data rankings.jsonl --out out --method pl_dpo --beta 0.2

    Args:
        data: Files of rankings, or hub:owner/name.
        out: Folder for the model.
        model: Folder or hub name of the model to begin with, which is the reference too; the
            package's small one if left out.
        max_length: Most tokens of prompt and text.
        slack: Spare slots behind the longest text of a ranking, for models that end their texts.
        complementary: Masks in pairs, the second where the first has none, so that each token is
            judged once a pair; for masked models, with an even number of draws.
        adversary: Folder of a discriminator of texts, made of the same model, to which predictions
            shall look real; for masked and uniform models.
        adversarial: Weight of that.
        learning: How it learns.
    """
    options = dict(locals())
    from sfumato_apps.aligning.plan import TextPlan
    from sfumato_apps.aligning.walk import follow
    from sfumato_apps.owning import owned

    with owned(out):
        follow(TextPlan(**options))
