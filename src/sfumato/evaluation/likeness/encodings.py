"""A local encoder of transformers as a featuriser of texts.

    texts ──► tokenizer ──► encoder ──► states of a layer ──► contextual: one state a token
                                                          └─► mean: one vector a text

Legend of shapes: `N` texts, `L` tokens of one text, `D` width of the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from sfumato.errors import ModelError
from sfumato.models.parts.products import fast_linear
from sfumato.models.storage import folders

_LONGEST = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoding:
    """One text as its encoder sees it.

    Attributes:
        ids: tokens, special ones included, *shape* `L`.
        special: which tokens are special ([CLS], [SEP] …), *shape* `L`.
        states: their states, *shape* `L D`.
    """

    ids: Int[Tensor, "L"]
    special: Bool[Tensor, "L"]
    states: Float[Tensor, "L D"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoder:
    """An encoder with its tokenizer; calling it gives one vector a text, by mean pooling.

    Attributes:
        name: name of its folder or on the hub, for records.
        network: the encoder, in evaluation mode.
        tokenizer: its tokenizer.
        layer: whose states are taken: 0 the embeddings, 1 the first layer …
        max_length: tokens read of a text; the rest is cut.
        batch_size: texts a forward pass.
    """

    name: str
    network: PreTrainedModel = field(repr=False)
    tokenizer: PreTrainedTokenizerBase = field(repr=False)
    layer: int
    max_length: int
    batch_size: int = 64

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "N D"]:
        """The mean of each text's states, its special tokens included; on the CPU.

        A text without any tokens is zeros.
        """
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        means: list[Tensor] = [torch.empty(0)] * len(texts)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            for row, one in zip(rows, self.encode([texts[i] for i in rows]), strict=True):
                means[row] = one.states.sum(0) / max(len(one.ids), 1)
        return torch.stack(means)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Each text with the states of its tokens; one forward pass, on the CPU afterwards."""
        encoded = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_tensors="pt",
            return_special_tokens_mask=True,
        )
        special = encoded.pop("special_tokens_mask").bool()
        device = self.network.device
        with fast_linear(device):
            found = self.network(**encoded.to(device), output_hidden_states=True)
        states = found.hidden_states[self.layer].float().cpu()
        ids, exists = encoded["input_ids"].cpu(), encoded["attention_mask"].bool().cpu()
        return [
            Encoding(ids=ids[i, kept], special=special[i, kept], states=states[i, kept])
            for i, kept in enumerate(exists)
        ]


def encoder(
    name: str | Path,
    *,
    layer: int | None = None,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
) -> Encoder:
    """Opens an encoder of transformers as a featuriser. No code of the checkpoint is run.

    Args:
        name: folder or hub name; of an encoder-decoder the encoder is taken.
        layer: whose states are taken: 0 the embeddings, 1 the first layer …; None the last.
        batch_size: texts a forward pass.
        device: where the weights go, as float32.

    Raises:
        ModelError: there is no such checkpoint, it is broken, or it has no such layer.

    Example:
        >>> encoder("/no/such/folder")
        Traceback (most recent call last):
        sfumato.errors.ModelError: /no/such/folder: there is no such folder; ...
    """
    folder = folders.locate(name)
    folders.read_config(folder)
    tokenizer = folders.read_tokenizer(folder)
    network = _network(folder)
    layers = network.config.num_hidden_layers
    chosen = layers if layer is None else layer
    if not 0 <= chosen <= layers:
        raise ModelError(f"{name} has no layer {layer}: expected 0, the embeddings, to {layers}")
    positions = getattr(network.config, "max_position_embeddings", None) or _LONGEST
    # RoBERTa counts positions from its padding token on, so two of them are never used.
    shifted = network.config.model_type in ("roberta", "xlm-roberta", "camembert")
    network.to(torch.device(device))  # type: ignore[arg-type]
    return Encoder(
        name=Path(name).name if Path(name).is_dir() else str(name),
        network=network,
        tokenizer=tokenizer,
        layer=chosen,
        max_length=min(positions - 2 * shifted, tokenizer.model_max_length),
        batch_size=batch_size,
    )


def _network(folder: Path) -> PreTrainedModel:
    try:
        with folders.quiet():
            network: PreTrainedModel = AutoModel.from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"{folder} does not open as an encoder ({folders.first_line(error)}): expected a "
            "folder with config.json, model.safetensors and a tokenizer"
        ) from error
    if hasattr(network, "encoder") and hasattr(network, "decoder"):
        network = network.get_encoder()
    network.train(False)
    return network
