"""Paraphrase, simplification, summaries: a latent model beside a masked and an autoregressive one.

    python benchmarks/rewriting.py QUESTIONS.jsonl --task paraphrase --encoder FOLDER --out OUT
    python benchmarks/rewriting.py ASSET.jsonl --task simplify --encoder FOLDER --out OUT
    python benchmarks/rewriting.py SCITLDR.jsonl --task summarise --encoder FOLDER --out OUT

Rows are two questions `a`, `b` and `label` (1: they ask the same), or `src` and its forms `refs`,
or `document` and `summary`; no text stands in two parts of the split. The latent model diffuses
vectors of the encoder's second layer and reads the source by cross-attention; `sfumato train` and a
Llama of the size and CPU time of that model learn from scratch. All answer held-out sources once
and, the diffusion models, as the answer of `--candidates` that has most in common with the others
(minimum Bayes risk). Beside them: a copy of the source, its first sentence, the sentence that the
latent model denoises best when it is told the source, people. What is in the folder is not done
again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import contestants
import pairs
from contest import table
from contestants import SEED
from transformers import LlamaForCausalLM

from sfumato.evaluation.likeness.encodings import Encoder, encoder
from sfumato.evaluation.likeness.overlap import bleu, rouge
from sfumato.evaluation.likeness.semantics import bert_score
from sfumato.evaluation.likeness.simplification import sari
from sfumato.evaluation.loops import loop_rate
from sfumato.evaluation.records import Metric
from sfumato.models.checkpoints import Checkpoint
from sfumato.models.latent.storage import LatentCheckpoint, load_latent
from sfumato.models.scorers import consensus
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.latent.descent import Descent
from sfumato.sampling.latent.guides import Contrast
from sfumato.sampling.parts.guidance import ClassifierFree
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Blocks
from sfumato.sampling.tasks import DenoisingGain, complete_each
from sfumato.text.batching import encode
from sfumato.text.records import PairRecord
from sfumato.text.words import sentences

HEAD = ("ROUGE-1", "ROUGE-L", "BLEU", "BERTScore", "SARI", "like the source", "loops")
Answers = tuple[list[str], float]
Way = Callable[[Sequence[str], int], Answers]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A source and what people made of it."""

    source: str
    targets: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """The source as models read it."""
        return self.source + "\n"


@dataclass(frozen=True, kw_only=True)
class Task:
    """How rows are read, and how long texts are.

    Attributes:
        cases: what a row holds; paraphrases count both ways.
        given: most tokens of a source.
        slots: most tokens of an answer.
    """

    cases: Callable[[Mapping[str, object]], list[Case]]
    given: int
    slots: int


def questions(row: Mapping[str, object]) -> list[Case]:
    """Two questions that ask the same, both ways."""
    if row["label"] != 1:
        return []
    a, b = str(row["a"]), str(row["b"])
    return [Case(source=a, targets=(b,)), Case(source=b, targets=(a,))]


def simpler(row: Mapping[str, object]) -> list[Case]:
    """A sentence and its simple forms."""
    refs = row["refs"]
    assert isinstance(refs, list)
    return [Case(source=str(row["src"]), targets=tuple(dict.fromkeys(refs)))]


def shorter(row: Mapping[str, object]) -> list[Case]:
    """A text and its summary."""
    return [Case(source=str(row["document"]), targets=(str(row["summary"]),))]


TASKS = {
    "paraphrase": Task(cases=questions, given=40, slots=32),
    "simplify": Task(cases=simpler, given=64, slots=56),
    "summarise": Task(cases=shorter, given=256, slots=48),
}


def parts(cases: Sequence[Case], n: int) -> tuple[list[Case], list[Case]]:
    """Cases to learn from, and n that share no text with them or with each other."""
    mixed = random.Random(SEED).sample(cases, len(cases))
    held: list[Case] = []
    known: set[str] = set()
    for case in mixed:
        texts = {case.source, *case.targets}
        if len(held) < n and not texts & known:
            held.append(case)
            known |= texts
    return [case for case in mixed if not {case.source, *case.targets} & known], held


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """The models, and how each answers.

    Attributes:
        task: lengths.
        latent: the latent model.
        masked: the masked model.
        llama: the autoregressive one, with the masked one's vocabulary.
        candidates: of which the one with most in common is taken.
    """

    task: Task
    latent: LatentCheckpoint
    masked: Checkpoint
    llama: LlamaForCausalLM
    candidates: int

    def in_vectors(self, guidance: float = 1.0) -> Way:
        """By the latent model, with classifier-free guidance above 1."""
        model = self.latent
        policy = Descent(process=model.process, codec=model.codec, steps=20, show=20)
        if guidance != 1:
            policy = replace(policy, guidance=Contrast(scale=guidance - 1))

        def way(sources: Sequence[str], seed: int) -> Answers:
            found = complete_each(model, sources, policy=policy, seed=seed, batch_size=50)
            return [one.text for one in found], mean(one.passes for one in found)

        return way

    def in_tokens(self, temperature: float, guidance: float = 1.0) -> Way:
        """By the masked model."""
        policy = DecodingPolicy(
            blocks=Blocks(size=8),
            tokens=TokenSampler(temperature=temperature),
            guidance=ClassifierFree(scale=guidance - 1) if guidance != 1 else None,
        )

        def way(sources: Sequence[str], seed: int) -> Answers:
            found = complete_each(self.masked, sources, policy=policy, seed=seed, batch_size=32)
            return [one.text for one in found], mean(one.passes for one in found)

        return way

    def from_left(self, sources: Sequence[str], seed: int) -> Answers:
        """By the autoregressive model, greedily."""
        length = 2 * self.task.slots
        texts = pairs.rival_answers(
            self.llama, self.masked, sources, temperature=0.0, length=length
        )
        return texts, mean(len(self.masked.vocabulary.encode(text)) + 1 for text in texts)

    def extracted(self, sources: Sequence[str], seed: int) -> Answers:
        """The source's sentence that gains most from the source."""
        found = []
        for source in sources:
            gain = DenoisingGain(
                model=self.latent, prompt=source, slots=self.task.slots, seed=seed, levels=8
            )
            each = sentences(source)
            scores = gain(each)
            found.append(each[max(range(len(each)), key=scores.__getitem__)])
        return found, 16.0 * mean(len(sentences(source)) for source in sources)

    def agreed(self, way: Way) -> Way:
        """Of several answers the one that the others agree with."""

        def chosen(sources: Sequence[str], seed: int) -> Answers:
            rounds = [way(sources, seed + 100_000 * i) for i in range(self.candidates)]
            texts = []
            for several in zip(*(found for found, _ in rounds), strict=True):
                scores = consensus(several)
                texts.append(several[max(range(len(several)), key=scores.__getitem__)])
            return texts, sum(passes for _, passes in rounds)

        return chosen

    def ways(self) -> dict[str, Way]:
        """All of them."""
        found: dict[str, Way] = {}
        if self.task.given > 2 * self.task.slots:
            found["a sentence, by denoising"] = self.extracted
        found["latent"] = self.in_vectors()
        found["latent, guidance 2"] = self.in_vectors(2.0)
        found[f"latent, agreed by {self.candidates}"] = self.agreed(self.in_vectors())
        found["masked, greedy"] = self.in_tokens(0.0)
        found["masked, greedy, guidance 2"] = self.in_tokens(0.0, 2.0)
        found[f"masked, agreed by {self.candidates}"] = self.agreed(self.in_tokens(0.7))
        found["autoregressive, greedy"] = self.from_left
        return found


def study(out: Path, learnt: Sequence[Case], task: Task, encoder: str, steps: int) -> list[str]:
    """Trains the latent model; the options that all have in common."""
    rows = [
        {"prompt": case.prompt, "completion": target} for case in learnt for target in case.targets
    ]
    random.Random(SEED).shuffle(rows)
    files = out / "valid.jsonl", out / "train.jsonl"
    for path, some in zip(files, (rows[:200], rows[200:]), strict=True):
        contestants.keep(path, some)
    data = ["--data", str(files[1]), "--valid", str(files[0])]
    size = ("--slots", str(task.slots), "--hidden", "192", "--decoder-steps", "400")
    of = ("--model", encoder, "--layer", "2", "--batch", "32", "--steps", str(steps))
    contestants.trained(out / "latent", "latent", *data, *of, *size)
    return data


def cells(
    cases: Sequence[Case], texts: Sequence[str], wanted: Sequence[Sequence[str]], reader: Encoder
) -> list[str]:
    """The figures of `HEAD`, points but for the last two, with standard errors."""
    texts = [text.strip() or "." for text in texts]
    sources = [case.source for case in cases]
    one, _, longest = rouge(texts, wanted, tokens=None)
    found = [one, longest, bleu(texts, wanted), bert_score(texts, wanted, reader)[2]]
    found += [sari(sources, texts, wanted), rouge(texts, sources, tokens=None)[2]]
    found.append(loop_rate(texts, seed=SEED))
    return [*map(_cell, found)]


def _cell(metric: Metric) -> str:
    return f"{metric.value:.3f} ± {metric.stderr or 0:.3f}"


def batches(sources: Sequence[str], size: int = 100) -> Iterator[tuple[int, Sequence[str]]]:
    """Sources, some at a time, with the number of the first."""
    for start in range(0, len(sources), size):
        yield start, sources[start : start + size]


def answered(path: Path, way: Way, sources: Sequence[str]) -> Answers:
    """What a way answers, or answered in an earlier run."""
    if not path.exists():
        texts, passes = [], []
        for start, some in batches(sources):
            found, count = way(some, start)
            texts += found
            passes += [count] * len(some)
        path.write_text(json.dumps([texts, mean(passes)], ensure_ascii=False), encoding="utf-8")
    texts, count = json.loads(path.read_text(encoding="utf-8"))
    return texts, count


def shortened(cases: Sequence[Case], words: int) -> list[Case]:
    """Sources cut to so many words, at a sentence's end where there is one."""
    found = []
    for case in cases:
        kept = list[str]()
        for sentence in sentences(case.source):
            if kept and len(" ".join([*kept, sentence]).split()) > words:
                break
            kept.append(sentence)
        source = " ".join(" ".join(kept).split()[:words])
        found.append(replace(case, source=source))
    return found


def main() -> None:
    parser = contestants.parser(__doc__)
    parser.add_argument("--encoder", required=True, help="folder or hub name")
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--steps", type=int, default=1500, help="of the latent model")
    parser.add_argument("--n", type=int, default=300, help="held-out sources")
    parser.add_argument("--candidates", type=int, default=8)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    task = TASKS[options.task]
    lines = options.data.read_text(encoding="utf-8").splitlines()
    cases = [case for line in lines for case in task.cases(json.loads(line))]
    learnt, apart = parts(shortened(cases, task.given * 2 // 3), options.n)
    print(f"{len(learnt)} sources to learn from, {len(apart)} held out", flush=True)
    data = study(options.out, learnt, task, options.encoder, options.steps)
    longest = task.given + 2 * task.slots
    limits = ["--max-length", str(longest), "--vocabulary", "2048", "--slack", "16"]
    masked = contestants.diffusion(
        options.out / "masked", *data, *limits, "--steps", str(2 * options.steps)
    )
    records = [
        PairRecord(prompt=case.prompt, completion=target)
        for case in learnt
        for target in case.targets
    ]
    examples = [encode(record, masked.vocabulary, max_length=longest) for record in records]
    llama = contestants.rival(
        options.out / "llama", options.out / "masked", examples, length=longest
    )
    models = Study(
        task=task,
        latent=load_latent(options.out / "latent"),
        masked=masked,
        llama=llama,
        candidates=options.candidates,
    )
    reader = encoder(options.encoder)
    sources, wanted = [case.source for case in apart], [case.targets for case in apart]
    rows = [["copy", "0", *cells(apart, sources, wanted, reader)]]
    first = [sentences(source)[0] for source in sources]
    if first != sources:
        rows.append(["first sentence", "0", *cells(apart, first, wanted, reader)])
    several = [case for case in apart if len(case.targets) > 1]
    if several:  # one of the people beside the others
        said = [case.targets[0] for case in several]
        others = [case.targets[1:] for case in several]
        rows.append(["people", "0", *cells(several, said, others, reader)])
    prompts = [case.prompt for case in apart]
    for name, way in models.ways().items():
        texts, passes = answered(options.out / f"{name}.json", way, prompts)
        rows.append([name, f"{passes:.0f}", *cells(apart, texts, wanted, reader)])
        print(rows[-1], texts[:3], flush=True)
    report = table(["answers by", "passes", *HEAD], rows)
    (options.out / "table.md").write_text(report + "\n", encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
