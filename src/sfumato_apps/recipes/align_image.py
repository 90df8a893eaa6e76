"""`sfumato align image`: a pipeline of diffusers that learns which images are better."""

from __future__ import annotations

from pathlib import Path

from sfumato_apps.aligning.options import Preferring


def align_image(
    *,
    pipeline: str,
    data: list[str],
    out: Path,
    most: int | None = None,
    timesteps: list[int] | None = None,
    adversary: str | None = None,
    adversarial: float = 0.1,
    learning: Preferring = Preferring(method="diffusion_dpo", beta=2000.0, batch=1, draws=1),
) -> None:
    """Teaches a text-to-image pipeline which of several images is better.

    The data are rankings of images: rows of a prompt, completions with their paths, and scores or
    ranks, as `sfumato candidates image` and `sfumato discriminator score` write them, or rows of
    Pick-a-Pic. Only the U-Net is trained; the result is a pipeline of diffusers.

    $ sfumato align image --pipeline stabilityai/sdxl-turbo --data r.jsonl --out turbo --lora 16
    $ sfumato align image --pipeline mine --data r.jsonl --out out --method pl_dpo --adversary judge

    β is of the order of thousands, 2000 if it is left out.

    Args:
        pipeline: Folder or hub name of the pipeline to begin with, which is the reference too.
        data: Files of ranked images, or hub:owner/name; paths are relative to their file.
        out: Folder for the pipeline.
        most: Rows to read of each file, whose images may be in memory; all by default.
        timesteps: Which are drawn, such as 249 499 749 999 for SDXL-Turbo; all by default.
        adversary: Folder of a discriminator of images, to which predictions shall look real.
        adversarial: Weight of that.
        learning: How it learns.
    """
    options = dict(locals())
    from sfumato_apps.aligning.images import follow
    from sfumato_apps.aligning.plan import ImagePlan
    from sfumato_apps.owning import owned

    with owned(out):
        follow(ImagePlan(**options))
