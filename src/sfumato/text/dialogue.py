"""Dialogues as ids, and the same layout as a chat template for the checkpoint.

    [CLS] <|user|> Who is there ? <|assistant|> A cat . [SEP]
      ·      ·      ·   ·   ·   ·       ·        ●  ●  ●   ●      trained

A vocabulary without room for role markers gets them as plain text, and every turn ends:

    [CLS] user : Who is there ? [SEP] assistant : A cat . [SEP]

The template fits any chat front end that renders it and reads special tokens out of the result.
For texts that spell no special token both give the same ids; where a text does spell one
("[SEP]"), the encoder here keeps it as text and a front end would obey it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sfumato.errors import DataError, UnusableError, UsageError
from sfumato.text.vocabulary import ROLES, Vocabulary

ASSISTANT = "assistant"
Trained = Literal["every", "last"]

_TURN = (
    "{%- for message in messages -%}"
    "{%- if message['role'] not in markers -%}"
    "{{- raise_exception('unknown role: ' ~ message['role']) -}}"
    "{%- endif -%}"
    "{{- markers[message['role']] ~ message['content'] -}}"
    "{%- if message['role'] == 'assistant' or turns_end -%}{{- eos -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- opening -}}{%- endif -%}"
)


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a dialogue.

    Attributes:
        role: who speaks: "system", "user" or "assistant".
        content: what is said.

    Example:
        >>> Message(role="user", content="Who is there?").role
        'user'
    """

    role: str
    content: str


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Ids of a dialogue with a flag for each that training should learn."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]


def encode_dialogue(
    messages: Sequence[Message], vocabulary: Vocabulary, trained: Trained = "every"
) -> Encoded:
    """Encodes a dialogue; the assistant's texts and their ends are what is trained.

    Args:
        messages: turns, first to last.
        vocabulary: with role markers or without.
        trained: learn "every" assistant turn or only the "last" one.

    Raises:
        DataError: a role that the vocabulary does not know.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["hi"], size=300)
        >>> turns = [Message(role="user", content="a"), Message(role="assistant", content="b")]
        >>> [words.name(i) for i in encode_dialogue(turns, words).ids]
        ['[CLS]', '<|user|>', 'a', '<|assistant|>', 'b', '[SEP]']
        >>> encode_dialogue(turns, words).trained
        (False, False, False, False, True, True)
    """
    ids: list[int] = [] if vocabulary.bos is None else [vocabulary.bos]
    flags = [False] * len(ids)
    answers = [i for i, message in enumerate(messages) if message.role == ASSISTANT]
    learnt = set(answers if trained == "every" else answers[-1:])
    for index, message in enumerate(messages):
        opening = _opening(message.role, vocabulary)
        content = vocabulary.encode(_lead(vocabulary) + message.content)
        ending = (vocabulary.eos,) if _ends(message.role, vocabulary) else ()
        ids += [*opening, *content, *ending]
        flags += [False] * len(opening) + [index in learnt] * len(content + ending)
    return Encoded(ids=tuple(ids), trained=tuple(flags))


def check_answered(messages: Sequence[Message], origin: str) -> None:
    """Makes sure that a dialogue has an answer to something.

    Args:
        messages: turns, first to last.
        origin: where the dialogue stands, for the error.

    Raises:
        UnusableError: one message only, no turn of the assistant, or nothing but empty ones.

    Example:
        >>> check_answered([Message(role="user", content="Who is there?")], "chats.jsonl:17")
        Traceback (most recent call last):
        sfumato.errors.UnusableError: chats.jsonl:17: the dialogue has one message, ...
    """
    answers = [message.content for message in messages if message.role == ASSISTANT]
    if len(messages) == 1:
        what = "the dialogue has one message, expected a question and an answer"
        raise UnusableError(what, reason="one message", place=origin)
    if not answers:
        what = "the dialogue has no assistant turn, so there is nothing to learn"
        raise UnusableError(what, reason="no answer", place=origin)
    if not any(map(str.strip, answers)):
        what = "the assistant says nothing: a model would learn to be silent"
        raise UnusableError(what, reason="empty answer", place=origin)


def encode_dialogue_prompt(messages: Sequence[Message], vocabulary: Vocabulary) -> tuple[int, ...]:
    """Encodes what comes before an answer: the turns so far and the assistant's marker.

    The result is exactly what `encode_dialogue` puts before the answer of the same dialogue.

    Raises:
        DataError: a role that the vocabulary does not know.
    """
    said = encode_dialogue(messages, vocabulary).ids
    return said + _opening(ASSISTANT, vocabulary)


def chat_template(vocabulary: Vocabulary) -> str:
    """A Jinja template that lays a dialogue out as `encode_dialogue` does.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["hi"], size=300)
        >>> turns = [Message(role="user", content="a")]
        >>> render_chat(chat_template(words), turns, add_generation_prompt=True)
        '[CLS]<|user|>a<|assistant|>'
    """
    roles = tuple(vocabulary.roles) or ROLES
    plain = not vocabulary.roles
    markers = {role: _marker_text(role, vocabulary) for role in roles}
    opening = markers[ASSISTANT].rstrip(" ") if plain else markers[ASSISTANT]
    bos = "" if vocabulary.bos is None else vocabulary.name(vocabulary.bos)
    # JSON strings, objects and lower-case booleans are Jinja literals as well; its \u escapes of
    # characters beyond the basic plane are not.
    settings = {
        "markers": markers,
        "opening": opening,
        "eos": vocabulary.name(vocabulary.eos),
        "turns_end": plain,
    }
    lines = [
        f"{{%- set {name} = {json.dumps(value, ensure_ascii=False)} -%}}"
        for name, value in settings.items()
    ]
    return "".join(lines) + "{{- " + json.dumps(bos, ensure_ascii=False) + " -}}" + _TURN


def render_chat(
    template: str, messages: Sequence[Message], *, add_generation_prompt: bool = False
) -> str:
    """Renders a chat template in a sandbox, as chat front ends do.

    Raises:
        UsageError: the template is broken or refuses the dialogue.
    """
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _refuse
    try:
        return environment.from_string(template).render(
            messages=[{"role": turn.role, "content": turn.content} for turn in messages],
            add_generation_prompt=add_generation_prompt,
        )
    except TemplateError as error:
        raise UsageError(f"the chat template cannot render this dialogue: {error}") from None


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _ends(role: str, vocabulary: Vocabulary) -> bool:
    return role == ASSISTANT or not vocabulary.roles


def _lead(vocabulary: Vocabulary) -> str:
    """What joins a plain-text marker to its text; byte-level words carry their own space."""
    return "" if vocabulary.roles else " "


def _marker_text(role: str, vocabulary: Vocabulary) -> str:
    if vocabulary.roles:
        return vocabulary.name(vocabulary.roles[role])
    return f"{role}: "


def _opening(role: str, vocabulary: Vocabulary) -> tuple[int, ...]:
    known = tuple(vocabulary.roles) or ROLES
    if role not in known:
        raise DataError(f"unknown role {role!r}: expected one of {', '.join(known)}")
    if vocabulary.roles:
        return (vocabulary.roles[role],)
    return vocabulary.encode(_marker_text(role, vocabulary).rstrip(" "))
