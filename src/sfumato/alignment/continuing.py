"""Texts of autoregressive models of transformers, token by token, each from a seed of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

NO_BIAS: Mapping[int, float] = MappingProxyType({})


@torch.no_grad()
def continued(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    heads: Sequence[tuple[int, ...]],
    *,
    seeds: Sequence[int],
    length: int,
    temperature: float = 1.0,
    bias: Mapping[int, float] = NO_BIAS,
) -> list[tuple[int, ...]]:
    """The tokens that follow each row of tokens, up to an end of text, which is the last of them.

    Args:
        model: the network.
        tokenizer: knows end and padding.
        heads: rows to go on from, none of them empty.
        seeds: of the rows.
        length: the most new tokens.
        temperature: of the draws; greedy at 0.
        bias: what is added to the logits of tokens.
    """
    network: Any = model
    pad = int(tokenizer.pad_token_id or tokenizer.eos_token_id or 0)
    wide, device = max(map(len, heads)), network.device
    ids = torch.tensor([[pad] * (wide - len(row)) + [*row] for row in heads], device=device)
    attend = torch.tensor([[0] * (wide - len(row)) + [1] * len(row) for row in heads])
    attend = attend.to(device)
    sources = [torch.Generator().manual_seed(seed) for seed in seeds]
    cache, inputs, written = None, ids, [list[int]() for _ in heads]
    going = [True] * len(heads)
    for _ in range(length):
        places = (attend.cumsum(1) - 1).clamp(min=0)[:, -inputs.shape[1] :]
        out = network(
            input_ids=inputs,
            attention_mask=attend,
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
        )
        cache, logits = out.past_key_values, out.logits[:, -1].float().cpu()
        if bias:
            logits[:, [*bias]] += torch.tensor([*bias.values()])
        picked = [
            _pick(row, temperature, source) for row, source in zip(logits, sources, strict=True)
        ]
        for row, token in enumerate(picked):
            if going[row]:
                written[row].append(token)
            going[row] = going[row] and token != tokenizer.eos_token_id
        if not any(going):
            break
        inputs = torch.tensor(picked, device=device)[:, None]
        attend = torch.cat([attend, attend.new_ones(len(heads), 1)], 1)
    return [tuple(row) for row in written]


def text_of(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> str:
    """The text of new tokens, without their end.

    Args:
        ids: the tokens.
        tokenizer: the model's.
    """
    return str(tokenizer.decode([*ids], skip_special_tokens=True))


def _pick(logits: torch.Tensor, temperature: float, source: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    return int((logits / temperature).softmax(0).multinomial(1, generator=source))
