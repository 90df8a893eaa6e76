"""Records of texts: alone, beside real ones, and against their references."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from sfumato.errors import DataError
from sfumato.evaluation import diversity
from sfumato.evaluation.diversity import distinct_n, div, unigram_entropy
from sfumato.evaluation.likeness.distribution import mauve
from sfumato.evaluation.likeness.encodings import Encoder, encoder
from sfumato.evaluation.likeness.overlap import alphanumeric, bleu, rouge, self_bleu
from sfumato.evaluation.likeness.references import fingerprint
from sfumato.evaluation.likeness.semantics import bert_score
from sfumato.evaluation.likeness.simplification import sari
from sfumato.evaluation.loops import loop_place, loop_rate
from sfumato.evaluation.memorisation import memorisation
from sfumato.evaluation.perplexity import causal_perplexity
from sfumato.evaluation.records import Metric
from sfumato.evaluation.reporting.report import Report
from sfumato.evaluation.reporting.runs import Run
from sfumato.text.corpora import mix, parse_source, read
from sfumato.text.records import TextRecord
from sfumato_apps.measuring.answers import Answers, floors, read_answers
from sfumato_apps.measuring.options import Measures
from sfumato_apps.reading import texts_of

SHOWN = 8
_FEW = 1000


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """What measures texts; the same for every run of a report.

    Attributes:
        measures: the options of the command line.
        judge: folder or hub name of an autoregressive model that judges fluency.
        data: files of real texts.
        seed: of the choice of real texts, the floors, MAUVE's clusterings and the bootstrap.
    """

    measures: Measures
    judge: str | None
    data: tuple[str, ...]
    seed: int

    @cached_property
    def encoder(self) -> Encoder | None:
        """The encoder of BERTScore and MAUVE, at the layer of BERTScore."""
        name = self.measures.encoder
        return None if name is None else encoder(name, layer=self.measures.layer)

    @property
    def tokens(self) -> Callable[[str], list[str]]:
        """What diversity and memorisation count."""
        found: Callable[[str], list[str]] = getattr(diversity, self.measures.tokens)
        return found

    def surface(self, texts: Sequence[str], seed: int | None) -> list[Metric]:
        """What can be said of texts alone: diversity, entropy, loops, a judge's perplexity.

        Args:
            texts: what to measure.
            seed: seed that they were drawn with; None for real ones.
        """
        found = [
            div(texts, tokens=self.tokens, seed=seed),
            distinct_n(texts, 2, tokens=self.tokens, seed=seed),
            unigram_entropy(texts, tokens=self.tokens, seed=seed),
            loop_rate(texts, seed=seed),
        ]
        place = loop_place(texts, seed=seed)
        found += [place] if place is not None else []
        filled = [text for text in texts if text.strip()]
        if self.judge is not None and filled:
            found += causal_perplexity(self.judge, filled, seed=seed)
        if self.measures.trained_on:
            found.append(self._memorisation(self.measures.trained_on, texts, seed))
        return found

    def _memorisation(self, files: Sequence[str], texts: Sequence[str], seed: int | None) -> Metric:
        training = (
            text for file in files for one in read(parse_source(file)) for text in texts_of([one])
        )
        named = ", ".join(files)
        return memorisation(texts, training, tokens=self.tokens, seed=seed, reference=named)

    def nearness(self, texts: Sequence[str], real: Sequence[str]) -> list[Metric]:
        """MAUVE of texts beside real ones, if an encoder was named."""
        if self.encoder is None:
            return []
        features = replace(self.encoder, layer=self.encoder.network.config.num_hidden_layers)
        found = mauve(
            texts, real, features, seed=self.seed, reference=f"texts {fingerprint(list(real))}"
        )
        if found.n < _FEW:
            print(
                f"mauve: {found.n} texts in {found.settings['clusters']} clusters are mostly "
                "noise; 5,000 texts are usual",
                file=sys.stderr,
            )
        return [found]

    def likeness(self, answers: Answers) -> list[Metric]:
        """Against references, if there are any: ROUGE, BLEU, BERTScore and, with sources, SARI."""
        texts, wanted = answers.texts, answers.references
        if wanted is None:
            return []
        named = f"references {fingerprint(wanted)}"
        tokens = alphanumeric if self.measures.rouge == "unicode" else None
        found = [*rouge(texts, wanted, tokens=tokens, reference=named)]
        found.append(bleu(texts, wanted, reference=named))
        if self.encoder is not None:
            found += bert_score(texts, wanted, self.encoder, reference=named)
        if answers.sources is not None:
            both = f"sources and references {fingerprint(answers.sources, wanted)}"
            found.append(sari(answers.sources, texts, wanted, reference=both))
        return found

    def held(self, n: int) -> list[TextRecord]:
        """Plain texts of the real data, n of them by chance or all.

        Raises:
            DataError: the data hold no plain texts.
        """
        records = mix([parse_source(text) for text in self.data], self.seed)
        held = [record for record in records if isinstance(record, TextRecord)]
        if not held:
            named = ", ".join(self.data)
            raise DataError(f"{named}: expected plain texts to compare with, found none")
        return random.Random(self.seed).sample(held, min(n, len(held)))

    def real(self, answers: Answers) -> list[str]:
        """As many real texts: of the data, else the first reference of each, else none."""
        if self.data:
            return [record.text for record in self.held(len(answers.texts))]
        return [several[0] for several in answers.references or ()]

    def run(self, answers: Answers) -> Run:
        """Everything about the texts of one system, beside its real texts."""
        found, real = self.surface(answers.texts, None), self.real(answers)
        if len(answers.texts) > 1:
            found.append(self_bleu(answers.texts))
        found += self.nearness(answers.texts, real) if real else []
        found += self.likeness(answers)
        return Run(label=answers.label, metrics=tuple(found), samples=answers.texts[:SHOWN])


def measure_file(path: Path, gauge: Gauge, *, n: int | None) -> Report:
    """A file of generated texts beside real ones: those of other files, or its references.

    Args:
        path: rows of generated texts, perhaps with sources and references.
        gauge: what measures them.
        n: the most rows, from the first one on; None for all.

    Raises:
        DataError: see `read_answers`.
        UsageError: floors without references.
    """
    answers = read_answers(path)
    answers = answers.first(n or len(answers.texts))
    runs = (*_beside(answers, gauge), gauge.run(answers))
    named = ", ".join(gauge.data) or (
        "no real texts" if answers.references is None else "its references"
    )
    note = f"{len(answers.texts)} texts of {path.name}, beside {named}; seed {gauge.seed}"
    return Report(title="How the texts read", runs=runs, note=note)


def _beside(answers: Answers, gauge: Gauge) -> Iterator[Run]:
    """The same figures of real texts, as far as they have them, and the floors."""
    if real := gauge.real(answers):
        found = gauge.surface(real, None)
        found += [self_bleu(real)] if len(real) > 1 else []
        yield Run(label="real text", metrics=tuple(found), samples=tuple(real[:SHOWN]))
    if gauge.measures.floors:
        for floor in floors(answers, gauge.seed):
            metrics = tuple(gauge.likeness(floor))
            yield Run(label=floor.label, metrics=metrics, samples=floor.texts[:SHOWN])
