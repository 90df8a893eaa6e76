"""A text diffusion model from scratch, beside an autoregressive one of the same size and budget.

    python benchmarks/restaurants.py E2E.jsonl --judge JUDGE --minutes 15 --out runs/e2e

Trains `sfumato train` on the file, then a Llama of the same width, depth and vocabulary on the
same texts for the same CPU time with the same optimiser; writes 500 texts with each; prints one
table (and `table.md`, `figures.json` in the folder). What is in the folder is not done again.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import sfumato_apps.cli
from sfumato.evaluation.diversity import div, unigram_entropy
from sfumato.evaluation.loops import loop_rate
from sfumato.evaluation.perplexity import causal_perplexity, elbo
from sfumato.evaluation.records import Metric
from sfumato.models.checkpoints import load, pretrained_tokenizer
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Blocks
from sfumato.sampling.tasks import write
from sfumato.text.batching import Example, encode
from sfumato.text.corpora import Source, mix
from sfumato.text.records import TextRecord, split
from sfumato.text.vocabulary import Vocabulary
from sfumato.training.muon import Muon, parameter_groups

SEED = 0
TEMPERATURES = (0.7, 1.0, 1.3)
PEAK, DECAY, BATCH, WARM_UP = 1e-2, 0.1, 32, 100
BLOCK = 8


def train_autoregressive(
    examples: Sequence[Example], vocabulary: Vocabulary, *, seconds: float, width: int, layers: int
) -> LlamaForCausalLM:
    """Muon on matrices, AdamW on the rest, linear warm-up and decay by CPU time."""
    config = LlamaConfig(
        vocab_size=vocabulary.size,
        hidden_size=width,
        intermediate_size=-(-8 * width // 24) * 8,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=vocabulary.bos,
        eos_token_id=vocabulary.eos,
        pad_token_id=vocabulary.pad,
    )
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(config)
    groups = parameter_groups(model, lr=PEAK, weight_decay=DECAY, orthogonal=True)
    optimizer = Muon(groups, lr=PEAK)
    peaks = [group["lr"] for group in groups]
    order = random.Random(SEED)
    start, step = time.process_time(), 0
    while (spent := (time.process_time() - start) / seconds) < 1:
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * min(1.0, step / WARM_UP) * (1 - spent)
        ids, attend = _padded(order.sample(examples, BATCH), vocabulary.pad)
        labels = ids.masked_fill(~attend, -100)
        loss = model(input_ids=ids, attention_mask=attend.long(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
    print(f"autoregressive: {step} steps, {model.num_parameters() / 1e6:.2f}M parameters")
    return model.eval()


def _padded(examples: Sequence[Example], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(example.ids) for example in examples)
    ids = torch.tensor([[*e.ids, *[pad] * (width - len(e.ids))] for e in examples])
    lengths = torch.tensor([len(example.ids) for example in examples])
    return ids, torch.arange(width)[None] < lengths[:, None]


@torch.no_grad()
def nats_per_token(
    model: LlamaForCausalLM, examples: Sequence[Example], vocabulary: Vocabulary
) -> float:
    """Exact negative log-likelihood of tokens and eos, over the number of both."""
    total, count = 0.0, 0
    for first in range(0, len(examples), 32):
        ids, attend = _padded(examples[first : first + 32], vocabulary.pad)
        logits = model(input_ids=ids, attention_mask=attend.long()).logits[:, :-1]
        nats = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
        )
        total += float(nats[attend[:, 1:].flatten()].double().sum())
        count += int(attend[:, 1:].sum())
    return total / count


def sample_autoregressive(
    model: LlamaForCausalLM, vocabulary: Vocabulary, n: int, temperature: float
) -> list[str]:
    """Plain ancestral sampling."""
    torch.manual_seed(SEED)
    start = torch.full((n, 1), vocabulary.bos)
    ids = model.generate(
        start,
        attention_mask=torch.ones_like(start),
        do_sample=True,
        temperature=temperature,
        top_k=0,
        max_new_tokens=72,
    )
    texts = []
    for row in ids[:, 1:].tolist():
        end = row.index(vocabulary.eos) if vocabulary.eos in row else len(row)
        texts.append(vocabulary.decode(row[:end]))
    return texts


def measure(texts: list[str], judge: Path, rival: Path) -> dict[str, float]:
    """What is said of a set of texts; empty texts count as texts but cannot be judged."""
    filled = [text for text in texts if text.strip()]
    metrics: list[Metric] = [
        div(texts, seed=SEED),
        unigram_entropy(texts, seed=SEED),
        loop_rate(texts, seed=SEED),
    ]
    values = {metric.name: metric.value for metric in metrics}
    values["stutter_rate"] = loop_rate(texts, repeats=2, span=2, seed=SEED).value
    values["ppl_stories260k"] = causal_perplexity(judge, filled, seed=SEED)[0].value
    values["ppl_autoregressive"] = causal_perplexity(rival, filled, seed=SEED)[0].value
    values["words"] = sum(len(text.split()) for text in texts) / len(texts)
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    folder, rival = options.out / "diffusion", options.out / "autoregressive"
    budget = options.out / "cpu_seconds"
    if not folder.exists():
        command = ["train", "--data", str(options.data), "--minutes", str(options.minutes)]
        command += ["--out", str(folder), "--vocabulary", "1024", "--valid-fraction", "0.05"]
        subprocess.run([sys.executable, "-m", sfumato_apps.cli.__name__, *command], check=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        budget.write_text(f"{used.ru_utime + used.ru_stime:.0f}")
    model = load(str(folder))
    words = model.vocabulary
    parts = split(list(mix([Source(path=str(options.data))], SEED)), 0.05, SEED)
    learnt, held = (
        [encode(record, words, max_length=128) for record in part.records]
        for part in (parts.train, parts.validation)
    )
    if not rival.exists():
        network = model.denoiser.network.config
        trained = train_autoregressive(
            learnt,
            words,
            seconds=float(budget.read_text()),
            width=network.hidden_size,
            layers=network.num_hidden_layers,
        )
        trained.save_pretrained(rival)
        pretrained_tokenizer(words).save_pretrained(rival)
    autoregressive = LlamaForCausalLM.from_pretrained(rival).eval()
    rows: dict[str, dict[str, float]] = {}
    real = [record.text for record in parts.train.records if isinstance(record, TextRecord)]
    chosen = random.Random(SEED).sample(real, min(options.n, len(real)))
    rows[f"real text (n={len(chosen)})"] = measure(chosen, options.judge, rival)
    for temperature in TEMPERATURES:
        policy = DecodingPolicy(
            blocks=Blocks(size=BLOCK), tokens=TokenSampler(temperature=temperature)
        )
        texts = [s.text for s in write(model, n=options.n, policy=policy, seed=SEED)]
        rows[f"diffusion T={temperature}"] = measure(texts, options.judge, rival)
        (options.out / f"diffusion-{temperature}.txt").write_text("\n".join(texts))
        texts = sample_autoregressive(autoregressive, words, options.n, temperature)
        rows[f"autoregressive T={temperature}"] = measure(texts, options.judge, rival)
        (options.out / f"autoregressive-{temperature}.txt").write_text("\n".join(texts))
    bound = elbo(model, held, draws=8, seed=SEED)[0]
    slack = elbo(model, held, draws=8, seed=SEED, slack=8)[0]
    nats = nats_per_token(autoregressive, held, words)
    lines = [
        f"Held out: {len(held)} texts. Diffusion ≤ {bound.value:.3f} ± {bound.stderr:.3f} nats per "
        f"token (length given), ≤ {slack.value:.3f} ± {slack.stderr:.3f} with 8 spare slots to "
        f"leave empty; autoregressive {nats:.3f} (exact).",
        "",
        "| texts | " + " | ".join(next(iter(rows.values()))) + " |",
        "|---" * (1 + len(next(iter(rows.values())))) + "|",
    ]
    lines += [
        f"| {k} | " + " | ".join(f"{x:.3f}" for x in v.values()) + " |" for k, v in rows.items()
    ]
    (options.out / "table.md").write_text("\n".join(lines) + "\n")
    figures = {
        "rows": rows,
        "elbo": bound.as_json(),
        "elbo_slack": slack.as_json(),
        "ar_nats": nats,
    }
    (options.out / "figures.json").write_text(json.dumps(figures, indent=1))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
