"""The outputs of a frozen encoder as a codec (TEncDM), or fewer vectors made of them (COSMOS).

Legend of shapes: `B` batch, `L` positions, `S` slots, `C` width of the encoder, `D` width of the
vectors, `N` vectors of a text: `L`, or fewer if it is compressed, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from sfumato.errors import ModelError, UsageError
from sfumato.models.bodies.families import FAMILIES, Family
from sfumato.models.latent.codecs.bottleneck import Compressor, LatentDecoder
from sfumato.models.latent.codecs.memory import Memory
from sfumato.models.parts.products import fast_linear
from sfumato.types import Condition


class EncoderCodec(nn.Module):
    """A frozen encoder's outputs, brought to mean 0 and deviation 1, and a decoder for them.

    Padding after a text is the vector 0 and is decoded like anything else, so a text may end
    anywhere. Where special tokens stand their outputs are taken as they are.

    Args:
        body: an encoder of transformers, without a head; its weights are not trained.
        decoder: reads vectors back.
        pad: id of the padding token, which the encoder does not see.
        layer: which hidden state to take, −1 for the last.
        compressor: makes fewer vectors of the outputs; the decoder must be made for as many.

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
        self,
        body: PreTrainedModel,
        decoder: LatentDecoder,
        *,
        pad: int,
        layer: int = -1,
        compressor: Compressor | None = None,
    ) -> None:
        super().__init__()
        depth = int(body.config.num_hidden_layers)
        if not -depth - 1 <= layer <= depth:
            raise UsageError(f"the encoder has layers 0 to {depth}, got {layer}")
        self.body = body.requires_grad_(False)
        self.train(self.training)
        self.decoder = decoder
        self.compressor = compressor
        self.pad = pad
        self.layer = layer
        self.memory: Memory | None = None
        self.register_buffer("mean", torch.zeros(body.config.hidden_size))
        self.register_buffer("std", torch.ones(body.config.hidden_size))
        self.mean: Tensor
        self.std: Tensor

    @property
    def width(self) -> int:
        """`D`, the encoder's own or the compressor's."""
        return len(self.mean) if self.compressor is None else self.compressor.leave.out_features

    @property
    def latents(self) -> int | None:
        """Vectors of a compressed text; None for one a token."""
        return None if self.compressor is None else self.compressor.latents

    def train(self, mode: bool = True) -> EncoderCodec:
        """Trains the decoder; the encoder stays as it is."""
        super().train(mode)
        self.body.eval()  # type: ignore[no-untyped-call]
        return self

    @torch.no_grad()
    def encode(
        self, ids: Int[Tensor, "B L"], attend: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B N D"]:
        """The vectors of each text."""
        found = self.outputs(ids, attend)
        if self.compressor is None:
            return found
        made: Tensor = self.compressor(found, attend & (ids != self.pad))
        return made

    def told(self, ids: Int[Tensor, "B L"], attend: Bool[Tensor, "B L"]) -> Condition:
        """The attended tokens as a condition."""
        latents = self.encode(ids, attend)
        if self.compressor is not None:
            attend = attend.any(1, keepdim=True).expand(-1, latents.shape[1])
        return Condition(latents=latents, attend=attend)

    @torch.no_grad()
    def outputs(
        self, ids: Int[Tensor, "B L"], attend: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B L C"]:
        """The encoder's normalised outputs; zero at padding and where not attended."""
        seen = attend & (ids != self.pad)
        return (
            self._fresh(ids, seen)
            if self.memory is None
            else self.memory.recall(ids, seen, self._fresh)
        )

    def _fresh(self, ids: Int[Tensor, "B L"], seen: Bool[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        with fast_linear(ids.device):
            return (self._hidden(ids, seen) - self.mean) / self.std * seen[..., None]

    def decode(
        self, latents: Float[Tensor, "B N D"], attend: Bool[Tensor, "B N"] | None = None
    ) -> Float[Tensor, "B S V"]:
        """Logits of every token; of all slots, if the text is compressed."""
        with fast_linear(latents.device):
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
        return self._early(inputs).float()

    def _early(self, inputs: dict[str, Tensor]) -> Float[Tensor, "B L D"]:
        """The output of an inner layer, without the layers after it where they can be found."""
        depth = int(self.body.config.num_hidden_layers)
        number = self.layer % (depth + 1)
        spelling = FAMILIES.get(self.body.config.model_type, Family()).spelling
        path = "encoder.layer" if spelling is None else spelling.layers
        named = dict(self.body.named_modules())
        layers = [*named[path].children()] if path in named else []
        if number == 0 or len(layers) != depth:
            states = self.body(**inputs, output_hidden_states=True).hidden_states
            chosen: Tensor = states[number]
            return chosen

        def stop(module: nn.Module, arguments: object, output: Tensor | tuple[Tensor, ...]) -> None:
            raise _Reached(output if isinstance(output, Tensor) else output[0])

        hook = layers[number - 1].register_forward_hook(stop)
        try:
            self.body(**inputs)
        except _Reached as reached:
            return reached.output
        finally:
            hook.remove()
        raise AssertionError("a body runs all of its layers")


class _Reached(Exception):
    """Ends a forward pass at the layer that is wanted."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output
