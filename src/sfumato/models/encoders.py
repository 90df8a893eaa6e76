"""A masked language model of transformers as a denoiser.

    x_t ──► body (whole canvas) ──► hidden `B L D` ──► rows of `where` `M D` ──► head ──► `M V`

With a vocabulary of 50,000 the projection is a quarter of ModernBERT-base's forward pass and
most of its memory, so it runs on the rows that were asked for and on no others.

Legend of shapes: `B` batch, `L` positions, `D` width of the body's output, `V` vocabulary,
`M` selected positions (row-major order of a boolean mask over `B L`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from sfumato.errors import ModelError, UsageError
from sfumato.models.conditioning import TimeEmbedding

Reading = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Family:
    """What differs between the encoders of transformers.

    Attributes:
        head: modules of the network that turn hidden rows into logits, applied in turn; empty
            (or absent from the network) if there is no such chain, and then the whole network
            runs and its logits are gathered.
        after_pad: positions are numbered from `pad_token_id + 1`. Such networks derive them
            from the ids, so that a padding token inside the canvas would shift its neighbours.
    """

    head: tuple[str, ...] = ()
    after_pad: bool = False


_ROBERTA = Family(head=("lm_head",), after_pad=True)
_DISTILBERT = ("vocab_transform", "activation", "vocab_layer_norm", "vocab_projector")

FAMILIES: Mapping[str, Family] = {
    "albert": Family(head=("predictions",)),
    "bert": Family(head=("cls",)),
    "camembert": _ROBERTA,
    "data2vec-text": _ROBERTA,
    "deberta": Family(head=("cls",)),
    "deberta-v2": Family(head=("cls",)),
    "distilbert": Family(head=_DISTILBERT),
    "electra": Family(head=("generator_predictions", "generator_lm_head")),
    "ernie": Family(head=("cls",)),
    "esm": Family(after_pad=True),
    "eurobert": Family(head=("lm_head",)),
    "ibert": Family(after_pad=True),
    "longformer": Family(after_pad=True),
    "luke": Family(after_pad=True),
    "megatron-bert": Family(head=("cls",)),
    "modernbert": Family(head=("head", "decoder")),
    "mpnet": _ROBERTA,
    "nomic_bert": Family(head=("cls",)),
    "rembert": Family(head=("cls",)),
    "roberta": _ROBERTA,
    "roberta-prelayernorm": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "xlm-roberta-xl": _ROBERTA,
    "xmod": Family(after_pad=True),
}


def why_not_a_denoiser(network: PreTrainedModel) -> str | None:
    """The reason why a network cannot be a denoiser, or None if it can."""
    name, settings = type(network).__name__, network.config
    if getattr(settings, "is_encoder_decoder", False):
        return f"{name} is an encoder with a decoder; expected an encoder with an MLM head"
    if getattr(settings, "is_decoder", False):
        return f"{name} looks only to the left (is_decoder is set); expected an encoder"
    named = name.endswith("ForMaskedLM") or name in MODEL_FOR_MASKED_LM_MAPPING_NAMES.values()
    head: nn.Module | None = network.get_output_embeddings()  # type: ignore[no-untyped-call]
    if not named or head is None:
        return (
            f"{name} has no masked-language-model head; expected a …ForMaskedLM model: "
            "load the checkpoint that the encoder was pre-trained as"
        )
    return None


class EncoderDenoiser(nn.Module):
    """A `…ForMaskedLM` network under the interface `sfumato.protocols.Denoiser`.

    The mask token's logit is −∞ (SUBS parameterisation of MDLM, arXiv 2406.07524 §3.2.3); the
    other half of SUBS, carrying revealed tokens over, is the sampler's: it asks for the masked
    positions only.

    Args:
        network: the model, with its own weights; it is not copied.
        mask: id of the mask token.
        time: the time embedding, for noise that needs one; None for masked noise.
        reading: turns the network's logits into those of p(x_0 | x_t), given x_t and t; uniform
            noise needs it (`UniformProcess.posterior_logits`), masked noise does not.

    Raises:
        ModelError: the network has no head that predicts tokens, or no such mask token.

    Example:
        >>> from transformers import BertConfig, BertForMaskedLM
        >>> sizes = dict(vocab_size=9, hidden_size=8, num_hidden_layers=1)
        >>> config = BertConfig(num_attention_heads=2, intermediate_size=8, **sizes)
        >>> denoiser = EncoderDenoiser(BertForMaskedLM(config), mask=4)
        >>> x_t = torch.tensor([[1, 4, 4, 2]])
        >>> denoiser(x_t, x_t == 4).shape
        torch.Size([2, 9])
    """

    def __init__(
        self,
        network: PreTrainedModel,
        *,
        mask: int,
        time: TimeEmbedding | None = None,
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        reason = why_not_a_denoiser(network)
        if reason is not None:
            raise ModelError(reason)
        if not 0 <= mask < network.config.vocab_size:
            size = network.config.vocab_size
            raise ModelError(f"the mask token's id is {mask}, but the model has ids 0..{size - 1}")
        self.network = network
        self.mask = mask
        self.time = time
        self.reading = reading
        family = FAMILIES.get(network.config.model_type, Family())
        self._head = family.head if all(hasattr(network, name) for name in family.head) else ()
        self._first_position = int(network.config.pad_token_id) + 1 if family.after_pad else 0
        self._positional = _accepts(network.base_model, "position_ids")
        # A padding token inside the canvas means "nothing here" and is learnt like any other;
        # with `padding_idx` set, its embedding would never get a gradient.
        words = network.get_input_embeddings()
        if isinstance(words, nn.Embedding):
            words.padding_idx = None

    @property
    def vocabulary_size(self) -> int:
        """`V`, the width of the logits."""
        return int(self.network.config.vocab_size)

    @property
    def word_embeddings(self) -> nn.Parameter:
        """The table of input embeddings, *shape* `V E`; in most encoders `E` is the width `D`."""
        table: nn.Parameter = self.network.get_input_embeddings().get_parameter("weight")
        return table

    @property
    def max_length(self) -> int | None:
        """The longest row that the network has positions for; None if there is no bound."""
        bound = getattr(self.network.config, "max_position_embeddings", None)
        if bound is None or bound <= 0:
            return None
        return int(bound) - self._first_position

    def forward(
        self,
        x_t: Int[Tensor, "B L"],
        where: Bool[Tensor, "B L"],
        *,
        attend: Bool[Tensor, "B L"] | None = None,
        t: Float[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "M V"]:
        """Logits of the clean token at the positions in `where`, float32.

        Args:
            x_t: noised ids.
            where: positions to predict.
            attend: positions that exist; None means all.
            t: time of each row; needed if the denoiser has a time embedding, else ignored.

        Raises:
            UsageError: a row is longer than the network allows, or `t` is needed and missing.
        """
        if not self._head:
            logits: Tensor = self.network(**self._inputs(x_t, attend, t)).logits[where].float()
        else:
            logits = self.project(self.hidden(x_t, attend=attend, t=t)[where])
        # Outside autograd: the gradient of a −∞ logit is zero anyway, and an in-place write
        # inside it would copy the gradient of all logits.
        with torch.no_grad():
            logits[:, self.mask] = -torch.inf
        if self.reading is not None:
            if t is None:
                raise UsageError("this denoiser reads its noise level: give the time t")
            logits = self.reading(logits, x_t[where], t[:, None].expand_as(where)[where])
        return logits

    def hidden(
        self,
        x_t: Int[Tensor, "B L"],
        *,
        attend: Bool[Tensor, "B L"] | None = None,
        t: Float[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """The body's output at every position; arguments as in `forward`."""
        output: Tensor = self.network.base_model(**self._inputs(x_t, attend, t))[0]
        return output

    def project(self, hidden: Float[Tensor, "M D"]) -> Float[Tensor, "M V"]:
        """The head and the vocabulary projection on rows of the body's output, float32.

        Raises:
            ModelError: this family's head cannot be called alone; use `forward`.
        """
        if not self._head:
            kind = self.network.config.model_type
            raise ModelError(f"the head of {kind!r} cannot be called alone; call the denoiser")
        for name in self._head:
            hidden = self.network.get_submodule(name)(hidden)
        return hidden.float()

    def _inputs(
        self,
        x_t: Int[Tensor, "B L"],
        attend: Bool[Tensor, "B L"] | None,
        t: Float[Tensor, "B"] | None,
    ) -> dict[str, Tensor]:
        bound = self.max_length
        if bound is not None and x_t.shape[1] > bound:
            raise UsageError(
                f"the text is {x_t.shape[1]} tokens long, but the model reads at most {bound}: "
                "shorten it or choose a model with a longer context"
            )
        exists = torch.ones_like(x_t) if attend is None else attend.long()
        inputs = {"attention_mask": exists}
        if self._positional:
            inputs["position_ids"] = self._first_position + (exists.cumsum(1) - 1).clamp(min=0)
        if self.time is None:
            return inputs | {"input_ids": x_t}
        if t is None:
            raise UsageError("this denoiser is conditioned on time: pass t, one number a row")
        words: Tensor = self.network.get_input_embeddings()(x_t)
        return inputs | {"inputs_embeds": words + self.time(t)[:, None]}


def _accepts(module: nn.Module, name: str) -> bool:
    return name in inspect.signature(module.forward).parameters
