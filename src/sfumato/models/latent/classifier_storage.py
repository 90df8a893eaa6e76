"""A noise-aware classifier's folder.

classifier.safetensors      the network
sfumato.json                process, sizes, labels, origin, sha256 of the file
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from sfumato.errors import ModelError, UsageError
from sfumato.models.latent.classifier import ClassifierSizes, NoisyClassifier
from sfumato.models.latent.storage import fill_weights
from sfumato.models.storage.saving import finish_save, save_files
from sfumato.models.storage.settings import gaussian_of, read_settings, write_settings
from sfumato.noise.gaussian import GaussianProcess

_WEIGHTS = "classifier.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassifierCheckpoint:
    """A classifier with what using it needs, but for the codec that makes its vectors.

    Attributes:
        classifier: the network.
        process: the noise that it was trained with.
        labels: names of the classes, in their order; none for a classifier of pairs.
        metadata: where it comes from, the latent model's folder under `latent_model`.

    Raises:
        UsageError: more or fewer names than the network has classes.
    """

    classifier: NoisyClassifier
    process: GaussianProcess
    labels: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = self.classifier.sizes.labels
        if len(self.labels) != known:
            raise UsageError(f"expected names for {known} labels, got {len(self.labels)}")


def save_classifier(checkpoint: ClassifierCheckpoint, path: str | Path) -> None:
    """Writes a classifier; whatever it replaces is whole until the new files are complete.

    Args:
        checkpoint: what to write.
        path: the folder; other files in it stay.

    Raises:
        ResourceError: the folder cannot be written; what was there before is untouched.

    Example:
        >>> import tempfile
        >>> from sfumato.noise.gaussian import Flow
        >>> from sfumato.noise.log_snr import Odds
        >>> sizes = ClassifierSizes(width=4, slots=6, hidden=8, layers=1, heads=2)
        >>> process = GaussianProcess(schedule=Odds(), path=Flow())
        >>> network = NoisyClassifier(sizes, path=process.path)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_classifier(ClassifierCheckpoint(classifier=network, process=process), folder)
        ...     load_classifier(folder).process == process
        True
    """

    def write(folder: Path) -> None:
        state = checkpoint.classifier.state_dict()
        tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        safetensors.torch.save_file(tensors, str(folder / _WEIGHTS))
        parts = {"classifier": checkpoint.classifier.sizes.as_json(), "labels": checkpoint.labels}
        write_settings(folder, checkpoint.process, None, checkpoint.metadata, parts=parts)

    save_files(Path(path), write)


def load_classifier(
    path: str | Path, *, device: torch.device | str = "cpu"
) -> ClassifierCheckpoint:
    """Opens a classifier.

    Args:
        path: its folder.
        device: where the weights go, as float32.

    Raises:
        ModelError: there is no classifier, or it is broken.
    """
    folder = Path(path)
    finish_save(folder)
    settings = read_settings(folder)
    parts = settings.get("parts", {})
    if "classifier" not in parts:
        raise ModelError(
            f"{folder} holds no classifier of noisy vectors: expected {_WEIGHTS} and sfumato.json, "
            "as `sfumato classifier` writes them"
        )
    process = gaussian_of(settings, folder)
    try:
        sizes = ClassifierSizes(**parts["classifier"])
    except (TypeError, UsageError) as error:
        raise ModelError(f"{folder}/sfumato.json holds sizes that do not fit: {error}") from error
    classifier = NoisyClassifier(sizes, path=process.path)
    fill_weights(classifier, folder / _WEIGHTS)
    return ClassifierCheckpoint(
        classifier=classifier.to(device).eval(),
        process=process,
        labels=tuple(parts["labels"]),
        metadata=settings.get("metadata", {}),
    )
