"""Rankings as token ids of autoregressive models, by the tokenizers of transformers."""

from __future__ import annotations

from typing import cast

from transformers import PreTrainedTokenizerBase

from sfumato.alignment.rankings.sets import Prompt, RankedExample, RankedRecord
from sfumato.errors import UnusableError
from sfumato.text.batching import Example


def causal_prompt(prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """What a model goes on from, never empty: bos and text, or turns by the tokenizer's template.

    Args:
        prompt: the beginning of a text, or the turns of a dialogue.
        tokenizer: the model's.
    """
    if not isinstance(prompt, str):
        turns = [vars(turn) for turn in prompt]
        text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        return tuple(tokenizer.encode(cast(str, text), add_special_tokens=False))
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    ids = (*start, *tokenizer.encode(prompt, add_special_tokens=False))
    return ids or (tokenizer.eos_token_id or 0,)


def encode_causal(
    record: RankedRecord, tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> RankedExample:
    """Encodes every candidate of a record: prompt, completion and the end of text.

    Args:
        record: what to encode.
        tokenizer: the model's.
        max_length: the most tokens of prompt and candidate; the end is cut.

    Raises:
        UnusableError: nothing of a candidate is left.
    """
    before = causal_prompt(record.prompt, tokenizer)
    found = []
    for completion in record.completions:
        after = tokenizer.encode(completion, add_special_tokens=False)
        ids = (*before, *after, tokenizer.eos_token_id)[:max_length]
        if len(before) >= len(ids):
            raise UnusableError(
                f"the prompt takes {len(before)} tokens of {max_length}, none is left for the "
                "answer: shorten the prompt or raise the maximum length",
                reason="answer cut away",
                place=record.origin,
            )
        flags = (False,) * len(before) + (True,) * (len(ids) - len(before))
        found.append(Example(ids=ids, trained=flags, origin=record.origin))
    return RankedExample(candidates=tuple(found), ranks=record.ranks)
