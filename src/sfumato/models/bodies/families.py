"""What differs between the encoders of transformers, and matters to a denoiser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sfumato.models.bodies.bert import DISTILBERT, spelled_like_bert
from sfumato.models.bodies.modernbert import MODERNBERT
from sfumato.models.bodies.spelling import Spelling


@dataclass(frozen=True, kw_only=True)
class Family:
    """What differs between the encoders of transformers.

    Attributes:
        head: modules of the network that turn hidden rows into logits, applied in turn; empty
            (or absent from the network) if there is no such chain, and then the whole network
            runs and its logits are gathered.
        spelling: how its layers are computed; None leaves them to transformers.
        after_pad: positions are numbered from `pad_token_id + 1`. Such networks derive them
            from the ids, so that a padding token inside the canvas would shift its neighbours.
    """

    head: tuple[str, ...] = ()
    spelling: Spelling | None = None
    after_pad: bool = False


def _like_bert(kind: str, *head: str) -> Family:
    return Family(head=head, spelling=spelled_like_bert(kind))


def _like_roberta(kind: str | None) -> Family:
    spelling = None if kind is None else spelled_like_bert(kind)
    return Family(head=("lm_head",), spelling=spelling, after_pad=True)


_DISTILBERT_HEAD = ("vocab_transform", "activation", "vocab_layer_norm", "vocab_projector")

FAMILIES: Mapping[str, Family] = {
    "albert": Family(head=("predictions",)),
    "bert": _like_bert("BertLayer", "cls"),
    "camembert": _like_roberta("CamembertLayer"),
    "data2vec-text": _like_roberta("Data2VecTextLayer"),
    "deberta": Family(head=("cls",)),
    "deberta-v2": Family(head=("cls",)),
    "distilbert": Family(head=_DISTILBERT_HEAD, spelling=DISTILBERT),
    "electra": _like_bert("ElectraLayer", "generator_predictions", "generator_lm_head"),
    "ernie": Family(head=("cls",)),
    "esm": Family(after_pad=True),
    "eurobert": Family(head=("lm_head",)),
    "ibert": Family(after_pad=True),
    "longformer": Family(after_pad=True),
    "luke": Family(after_pad=True),
    "megatron-bert": Family(head=("cls",)),
    "modernbert": Family(head=("head", "decoder"), spelling=MODERNBERT),
    "mpnet": _like_roberta(None),
    "nomic_bert": Family(head=("cls",)),
    "rembert": Family(head=("cls",)),
    "roberta": _like_roberta("RobertaLayer"),
    "roberta-prelayernorm": _like_roberta(None),
    "xlm-roberta": _like_roberta("XLMRobertaLayer"),
    "xlm-roberta-xl": _like_roberta(None),
    "xmod": Family(after_pad=True),
}
