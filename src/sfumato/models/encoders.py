"""A masked language model of transformers as a denoiser.

    x_t ──► body (whole canvas) ──► hidden `B L D` ──► rows of `where` `M D` ──► head ──► `M V`

With a vocabulary of 50,000 the projection is a quarter of ModernBERT-base's forward pass and
most of its memory, so it runs on the rows that were asked for and on no others; so does what
follows the attention of the last layer. The body runs on the tokens that exist, so neither
padding nor a row that is asked for nothing costs anything.

Legend of shapes: `B` batch, `L` positions, `D` width of the body's output, `V` vocabulary,
`M` selected positions (row-major order of a boolean mask over `B L`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from sfumato.errors import ModelError, UsageError
from sfumato.models.bodies.families import FAMILIES, Family
from sfumato.models.bodies.frozen import FrozenBody
from sfumato.models.bodies.reading import read_at
from sfumato.models.parts.conditioning import TimeEmbedding
from sfumato.models.parts.in_parts import sum_in_parts
from sfumato.models.parts.products import Packed, fast_linear

Reading = Callable[[Tensor, Tensor, Tensor], Tensor]
Reduction = Callable[[Tensor, slice], Tensor]
_LOGITS_AT_ONCE = 2**24


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
        self._family = family
        self._frozen: FrozenBody | None = None
        self._packed: Packed | None = None
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
        reduce: Reduction | None = None,
    ) -> Float[Tensor, "M V"] | Float[Tensor, ""]:
        """Logits of the clean token at the positions in `where`, float32, or a sum over them.

        Args:
            x_t: noised ids.
            where: positions to predict.
            attend: positions that exist; None means all.
            t: time of each row; needed if the denoiser has a time embedding, else ignored.
            reduce: the share of some rows, given as a slice of `M`, in a sum that is returned
                instead of the logits. If they are many, they exist a part at a time.

        Raises:
            UsageError: a row is longer than the network allows, or `t` is needed and missing.
        """
        if self.reading is not None and t is None:
            raise UsageError("this denoiser reads its noise level: give the time t")
        rows = where.flatten().nonzero()[:, 0]
        seen = None if t is None else (x_t.flatten()[rows], t[rows // x_t.shape[1]])
        if len(rows) == 0 and not torch.is_grad_enabled():
            return torch.zeros(0, self.vocabulary_size, device=x_t.device)
        if not self._head:
            inputs = self._inputs(x_t, attend, t)
            whole = self.network(**inputs).logits.flatten(0, 1).index_select(0, rows).float()
            logits = self._read(whole, seen, slice(None))
            return logits if reduce is None else reduce(logits, slice(None))
        hidden = self._rows(x_t, where, attend, t)
        if reduce is None:
            return self._read(self.project(hidden), seen, slice(None))
        return sum_in_parts(
            lambda some, part: reduce(self._read(self.project(some), seen, part), part),
            hidden,
            [p for name in self._head for p in self.network.get_submodule(name).parameters()],
            max(1, _LOGITS_AT_ONCE // self.vocabulary_size),
        )

    def frozen(self, *, refresh: int | None = None, reach: int | None = None) -> EncoderDenoiser:
        """The same network for one batch of rows, which reads again only what has changed.

        Keys and values of positions that neither changed nor are asked for are remembered. It is
        to be called with the same rows, as they change, one call after another.

        Args:
            refresh: passes from one whole reading of a row to the next; 1 is exact, None never
                reads it again.
            reach: how far from a change what is asked for is read again; None for everywhere.

        Raises:
            ModelError: the network's layers are not known here, or it is conditioned on time.

        Example:
            >>> from transformers import BertConfig, BertForMaskedLM
            >>> sizes = dict(vocab_size=9, hidden_size=8, num_hidden_layers=1)
            >>> config = BertConfig(num_attention_heads=2, intermediate_size=8, **sizes)
            >>> denoiser = EncoderDenoiser(BertForMaskedLM(config), mask=4).eval().frozen()
            >>> x_t = torch.tensor([[1, 4, 4, 2]])
            >>> denoiser(x_t, x_t == 4).shape
            torch.Size([2, 9])
        """
        body, spelling = self.network.base_model, self._family.spelling
        if spelling is None or not self._head or not spelling.reads(body):
            kind = self.network.config.model_type
            raise ModelError(f"the layers of {kind!r} are not known here: write without frozen")
        if self.time is not None:
            raise ModelError("a network that is told the time sees all change: write unfrozen")
        twin = copy(self)
        twin._packed = Packed.of(self.network)
        twin._frozen = FrozenBody(body, spelling, refresh=refresh, reach=reach, packed=twin._packed)
        return twin

    def _rows(
        self, x_t: Tensor, where: Tensor, attend: Tensor | None, t: Tensor | None
    ) -> Float[Tensor, "M D"]:
        """The body's output at `where`."""
        body, spelling = self.network.base_model, self._family.spelling
        if self._frozen is not None and not torch.is_grad_enabled():
            exists = torch.ones_like(where) if attend is None else attend
            return self._frozen.rows(self._words(x_t, exists.long(), t), where, exists)
        asked = where.any(1)
        if 0 < int(asked.sum()) < len(asked):
            x_t, where = x_t[asked], where[asked]
            attend = None if attend is None else attend[asked]
            t = None if t is None else t[asked]
        if spelling is None or not spelling.reads(body):
            output: Tensor = body(**self._inputs(x_t, attend, t))[0]
            return output[where]
        exists = torch.ones_like(x_t) if attend is None else attend.long()
        return read_at(body, spelling, self._words(x_t, exists, t), where, attend)

    def _read(self, logits: Tensor, seen: tuple[Tensor, Tensor] | None, part: slice) -> Tensor:
        """What the network's logits at a slice of the rows say about x_0."""
        # Outside autograd: the gradient of a −∞ logit is zero anyway, and an in-place write
        # inside it would copy the gradient of all logits.
        with torch.no_grad():
            logits[:, self.mask] = -torch.inf
        if self.reading is None or seen is None:
            return logits
        x_t, t = seen
        return self.reading(logits, x_t[part], t[part])

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
        with fast_linear(hidden.device, self._packed):
            for name in self._head:
                hidden = self.network.get_submodule(name)(hidden)
        return hidden.float()

    def _inputs(
        self,
        x_t: Int[Tensor, "B L"],
        attend: Bool[Tensor, "B L"] | None,
        t: Float[Tensor, "B"] | None,
    ) -> dict[str, Tensor]:
        exists = torch.ones_like(x_t) if attend is None else attend.long()
        inputs = self._words(x_t, exists, t)
        if not self._positional:
            del inputs["position_ids"]
        return inputs | {"attention_mask": exists}

    def _words(
        self, x_t: Int[Tensor, "B L"], exists: Int[Tensor, "B L"], t: Float[Tensor, "B"] | None
    ) -> dict[str, Tensor]:
        """Ids, or embeddings if there is a time, and positions."""
        bound = self.max_length
        if bound is not None and x_t.shape[1] > bound:
            raise UsageError(
                f"the text is {x_t.shape[1]} tokens long, but the model reads at most {bound}: "
                "shorten it or choose a model with a longer context"
            )
        position = self._first_position + (exists.cumsum(1) - 1).clamp(min=0)
        if self.time is None:
            return {"input_ids": x_t, "position_ids": position}
        if t is None:
            raise UsageError("this denoiser is conditioned on time: pass t, one number a row")
        words: Tensor = self.network.get_input_embeddings()(x_t)
        return {"inputs_embeds": words + self.time(t)[:, None], "position_ids": position}


def _accepts(module: nn.Module, name: str) -> bool:
    return name in inspect.signature(module.forward).parameters
