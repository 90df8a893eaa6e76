"""The rival of every quality benchmark: a Llama of the same size, vocabulary, data and budget."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from sfumato.models.checkpoints import pretrained_tokenizer
from sfumato.text.batching import Example
from sfumato.text.vocabulary import Vocabulary
from sfumato.training.muon import Muon, parameter_groups

PEAK, DECAY, BATCH, WARM_UP, IGNORED = 1e-2, 0.1, 32, 100, -100


def new_llama(
    vocabulary: Vocabulary, *, width: int, layers: int, positions: int
) -> LlamaForCausalLM:
    """A Llama from its configuration."""
    config = LlamaConfig(
        vocab_size=vocabulary.size,
        hidden_size=width,
        intermediate_size=-(-8 * width // 24) * 8,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=vocabulary.bos,
        eos_token_id=vocabulary.eos,
        pad_token_id=vocabulary.pad,
    )
    return LlamaForCausalLM(config)


def train(
    model: LlamaForCausalLM,
    examples: Sequence[Example],
    vocabulary: Vocabulary,
    *,
    seconds: float,
    seed: int,
) -> None:
    """Muon on matrices, AdamW on the rest; warm-up and decay by CPU time, which is the budget.

    The loss is that of the trained tokens, as in sfumato's own fine-tuning.
    """
    groups = parameter_groups(model, lr=PEAK, weight_decay=DECAY, orthogonal=True)
    optimizer = Muon(groups, lr=PEAK)
    peaks = [group["lr"] for group in groups]
    order = random.Random(seed)
    start, step = time.process_time(), 0
    while (spent := (time.process_time() - start) / seconds) < 1:
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * min(1.0, step / WARM_UP) * (1 - spent)
        ids, attend, labels = padded(order.sample(examples, BATCH), vocabulary.pad)
        loss = model(input_ids=ids, attention_mask=attend.long(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
    print(f"autoregressive: {step} steps, {model.num_parameters() / 1e6:.2f}M parameters")
    model.eval()


def padded(examples: Sequence[Example], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, which of them exist, and labels, each of *shape* `B L`."""
    width = max(len(example.ids) for example in examples)

    def table(rows: list[list[int]], fill: int) -> Tensor:
        return torch.tensor([row + [fill] * (width - len(row)) for row in rows])

    ids = table([list(example.ids) for example in examples], pad)
    labels = [
        [token if learnt else IGNORED for token, learnt in zip(e.ids, e.trained, strict=True)]
        for e in examples
    ]
    lengths = torch.tensor([len(example.ids) for example in examples])
    return ids, torch.arange(width)[None] < lengths[:, None], table(labels, IGNORED)


@torch.no_grad()
def nats_per_token(
    model: LlamaForCausalLM, examples: Sequence[Example], vocabulary: Vocabulary
) -> float:
    """Exact negative log-likelihood of the trained tokens, eos included, over their number."""
    total, count = 0.0, 0
    for first in range(0, len(examples), BATCH):
        ids, attend, labels = padded(examples[first : first + BATCH], vocabulary.pad)
        logits = model(input_ids=ids, attention_mask=attend.long()).logits[:, :-1]
        nats = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
        )
        total += float(nats)
        count += int((labels[:, 1:] != IGNORED).sum())
    return total / count


def write(
    model: LlamaForCausalLM,
    prompts: Sequence[Sequence[int]],
    vocabulary: Vocabulary,
    *,
    temperature: float,
    length: int,
    seed: int,
) -> Iterator[str]:
    """Continues prompts, each beginning with bos: ancestral sampling, greedy at temperature 0."""
    torch.manual_seed(seed)
    for first in range(0, len(prompts), BATCH):
        rows = [list(prompt) for prompt in prompts[first : first + BATCH]]
        width = max(map(len, rows))
        ids = torch.tensor([[vocabulary.pad] * (width - len(row)) + row for row in rows])
        attend = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        sampling = {"do_sample": False}
        if temperature:
            sampling = {"do_sample": True, "temperature": temperature, "top_k": 0}
        out = model.generate(ids, attention_mask=attend, max_new_tokens=length, **sampling)
        for row in out[:, width:].tolist():
            end = row.index(vocabulary.eos) if vocabulary.eos in row else len(row)
            yield vocabulary.decode(row[:end])


def save(model: LlamaForCausalLM, vocabulary: Vocabulary, folder: Path) -> None:
    """Model and tokenizer, for `causal_perplexity`."""
    model.save_pretrained(folder)
    pretrained_tokenizer(vocabulary).save_pretrained(folder)
