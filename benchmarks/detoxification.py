"""Detoxification, English and Russian: what a small model from scratch does, and what it takes.

    python benchmarks/detoxification.py DATA --language en --minutes 18 --out runs/detox-en
    python benchmarks/detoxification.py DATA --language ru --minutes 18 --out runs/detox-ru

DATA holds the folders named in toxic.py. No source and no reference of the held-out rows is in
the training part.

Systems, each of which sees the source only:
    copy            the source
    people          its first human reference
    delete          the words to which the chooser owes its verdict, gone
    detox           `sfumato detox`: the chooser in the loop, a masked model trained on clean texts
    rewrite         a model trained on pairs toxic → neutral, greedy
    autoregressive  a Llama of the same size, pairs and CPU time, greedy

The chooser is a linear classifier of the training part's toxic and neutral texts. It has no say
in the figures, all of which are means over the held-out rows:
    success     share that the judge calls clean (at most 0.5). English: a published profanity
                classifier (bag of words). Russian: a linear classifier of other toxic comments
                against other texts, trained here.
    similarity  to the source. English: cosine of all-MiniLM-L6-v2. Russian: F1 of character
                n-grams up to 4 (`likeness`), because no Russian encoder is at hand.
    fluency     rank among references of the training part under a language model, 1 from the
                median on. English: a Llama of 260K parameters trained on children's stories by
                others. Russian: character 6-grams of other texts.
    J           success × similarity × fluency of each row, then the mean, ± its standard error.
    length      words written for each word of the source.
    kept        share of the source's words that are kept.
    loops       share of texts in which 4 or more words stand twice in a row.
What is in the folder is not done again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import contestants
import judges
import pairs
from contest import table
from toxic import LANGUAGES, Bench, Row
from transformers import LlamaForCausalLM

from sfumato.errors import UsageError
from sfumato.evaluation.loops import loop_rate
from sfumato.evaluation.records import mean_metric
from sfumato.models.checkpoints import Checkpoint
from sfumato.protocols import Scorer
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Blocks
from sfumato.sampling.tasks import Attribution, Judge, complete_each, detox_each
from sfumato.sampling.tasks.choosing import highest
from sfumato.text.records import PairRecord
from sfumato.text.spans import without
from sfumato.text.words import diff, share_kept, word_spans

VOCABULARY, LENGTH, SPARE, BATCH = 2048, 96, 4, 64
VALID, REFERENCES = 300, 1000
GREEDY = DecodingPolicy(blocks=Blocks(size=8), tokens=TokenSampler(temperature=0.0))


def parts(rows: Sequence[Row], n: int) -> tuple[list[Row], list[Row]]:
    """Rows to learn from, and n that share no text with them."""
    mixed = random.Random(pairs.SEED).sample(rows, len(rows))
    held = mixed[:n]

    def texts(row: Row) -> set[str]:
        return {*map(judges.plain, (row.toxic, *row.neutral))}

    known = set().union(*map(texts, held))
    return [row for row in mixed[n:] if not texts(row) & known], held


def deleted(text: str, chooser: Scorer) -> str:
    """A text without the words that the chooser objects to most, until it is content."""
    words = word_spans(text)
    ranked = highest(words, Attribution(scorer=chooser)(text, words), 0.0)
    forms = [text, *(without(text, ranked[: k + 1]) for k in range(len(ranked)))]
    clean = (form for form, score in zip(forms, chooser(forms), strict=True) if score <= 0.5)
    return next(clean, forms[-1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Writers:
    """The systems that are trained; each writes for some sources.

    Attributes:
        out: folder of the models and of what they learn from.
        learnt: rows to learn from.
        more: clean texts beside their neutral forms.
        chooser: how toxic.
        minutes: of training, each model.
    """

    out: Path
    learnt: Sequence[Row]
    more: Sequence[str]
    chooser: Scorer
    minutes: float

    def budget(self, slack: int) -> pairs.Budget:
        """How a model is trained."""
        return pairs.Budget(
            vocabulary=VOCABULARY,
            slack=slack,
            max_length=128,
            more=("--minutes", str(self.minutes)),
        )

    def detox(self, sources: Sequence[str]) -> list[str]:
        """The best of eight rewrites and a plain deletion, by a masked model of clean texts."""
        model = self._masked()
        judge = Judge(toxic=self.chooser)
        found = detox_each(model, sources, judge, seed=pairs.SEED, batch_size=BATCH)
        return [best.text for best, *_ in found]

    def rewrite(self, sources: Sequence[str]) -> list[str]:
        """By a model of pairs, on canvases a little wider than the source."""
        model, _ = self._of_pairs()
        prompts = [prompt_of(source) for source in sources]
        sizes = [len(model.vocabulary.encode(prompt)) for prompt in prompts]
        most = model.denoiser.max_length or 2 * LENGTH
        lengths = [min(size + SPARE, most - size - 1) for size in sizes]
        found = complete_each(model, prompts, lengths=lengths, policy=GREEDY, batch_size=BATCH)
        return [one.text for one in found]

    def autoregressive(self, sources: Sequence[str]) -> list[str]:
        """By the rival."""
        model, llama = self._of_pairs()
        prompts = map(prompt_of, sources)
        return pairs.rival_answers(llama, model, prompts, temperature=0.0, length=LENGTH)

    def _masked(self) -> Checkpoint:
        texts = [*(text for row in self.learnt for text in row.neutral), *self.more]
        random.Random(pairs.SEED).shuffle(texts)
        files = self.out / "clean-valid.jsonl", self.out / "clean-train.jsonl"
        for file, part in zip(files, (texts[:VALID], texts[VALID:]), strict=True):
            lines = [json.dumps({"text": text}, ensure_ascii=False) for text in part]
            file.write_text("\n".join(lines), encoding="utf-8")
        return pairs.train(self.out / "clean", *files[::-1], self.budget(8), "--holes", "0.5")

    def _of_pairs(self) -> tuple[Checkpoint, LlamaForCausalLM]:
        records = [
            PairRecord(prompt=prompt_of(row.toxic), completion=text)
            for row in self.learnt
            for text in row.neutral
        ]
        return pairs.learn(self.out, records[VALID:], records[:VALID], self.budget(16))


def prompt_of(source: str) -> str:
    """What the models of pairs go on from."""
    return f"{source}\n"


def kept_in(file: Path, n: int, write: Callable[[], list[str]]) -> list[str]:
    """As many texts as asked for, written unless they stand in a file of an earlier run."""
    if not file.exists():
        file.write_text(json.dumps(write(), ensure_ascii=False, indent=0), encoding="utf-8")
    found: list[str] = json.loads(file.read_text(encoding="utf-8"))
    if len(found) != n:
        raise UsageError(f"expected {n} texts in {file}, got {len(found)}: take another --out")
    return found


def figures(
    name: str, sources: Sequence[str], texts: Sequence[str], bench: Bench, fluent: Scorer
) -> list[str]:
    """A row of the table."""
    both = [*zip(sources, texts, strict=True)]
    success = [float(score <= 0.5) for score in bench.judge(texts)]
    meaning = [bench.meaning(*pair) for pair in both]
    fluency = fluent(texts)
    joint = [s * m * f for s, m, f in zip(success, meaning, fluency, strict=True)]
    total = mean_metric("J", joint, seed=None, reference=None, settings={})
    written, given = (sum(len(word_spans(text)) for text in part) for part in (texts, sources))
    shares = [mean(success), mean(meaning), mean(fluency)]
    rest = [written / given, mean(share_kept(diff(*pair)) for pair in both)]
    rest.append(loop_rate(texts, seed=pairs.SEED).value)
    return [
        name,
        str(len(texts)),
        *(f"{x:.3f}" for x in shares),
        f"{total.value:.3f} ± {total.stderr:.3f}",
        *(f"{x:.3f}" for x in rest),
    ]


def main() -> None:
    parser = contestants.parser(__doc__, minutes=18.0)
    parser.add_argument("--language", choices=[*LANGUAGES], required=True)
    parser.add_argument("--n", type=int, default=400)
    options = parser.parse_args()
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    bench = LANGUAGES[options.language](options.data)
    learnt, held = parts(bench.rows, options.n)
    sources = [row.toxic for row in held]
    neutral = [text for row in learnt for text in row.neutral]
    known = {judges.plain(text) for row in held for text in (row.toxic, *row.neutral)}
    more = [text for text in bench.more if judges.plain(text) not in known]
    chooser = judges.linear([row.toxic for row in learnt], neutral)
    writers = Writers(out=out, learnt=learnt, more=more, chooser=chooser, minutes=options.minutes)
    systems: dict[str, Callable[[], list[str]]] = {
        "copy": lambda: sources,
        "people": lambda: [row.neutral[0] for row in held],
        "delete": lambda: [deleted(source, chooser) for source in sources],
        "detox": lambda: writers.detox(sources),
        "rewrite": lambda: writers.rewrite(sources),
        "autoregressive": lambda: writers.autoregressive(sources),
    }
    texts = {
        name: kept_in(out / f"{name}.json", len(held), write) for name, write in systems.items()
    }
    chosen = random.Random(pairs.SEED).sample(neutral, min(REFERENCES, len(neutral)))
    fluent = judges.fluency(bench.likelihood, chosen)
    head = ["system", "n", "success", "similarity", "fluency", "J", "length", "kept", "loops"]
    report = table(
        head, [figures(name, sources, found, bench, fluent) for name, found in texts.items()]
    )
    same = sum(one == other for one, other in zip(texts["detox"], texts["delete"], strict=True))
    right = judges.auc(chooser, sources, texts["people"])
    ear = judges.ear(bench.likelihood, texts["people"], pairs.SEED)
    notes = [
        f"{len(learnt)} rows to learn from, {len(held)} held out.",
        bench.note,
        f"The chooser's AUC is {right:.3f} on the held-out sources and first references.",
        f"The language model finds {ear:.3f} of the first references likelier than the same with "
        "two words exchanged or one dropped.",
        f"Detox and delete agree on {same} of {len(held)}.",
    ]
    report = "\n".join([report, "", *notes])
    (out / "table.md").write_text(report + "\n", encoding="utf-8")
    print(report)
    examples = []
    for i in random.Random(pairs.SEED).sample(range(len(held)), 3):
        examples += [f"- {name}: {found[i]}" for name, found in texts.items()] + [""]
    (out / "examples.md").write_text("\n".join(examples), encoding="utf-8")


if __name__ == "__main__":
    main()
