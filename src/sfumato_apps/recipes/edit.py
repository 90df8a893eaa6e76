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
    extra: int | None = None,
    from_pairs: bool = False,
    joint: str | None = None,
    candidates: Candidates = Candidates(),
    decoding: Decoding = Decoding(),
    delivery: Delivery = Delivery(),
) -> None:
    r"""Rewrites spans of a text, which may shrink, grow or vanish; the rest is left alone.

    Without --span the words to change are found: those that surprise the model, or those that
    a scorer owes its number to. The text goes to stdout, what changed to stderr.

    $ sfumato edit "The Eagle is a purple coffee shop." --n 3 --rank likelihood
    $ sfumato edit "The Eagle is a purple coffee shop." --span purple
    $ sfumato edit "he go home" --model my-corrector --from-pairs

    Args:
        text: The text; - reads it from standard input.
        model: Folder or hub name; the shipped model if left out.
        span: What to rewrite: a phrase of the text, or START:STOP in characters, where START =
            STOP is a place to insert; repeat the option for several.
        scoring: Finds words instead of the model's surprise.
        budget: The most words to change, such as 2, or the largest share of them, such as 0.2.
        least: Words that score no higher are left alone; 3 nats of surprise, or 0, if left out.
        extra: Tokens that a span may grow by; by default 2, and none with --from-pairs.
        from_pairs: The model was trained on pairs: it reads the text as its prompt, and the text
            with its spans open stands in the place of the answer.
        joint: What stands between text and answer in the pairs, \n for a line break; a space if
            left out.
        candidates: How many, from which seed, in which order.
        decoding: How to write.
        delivery: What to print and to keep.
    """
    from sfumato.errors import UsageError
    from sfumato.sampling.tasks import Attribution
    from sfumato.sampling.tasks import edit as edit_text
    from sfumato_apps import choices, policies
    from sfumato_apps.output import deliver, show_diff

    source = choices.text_of(text)
    spans = None if span is None else choices.spans_in(source, span)
    scorer = choices.judged_by(scoring)
    if spans is not None and scorer is not None:
        raise UsageError(
            "--span says what to change, so --scorer and --words have no use: drop one"
        )
    if joint is not None and not from_pairs:
        raise UsageError("--joint joins the two halves of a pair: give --from-pairs with it")
    opened = policies.open_model(model)
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
        policy=policies.policy_of(opened, decoding, name=model),
        rank=choices.scorer_of(candidates.rank, opened),
        prompt=choices.prompt_of_pair(source, joint) if from_pairs else None,
    )
    deliver(edits, delivery)
    show_diff(edits)
