"""A latent model's folder.

denoiser.safetensors                the score network
codec.safetensors                   vectors of tokens, or statistics and decoder
encoder.safetensors encoder.json    the frozen encoder, as transformers keeps it
tokenizer.json …_config.json        as for every other model
sfumato.json README.md              process, sizes, origin, sha256 of the files; the card
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from sfumato.errors import ModelError
from sfumato.models.latent.codecs.bottleneck import Compressor, LatentDecoder
from sfumato.models.latent.codecs.embedding import EmbeddingCodec
from sfumato.models.latent.codecs.encoder import EncoderCodec
from sfumato.models.latent.score_network import ScoreNetwork, ScoreSizes
from sfumato.models.storage import folders
from sfumato.models.storage.saving import finish_save, save_files
from sfumato.models.storage.settings import card, gaussian_of, read_settings, write_settings
from sfumato.noise.gaussian import GaussianProcess
from sfumato.text.dialogue import chat_template
from sfumato.text.vocabulary import Vocabulary

_DENOISER, _CODEC, _ENCODER = "denoiser.safetensors", "codec.safetensors", "encoder.safetensors"
_CONFIG = "encoder.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentCheckpoint:
    """A latent model with everything that writing needs.

    Attributes:
        denoiser: the network.
        codec: tokens ↔ vectors.
        vocabulary: text ↔ ids.
        process: the noise that it was trained with.
        metadata: where it comes from; whatever JSON can hold.
    """

    denoiser: ScoreNetwork
    codec: EmbeddingCodec | EncoderCodec
    vocabulary: Vocabulary
    process: GaussianProcess
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lengths(self) -> Sequence[int]:
        """Width of its canvas, with the token that begins it."""
        return (self.denoiser.sizes.slots + (self.vocabulary.bos is not None),)

    @property
    def answers(self) -> Sequence[int]:
        """Width of what it writes after a prompt."""
        return (self.denoiser.sizes.slots,)


def is_latent(folder: Path) -> bool:
    """Whether a folder holds a latent model."""
    return (folder / _DENOISER).is_file() or (folder / ".saved" / _DENOISER).is_file()


def save_latent(checkpoint: LatentCheckpoint, path: str | Path) -> None:
    """Writes a latent model; whatever it replaces is whole until the new files are complete.

    Args:
        checkpoint: what to write.
        path: the folder; other files in it stay.

    Raises:
        ResourceError: the folder cannot be written; what was there before is untouched.

    Example:
        >>> import tempfile
        >>> from sfumato.noise.gaussian import Flow
        >>> from sfumato.noise.log_snr import Odds
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words, path = learn_vocabulary(["a cat"], size=300), Flow()
        >>> sizes = ScoreSizes(width=4, slots=6, hidden=8, layers=2, heads=2)
        >>> model = LatentCheckpoint(
        ...     denoiser=ScoreNetwork(sizes, path=path),
        ...     codec=EmbeddingCodec(size=words.size, width=4),
        ...     vocabulary=words,
        ...     process=GaussianProcess(schedule=Odds(), path=path),
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_latent(model, folder)
        ...     load_latent(folder).process == model.process
        True
    """
    save_files(Path(path), lambda folder: _write(checkpoint, folder))


def load_latent(
    name: str | Path, *, device: torch.device | str = "cpu", trust_remote_code: bool = False
) -> LatentCheckpoint:
    """Opens a latent model, by folder or hub name.

    Args:
        name: folder or hub name.
        device: where the weights go, as float32.
        trust_remote_code: run Python code that comes with the encoder.

    Raises:
        ModelError: there is no such model, or it is broken.
    """
    folder = folders.locate(name, trust_remote_code=trust_remote_code)
    finish_save(folder)
    settings = read_settings(folder)
    if not is_latent(folder) or "parts" not in settings:
        raise ModelError(f"{folder} holds no latent model: expected {_DENOISER} and sfumato.json")
    process, parts = gaussian_of(settings, folder), settings["parts"]
    tokenizer = folders.read_tokenizer(folder, trust_remote_code=trust_remote_code)
    vocabulary = folders.vocabulary_of(tokenizer, parts["size"], roles=settings.get("roles"))
    denoiser = ScoreNetwork(ScoreSizes(**parts["denoiser"]), path=process.path)
    codec = _codec(folder, parts, vocabulary, trust_remote_code=trust_remote_code)
    for module, file in ((denoiser, _DENOISER), (codec, _CODEC)):
        fill_weights(module, folder / file)
    return LatentCheckpoint(
        denoiser=denoiser.to(device).eval(),
        codec=codec.to(device).eval(),
        vocabulary=vocabulary,
        process=process,
        metadata=settings.get("metadata", {}),
    )


def read_body(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedModel:
    """The body of an encoder of transformers, with or without a masked-language-model head.

    Raises:
        ModelError: weights are missing or broken; see `folders.read_network`.
    """
    opened = folders.read_network(folder, trust_remote_code=trust_remote_code, kind=AutoModel)
    lost = [name for name in opened.missing if "pooler" not in name]
    if lost:
        raise ModelError(
            f"{folder}: {len(lost)} weights of the encoder are missing ({lost[0]} …): the weights "
            "do not belong to config.json, or the copy is incomplete"
        )
    return opened.network


def _write(checkpoint: LatentCheckpoint, folder: Path) -> None:
    denoiser, codec, words = checkpoint.denoiser, checkpoint.codec, checkpoint.vocabulary
    own = {n: v for n, v in codec.state_dict().items() if not n.startswith("body.")}
    for state, file in ((denoiser.state_dict(), _DENOISER), (own, _CODEC)):
        tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        safetensors.torch.save_file(tensors, str(folder / file))
    if isinstance(codec, EncoderCodec):
        safetensors.torch.save_model(codec.body, str(folder / _ENCODER))
        config = json.dumps(codec.body.config.to_dict(), indent=1, default=str)
        (folder / _CONFIG).write_text(config, encoding="utf-8")
    slots = denoiser.sizes.slots + 1
    tokenizer = folders.pretrained_tokenizer(words, chat_template(words), max_length=slots)
    tokenizer.save_pretrained(folder)
    parts = {"size": words.size, "denoiser": denoiser.sizes.as_json(), "codec": _described(codec)}
    write_settings(folder, checkpoint.process, words, checkpoint.metadata, parts=parts)
    size = sum(parameter.numel() for parameter in denoiser.parameters())
    text = card(type(codec).__name__, size, checkpoint.process, checkpoint.metadata)
    (folder / "README.md").write_text(text, encoding="utf-8")


def _described(codec: EmbeddingCodec | EncoderCodec) -> dict[str, Any]:
    if isinstance(codec, EmbeddingCodec):
        return {"kind": "embedding", "width": codec.width}
    decoder = codec.decoder
    return {
        "kind": "encoder",
        "layer": codec.layer,
        "kept": len(decoder.kept),
        "slots": decoder.place.num_embeddings,
        "hidden": decoder.place.embedding_dim,
        "layers": len(decoder.layers),
        "heads": decoder.heads,
        **({} if codec.compressor is None else {"compressor": _sizes(codec.compressor)}),
    }


def _sizes(compressor: Compressor) -> dict[str, int]:
    return {
        "latents": compressor.latents,
        "width": compressor.leave.out_features,
        "slots": compressor.place.num_embeddings,
        "hidden": compressor.place.embedding_dim,
        "layers": len(compressor.layers),
        "heads": compressor.heads,
    }


def _codec(
    folder: Path,
    parts: Mapping[str, Any],
    vocabulary: Vocabulary,
    *,
    trust_remote_code: bool,
) -> EmbeddingCodec | EncoderCodec:
    """The codec as it is described, its own weights still to be filled in."""
    sizes = dict(parts["codec"])
    kind = sizes.pop("kind")
    if kind == "embedding":
        return EmbeddingCodec(size=parts["size"], width=sizes["width"])
    layer, kept = sizes.pop("layer"), range(sizes.pop("kept"))
    values = dict(folders.read_json(folder / _CONFIG))
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    body = AutoModel.from_config(  # type: ignore[no-untyped-call]
        config, trust_remote_code=trust_remote_code
    )
    fill_weights(body, folder / _ENCODER)
    fewer = sizes.pop("compressor", None)
    inside = body.config.hidden_size
    compressor = None if fewer is None else Compressor(inside=inside, **fewer)
    sizes |= {"width": inside} if fewer is None else {n: fewer[n] for n in ("width", "latents")}
    decoder = LatentDecoder(kept=kept, size=parts["size"], **sizes)
    return EncoderCodec(body, decoder, pad=vocabulary.pad, layer=layer, compressor=compressor)


def fill_weights(module: nn.Module, path: Path) -> None:
    """Weights from a file; those of the encoder inside a codec have a file of their own.

    Raises:
        ModelError: the file is broken, or does not fit.
    """
    try:
        missing, unexpected = safetensors.torch.load_model(module, str(path), strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be read: {folders.first_line(error)}") from error
    lost = [name for name in missing if not name.startswith("body.")]
    if lost or unexpected:
        names = [*lost, *unexpected][:3]
        raise ModelError(f"{path} does not fit its settings: {', '.join(names)} …")
