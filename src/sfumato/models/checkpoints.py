"""A checkpoint is an ordinary folder.

    model.safetensors config.json       what `AutoModelForMaskedLM.from_pretrained` opens
    tokenizer.json …_config.json        with the chat template
    time.safetensors                    the time embedding, where the noise needs one
    sfumato.json                        process, schedule, roles, origin, sha256 of the files
    README.md                           the model card

A save is written beside the files that it replaces and moved over them when it is complete; one
that is killed while moving is finished by the next `load` or `save`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from transformers import PreTrainedModel

from sfumato.errors import ModelError
from sfumato.models.encoders import EncoderDenoiser
from sfumato.models.latent.storage import is_latent
from sfumato.models.lora import merged
from sfumato.models.parts.conditioning import TimeEmbedding
from sfumato.models.storage import folders
from sfumato.models.storage.folders import pretrained_tokenizer, vocabulary_of
from sfumato.models.storage.precision import QUANTISED, loading, speak
from sfumato.models.storage.saving import finish_save, save_files
from sfumato.models.storage.settings import (
    card,
    process_of,
    read_settings,
    write_settings,
)
from sfumato.protocols import Process
from sfumato.text.dialogue import chat_template
from sfumato.text.vocabulary import Vocabulary

TIME, CARD = "time.safetensors", "README.md"

SHIPPED = Path(__file__).parents[1] / "shipped"


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A model with everything that writing needs.

    Attributes:
        denoiser: the network.
        vocabulary: text ↔ ids.
        process: the noise that it was trained with.
        metadata: where it comes from: data, seed, steps, licence; whatever JSON can hold.

    Example:
        >>> from sfumato.models.scratch import new_encoder
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a cat"], size=300)
        >>> from sfumato.noise.masked import MaskedProcess
        >>> checkpoint = Checkpoint(
        ...     denoiser=new_encoder(words, width=8, layers=1, heads=2, max_length=8),
        ...     vocabulary=words,
        ...     process=MaskedProcess(mask=words.mask),
        ... )
        >>> checkpoint.denoiser.mask == words.mask
        True
    """

    denoiser: EncoderDenoiser
    vocabulary: Vocabulary
    process: Process
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lengths(self) -> Sequence[int]:
        """Widths of the canvases of whole texts that it was trained on; empty if unknown."""
        return tuple(self.metadata.get("lengths", ()))

    @property
    def answers(self) -> Sequence[int]:
        """Widths trained on for what follows a prompt; empty if unknown, or if it saw none."""
        return tuple(self.metadata.get("answers", ()))


def load(
    name: str | Path = SHIPPED,
    *,
    trust_remote_code: bool = False,
    device: torch.device | str = "cpu",
    weights: str = "float32",
) -> Checkpoint:
    """Opens a folder or hub name; a plain encoder gets masked noise, linear in time.

    Args:
        name: folder or hub name; the small model of the package if not given.
        trust_remote_code: run Python code that comes with the checkpoint.
        device: where the weights go.
        weights: what they are held in: float32; bfloat16, in half the memory; 8bit or 4bit, on a
            GPU and for writing only, by bitsandbytes. What is not float32 writes nearly the same.

    Raises:
        UsageError: other weights.
        ResourceError: 8 or 4 bits without CUDA.
        MissingExtraError: 8 or 4 bits without bitsandbytes.
        ModelError: there is no such checkpoint, it is broken, it has no safetensors weights, no
            masked-language-model head or no mask token.

    Example:
        >>> load("/no/such/folder")
        Traceback (most recent call last):
        sfumato.errors.ModelError: /no/such/folder: there is no such folder; ...
    """
    options = loading(weights, device)
    folder = folders.locate(name, trust_remote_code=trust_remote_code)
    finish_save(folder)
    if is_latent(folder):
        raise ModelError(
            f"{folder} holds a latent model: open it with `load_latent`; on the command line "
            "write, rewrite, fill, vary, interpolate and evaluate take it"
        )
    folders.read_config(folder)
    settings = read_settings(folder)
    tokenizer = folders.read_tokenizer(folder, trust_remote_code=trust_remote_code)
    opened = folders.read_network(folder, trust_remote_code=trust_remote_code, options=options)
    if opened.missing:
        raise ModelError(
            f"{name} has no weights for its masked-language-model head "
            f"({', '.join(opened.missing[:3])} …); expected the checkpoint that the encoder was "
            "pre-trained as: `sfumato probe` says more"
        )
    size = int(opened.network.config.vocab_size)
    vocabulary = vocabulary_of(tokenizer, size, roles=settings.get("roles"))
    process = process_of(settings, vocabulary, folder)
    time = _time(folder, settings)
    if time is not None:
        speak(time, options["dtype"])
    denoiser = denoiser_of(opened.network, process, mask=vocabulary.mask, time=time)
    return Checkpoint(
        denoiser=denoiser.to(device).eval(),
        vocabulary=vocabulary,
        process=process,
        metadata=settings.get("metadata", {}),
    )


def denoiser_of(
    network: PreTrainedModel, process: Process, *, mask: int, time: TimeEmbedding | None = None
) -> EncoderDenoiser:
    """The network as a denoiser of a process.

    Where the process knows how to turn a prediction that ignores a position's own token into
    one that does not (`UniformProcess.posterior_logits`), the denoiser's output goes through it.
    """
    reading = getattr(process, "posterior_logits", None)
    return EncoderDenoiser(network, mask=mask, time=time, reading=reading)


def save(checkpoint: Checkpoint, path: str | Path, *, dtype: torch.dtype | None = None) -> None:
    """Writes a checkpoint; whatever it replaces is whole until the new files are complete.

    Adapters of LoRA are folded into the weights.

    Args:
        checkpoint: what to write.
        path: the folder; other files in it stay.
        dtype: precision of the stored weights; None keeps theirs. They load as float32.

    Raises:
        ModelError: the weights are held in 8 or 4 bits.
        ResourceError: the folder cannot be written; what was there before is untouched.

    Example:
        >>> import tempfile
        >>> from sfumato.models.scratch import new_encoder
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a cat"], size=300)
        >>> denoiser = new_encoder(words, width=8, layers=1, heads=2, max_length=8)
        >>> from sfumato.noise.masked import MaskedProcess
        >>> process = MaskedProcess(mask=words.mask)
        >>> checkpoint = Checkpoint(denoiser=denoiser, vocabulary=words, process=process)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(checkpoint, folder)
        ...     load(folder).vocabulary.decode(words.encode("a cat"))
        'a cat'
    """
    if getattr(checkpoint.denoiser.network, "is_quantized", False):
        raise ModelError(
            f"weights of {' or '.join(QUANTISED)} are for writing and cannot be saved: open the "
            "model with weights='float32'"
        )
    save_files(Path(path), lambda folder: _write(checkpoint, folder, dtype))


def _write(checkpoint: Checkpoint, folder: Path, dtype: torch.dtype | None) -> None:
    denoiser, words = merged(checkpoint.denoiser), checkpoint.vocabulary
    with folders.quiet():
        denoiser.network.save_pretrained(folder, state_dict=_stored(denoiser.network, dtype))
    tokenizer = pretrained_tokenizer(words, chat_template(words), max_length=denoiser.max_length)
    tokenizer.save_pretrained(folder)
    if denoiser.time is not None:
        state = {name: value.contiguous() for name, value in denoiser.time.state_dict().items()}
        safetensors.torch.save_file(state, str(folder / TIME))
    write_settings(folder, checkpoint.process, words, checkpoint.metadata)
    size = sum(parameter.numel() for parameter in denoiser.parameters())
    text = card(type(denoiser.network).__name__, size, checkpoint.process, checkpoint.metadata)
    (folder / CARD).write_text(text, encoding="utf-8")


def _stored(network: PreTrainedModel, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """The weights in the precision of storage; tied weights stay one tensor."""
    casts: dict[int, Tensor] = {}
    state: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        wanted = dtype if dtype is not None and value.is_floating_point() else value.dtype
        state[name] = casts.setdefault(value.data_ptr(), value.detach().to("cpu", wanted))
    return state


def _time(folder: Path, settings: Mapping[str, Any]) -> TimeEmbedding | None:
    if TIME not in settings.get("sha256", {}):
        return None
    state = safetensors.torch.load_file(str(folder / TIME))
    time = TimeEmbedding(width=state["inner.weight"].shape[1])
    time.load_state_dict({name: value.float() for name, value in state.items()})
    return time
