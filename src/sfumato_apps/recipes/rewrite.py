"""`sfumato rewrite`: a text written anew by a model trained to do so."""

from __future__ import annotations

from sfumato_apps.choices import Candidates, Decoding, Delivery


def rewrite(
    text: str,
    *,
    model: str | None = None,
    instruction: str | None = None,
    length: int | None = None,
    guidance: float | None = None,
    candidates: Candidates = Candidates(),
    decoding: Decoding = Decoding(),
    delivery: Delivery = Delivery(),
) -> None:
    """Writes a text anew, with a model that was trained on pairs or on dialogues.

    $ sfumato rewrite "he go home" --model my-corrector
    $ sfumato rewrite "It sells coffee." --instruction "Be formal." --model my-assistant

    Args:
        text: The text; - reads it from standard input.
        model: Folder or hub name; the shipped model if left out.
        instruction: What to do with the text, for a model trained on dialogues.
        length: The most tokens to write; by default a quarter and eight more than the text.
        guidance: Strength of classifier-free guidance by the text and the instruction.
        candidates: How many, from which seed, in which order.
        decoding: How to write.
        delivery: What to print and to keep.
    """
    import sys

    from sfumato.sampling.tasks import rewrite as rewrite_text
    from sfumato.sampling.tasks.writing import BLOCK
    from sfumato_apps.choices import scorer_of, text_of
    from sfumato_apps.output import deliver
    from sfumato_apps.policies import open_writer, policy_of

    opened = open_writer(model)
    if instruction is not None and not opened.metadata.get("dialogues", False):
        print(
            "this model was not trained on dialogues: it will hardly follow the instruction",
            file=sys.stderr,
        )
    edits = rewrite_text(
        opened,
        text_of(text),
        instruction=instruction,
        n=candidates.n,
        length=length,
        policy=policy_of(opened, decoding, name=model, guidance=guidance, block=BLOCK),
        seed=candidates.seed,
        rank=scorer_of(candidates.rank, opened),
    )
    deliver(edits, delivery)
