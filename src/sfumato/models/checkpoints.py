"""A checkpoint is an ordinary folder.

    model.safetensors config.json       what `AutoModelForMaskedLM.from_pretrained` opens
    tokenizer.json …_config.json        with the chat template
    time.safetensors                    the time embedding, where the noise needs one
    sfumato.json                        process, schedule, origin, sha256 of the weights
    README.md                           the model card

No pickle is ever read, and no code of a checkpoint is run unless the caller says so by name.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel
from transformers import PreTrainedTokenizerFast as PretrainedTokenizer

from sfumato.errors import ModelError
from sfumato.models.card import card
from sfumato.models.conditioning import TimeEmbedding
from sfumato.models.encoders import EncoderDenoiser
from sfumato.noise import schedules
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.uniform import UniformProcess
from sfumato.protocols import Process, Schedule
from sfumato.text.dialogue import chat_template
from sfumato.text.vocabulary import Vocabulary, with_roles

SETTINGS, WEIGHTS, TIME = "sfumato.json", "model.safetensors", "time.safetensors"
_FORMAT = 1
_PROCESSES = {kind.__name__: kind for kind in (MaskedProcess, UniformProcess)}
_SCHEDULES = {
    kind.__name__: kind
    for kind in (
        schedules.Linear,
        schedules.Cosine,
        schedules.Polynomial,
        schedules.LogLinear,
        schedules.Geometric,
    )
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A model with everything that writing needs.

    Attributes:
        denoiser: the network.
        vocabulary: text ↔ ids.
        process: the noise that it was trained with.
        metadata: where it comes from: data, seed, steps, licence; whatever JSON can hold.
    """

    denoiser: EncoderDenoiser
    vocabulary: Vocabulary
    process: Process
    metadata: Mapping[str, Any] = field(default_factory=dict)


def load(
    name: str, *, trust_remote_code: bool = False, device: torch.device | str = "cpu"
) -> Checkpoint:
    """Opens a folder or a name on the hub; a plain encoder gets masked noise, linear in time.

    Args:
        name: folder or hub name.
        trust_remote_code: run Python code that comes with the checkpoint.
        device: where the weights go, as float32.

    Raises:
        ModelError: there is no such checkpoint, it is broken, it has no safetensors weights, no
            masked-language-model head or no mask token.
    """
    folder = Path(name)
    settings = _settings(folder)
    network = _network(name, trust_remote_code)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{name}: cannot open the tokenizer: {_first_line(error)}") from error
    vocabulary = vocabulary_of(
        tokenizer, int(network.config.vocab_size), roles=settings.get("roles")
    )
    process = _process(settings, vocabulary, name)
    time = None
    if (folder / TIME).is_file():
        time = TimeEmbedding(width=int(network.config.hidden_size))
        time.load_state_dict(safetensors.torch.load_file(str(folder / TIME)))
    denoiser = denoiser_of(network, process, mask=vocabulary.mask, time=time)
    denoiser.to(device).eval()
    return Checkpoint(
        denoiser=denoiser,
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
    """Writes a checkpoint; each file appears whole or not at all, the settings last.

    Args:
        checkpoint: what to write.
        path: the folder; other files in it stay.
        dtype: precision of the stored weights; None keeps theirs. They load as float32.

    Raises:
        ModelError: the folder cannot be written.
    """
    target = Path(path)
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".saving-") as draft:
            _write(checkpoint, Path(draft), dtype)
            names = sorted(os.listdir(draft), key=lambda name: name == SETTINGS)
            for name in names:
                os.replace(Path(draft) / name, target / name)
    except OSError as error:
        raise ModelError(f"cannot save to {target}: {error}") from error


def _write(checkpoint: Checkpoint, folder: Path, dtype: torch.dtype | None) -> None:
    denoiser = checkpoint.denoiser
    state = {name: value.detach() for name, value in denoiser.network.state_dict().items()}
    if dtype is not None:
        state = {name: value.to(dtype) for name, value in state.items()}
    denoiser.network.save_pretrained(folder, state_dict=state)
    words = checkpoint.vocabulary
    pretrained_tokenizer(words, chat_template(words)).save_pretrained(folder)
    if denoiser.time is not None:
        safetensors.torch.save_file(denoiser.time.state_dict(), str(folder / TIME))
    settings = {
        "format": _FORMAT,
        "process": {"kind": type(checkpoint.process).__name__, **_plain(checkpoint.process)},
        "roles": dict(words.roles),
        "metadata": dict(checkpoint.metadata),
        "sha256": {WEIGHTS: _digest(folder / WEIGHTS)},
    }
    (folder / SETTINGS).write_text(json.dumps(settings, ensure_ascii=False, indent=1) + "\n")
    size = sum(parameter.numel() for parameter in denoiser.parameters())
    (folder / "README.md").write_text(
        card(type(denoiser.network).__name__, size, checkpoint.metadata), encoding="utf-8"
    )


def _plain(process: Process) -> dict[str, Any]:
    schedule = process.schedule
    values = {name: value for name, value in vars(process).items() if name != "schedule"}
    values.pop("mask", None)
    return {**values, "schedule": {"kind": type(schedule).__name__, **vars(schedule)}}


def _process(settings: Mapping[str, Any], vocabulary: Vocabulary, name: str) -> Process:
    """The process of the settings; masked noise if they name none."""
    values = dict(settings.get("process", {"kind": "MaskedProcess"}))
    inner = dict(values.pop("schedule", {"kind": "Linear"}))
    try:
        schedule: Schedule = _SCHEDULES[inner.pop("kind")](**inner)
        kind = _PROCESSES[values.pop("kind")]
        if kind is MaskedProcess:
            values["mask"] = vocabulary.mask
        else:
            values["excluded"] = tuple(values["excluded"])
        process: Process = kind(schedule=schedule, **values)
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"{name}: {SETTINGS} names a process or schedule that this version does not know: "
            f"{error}"
        ) from error
    return process


def _settings(folder: Path) -> dict[str, Any]:
    """What `sfumato.json` says, checked; empty for a plain encoder or a name on the hub."""
    path = folder / SETTINGS
    if not path.is_file():
        return {}
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        digests = dict(settings["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is broken: {_first_line(error)}") from error
    for name, digest in digests.items():
        if (folder / name).is_file() and _digest(folder / name) != digest:
            raise ModelError(
                f"{folder / name} is not the file that was saved (its sha256 differs from "
                f"{SETTINGS}): copy it again, or delete its entry there if you changed it yourself"
            )
    return settings


def _network(name: str, trust_remote_code: bool) -> PreTrainedModel:
    folder = Path(name)
    looks_local = folder.is_absolute() or name.startswith(".") or name.count("/") > 1
    if (looks_local or "/" not in name) and not folder.is_dir():
        raise ModelError(f"{name}: there is no such folder; expected one with config.json")
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ModelError(f"{name} holds no config.json; expected a folder saved by transformers")
    try:
        network: PreTrainedModel
        network, found = AutoModelForMaskedLM.from_pretrained(
            name,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{name}: cannot open the model: {_first_line(error)}") from error
    if found["missing_keys"]:
        missing = ", ".join(sorted(found["missing_keys"])[:3])
        raise ModelError(
            f"{name} has no weights for its masked-language-model head ({missing} …); expected "
            "the checkpoint that the encoder was pre-trained as: `sfumato probe` says more"
        )
    return network


def vocabulary_of(
    tokenizer: Any,  # noqa: ANN401
    size: int,
    *,
    roles: Mapping[str, int] | None = None,
) -> Vocabulary:
    """The vocabulary of a tokenizer of transformers.

    Args:
        tokenizer: a fast tokenizer.
        size: width of the model's logits.
        roles: role markers that a checkpoint already has; None gives them where there is room.

    Raises:
        ModelError: it has no mask, no padding or no end token, or is not a fast tokenizer.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(f"{type(tokenizer).__name__} is not a fast tokenizer, which is needed")
    end = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    start = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    named = {"mask": tokenizer.mask_token_id, "padding": tokenizer.pad_token_id, "end": end}
    lacking = [name for name, token in named.items() if token is None]
    if lacking:
        raise ModelError(
            f"the tokenizer has no {' and no '.join(lacking)} token; masked diffusion needs "
            "mask, padding and end: choose an encoder that was pre-trained with masks"
        )
    vocabulary = Vocabulary(
        tokenizer=backend,
        mask=tokenizer.mask_token_id,
        pad=tokenizer.pad_token_id,
        eos=end,
        bos=start,
        size=size,
        roles=dict(roles or {}),
    )
    return vocabulary if roles is not None else with_roles(vocabulary, size)


def pretrained_tokenizer(
    vocabulary: Vocabulary, template: str | None = None
) -> PretrainedTokenizer:
    """A tokenizer of transformers with the same ids, for saving."""
    special: dict[str, Any] = {
        "mask_token": vocabulary.name(vocabulary.mask),
        "pad_token": vocabulary.name(vocabulary.pad),
        "sep_token": vocabulary.name(vocabulary.eos),
        "eos_token": vocabulary.name(vocabulary.eos),
    }
    if vocabulary.bos is not None:
        special |= dict.fromkeys(("cls_token", "bos_token"), vocabulary.name(vocabulary.bos))
    markers = [vocabulary.name(token) for token in vocabulary.roles.values()]
    tokenizer = PretrainedTokenizer(  # type: ignore[no-untyped-call]
        tokenizer_object=vocabulary.tokenizer, extra_special_tokens=markers, **special
    )
    tokenizer.chat_template = template
    return tokenizer


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
