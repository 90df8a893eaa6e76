"""`sfumato info`: what a model is."""

from __future__ import annotations


def info(*, model: str | None = None) -> None:
    """Says what a model is: architecture, size, noise, vocabulary, origin; as JSON.

    $ sfumato info --model my-model

    Args:
        model: Folder or hub name; the shipped model if left out.
    """
    import json

    from sfumato_apps.choices import open_model

    checkpoint = open_model(model)
    denoiser, words = checkpoint.denoiser, checkpoint.vocabulary
    record = {
        "architecture": type(denoiser.network).__name__,
        "parameters": sum(p.numel() for p in denoiser.parameters()),
        "max_length": denoiser.max_length,
        "process": type(checkpoint.process).__name__,
        "schedule": type(checkpoint.process.schedule).__name__,
        "tokens": words.size,
        "roles": sorted(words.roles),
        **checkpoint.metadata,
    }
    print(json.dumps(record, ensure_ascii=False, indent=2, default=str))
