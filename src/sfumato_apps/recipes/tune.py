"""`sfumato tune`: as many tokens a pass as keep a target on one's own texts."""

from __future__ import annotations

from pathlib import Path

from sfumato_apps.choices import Decoding


def tune(
    *,
    data: list[str],
    model: str | None = None,
    out: Path | None = None,
    target: float = 0.98,
    level: float = 0.9,
    by: str | None = None,
    n: int = 100,
    length: int | None = None,
    guidance: float | None = None,
    also_guidance: list[float] | None = None,
    seed: int = 0,
    decoding: Decoding = Decoding(),
) -> None:
    """Finds how many tokens a model may write at once, on texts that it was not trained on.

    Thresholds, entropy bounds and factors are compared with one token a pass, from the careful to
    the bold, and the cheapest is chosen that is sure to keep the target. What it keeps are the
    tokens that careful writing chooses, or with --by a share of its score. Prints the pace as
    JSON and a table of what was tried on stderr. Tune with the options that you write with. With
    --refresh it also tells which share of the tokens stays the same when the text around is read
    every so many passes only.

    $ sfumato tune --model my-model --data held-out.jsonl --target 0.98 --out my-model/pace.json
    $ sfumato write --model my-model --tuned my-model/pace.json

    Args:
        data: Texts, pairs, dialogues or middles that the model was not trained on.
        model: Folder or hub name; the shipped model if left out.
        out: File for the pace, which --tuned of other commands reads.
        target: The least share of the tokens, or of the score, that must be kept.
        level: How sure that must be.
        by: Keep a share of a score instead: any scorer of --rank whose scores are not negative.
        n: The most records to try on, by chance.
        length: The most tokens to write; by default as the command chooses that writes such text.
        guidance: Strength of classifier-free guidance by the prompt.
        also_guidance: With --by: try this strength too, as bold paces need more of it.
        seed: Seed of the choice of records, the first text and the interval.
        decoding: How to write, but for the number of tokens at once.
    """
    import json
    import sys

    from sfumato_apps.choices import scorer_of
    from sfumato_apps.measuring.tuning import Goal, as_json, records_of, table, tuned
    from sfumato_apps.policies import open_writer

    opened = open_writer(model)
    scorer, guidances = scorer_of(by, opened), also_guidance or []
    goal = Goal(target=target, level=level, scorer=scorer, seed=seed, guidances=guidances)
    records = records_of(data, n=n, seed=seed)
    found = tuned(opened, records, goal, decoding=decoding, guidance=guidance, length=length)
    print(table(found), file=sys.stderr)
    line = json.dumps(as_json(found, goal, model=model, texts=len(records)), ensure_ascii=False)
    print(line)
    if out is not None:
        out.write_text(line + "\n", encoding="utf-8")
