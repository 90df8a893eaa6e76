"""Search for a text of high reward: several runs of each, thinned out as they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sfumato.errors import UsageError
from sfumato.protocols import Scorer
from sfumato.sampling.frames import Frame
from sfumato.sampling.search import Beams, Search
from sfumato.sampling.tasks.jobs import How, Policy, Row, Writer, policy_for, run
from sfumato.sampling.tasks.results import best_first, scores_of
from sfumato.sampling.tasks.writing import USUAL, rows_after
from sfumato.sampling.trace import Sample
from sfumato.text.dialogue import Message


def search_each(
    model: Writer,
    texts: Sequence[str | Sequence[Message]],
    *,
    reward: Scorer,
    beams: Beams,
    length: int | None = None,
    policy: Policy | None = None,
    seed: int = 0,
    batch_size: int = 16,
) -> list[Sample]:
    """Writes what follows each of many texts, as the best of a search; the i-th from `seed + i`.

    A search costs the passes of all its runs and, for models of tokens, one more of each for every
    judgement; `passes` of a sample counts them all. Run j of the text with seed s has the seed
    s·width + j, so that a search that keeps every run is the best of so many texts of
    `complete_each`.

    Args:
        model: a checkpoint, of any family; a latent one needs a solver that draws noise.
        texts: what to go on from; turns of a dialogue are answered.
        reward: of what was written, without the text before it.
        beams: how many runs there are and which go on.
        length: the most tokens to write; if not given, as `write` chooses them.
        policy: how to write, as in `write`.
        seed: seed of the first text.
        batch_size: runs written side by side, at least those of one text.

    Raises:
        UsageError: no text, or a number below 1.
    """
    if not texts or batch_size < 1:
        given = f"{len(texts)}, batch_size={batch_size}"
        raise UsageError(f"expected texts and batch_size ≥ 1, got {given}")
    found = [rows_after(model, text, length, [seed + i]) for i, text in enumerate(texts)]
    chosen = policy_for(model, policy, steps=max(steps for _, steps in found), usual=USUAL)
    rows = [row for (row,), _ in found]
    typed = [text if isinstance(text, str) else "" for text in texts]
    samples: list[Sample] = []
    side = max(1, batch_size // beams.width)
    for first in range(0, len(rows), side):
        some = slice(first, first + side)
        samples += _searched(model, rows[some], typed[some], reward, beams, chosen)
    return samples


def _searched(
    model: Writer,
    rows: Sequence[Row],
    typed: Sequence[str],
    reward: Scorer,
    beams: Beams,
    policy: Policy,
) -> list[Sample]:
    """The best run of each row."""
    width = beams.width
    runs = [replace(row, seed=row.seed * width + j) for row in rows for j in range(width)]
    before = [text for text in typed for _ in range(width)]

    def judge(frame: Frame) -> list[float]:
        read = [
            run.read(ids[exists].tolist())
            for run, ids, exists in zip(runs, frame.ids, frame.canvas.attend, strict=True)
        ]
        return scores_of(reward, list(map(str.removeprefix, read, before)))

    how = How(policy=Search(policy=policy, beams=beams, judge=judge), batch_size=len(runs))
    written = [
        replace(one, text=one.text.removeprefix(text))
        for one, text in zip(run(model, runs, how), before, strict=True)
    ]
    found = []
    for number, row in enumerate(rows):
        own = written[number * width : (number + 1) * width]
        passes = sum(one.passes for one in own)
        found.append(replace(best_first(own, reward)[0], seed=row.seed, passes=passes))
    return found
