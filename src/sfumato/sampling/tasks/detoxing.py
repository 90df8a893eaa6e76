"""Edits with a judge in the loop: detox.

you are a stupid person     which words make it toxic?         attribution of the scorer
you are a ▒▒▒▒▒▒ person     several rewrites side by side      seeds
you are a        person     and plain deletion
you are a  nice  person     the best by non-toxic × meaning kept × fluent; again if need be
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from sfumato.errors import UsageError
from sfumato.protocols import Scorer
from sfumato.sampling.tasks.choosing import Attribution, PseudoLikelihood, allowed, highest
from sfumato.sampling.tasks.editing import row_of
from sfumato.sampling.tasks.jobs import How, Model, Policy, Row, policy_for, run
from sfumato.sampling.tasks.results import Edit, Verdict, best_first, edited, scores_of
from sfumato.text.spans import join_neighbours, open_spans, without
from sfumato.text.words import Span, likeness, word_spans

Likeness = Callable[[str, str], float]
Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """What a rewritten text is worth: non-toxic × meaning kept × fluent.

    Attributes:
        toxic: higher is more toxic; 0 to 1.
        threshold: a text that scores at most this is clean, and goes before one that is not.
            0.5 suits a classifier's probability, 0 a word list.
        meaning: source and text to how much of the meaning is kept, 0 to 1; by default how
            much of the spelling (`likeness`).
        fluent: texts to how fluent they are, 0 to 1. By default p / (p + p of the source), where p
            is the pseudo-likelihood of the whole text to the power of 1 / tokens of the source.
            The model also chose the words: judge with another scorer if you can.

    Example:
        >>> Judge(toxic=lambda texts: [0.0 for _ in texts]).threshold
        0.5
    """

    toxic: Scorer
    threshold: float = 0.5
    meaning: Likeness = likeness
    fluent: Scorer | None = None

    def verdicts(self, model: Model, pairs: Sequence[Pair]) -> list[Verdict]:
        """What each text is worth as a form of its source; pairs of source and text."""
        toxicity = scores_of(self.toxic, [text for _, text in pairs])
        meaning = [self.meaning(source, text) for source, text in pairs]
        fluency = self._fluency(model, pairs)
        return [
            Verdict(
                toxicity=t,
                meaning=m,
                fluency=f,
                joint=max(0.0, 1 - t) * m * f,
                clean=t <= self.threshold,
            )
            for t, m, f in zip(toxicity, meaning, fluency, strict=True)
        ]

    def _fluency(self, model: Model, pairs: Sequence[Pair]) -> list[float]:
        if self.fluent is not None:
            return scores_of(self.fluent, [text for _, text in pairs])
        likelihood = PseudoLikelihood(model=model)
        texts = list(dict.fromkeys(text for pair in pairs if pair[0] != pair[1] for text in pair))
        nats = dict(zip(texts, scores_of(likelihood.sums, texts), strict=True))
        gains = ((nats.get(b, 0.0) - nats.get(a, 0.0)) / likelihood.size(a) for a, b in pairs)
        return [(1 + math.tanh(gain / 2)) / 2 for gain in gains]


def detox(
    model: Model,
    text: str,
    scorer: Scorer | Judge,
    *,
    budget: int | float = 0.4,
    extra: int = 2,
    proposals: int = 8,
    rounds: int = 2,
    n: int = 1,
    seed: int = 0,
    policy: Policy | None = None,
    rank: Scorer | None = None,
    ban: Sequence[str] = (),
    batch_size: int = 16,
) -> list[Edit]:
    """Rewrites what is toxic in a text with as few changes as needed.

    The words that the scorer owes its number to are opened, as few of them as make the text
    clean when they are deleted. The source is always among the candidates, so the result is
    never worth less than doing nothing; a clean source comes back at once.

    Args:
        model: a checkpoint.
        text: what to rewrite.
        scorer: toxicity, higher is more toxic, clean up to 0.5; or a `Judge` with all factors.
        budget: the most words to change in all rounds, or as a float the largest share of them.
        extra: tokens that a span may grow by.
        proposals: rewrites a round, beside plain deletion.
        rounds: how often to go on from the best text while it is still toxic.
        n: how many results to return, at most; candidates that are equal count once.
        seed: seed of the first proposal.
        policy: how to write.
        rank: sorts the results anew, those that it scores highest first.
        ban: words and phrases that must not be written.
        batch_size: rows written side by side.

    Raises:
        UsageError: a budget that is none, or a number below 1.
        ModelError: the scorer does not give one number a text.

    Example:
        >>> from types import SimpleNamespace
        >>> import torch
        >>> from sfumato.noise.masked import MaskedProcess
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a cat"], size=300)
        >>> blank = lambda x_t, where, **_: torch.zeros(int(where.sum()), words.size)
        >>> process = MaskedProcess(mask=words.mask)
        >>> model = SimpleNamespace(denoiser=blank, vocabulary=words, process=process)
        >>> rude = lambda texts: [float("stupid" in text) for text in texts]
        >>> detox(model, "a stupid cat", rude)[0].text
        'a cat'
    """
    return detox_each(
        model,
        [text],
        scorer,
        budget=budget,
        extra=extra,
        proposals=proposals,
        rounds=rounds,
        n=n,
        seed=seed,
        policy=policy,
        rank=rank,
        ban=ban,
        batch_size=batch_size,
    )[0]


def detox_each(
    model: Model,
    texts: Sequence[str],
    scorer: Scorer | Judge,
    *,
    budget: int | float = 0.4,
    extra: int = 2,
    proposals: int = 8,
    rounds: int = 2,
    n: int = 1,
    seed: int = 0,
    policy: Policy | None = None,
    rank: Scorer | None = None,
    ban: Sequence[str] = (),
    batch_size: int = 16,
) -> list[list[Edit]]:
    """`detox` of several texts side by side: each gets what it would get alone, seed included."""
    if min(proposals, rounds, n) < 1:
        given = f"proposals={proposals}, rounds={rounds}, n={n}"
        raise UsageError(f"expected proposals, rounds and n ≥ 1, got {given}")
    judge = scorer if isinstance(scorer, Judge) else Judge(toxic=scorer)
    chosen = policy_for(model, policy, steps=2 * batch_size, ban=ban)
    search = _Search(
        model=model,
        judge=judge,
        how=How(policy=chosen, batch_size=batch_size),
        budget=budget,
        extra=extra,
        proposals=proposals,
    )
    verdicts = judge.verdicts(model, [(text, text) for text in texts])
    cases = [
        _Case(source=text, found=(edited(text, text, seed=seed, verdict=verdict),))
        for text, verdict in zip(texts, verdicts, strict=True)
    ]
    for number in range(rounds):
        cases = search.go_on(cases, seed + number * proposals)
    return [
        best_first([replace(one, passes=case.passes) for one in case.found[:n]], rank)
        for case in cases
    ]


@dataclass(frozen=True, kw_only=True)
class _Case:
    """A text and its forms so far, the best first."""

    source: str
    found: tuple[Edit, ...]
    passes: int = 0

    @property
    def clean(self) -> bool:
        return _worth(self.found[0])[0]

    def with_new(self, forms: Sequence[Edit]) -> _Case:
        """The case with more forms, equal texts once; a worthless one is no form."""
        pool = {one.text: one for one in self.found}
        for one in forms:
            if _worth(one)[1] > 0:
                pool.setdefault(one.text, one)
        best = tuple(sorted(pool.values(), key=_worth, reverse=True))
        return replace(self, found=best, passes=self.passes + sum(one.passes for one in forms))


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What to try on the best form of a case: the spans to open, and the same deleted."""

    case: int
    spans: tuple[Span, ...]
    deleted: str


@dataclass(frozen=True, kw_only=True, eq=False)
class _Search:
    """One round after another, on many cases at once."""

    model: Model
    judge: Judge
    how: How
    budget: int | float
    extra: int
    proposals: int

    def go_on(self, cases: list[_Case], seed: int) -> list[_Case]:
        """The cases after one more round; those that are clean stay as they are."""
        found = [self._plan(i, case) for i, case in enumerate(cases) if not case.clean]
        plans = [plan for plan in found if plan is not None]
        rows = [row for plan in plans for row in self._rows(cases[plan.case], plan, seed)]
        if not rows:
            return cases
        samples = iter(run(self.model, rows, self.how))
        tried: list[Edit] = []
        for plan in plans:
            source = cases[plan.case].source
            tried.append(edited(source, plan.deleted, seed=seed))
            tried += [
                edited(source, one.text, seed=one.seed, passes=one.passes, trace=one.trace)
                for one in islice(samples, self.proposals)
            ]
        verdicts = self.judge.verdicts(self.model, [(one.source, one.text) for one in tried])
        judged = (
            replace(one, verdict=verdict) for one, verdict in zip(tried, verdicts, strict=True)
        )
        after = list(cases)
        for plan in plans:
            after[plan.case] = cases[plan.case].with_new(list(islice(judged, 1 + self.proposals)))
        return after

    def _plan(self, index: int, case: _Case) -> _Plan | None:
        """As few words as make the text clean when deleted, as far as the budget goes."""
        best = case.found[0]
        total = len(word_spans(case.source))
        left = allowed(self.budget, total) - round((1 - best.kept) * total)
        words = word_spans(best.text)
        if left < 1 or not words:
            return None
        scores = Attribution(scorer=self.judge.toxic)(best.text, words)
        ranked = highest(words, scores, 0.0)[:left]
        if not ranked:
            return None
        fewer = [without(best.text, ranked[: k + 1]) for k in range(len(ranked))]
        toxicity = scores_of(self.judge.toxic, fewer)
        clean = (k for k, score in enumerate(toxicity) if score <= self.judge.threshold)
        enough = next(clean, len(ranked) - 1)
        spans = join_neighbours(best.text, ranked[: enough + 1])
        return _Plan(case=index, spans=spans, deleted=fewer[enough])

    def _rows(self, case: _Case, plan: _Plan, seed: int) -> list[Row]:
        vocabulary = self.model.vocabulary
        opening = open_spans(case.found[0].text, plan.spans, vocabulary, extra=self.extra)
        return [row_of(opening, seed + i, vocabulary) for i in range(self.proposals)]


def _worth(form: Edit) -> tuple[bool, float]:
    """What forms of a text are sorted by: clean ones first, then the joint score."""
    assert form.verdict is not None
    return form.verdict.clean, form.verdict.joint
