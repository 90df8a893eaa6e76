"""The layers of BERT and RoBERTa, and of DistilBERT.

Legend of shapes: `T` tokens, `D` width, `H` heads, `E` width of a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sfumato.models.bodies.spelling import Angles, Heads, Spelling


def _embed(body: Any, inputs: Mapping[str, Tensor]) -> Tensor:  # noqa: ANN401
    hidden: Tensor = body.embeddings(**inputs)
    if hasattr(body, "embeddings_project"):  # ELECTRA
        hidden = body.embeddings_project(hidden)
    return hidden[0]


def _project(layer: Any, hidden: Tensor, angles: Mapping[str, Angles]) -> Heads:  # noqa: ANN401
    own = layer.attention.self
    size = (-1, own.attention_head_size)
    query, key, value = (part(hidden) for part in (own.query, own.key, own.value))
    return query.unflatten(-1, size), key.unflatten(-1, size), value.unflatten(-1, size)


def _finish(layer: Any, hidden: Tensor, mixed: Tensor) -> Tensor:  # noqa: ANN401
    hidden = layer.attention.output(mixed, hidden)
    found: Tensor = layer.output(layer.intermediate(hidden), hidden)
    return found


def _dropout(layer: Any) -> float:  # noqa: ANN401
    return float(layer.attention.self.dropout.p)


def spelled_like_bert(kind: str) -> Spelling:
    """The layers of BERT under another name.

    Args:
        kind: name of the layers' class.
    """
    return Spelling(
        layers="encoder.layer",
        kind=kind,
        embed=_embed,
        project=_project,
        finish=_finish,
        dropout=_dropout,
    )


def _embed_distilled(body: Any, inputs: Mapping[str, Tensor]) -> Tensor:  # noqa: ANN401
    found: Tensor = body.embeddings(**{"input_ids": None, **inputs})[0]
    return found


def _project_distilled(
    layer: Any,  # noqa: ANN401
    hidden: Tensor,
    angles: Mapping[str, Angles],
) -> Heads:
    own = layer.attention
    size = (-1, own.attention_head_size)
    query, key, value = (part(hidden) for part in (own.q_lin, own.k_lin, own.v_lin))
    return query.unflatten(-1, size), key.unflatten(-1, size), value.unflatten(-1, size)


def _finish_distilled(layer: Any, hidden: Tensor, mixed: Tensor) -> Tensor:  # noqa: ANN401
    hidden = layer.sa_layer_norm(layer.attention.out_lin(mixed) + hidden)
    found: Tensor = layer.output_layer_norm(layer.ffn(hidden) + hidden)
    return found


def _dropout_distilled(layer: Any) -> float:  # noqa: ANN401
    return float(layer.attention.dropout.p)


DISTILBERT = Spelling(
    layers="transformer.layer",
    kind="TransformerBlock",
    embed=_embed_distilled,
    project=_project_distilled,
    finish=_finish_distilled,
    dropout=_dropout_distilled,
)
