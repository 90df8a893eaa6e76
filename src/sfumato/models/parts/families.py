"""What differs between the encoders of transformers, and matters to a denoiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor
from transformers import PreTrainedModel

from sfumato.models.parts.last_layer import Stretch
from sfumato.models.parts.modernbert import rows_of_modernbert

Rows = Callable[[PreTrainedModel, Mapping[str, Tensor], Tensor], Tensor | None]


@dataclass(frozen=True, kw_only=True)
class Family:
    """What differs between the encoders of transformers.

    Attributes:
        head: modules of the network that turn hidden rows into logits, applied in turn; empty
            (or absent from the network) if there is no such chain, and then the whole network
            runs and its logits are gathered.
        layers: path from the body to its list of layers.
        stretches: parts of a layer in which no position sees another one; the last layer runs
            them on the selected rows only.
        rows: the body's output at some rows, faster than transformers; it may decline by None.
        after_pad: positions are numbered from `pad_token_id + 1`. Such networks derive them
            from the ids, so that a padding token inside the canvas would shift its neighbours.
    """

    head: tuple[str, ...] = ()
    layers: str = "encoder.layer"
    stretches: tuple[Stretch, ...] = ()
    rows: Rows | None = None
    after_pad: bool = False


_BERT_STRETCHES = (("attention.output.dense",) * 2, ("intermediate", "output.dense"))
_BERT = Family(head=("cls",), stretches=_BERT_STRETCHES)
_ROBERTA = Family(head=("lm_head",), stretches=_BERT_STRETCHES, after_pad=True)
_LIKE_ROBERTA = replace(_ROBERTA, stretches=())
_DISTILBERT = Family(
    head=("vocab_transform", "activation", "vocab_layer_norm", "vocab_projector"),
    layers="transformer.layer",
    stretches=(("attention.out_lin",) * 2, ("ffn", "ffn")),
)
_ELECTRA = Family(head=("generator_predictions", "generator_lm_head"), stretches=_BERT_STRETCHES)
_MODERNBERT = Family(
    head=("head", "decoder"),
    layers="layers",
    stretches=(("attn.Wo", "attn.Wo"), ("mlp", "mlp")),
    rows=rows_of_modernbert,
)

FAMILIES: Mapping[str, Family] = {
    "albert": Family(head=("predictions",)),
    "bert": _BERT,
    "camembert": _ROBERTA,
    "data2vec-text": _ROBERTA,
    "deberta": Family(head=("cls",)),
    "deberta-v2": _BERT,
    "distilbert": _DISTILBERT,
    "electra": _ELECTRA,
    "ernie": Family(head=("cls",)),
    "esm": Family(after_pad=True),
    "eurobert": Family(head=("lm_head",)),
    "ibert": Family(after_pad=True),
    "longformer": Family(after_pad=True),
    "luke": Family(after_pad=True),
    "megatron-bert": Family(head=("cls",)),
    "modernbert": _MODERNBERT,
    "mpnet": _LIKE_ROBERTA,
    "nomic_bert": Family(head=("cls",)),
    "rembert": Family(head=("cls",)),
    "roberta": _ROBERTA,
    "roberta-prelayernorm": _LIKE_ROBERTA,
    "xlm-roberta": _ROBERTA,
    "xlm-roberta-xl": _LIKE_ROBERTA,
    "xmod": Family(after_pad=True),
}
