"""`sfumato detox`: what is toxic in a text or in a file of texts, rewritten."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from sfumato_apps.choices import Candidates, Decoding, Scoring

# What no record depends on; a model counts by what it holds, not by its name.
_APART = ("text", "model", "input", "output", "field", "batch", "json")


def detox(
    text: str | None = None,
    *,
    model: str | None = None,
    scoring: Scoring = Scoring(),
    clean: float | None = None,
    fluency: str | None = None,
    input: Path | None = None,
    output: Path | None = None,
    field: str = "text",
    budget: str = "0.4",
    extra: int = 2,
    proposals: int = 8,
    rounds: int = 2,
    batch: int = 16,
    json: bool = False,
    candidates: Candidates = Candidates(),
    decoding: Decoding = Decoding(),
) -> None:
    """Rewrites what is toxic with as few changes as needed, judged by a scorer of your choice.

    The words that the scorer owes its number to are rewritten in several ways and also just
    deleted; the best by non-toxic × meaning kept × fluent is printed, and what changed goes to
    stderr. A file is worked off line by line: one line of JSON for each, in their order, errors
    as records; after Ctrl-C the same command, with the same model and options, goes on where it
    stopped.

    $ sfumato detox "a stupid cat" --words bad-words.txt
    $ sfumato detox --input texts.txt --output clean.jsonl --scorer my-classifier --label toxic

    Args:
        text: The text; - reads it from standard input.
        model: Folder or hub name; the shipped model if left out.
        scoring: What is toxic.
        clean: A text that scores at most this is clean; if left out 0.5, and 0 with --words.
        fluency: Judges fluency instead of the model: a classifier FOLDER_OR_HUB_NAME@LABEL.
        input: A file of texts instead: JSON lines, or plain text with one text a line.
        output: Where the results go, as JSON lines; needed with --input.
        field: The field of a JSON line that holds its text.
        budget: The most words to change, such as 2, or the largest share of them, such as 0.2.
        extra: Tokens that a span may grow by.
        proposals: Rewrites a round, beside plain deletion.
        rounds: How often to go on while the text is still toxic.
        batch: Lines of a file worked off together.
        json: Print JSON lines with text, seed, passes and the verdict.
        candidates: How many, from which seed, in which order.
        decoding: How to write.
    """
    options = dict(locals())
    from sfumato.errors import UsageError
    from sfumato.sampling.tasks import Judge, detox_each
    from sfumato_apps import choices, fingerprints, policies
    from sfumato_apps.output import best_records, deliver, show_diff
    from sfumato_apps.streaming import in_batches, work_off

    if (text is None) == (input is None) or (input is None) != (output is None):
        raise UsageError("give a TEXT, or --input FILE with --output FILE.jsonl")
    scorer = choices.judged_by(scoring)
    if scorer is None:
        raise UsageError("say what is toxic: --scorer MODEL --label LABEL, or --words FILE")
    opened = policies.open_model(model)
    usual = 0.5 if scoring.words is None else 0.0
    fluent = choices.scorer_of(fluency, opened)
    judge = Judge(toxic=scorer, threshold=usual if clean is None else clean, fluent=fluent)
    rewritten = partial(
        detox_each,
        opened,
        scorer=judge,
        budget=choices.budget_of(budget),
        extra=extra,
        proposals=proposals,
        rounds=rounds,
        n=candidates.n,
        seed=candidates.seed,
        policy=policies.policy_of(opened, decoding, name=model),
        rank=choices.scorer_of(candidates.rank, opened),
        batch_size=max(16, batch),
    )
    if input is None or output is None:
        (edits,) = rewritten([choices.text_of(text or "")])
        deliver(edits, choices.Delivery(json=json))
        show_diff(edits)
        return
    say = partial(print, file=sys.stderr)
    work = in_batches(partial(best_records, rewritten), batch)
    chosen = {name: options[name] for name in options if name not in _APART}
    made = policies.of_model(model) | fingerprints.fingerprint(chosen)
    done, errors = work_off(input, output, work, field=field, say=say, made=made)
    say(f"{output}: {done} lines, {errors} errors now")
