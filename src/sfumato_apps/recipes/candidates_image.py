"""`sfumato candidates image`: several images for each caption, to be ranked."""

from __future__ import annotations

from pathlib import Path


def candidates_image(
    *,
    pipeline: str,
    prompts: list[str],
    out: Path,
    n: int = 1,
    step_counts: list[int] | None = None,
    guidance: float | None = None,
    real: bool = False,
    aesthetic: float | None = None,
    captioner: str | None = None,
    batch: int = 4,
    seed: int = 0,
) -> None:
    """Draws several images for each caption, in several numbers of steps, into a folder.

    Beside the images, `candidates.jsonl` holds a line for each caption: its images and where each
    came from. The same command goes on after Ctrl-C. Under `accelerate launch` the processes share
    the captions out.

    $ sfumato candidates image --pipeline my/pipeline --prompts captions.jsonl --out c
    $ sfumato candidates image --pipeline mine --prompts photos.jsonl --real --aesthetic 6.5 --out c

    Args:
        pipeline: Folder or hub name of a pipeline of diffusers that takes prompts.
        prompts: Files with a row for each caption: `prompt` or `caption`, perhaps with an `image`
            (a path relative to the file) and an `aesthetic_score` (or COYO's
            `aesthetic_score_laion_v2`).
        out: Folder for images and candidates.
        n: Images for each caption and number of steps.
        step_counts: Denoising steps; 4 if left out.
        guidance: Scale of classifier-free guidance; the pipeline's if left out. Distilled models
            such as SDXL-Turbo want 0.
        real: Put the row's own image beside those that are drawn.
        aesthetic: Leave out rows whose score is lower.
        captioner: Folder or hub name of an image-text-to-text model that names each row's image.
        batch: Captions worked off together.
        seed: Seed of all images.
    """
    options = dict(locals())
    from sfumato_apps.judging.images import ImageCandidatePlan, follow

    follow(ImageCandidatePlan(**options))
