"""The rival of every quality benchmark: a Llama of the same size, vocabulary, data and budget."""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import LlamaConfig, LlamaForCausalLM

from sfumato.models.checkpoints import pretrained_tokenizer
from sfumato.models.parts.attention import spell_out_attention
from sfumato.text.batching import Example
from sfumato.text.vocabulary import Vocabulary
from sfumato.training.muon import Muon, parameter_groups
from sfumato_apps.notes import Notes
from sfumato_apps.runs import bf16_helps

PEAK, DECAY, BATCH, WARM_UP, IGNORED = 1e-2, 0.1, 32, 100, -100
AVERAGING, LOOK, PATIENCE = 0.99, 100, 5


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
    """Muon on matrices, AdamW on the rest, for at most this much CPU time, in bf16 if it helps.

    The loss is that of the trained tokens, as in sfumato's own fine-tuning. An autoregressive
    model of this size learns a small corpus by heart, so a twentieth of the examples is set aside
    to tell when: the averaged weights that predict it best are kept, and training ends when they
    are `PATIENCE` looks old.
    """
    # By what is learnt, not by row: the same text may follow several prompts.
    texts = sorted({_learnt(example) for example in examples})
    apart = set(random.Random(seed).sample(texts, len(texts) // 20))
    aside = [example for example in examples if _learnt(example) in apart]
    learnt = [example for example in examples if _learnt(example) not in apart]
    groups = parameter_groups(model, lr=PEAK, weight_decay=DECAY, orthogonal=True)
    bf16 = bf16_helps(wanted=True, notes=Notes())
    if bf16:
        spell_out_attention(model, length=max(len(example.ids) for example in learnt))
    optimizer = Muon(groups, lr=PEAK, iterates=torch.bfloat16 if bf16 else torch.float32)
    peaks = [group["lr"] for group in groups]
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGING))
    order = random.Random(seed)
    start, step = time.process_time(), 0
    best, best_step, kept = math.inf, 0, copy.deepcopy(model.state_dict())
    while (spent := (time.process_time() - start) / seconds) < 1:
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * min(1.0, step / WARM_UP) * (1 - spent)
        ids, attend, labels = padded(order.sample(learnt, BATCH), vocabulary.pad)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(input_ids=ids, attention_mask=attend.long(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        step += 1
        if step % LOOK == 0:
            nats = nats_per_token(average.module, aside, vocabulary)
            print(f"autoregressive: step {step}, {nats:.3f} nats per token set aside", flush=True)
            if nats < best:
                best, best_step = nats, step
                kept = copy.deepcopy(average.module.state_dict())
            elif step - best_step >= PATIENCE * LOOK:
                break
    model.load_state_dict(kept)
    used, size = time.process_time() - start, model.num_parameters() / 1e6
    print(f"autoregressive: {size:.2f}M parameters, the best of {step} steps is {best_step}")
    print(f"autoregressive: {used:.0f} of {seconds:.0f} CPU seconds", flush=True)
    model.eval()


def _learnt(example: Example) -> tuple[int, ...]:
    pairs = zip(example.ids, example.trained, strict=True)
    return tuple(token for token, trained in pairs if trained)


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
