"""`sfumato chat`: a conversation in the terminal."""

from __future__ import annotations

from sfumato_apps.choices import OrderName


def chat(
    *,
    model: str | None = None,
    system: str | None = None,
    length: int = 128,
    steps: int = 128,
    block: int | None = 32,
    order: OrderName = "max_prob",
    temperature: float = 0.7,
    top_p: float | None = 0.95,
    no_repeat: int | None = None,
    seed: int = 0,
) -> None:
    """Talks with a model that was trained on dialogues; an empty line or Ctrl-D ends.

    $ sfumato chat --model my-assistant

    Args:
        model: Folder or hub name; the shipped model if left out.
        system: An instruction for the whole conversation.
        length: The most tokens of an answer.
        steps: Denoising steps an answer.
        block: Write from left to right in blocks of this many tokens; 0 works on the whole canvas.
        order: Which positions go first.
        temperature: 0 takes the likeliest token, 1 draws as the model believes.
        top_p: Draw among the likeliest tokens that hold this much probability.
        no_repeat: Forbid token sequences of this length to come twice.
        seed: Seed of the first answer; the next answers count on from it.
    """
    import sys

    from sfumato.errors import ModelError
    from sfumato.sampling.tasks import write as write_texts
    from sfumato.text.dialogue import Message
    from sfumato_apps.choices import open_model, policy_of

    opened = open_model(model)
    if not opened.metadata.get("dialogues", False):
        print(
            "this model was not trained on dialogues: it will continue rather than answer",
            file=sys.stderr,
        )
    policy = policy_of(
        opened,
        order=order,
        steps=steps,
        temperature=temperature,
        top_p=top_p,
        block=block,
        no_repeat=no_repeat,
    )
    turns = [] if system is None else [Message(role="system", content=system)]
    while True:
        try:
            question = input("you: " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if not question.strip():
            return
        turns.append(Message(role="user", content=question))
        (sample,) = write_texts(opened, prompt=turns, length=length, policy=policy, seed=seed)
        seed += 1
        if not sample.text.strip():
            raise ModelError("the model answered with nothing; train it longer, or on dialogues")
        print(sample.text, flush=True)
        turns.append(Message(role="assistant", content=sample.text))
