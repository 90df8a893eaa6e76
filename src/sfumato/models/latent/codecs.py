"""Codecs: token ids ↔ vectors that Gaussian noise can work on.

    EmbeddingCodec    a learnt vector a token, read back by its dot products   Diffusion-LM
    EncoderCodec      a frozen encoder's outputs, read back by a transformer   TEncDM

A vector of an encoder holds its context, so neighbouring vectors agree and a decoder can mend
what the diffusion gets slightly wrong. Whatever is encoded is encoded by itself: an encoder that
saw the text to be written would tell its answer to the condition.

Legend of shapes: `B` batch, `L` positions, `S` slots, `D` width, `V` vocabulary, `K` kept tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from sfumato.errors import ModelError, UsageError
from sfumato.models.latent.layers import Layer, initialise
from sfumato.models.latent.memory import Memory


class EmbeddingCodec(nn.Module):
    """One vector of length √D for each token, learnt with the denoiser.

    The length is fixed, or the vectors would shrink to make the noise's task easy; what keeps
    them apart is the anchor, the cross-entropy of `decode` at x̂_0 (Difformer, arXiv 2212.09412,
    §4.1; rounding and clamping are Diffusion-LM's, arXiv 2205.14217).

    Args:
        size: `V`.
        width: `D`.
        seed: of the first vectors.

    Example:
        >>> codec = EmbeddingCodec(size=9, width=16)
        >>> ids = torch.tensor([[3, 4]])
        >>> codec.decode(codec.encode(ids, ids > 0)).argmax(2).tolist()
        [[3, 4]]
    """

    def __init__(self, *, size: int, width: int, seed: int = 0) -> None:
        super().__init__()
        if width < 2:
            raise UsageError(f"vectors of tokens need a width of at least 2, got {width}")
        self.table = nn.Embedding(size, width)
        nn.init.normal_(self.table.weight, generator=torch.Generator().manual_seed(seed))

    @property
    def width(self) -> int:
        """`D`."""
        return int(self.table.embedding_dim)

    @property
    def vectors(self) -> Float[Tensor, "V D"]:
        """All tokens' vectors."""
        unit = nn.functional.normalize(self.table.weight, dim=1)
        return unit * math.sqrt(self.width)

    def encode(
        self, ids: Int[Tensor, "B L"], attend: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B L D"]:
        """The tokens' vectors; zero where not attended."""
        found: Tensor = nn.functional.embedding(ids, self.vectors) * attend[..., None]
        return found

    def decode(
        self, latents: Float[Tensor, "B S D"], attend: Bool[Tensor, "B S"] | None = None
    ) -> Float[Tensor, "B S V"]:
        """Dot products with the tokens' vectors: their distances, for all have one length."""
        return latents @ self.vectors.T

    def nearest(self, latents: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """The nearest token's vector."""
        return nn.functional.embedding(self.decode(latents).argmax(2), self.vectors)


class LatentDecoder(nn.Module):
    """Vectors → logits, by a few layers of attention over the whole text.

    Args:
        width: `D`, of the vectors.
        kept: ids of the tokens that it can say, as many as its head is wide.
        size: `V`.
        slots: the most slots of a text.
        hidden: width of its layers.
        layers: their number.
        heads: of attention.
        seed: of the weights.
    """

    def __init__(
        self,
        *,
        width: int,
        kept: Iterable[int],
        size: int,
        slots: int,
        hidden: int = 256,
        layers: int = 2,
        heads: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.size, self.heads = size, heads
        self.register_buffer("kept", torch.tensor(sorted(set(kept)), dtype=torch.long))
        self.kept: Tensor
        self.enter = nn.Linear(width, hidden)
        self.place = nn.Embedding(slots, hidden)
        self.layers = nn.ModuleList(Layer(width=hidden, heads=heads) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, len(self.kept))
        initialise(self, seed=seed)

    def forward(
        self, latents: Float[Tensor, "B S D"], attend: Bool[Tensor, "B S"] | None = None
    ) -> Float[Tensor, "B S K"]:
        """Logits of the kept tokens."""
        x = self.enter(latents) + self.place.weight[: latents.shape[1]]
        for layer in self.layers:
            x = layer(x, attend)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def spread(self, logits: Float[Tensor, "B S K"]) -> Float[Tensor, "B S V"]:
        """Logits of all tokens, −∞ for those that are not kept."""
        whole = logits.new_full((*logits.shape[:2], self.size), -torch.inf)
        return whole.index_copy(2, self.kept, logits)


class EncoderCodec(nn.Module):
    """A frozen encoder's outputs, brought to mean 0 and deviation 1, and a decoder for them.

    Padding after a text is the vector 0 and is decoded like anything else, so a text may end
    anywhere. Where special tokens stand their outputs are taken as they are.

    Args:
        body: an encoder of transformers, without a head; its weights are not trained.
        decoder: reads vectors back.
        pad: id of the padding token, which the encoder does not see.
        layer: which hidden state to take, −1 for the last.

    Attributes:
        memory: vectors that were computed before, for trainings of several epochs; set it once
            `fit` was called. None computes them each time.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> sizes = dict(vocab_size=9, hidden_size=8, num_hidden_layers=1)
        >>> body = BertModel(BertConfig(num_attention_heads=2, intermediate_size=8, **sizes))
        >>> decoder = LatentDecoder(width=8, kept=range(9), size=9, slots=6, hidden=8, heads=2)
        >>> codec = EncoderCodec(body, decoder, pad=0)
        >>> ids = torch.tensor([[1, 4, 5, 0]])
        >>> codec.encode(ids, ids >= 0)[0, -1].any().item()  # padding is the vector 0
        False
    """

    def __init__(
        self, body: PreTrainedModel, decoder: LatentDecoder, *, pad: int, layer: int = -1
    ) -> None:
        super().__init__()
        depth = int(body.config.num_hidden_layers)
        if not -depth - 1 <= layer <= depth:
            raise UsageError(f"the encoder has layers 0 to {depth}, got {layer}")
        self.body = body.requires_grad_(False)
        self.train(self.training)
        self.decoder = decoder
        self.pad = pad
        self.layer = layer
        self.memory: Memory | None = None
        self.register_buffer("mean", torch.zeros(body.config.hidden_size))
        self.register_buffer("std", torch.ones(body.config.hidden_size))
        self.mean: Tensor
        self.std: Tensor

    @property
    def width(self) -> int:
        """`D`, the encoder's own."""
        return len(self.mean)

    def train(self, mode: bool = True) -> EncoderCodec:
        """Trains the decoder; the encoder stays as it is."""
        super().train(mode)
        self.body.eval()  # type: ignore[no-untyped-call]
        return self

    @torch.no_grad()
    def encode(
        self, ids: Int[Tensor, "B L"], attend: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B L D"]:
        """Normalised outputs; zero at padding and where not attended."""
        seen = attend & (ids != self.pad)
        return (
            self._fresh(ids, seen)
            if self.memory is None
            else self.memory.recall(ids, seen, self._fresh)
        )

    def _fresh(self, ids: Int[Tensor, "B L"], seen: Bool[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        return (self._hidden(ids, seen) - self.mean) / self.std * seen[..., None]

    def decode(
        self, latents: Float[Tensor, "B S D"], attend: Bool[Tensor, "B S"] | None = None
    ) -> Float[Tensor, "B S V"]:
        """Logits of every token."""
        return self.decoder.spread(self.decoder(latents, attend))

    @torch.no_grad()
    def fit(self, batches: Iterable[Int[Tensor, "_ _"]], *, special: Int[Tensor, "P"]) -> None:
        """Takes mean and deviation of each number from texts, padding and special tokens left out.

        Args:
            batches: ids of texts, padded, *shape* `B L` each.
            special: ids that are not words.

        Raises:
            ModelError: the encoder's outputs do not differ, so nothing can be read off them.
        """
        count, total = 0, torch.zeros_like(self.mean).double()
        square = torch.zeros_like(total)
        for ids in batches:
            words = (ids != self.pad) & ~torch.isin(ids, special.to(ids.device))
            found = self._hidden(ids, ids != self.pad)[words].double()
            count, total = count + len(found), total + found.sum(0)
            square = square + found.square().sum(0)
        mean = total / max(count, 1)
        deviation = (square / max(count, 1) - mean.square()).clamp(min=0).sqrt()
        if count < 2 or not bool((deviation > 1e-6).any()):
            raise ModelError(
                f"the encoder gives the same vector for all of {count} tokens: its weights are "
                "damaged, or there is no text"
            )
        self.mean.copy_(mean)
        self.std.copy_(deviation.clamp(min=1e-6))

    def _hidden(self, ids: Int[Tensor, "B L"], seen: Bool[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        # A row without any token would be a softmax over nothing; its output is not used.
        none = ~seen.any(1, keepdim=True)
        inputs = {"input_ids": ids, "attention_mask": (seen | none).long()}
        if self.layer in (-1, int(self.body.config.num_hidden_layers)):
            last: Tensor = self.body(**inputs)[0]
            return last.float()
        states = self.body(**inputs, output_hidden_states=True).hidden_states
        chosen: Tensor = states[self.layer]
        return chosen.float()
