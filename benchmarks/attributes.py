"""Text with a wanted attribute: how sure, how fluent, and by which guidance?

    python benchmarks/attributes.py E2E.jsonl --judge LM_FOLDER --encoder FOLDER --out OUT

Descriptions of restaurants should name a given place nearby (the task of Diffusion-LM, arXiv
2205.14217, with another field). A latent and a masked model learn descriptions with and without
"near: …" before them, the latent one by vectors of the encoder's second layer. Each writes for
every value without guidance, under a classifier that knows noise (of noisy vectors; of texts with
masks), and with the prompt, by classifier-free guidance w (0 is the prompt alone). A text is right
if it names the value, word for word, and no other. Beside it stand its perplexity under a judge,
div, and the passes of the denoiser; those of the masked classifier come on top. What is in the
folder is not done again.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import contestants
import torch
from contest import table
from contestants import SEED
from facts import mentioned
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

from sfumato.evaluation.diversity import div
from sfumato.evaluation.perplexity import causal_perplexity
from sfumato.models.checkpoints import Checkpoint, load
from sfumato.models.latent.classifier import LabelLaw
from sfumato.models.latent.classifier_storage import ClassifierCheckpoint, load_classifier
from sfumato.models.latent.storage import LatentCheckpoint, load_latent
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.latent.descent import Descent
from sfumato.sampling.latent.guides import Contrast, Gradient
from sfumato.sampling.parts.constraints import Loops
from sfumato.sampling.parts.guidance import ClassifierFree
from sfumato.sampling.parts.planners import Blocks
from sfumato.sampling.parts.steering import FirstOrder, OneByOne
from sfumato.sampling.tasks import Policy, Sample, Writer, complete_each, write
from sfumato.text.vocabulary import Vocabulary

LEAST, HELD, VOCABULARY, SLOTS = 100, 10, 1024, 56
STEPS, BATCH = 1200, 64
Labelled = tuple[str, str]


def rows_of(data: Path, field: str) -> tuple[list[Labelled], list[Labelled]]:
    """Texts with their values, to learn from and apart; no set of facts is in both."""
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if field in row["mr"]]
    count = Counter(row["mr"][field] for row in rows)
    sets = sorted({json.dumps(row["mr"]) for row in rows})
    random.Random(SEED).shuffle(sets)
    apart = set(sets[: len(sets) // HELD])
    found: tuple[list[Labelled], list[Labelled]] = ([], [])
    for row in rows:
        value, text = row["mr"][field], row["text"]
        if count[value] >= LEAST and mentioned(field, value, text):
            found[json.dumps(row["mr"]) in apart].append((value, text))
    return found


def models(
    out: Path, parts: tuple[list[Labelled], list[Labelled]], field: str, encoder: str, steps: int
) -> tuple[Checkpoint, LatentCheckpoint, ClassifierCheckpoint]:
    """The masked model, the latent one, and its classifier."""
    files: dict[str, list[str]] = {"pairs": [], "texts": [], "labels": []}
    for name, part in zip(("train", "valid"), parts, strict=True):
        labelled = [{"text": text, "value": value} for value, text in part]
        pairs = [{"prompt": f"{field}: {value}\n", "completion": text} for value, text in part]
        files["labels"].append(contestants.keep(out / f"{name}-labels.jsonl", labelled))
        files["pairs"].append(contestants.keep(out / f"{name}-pairs.jsonl", pairs))
        plain = [{"text": text} for _, text in part]
        files["texts"].append(contestants.keep(out / f"{name}-texts.jsonl", plain))
    pairs, texts, labels = files["pairs"], files["texts"], files["labels"]
    sizes = ("--vocabulary", str(VOCABULARY), "--max-length", "80", "--slack", "8")
    both = ("--data", pairs[0], texts[0], "--valid", pairs[1])
    contestants.trained(out / "masked", "train", *both, *sizes, "--steps", str(2 * steps))
    of = ("--model", encoder, "--layer", "2", "--decoder-steps", "300", "--slots", str(SLOTS))
    told = ("--hidden", "192", "--data", pairs[0], "--valid", pairs[1], "--steps", str(steps))
    contestants.trained(out / "latent", "latent", *of, *told)
    judge = ("--data", labels[0], "--valid", labels[1], "--label", "value", "--steps", "600")
    contestants.trained(out / "classifier", "classifier", "--model", str(out / "latent"), *judge)
    return load(out / "masked"), load_latent(out / "latent"), load_classifier(out / "classifier")


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskedLaw:
    """log p(label | text with masks) of each row: of ids, or of one-hot rows."""

    network: BertForSequenceClassification
    label: int

    def __call__(self, x: Tensor) -> Tensor:
        """The law."""
        if x.dim() == 2:
            logits = self.network(input_ids=x).logits
        else:
            words = self.network.get_input_embeddings().weight
            logits = self.network(inputs_embeds=x @ words).logits
        found: Tensor = logits.log_softmax(1)[:, self.label]
        return found


def masked_classifier(
    folder: Path, rows: Sequence[Labelled], values: Sequence[str], words: Vocabulary
) -> BertForSequenceClassification:
    """A small BERT that is told the value of texts with masks; empty slots are tokens to it."""
    if not folder.exists():
        torch.manual_seed(SEED)
        config = BertConfig(
            vocab_size=words.size,
            hidden_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=256,
            num_labels=len(values),
            pad_token_id=words.pad,
        )
        network = BertForSequenceClassification(config).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
        order, noise = random.Random(SEED), torch.Generator().manual_seed(SEED)
        losses = []
        for step in range(STEPS):
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * min(1.0, step / 60) * (1 - step / STEPS)
            some = order.sample(list(rows), BATCH)
            ids = [words.encode(text)[:80] for _, text in some]
            wide = max(map(len, ids)) + order.randrange(9)
            x = torch.tensor([[*row, *[words.pad] * (wide - len(row))] for row in ids])
            hidden = torch.rand(x.shape, generator=noise) < torch.rand(BATCH, 1, generator=noise)
            first = [] if words.bos is None else [torch.full((BATCH, 1), words.bos)]
            x = torch.cat([*first, x.masked_fill(hidden, words.mask)], 1)
            wanted = torch.tensor([values.index(value) for value, _ in some])
            loss = network(input_ids=x, labels=wanted).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"classifier of masked texts: {mean(losses[-100:]):.3f} nats at even t", flush=True)
        network.save_pretrained(folder)
    return BertForSequenceClassification.from_pretrained(folder).eval()


Way = Callable[[str, int], Sequence[Sample]]


def latent_ways(
    model: LatentCheckpoint, judge: ClassifierCheckpoint, field: str, n: int
) -> dict[str, Way]:
    """Ways of the latent model: a value and its seed ↦ texts."""
    plain = Descent(process=model.process, codec=model.codec, steps=20, show=20)
    assert judge.labels is not None
    labels = [*judge.labels]

    def classified(scale: float) -> Way:
        def way(value: str, seed: int) -> Sequence[Sample]:
            law = LabelLaw(classifier=judge.classifier, label=labels.index(value))
            guides = (Gradient(log_p=law, scale=scale, clip=1.0),)
            return write(model, n=n, policy=replace(plain, guides=guides), seed=seed, batch_size=n)

        return way

    def free(scale: float) -> Way:
        policy = replace(plain, guidance=Contrast(scale=scale) if scale else None)
        return lambda value, seed: prompted(model, policy, f"{field}: {value}\n", n, seed)

    return (
        {
            "latent, no guidance": lambda value, seed: write(
                model, n=n, policy=plain, seed=seed, batch_size=n
            )
        }
        | {f"latent, classifier {w:g}": classified(w) for w in (1.0, 30.0, 100.0, 300.0)}
        | {f"latent, prompt, w = {w:g}": free(w) for w in (0.0, 1.0, 2.0, 4.0)}
    )


def masked_ways(
    model: Checkpoint,
    network: BertForSequenceClassification,
    values: Sequence[str],
    field: str,
    n: int,
) -> dict[str, Way]:
    """Ways of the masked model."""
    plain = DecodingPolicy(blocks=Blocks(size=8), constraints=(Loops(),))

    def steered(kind: type[FirstOrder] | type[OneByOne], scale: float) -> Way:
        def way(value: str, seed: int) -> Sequence[Sample]:
            law = MaskedLaw(network=network, label=values.index(value))
            policy = replace(plain, steering=(kind(log_p=law, scale=scale),))
            return write(model, n=n, policy=policy, seed=seed, batch_size=n)

        return way

    def free(scale: float) -> Way:
        guidance = ClassifierFree(scale=scale) if scale else None
        return lambda value, seed: prompted(
            model, replace(plain, guidance=guidance), f"{field}: {value}\n", n, seed
        )

    return (
        {
            "masked, no guidance": lambda value, seed: write(
                model, n=n, policy=plain, seed=seed, batch_size=n
            )
        }
        | {f"masked, first order {w:g}": steered(FirstOrder, w) for w in (1.0, 3.0, 10.0)}
        | {f"masked, one by one {w:g}": steered(OneByOne, w) for w in (1.0, 3.0)}
        | {f"masked, prompt, w = {w:g}": free(w) for w in (0.0, 1.0, 2.0)}
    )


def prompted(model: Writer, policy: Policy, prompt: str, n: int, seed: int) -> list[Sample]:
    """Answers to a prompt, without it."""
    return complete_each(model, [prompt] * n, policy=policy, seed=seed, batch_size=n)


def main() -> None:
    parser = contestants.parser(__doc__)
    parser.add_argument("--field", default="near")
    parser.add_argument("--judge", required=True, help="an autoregressive model")
    parser.add_argument("--encoder", required=True, help="of the latent model: folder or hub name")
    parser.add_argument("--steps", type=int, default=1500, help="of the latent model")
    parser.add_argument("--n", type=int, default=25, help="texts for each value")
    options = parser.parse_args()
    out, field = options.out, options.field
    out.mkdir(parents=True, exist_ok=True)
    parts = rows_of(options.data, field)
    values = sorted({value for value, _ in parts[0]})
    print(f"{len(parts[0])} texts of {len(values)} values, {len(parts[1])} apart", flush=True)
    masked, latent, judge = models(out, parts, field, options.encoder, options.steps)
    network = masked_classifier(out / "masked-classifier", parts[0], values, masked.vocabulary)
    ways = latent_ways(latent, judge, field, options.n)
    ways |= masked_ways(masked, network, values, field, options.n)
    rows = [row_of("people", field, values, [*parts[1]], 0.0, options.judge)]
    for name, way in ways.items():
        path = out / f"{name}.json"
        if not path.exists():
            samples = [(v, one) for i, v in enumerate(values) for one in way(v, 1000 * i)]
            found = [(value, one.text, one.passes) for value, one in samples]
            path.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
        found = json.loads(path.read_text(encoding="utf-8"))
        texts = [(value, text) for value, text, _ in found]
        passes = mean(passes for *_, passes in found)
        rows.append(row_of(name, field, values, texts, passes, options.judge))
        print(rows[-1], flush=True)
    report = table(["text by", "n", "passes", "right", "names it", "perplexity", "div"], rows)
    (out / "table.md").write_text(report + "\n", encoding="utf-8")
    print(report)


def row_of(
    name: str,
    field: str,
    values: Sequence[str],
    texts: Sequence[Labelled],
    passes: float,
    judge: str,
) -> list[str]:
    """A row of the table."""
    named = [mentioned(field, value, text) for value, text in texts]
    others = [
        any(mentioned(field, other, text) for other in values if other != value)
        for value, text in texts
    ]
    right = mean(own and not other for own, other in zip(named, others, strict=True))
    full = [text for _, text in texts if text.strip()]
    perplexity = causal_perplexity(judge, full)[0]
    numbers = [f"{right:.3f}", f"{mean(named):.3f}", f"{perplexity.value:.1f}"]
    return [name, str(len(texts)), f"{passes:.1f}", *numbers, f"{div(full).value:.3f}"]


if __name__ == "__main__":
    main()
