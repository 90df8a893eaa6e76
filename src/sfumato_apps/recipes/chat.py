"""`sfumato chat`: a conversation in the terminal."""

from __future__ import annotations

from sfumato_apps.choices import TALKING, Decoding


def chat(
    *,
    model: str | None = None,
    system: str | None = None,
    length: int = 128,
    guidance: float | None = None,
    seed: int = 0,
    decoding: Decoding = TALKING,
) -> None:
    """Talks with a model that was trained on dialogues; an empty line or Ctrl-D ends.

    $ sfumato chat --model my-assistant

    Args:
        model: Folder or hub name; the shipped model if left out.
        system: An instruction for the whole conversation.
        length: The most tokens of an answer.
        guidance: Strength of classifier-free guidance by the conversation.
        seed: Seed of the first answer; the next answers count on from it.
        decoding: How to write.
    """
    import sys

    from sfumato.errors import ModelError
    from sfumato.sampling.tasks import write as write_texts
    from sfumato.text.dialogue import Message
    from sfumato_apps.policies import open_model, policy_of

    opened = open_model(model)
    if not opened.metadata.get("dialogues", False):
        print(
            "this model was not trained on dialogues: it will continue rather than answer",
            file=sys.stderr,
        )
    policy = policy_of(opened, decoding, name=model, guidance=guidance)
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
