"""`sfumato edit`: a text with as few changes as needed."""

from __future__ import annotations

from sfumato_apps.choices import Candidates, Decoding, Delivery, Scoring


def edit(
    text: str,
    *,
    model: str | None = None,
    span: list[str] | None = None,
    scoring: Scoring = Scoring(),
    budget: str = "0.15",
    least: float | None = None,
    extra: int = 2,
    candidates: Candidates = Candidates(),
    decoding: Decoding = Decoding(),
    delivery: Delivery = Delivery(),
) -> None:
    """Rewrites spans of a text, which may shrink, grow or vanish; the rest is left alone.

    Without --span the words to change are found: those that surprise the model, or those that
    a scorer owes its number to. The text goes to stdout, what changed to stderr.

    $ sfumato edit "The Eagle is a purple coffee shop." --n 3 --rank likelihood
    $ sfumato edit "The Eagle is a purple coffee shop." --span purple

    Args:
        text: The text; - reads it from standard input.
        model: Folder or hub name; the shipped model if left out.
        span: What to rewrite: a phrase of the text, or START:STOP in characters, where START =
            STOP is a place to insert; repeat the option for several.
        scoring: Finds words instead of the model's surprise.
        budget: The most words to change, such as 2, or the largest share of them, such as 0.2.
        least: Words that score no higher are left alone; 3 nats of surprise, or 0, if left out.
        extra: Tokens that a span may grow by.
        candidates: How many, from which seed, in which order.
        decoding: How to write.
        delivery: What to print and to keep.
    """
    from sfumato.errors import UsageError
    from sfumato.sampling.tasks import Attribution
    from sfumato.sampling.tasks import edit as edit_text
    from sfumato_apps import choices
    from sfumato_apps.output import deliver, show_diff

    source = choices.text_of(text)
    spans = None if span is None else choices.spans_in(source, span)
    scorer = choices.judged_by(scoring)
    if spans is not None and scorer is not None:
        raise UsageError(
            "--span says what to change, so --scorer and --words have no use: drop one"
        )
    opened = choices.open_model(model)
    edits = edit_text(
        opened,
        source,
        spans=spans,
        choose=None if scorer is None else Attribution(scorer=scorer),
        budget=choices.budget_of(budget),
        least=least,
        extra=extra,
        n=candidates.n,
        seed=candidates.seed,
        policy=choices.policy_of(opened, decoding),
        rank=choices.scorer_of(candidates.rank, opened),
    )
    deliver(edits, delivery)
    show_diff(edits)
