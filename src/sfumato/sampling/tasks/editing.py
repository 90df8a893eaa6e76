"""Rewriting with as few changes as needed: edit.

The cat sad on the mat.      what surprises the model, or a scorer, or you, is opened
The cat ▒▒▒ on the mat.      as many slots as it had tokens and a few more, all optional
The cat sat on the mat.      the rest comes back byte for byte
"""

from __future__ import annotations

from collections.abc import Sequence

from sfumato.protocols import Scorer
from sfumato.sampling.tasks.choosing import Chooser, Surprise, choose_spans
from sfumato.sampling.tasks.jobs import Model, Policy, Row, Watch, Work, policy_for, run_work
from sfumato.sampling.tasks.results import Edit, best_first, edited
from sfumato.text.spans import Opening, close_spans, open_spans
from sfumato.text.vocabulary import Vocabulary
from sfumato.text.words import Span

_UNSURPRISING = 3.0


def edit(
    model: Model,
    text: str,
    *,
    spans: Sequence[Span] | None = None,
    choose: Chooser | None = None,
    budget: int | float = 0.15,
    least: float | None = None,
    extra: int | None = None,
    n: int = 1,
    seed: int = 0,
    policy: Policy | None = None,
    rank: Scorer | None = None,
    ban: Sequence[str] = (),
    batch_size: int = 16,
    watch: Watch | None = None,
    prompt: str | None = None,
) -> list[Edit]:
    """Rewrites spans of a text, which may shrink, grow or vanish; the rest is left as it is.

    Everything outside the spans comes back byte for byte, except for one space that a deleted
    word takes along where two would be left.

    Args:
        model: a checkpoint.
        text: what to edit.
        spans: what to rewrite: start and stop in characters; start = stop is a place for an
            insertion. If not given, `choose` finds words.
        choose: scores every word, higher to be changed first: `Surprise(model=…)`, which is the
            default and after a prompt blind, `Attribution(scorer=…)`, or a callable of yours.
        budget: the most words that `choose` opens, or as a float the largest share of them.
        least: words that `choose` scores no higher than this are left alone; if not given, 0,
            and 3 nats for the model's surprise: what it gives 5 % is not worth a change.
        extra: tokens that a span may grow by, as a model fills more slots than it needs; if not
            given, 2, and none after a prompt.
        n: how many ways to rewrite; the i-th has the seed `seed + i`.
        seed: seed of the first.
        policy: how to write.
        rank: sorts the results, those that it scores highest first.
        ban: words and phrases that must not be written.
        batch_size: texts written side by side.
        watch: is shown every frame.
        prompt: what a model of pairs reads before the text, which stands on the canvas as its
            completion; often the text itself and what joins it to its answer in training.

    Raises:
        UsageError: a span outside the text, a budget that is none, or a number below 1.

    Example:
        >>> from types import SimpleNamespace
        >>> import torch
        >>> from sfumato.noise.masked import MaskedProcess
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a cat"], size=300)
        >>> def nothing(x_t, where, *, attend=None, t=None):
        ...     return 50.0 * (torch.arange(words.size) == words.pad).repeat(int(where.sum()), 1)
        >>> process = MaskedProcess(mask=words.mask)
        >>> model = SimpleNamespace(denoiser=nothing, vocabulary=words, process=process)
        >>> (one,) = edit(model, "a bad cat", spans=[(2, 5)])
        >>> one.text, round(one.kept, 2)
        ('a cat', 0.67)
    """
    if spans is None:
        spans = words_to_edit(model, text, choose=choose, budget=budget, least=least, prompt=prompt)
    work = editing(
        model,
        text,
        spans,
        extra=extra,
        seeds=range(seed, seed + n),
        policy=policy,
        ban=ban,
        prompt=prompt,
    )
    samples = run_work(model, work, batch_size=batch_size, watch=watch)
    edits = [
        edited(text, one.text, seed=one.seed, passes=one.passes, trace=one.trace) for one in samples
    ]
    return best_first(edits, rank)


def words_to_edit(
    model: Model,
    text: str,
    *,
    choose: Chooser | None = None,
    budget: int | float = 0.15,
    least: float | None = None,
    prompt: str | None = None,
) -> tuple[Span, ...]:
    """The spans that `edit` opens where none are given; it takes forward passes to find them.

    Raises:
        UsageError: a budget that is none, or noise that leaves no mark.
    """
    usually = Surprise(model=model, prompt=prompt, blind=prompt is not None)
    chooser = usually if choose is None else choose
    usual = _UNSURPRISING if isinstance(chooser, Surprise) else 0.0
    return choose_spans(text, chooser, budget=budget, least=usual if least is None else least)


def editing(
    model: Model,
    text: str,
    spans: Sequence[Span],
    *,
    extra: int | None = None,
    seeds: Sequence[int] = (0,),
    policy: Policy | None = None,
    ban: Sequence[str] = (),
    prompt: str | None = None,
) -> Work:
    """What `edit` does with these spans, to be run by the caller.

    Raises:
        UsageError: a span outside the text, or an insertion without room.
    """
    room = (2 if prompt is None else 0) if extra is None else extra
    opening = open_spans(text, spans, model.vocabulary, extra=room, prompt=prompt)
    steps = int(opening.fill.canvas.editable.sum())
    chosen = policy_for(model, policy, steps=steps, ban=ban)
    rows = [row_of(opening, seed, model.vocabulary) for seed in seeds]
    return Work(rows=rows, policy=chosen)


def row_of(opening: Opening, seed: int, vocabulary: Vocabulary) -> Row:
    """The canvas of an opened text as a row to write."""

    def read(ids: Sequence[int]) -> str:
        return close_spans(opening, ids, vocabulary)

    return Row(canvas=opening.fill.canvas, seed=seed, read=read)
