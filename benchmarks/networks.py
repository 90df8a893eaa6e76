"""Networks from their configurations, with random weights; the last ids are special tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
)

from sfumato.sampling.frames import Specials


@dataclass(frozen=True, kw_only=True)
class Size:
    """A body and the vocabulary above it.

    Attributes:
        name: what tables call it.
        vocabulary: ids, special tokens among them.
        width: of the body.
        layers: of the body.
        heads: of each layer.
        inner: width inside each layer.
    """

    name: str
    vocabulary: int
    width: int
    layers: int
    heads: int
    inner: int

    @property
    def specials(self) -> Specials:
        """The ids of the special tokens: the last three."""
        return Specials(eos=self.vocabulary - 3, pad=self.vocabulary - 2, mask=self.vocabulary - 1)


def small(vocabulary: int) -> Size:
    """The size of Ettin's encoder of 32M parameters: 10 layers of 384."""
    return Size(name="Ettin-32m", vocabulary=vocabulary, width=384, layers=10, heads=6, inner=576)


def large(vocabulary: int) -> Size:
    """The size of ModernBERT-large: 344M parameters and its embeddings."""
    return Size(
        name="ModernBERT-large", vocabulary=vocabulary, width=1024, layers=28, heads=16, inner=2624
    )


def base(vocabulary: int) -> Size:
    """The size of ModernBERT-base: 110M parameters and its embeddings."""
    return Size(
        name="ModernBERT-base", vocabulary=vocabulary, width=768, layers=22, heads=12, inner=1152
    )


def modernbert(size: Size, seed: int = 0) -> PreTrainedModel:
    """A ModernBERT whose predictions differ from position to position.

    At the usual scale of random weights all masks predict the same token with the same
    probability, and rounding errors would decide the order in which positions are written.
    """
    torch.manual_seed(seed)
    special = size.specials
    config = ModernBertConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=size.inner,
        initializer_range=2.8 / size.width**0.5,
        pad_token_id=special.pad,
        eos_token_id=special.eos,
        sep_token_id=special.eos,
        bos_token_id=special.eos,
        cls_token_id=special.eos,
    )
    return ModernBertForMaskedLM(config).eval()


def llama(size: Size, seed: int = 0) -> LlamaForCausalLM:
    """An autoregressive model with as many parameters in its body; nothing ends its text."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=size.inner,
        tie_word_embeddings=True,
        initializer_range=2.8 / size.width**0.5,
        pad_token_id=size.specials.pad,
        bos_token_id=None,
        eos_token_id=None,
    )
    return LlamaForCausalLM(config).eval()


def never_special(network: PreTrainedModel, specials: Specials) -> None:
    """Gives special tokens no probability, at no cost: by the bias of the projection.

    LLaDA's algorithm writes a mask where the network predicts one, and sfumato writes no end of
    text where no slot is optional; with this bias the question does not come up.
    """
    with torch.no_grad():
        bias = network.get_output_embeddings().bias
        bias[[specials.mask, specials.pad, specials.eos]] = -torch.inf


def bert(size: Size, seed: int = 0) -> PreTrainedModel:
    """A BERT."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=size.inner,
        pad_token_id=size.specials.pad,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return BertForMaskedLM(config)
