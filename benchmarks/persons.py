"""Point edits: Russian sentences from the first person to the second, and nothing else changed.

    python benchmarks/persons.py ru_change_person.jsonl --minutes 18 --out runs/persons

Pairs of sentences, from scratch; sentences of the same words, in whatever order, are on one side
of the split. `sfumato train` learns the pairs, then a Llama of the same size for the same CPU
time. For the held-out sentences the diffusion model writes the answer from noise (free), or edits
the source (minimal): the words that surprise it are opened, all else is locked. From how much
surprise on is chosen by sentences set aside from the training part. What is in the folder is not
done again.

What the canvas gives away: a free one has `ROOM` slots more than the source has tokens, which is
within the spare slots of training; an opened word has as many slots as it had tokens, and
`--extra`. The autoregressive model is greedy.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import mean

import contestants
import pairs
from contest import table

from sfumato.models.checkpoints import Checkpoint
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.quotas import Threshold
from sfumato.sampling.tasks import Surprise, complete, edit
from sfumato.sampling.tasks.choosing import highest
from sfumato.text.records import PairRecord
from sfumato.text.spans import cut, join_neighbours
from sfumato.text.words import Span, word_spans

HELD, ASIDE, ROOM, LENGTH = 0.1, 200, 3, 48
NATS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0)
GREEDY = TokenSampler(temperature=0)
SURE = DecodingPolicy(quota=Threshold(probability=0.9), tokens=GREEDY)
HEAD = ["text by", "n", "exact", "recall", "precision", "kept", "outside spans", "passes"]
Sentence = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Written:
    """An answer, evaluations of the network, and for an edit the spans that were open."""

    text: str
    passes: int
    spans: Sequence[Span] | None = None


def prompt_of(source: str) -> str:
    """The source in a line of its own."""
    return source + "\n"


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in alphabetical order: what makes two sentences the same."""
    return tuple(sorted(text[start:stop].casefold() for start, stop in word_spans(text)))


def parts(data: Path) -> tuple[list[Sentence], list[Sentence], list[Sentence]]:
    """Sources with targets to learn from, to choose by and to report on; each source once."""
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    sentences = sorted({row["src"]: row["trg"] for row in rows}.items())
    kinds = sorted({words_of(source) for source, _ in sentences})
    draw = random.Random(pairs.SEED)
    draw.shuffle(kinds)
    draw.shuffle(sentences)
    held = round(HELD * len(kinds))
    part = dict.fromkeys(kinds[:held], 2) | dict.fromkeys(kinds[held : held + ASIDE], 1)
    found: tuple[list[Sentence], list[Sentence], list[Sentence]] = ([], [], [])
    for source, target in sentences:
        found[part.get(words_of(source), 0)].append((source, target))
    return found


def free(model: Checkpoint, source: str, policy: DecodingPolicy) -> Written:
    """The answer, written from noise."""
    length = len(model.vocabulary.encode(source)) + ROOM
    (one,) = complete(model, prompt_of(source), length=length, policy=policy)
    return Written(text=one.text, passes=one.passes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Minimal:
    """Edits of the source, opened where the model is surprised."""

    model: Checkpoint
    blind: bool
    extra: int

    def scores(self, source: str) -> list[float]:
        """Surprise of each word of the source, nats."""
        judge = Surprise(model=self.model, prompt=prompt_of(source), blind=self.blind)
        return judge(source, word_spans(source))

    def open(self, source: str, scores: Sequence[float], nats: float) -> tuple[Span, ...]:
        """The words that surprise by more than some nats; neighbours are one span."""
        return join_neighbours(source, highest(word_spans(source), scores, nats))

    def write(self, source: str, spans: tuple[Span, ...]) -> Written:
        """The source with its spans rewritten; to choose them took a pass, or one a word."""
        prompt, looks = prompt_of(source), 1 if self.blind else len(word_spans(source))
        (one,) = edit(self.model, source, spans=spans, extra=self.extra, policy=SURE, prompt=prompt)
        return Written(text=one.text, passes=one.passes + looks, spans=spans)

    def best_nats(self, sentences: Sequence[Sentence]) -> float:
        """The surprise from which on it is best to open a word, by exact matches."""
        right: Counter[float] = Counter()
        for source, target in sentences:
            scores = self.scores(source)
            opened = {nats: self.open(source, scores, nats) for nats in NATS}
            hit = {spans: self.write(source, spans).text == target for spans in opened.values()}
            right.update({nats: int(hit[spans]) for nats, spans in opened.items()})
        print(f"blind={self.blind}: right of {len(sentences)}, by nats: {dict(right)}", flush=True)
        return max(reversed(NATS), key=right.__getitem__)

    def answer(self, source: str, nats: float) -> Written:
        """The edit of a source."""
        return self.write(source, self.open(source, self.scores(source), nats))


def changes(source: str, text: str) -> set[tuple[int, str | None]]:
    """What stands in a text where the source has another word, by number."""
    both = zip_longest(source.split(), text.split())
    return {(i, new) for i, (old, new) in enumerate(both) if old != new}


def outside(source: str, one: Written) -> tuple[int, int]:
    """Words and marks outside the spans: how many of them come back in order, and how many."""
    place = back = total = 0
    for literal in cut(source, one.spans or ()):
        found = one.text.find(literal.strip(" "), place)
        total += len(literal.split())
        if found >= 0:
            back += len(literal.split())
            place = found + len(literal.strip(" "))
    return back, total


def row_of(name: str, sentences: Sequence[Sentence], answers: Sequence[Written]) -> list[str]:
    """The figures of one way to answer."""
    right = made = due = spoilt = still = back = total = 0
    for (source, target), one in zip(sentences, answers, strict=True):
        wanted, done = changes(source, target), changes(source, one.text)
        right, made, due = right + len(wanted & done), made + len(done), due + len(wanted)
        spoilt += len({i for i, _ in done} - {i for i, _ in wanted})
        still += len(source.split()) - len(wanted)
        if one.spans is not None:
            here, there = outside(source, one)
            back, total = back + here, total + there
    exact = mean(one.text == target for (_, target), one in zip(sentences, answers, strict=True))
    shares = [right / due, right / made if made else None, 1 - spoilt / still]
    shares += [back / total if total else None]
    cells = ["–" if share is None else f"{share:.3f}" for share in (exact, *shares)]
    return [name, str(len(answers)), *cells, f"{mean(one.passes for one in answers):.1f}"]


def main() -> None:
    parser = contestants.parser(__doc__, minutes=18.0)
    parser.add_argument("--rows", type=int, default=500, help="held-out sentences to report on")
    parser.add_argument("--extra", type=int, default=0, help="slots by which a span may grow")
    parser.add_argument("--answer-holes", type=float, default=0.3)
    parser.add_argument("--vocabulary", type=int, default=1024)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    *known, held = parts(options.data)
    held = held[: options.rows]
    records = [[PairRecord(prompt=prompt_of(s), completion=t) for s, t in part] for part in known]
    more = [("--answer-holes", options.answer_holes), ("--width", options.width)]
    more += [("--layers", options.layers), ("--batch", options.batch)]
    more += [("--minutes", options.minutes)]
    budget = pairs.Budget(
        vocabulary=options.vocabulary,
        slack=4,
        max_length=96,
        more=tuple(str(word) for pair in more for word in pair),
    )
    model, llama = pairs.learn(options.out, *records, budget)
    found = {"copy": [Written(text=source, passes=0) for source, _ in held]}
    slow = DecodingPolicy(tokens=GREEDY)
    for name, policy in {"one token a pass": slow, "threshold 0.9": SURE}.items():
        found[f"free, {name}"] = [free(model, source, policy) for source, _ in held]
    for blind in (False, True):
        minimal = Minimal(model=model, blind=blind, extra=options.extra)
        nats = minimal.best_nats(known[1])
        name = f"minimal, {'all words hidden' if blind else 'word by word'}, {nats} nats"
        found[name] = [minimal.answer(source, nats) for source, _ in held]
    prompts = [prompt_of(source) for source, _ in held]
    texts = pairs.rival_answers(llama, model, prompts, temperature=0, length=LENGTH)
    found["autoregressive"] = [
        Written(text=text, passes=len(model.vocabulary.encode(text)) + 1) for text in texts
    ]
    report = table(HEAD, [row_of(name, held, answers) for name, answers in found.items()])
    (options.out / "table.md").write_text(report + "\n", encoding="utf-8")
    for name, answers in found.items():
        lines = "\n".join(one.text for one in answers)
        (options.out / f"{name}.txt").write_text(lines, encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
