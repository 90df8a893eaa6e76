"""Holes in a text, filled all at once: fill."""

from __future__ import annotations

from collections.abc import Sequence

from sfumato.protocols import Scorer
from sfumato.sampling.tasks.jobs import Policy, Row, Watch, Work, Writer, policy_for, run_work
from sfumato.sampling.tasks.results import best_first
from sfumato.sampling.trace import Sample
from sfumato.text.template import compose_fill, join_fill


def fill(
    model: Writer,
    text: str,
    *,
    n: int = 1,
    free_slots: int = 16,
    policy: Policy | None = None,
    seed: int = 0,
    rank: Scorer | None = None,
    ban: Sequence[str] = (),
    require: Sequence[str] = (),
    batch_size: int = 16,
    watch: Watch | None = None,
) -> list[Sample]:
    """Fills the holes of a text, all at once; everything else comes back byte for byte.

    Args:
        model: a checkpoint.
        text: with holes `{}` (the model chooses the length) and `{8}` (at most eight tokens); a
            literal brace is doubled.
        n: how many ways to fill it.
        free_slots: the most tokens of a hole without a number.
        policy: how to write; if not given, as for `write`, but on all holes at once.
        seed: seed of the first.
        rank: sorts the texts, those that it scores highest first.
        ban: words and phrases that must not be written.
        require: phrases that must be written into the holes.
        batch_size: texts written side by side.
        watch: is shown every frame.

    Raises:
        UsageError: there is no hole in the text, or a brace is not doubled.

    Example:
        >>> from types import SimpleNamespace
        >>> import torch
        >>> from sfumato.noise.masked import MaskedProcess
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a cat"], size=300)
        >>> blank = lambda x_t, where, **_: torch.zeros(int(where.sum()), words.size)
        >>> process = MaskedProcess(mask=words.mask)
        >>> model = SimpleNamespace(denoiser=blank, vocabulary=words, process=process)
        >>> fill(model, "a {2} sat")[0].text.endswith(" sat")
        True
    """
    work = filling(
        model,
        text,
        free_slots=free_slots,
        seeds=range(seed, seed + n),
        policy=policy,
        ban=ban,
        require=require,
    )
    return best_first(run_work(model, work, batch_size=batch_size, watch=watch), rank)


def filling(
    model: Writer,
    text: str,
    *,
    free_slots: int = 16,
    seeds: Sequence[int] = (0,),
    policy: Policy | None = None,
    ban: Sequence[str] = (),
    require: Sequence[str] = (),
) -> Work:
    """What `fill` does with these arguments, to be run by the caller.

    Raises:
        UsageError: there is no hole in the text, or a brace is not doubled.
    """
    task = compose_fill(text, model.vocabulary, free_slots=free_slots)

    def read(ids: Sequence[int]) -> str:
        return join_fill(task, ids, model.vocabulary)

    steps = int(task.canvas.editable.sum())
    chosen = policy_for(model, policy, steps=steps, ban=ban, require=require, hold=True)
    rows = [Row(canvas=task.canvas, seed=seed, read=read) for seed in seeds]
    return Work(rows=rows, policy=chosen, require=require)
