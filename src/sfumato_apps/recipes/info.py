"""`sfumato info`: what a model is."""

from __future__ import annotations


def info(*, model: str | None = None) -> None:
    """Says what a model is: architecture, size, noise, vocabulary, origin; as JSON.

    $ sfumato info --model my-model

    Args:
        model: Folder or hub name; the shipped model if left out.
    """
    import json

    from sfumato.models.latent.storage import LatentCheckpoint
    from sfumato_apps.policies import open_writer

    checkpoint = open_writer(model)
    denoiser, words = checkpoint.denoiser, checkpoint.vocabulary
    if isinstance(checkpoint, LatentCheckpoint):
        kind = {"codec": type(checkpoint.codec).__name__, **checkpoint.denoiser.sizes.as_json()}
    else:
        network = checkpoint.denoiser.network
        kind = {
            "architecture": type(network).__name__,
            "max_length": checkpoint.denoiser.max_length,
        }
    record = {
        **kind,
        "parameters": sum(p.numel() for p in denoiser.parameters()),
        "process": type(checkpoint.process).__name__,
        "schedule": type(checkpoint.process.schedule).__name__,
        "tokens": words.size,
        "roles": sorted(words.roles),
        **checkpoint.metadata,
    }
    print(json.dumps(record, ensure_ascii=False, indent=2, default=str))
