"""`sfumato latent`: a model that writes through vectors, an encoder's or learnt ones."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def latent(
    *,
    data: list[str],
    out: Path,
    model: str | None = None,
    layer: int = -1,
    mix: str | None = None,
    valid: list[str] | None = None,
    valid_fraction: float = 0.05,
    valid_texts: int = 500,
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float = 50.0,
    decoder_steps: int | None = None,
    batch: int = 64,
    accumulation: int = 1,
    learning_rate: float | None = None,
    optimizer: Literal["muon", "adamw"] = "muon",
    weight_decay: float = 0.01,
    average: float = 0.995,
    slots: int = 64,
    schedule: Literal["tangent", "cosine", "square-root", "linear", "flow"] | None = None,
    predicts: Literal["clean", "noise", "velocity", "field"] = "clean",
    times: Literal["time", "log-snr"] = "time",
    weighting: Literal["clean", "noise", "velocity", "min-snr"] = "clean",
    hinting: float = 0.5,
    dropping: float = 0.1,
    reading: Literal["cross", "beside", "none"] | None = None,
    vocabulary: int = 2048,
    latents: int | None = None,
    width: int = 128,
    hidden: int = 256,
    layers: int = 6,
    heads: int = 4,
    dropout: float = 0.0,
    evaluate_every: int = 500,
    answers: int = 3,
    bf16: bool = False,
    cache: float = 2.0,
    on_bad_line: str = "error",
    max_line_bytes: int = 2**26,
    max_nonfinite: int = 3,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Trains a latent diffusion model on your text.

    With --model, texts become the outputs of that encoder, which stays frozen, and a decoder that
    reads them back is trained first. Without it, a vector for each token is learnt along.

    $ sfumato latent --data stories.jsonl --model my-encoder --out my-latent --minutes 30
    $ sfumato latent --data stories.jsonl --out my-embedding --minutes 30

    Args:
        data: Text files or hub:owner/name, a mixture if there are several; weigh with FILE@0.7.
        out: Folder for the model.
        model: The encoder, by folder or hub name; its tokenizer is used as well.
        layer: Which of its hidden states; -1 for the last.
        mix: Ratio of the records of the sources, such as 3:1, or balanced.
        valid: Files to validate on, instead of a share of the data.
        valid_fraction: Share of the texts kept for validation, if no files are given.
        valid_texts: Most texts to validate on.
        minutes: Train for about this long, a sixth of it the decoder.
        steps: Train the denoiser for this many steps.
        epochs: Train it for this many passes over the data, if neither is given.
        decoder_steps: Train the decoder for this many steps; by default a fifth of the denoiser's.
        batch: Texts a step and device.
        accumulation: Micro-batches a step.
        learning_rate: Peak step size; by default 0.01 with Muon, 0.003 where it learns vectors, and
            0.0002 with AdamW.
        optimizer: Muon or AdamW.
        weight_decay: Decoupled decay, a share of the step size.
        average: Decay of the moving average of the weights that is kept; 0 for none.
        slots: Most tokens that the model writes; every text is trained at this width.
        schedule: How noise grows: tangent (slope 9; the default with an encoder), cosine,
            square-root (the default for learnt vectors), linear, or flow.
        predicts: What the network says: the clean vectors, the noise, v, or the flow's field.
        times: Draw levels of noise evenly in time or evenly in log-SNR.
        weighting: Weight of the squared error of the clean vectors.
        hinting: Chance that the network is shown its own first prediction (self-conditioning).
        dropping: Chance that a prompt is not shown, for classifier-free guidance.
        reading: How prompts are read: cross-attention (default for pairs), beside the text, or not.
        vocabulary: Tokens of a vocabulary learnt from the data (without an encoder).
        latents: Compress each text to so many vectors (with an encoder); by default one a token.
        width: Numbers in a learnt or compressed vector.
        hidden: Width of the network.
        layers: Its layers.
        heads: Its attention heads.
        dropout: Chance to drop a unit of it.
        evaluate_every: Steps between validations.
        answers: Held-out prompts that are answered at each validation.
        bf16: Mixed precision, where GPU or CPU multiply bfloat16 in hardware.
        cache: GiB of memory for vectors of the encoder, so that each text is encoded once.
        on_bad_line: error stops at a malformed record, skip counts it and goes on, skip:9 does so
            nine times.
        max_line_bytes: A longer line is a malformed record.
        max_nonfinite: Steps whose loss or gradient is not finite that are left out before the run
            stops.
        seed: Seed of weights, order and noise.
        resume: Go on from the last checkpoint in `out`.
    """
    options = dict(locals())
    from sfumato_apps.latent.plan import LatentPlan
    from sfumato_apps.latent.walk import follow
    from sfumato_apps.owning import owned

    with owned(out):
        follow(LatentPlan(**options))
