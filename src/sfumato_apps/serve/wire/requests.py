"""What may be asked: types are strict, ranges are checked, unknown fields are errors."""

from __future__ import annotations

from abc import ABC
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sfumato.text.vocabulary import lone_surrogate
from sfumato_apps.choices import OrderName


def _whole(text: str) -> str:
    """A text that UTF-8 can express.

    Raises:
        ValueError: half a character stands in it.
    """
    if wrong := lone_surrogate(text):
        raise ValueError(wrong)
    return text


Text = Annotated[str, AfterValidator(_whole)]
Diffusing = bool | Literal["events"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Phrase = Annotated[Text, Field(min_length=1, max_length=200)]
Phrases = Annotated[list[Phrase], Field(max_length=64)]
Stop = Annotated[Text, Field(min_length=1, max_length=64)]
Seed = Annotated[int, Field(ge=0, lt=2**53)]  # what JSON numbers hold exactly in browsers
Count = Annotated[int, Field(ge=1, lt=2**31)]
Point = Annotated[int, Field(ge=0, lt=2**31)]
Span = Annotated[list[Point], Field(min_length=2, max_length=2)]

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class StreamOptions(BaseModel):
    """What a stream tells beside the text."""

    model_config = STRICT

    include_usage: bool = False


class Writing(BaseModel, ABC):
    """The fields of every request that writes."""

    model_config = STRICT

    model: Name | None = None
    n: Count = 1
    seed: Seed = 0
    steps: Count | None = None
    order: OrderName = "max_prob"
    block: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_k: Count | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    no_repeat: Annotated[int, Field(ge=0, le=1024)] | None = None
    guidance: Annotated[float, Field(ge=-10, le=10)] | None = None
    refresh: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    reach: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    ban: Phrases = []
    stream: bool = False
    stream_options: StreamOptions | None = None
    diffusing: Diffusing = False
    user: Annotated[Text, Field(max_length=256)] | None = None


class Completion(Writing):
    """A text to go on from, and perhaps one to arrive at."""

    prompt: Text = ""
    suffix: Text | None = None
    max_tokens: Count | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    require: Phrases = []


class Middle(Writing):
    """What stands before and after a middle."""

    prompt: Text
    suffix: Text = ""
    max_tokens: Count | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None


class TextContent(BaseModel):
    """Text as a part of a message."""

    model_config = STRICT

    type: Literal["text"]
    text: Text


class Turn(BaseModel):
    """One message of a dialogue."""

    model_config = STRICT

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextContent], Field(min_length=1, max_length=64)]
    name: Annotated[Text, Field(max_length=64)] | None = None

    @property
    def said(self) -> str:
        """Its text."""
        content = self.content
        return content if isinstance(content, str) else "".join(part.text for part in content)

    def row(self) -> dict[str, str]:
        """The turn as training data have it."""
        return {"role": "system" if self.role == "developer" else self.role, "content": self.said}


class Chat(Writing):
    """A dialogue to be answered."""

    messages: Annotated[list[Turn], Field(min_length=1, max_length=256)]
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    logprobs: bool = False
    require: Phrases = []


class TextPart(BaseModel):
    """Text that stays."""

    model_config = STRICT

    text: Text


class HolePart(BaseModel):
    """A hole of at most so many tokens, or as many as it takes."""

    model_config = STRICT

    hole: Annotated[int, Field(ge=1, lt=10**6)] | None


class Infill(Writing):
    """A text with holes: `{}` and `{8}` in one string, or parts."""

    text: Annotated[Text, Field(min_length=1)] | None = None
    parts: Annotated[list[TextPart | HolePart], Field(min_length=1, max_length=1024)] | None = None
    slots: Count = 16
    require: Phrases = []

    @model_validator(mode="after")
    def _one_of_both(self) -> Infill:
        if (self.text is None) == (self.parts is None):
            raise ValueError("expected either text, with holes {} and {8}, or parts")
        return self


class Edit(Writing):
    """A text of which some is to be rewritten."""

    text: Annotated[Text, Field(min_length=1)]
    spans: Annotated[list[Span], Field(max_length=1024)] | None = None
    budget: Annotated[int, Field(ge=0, lt=2**31)] | Annotated[float, Field(ge=0, le=1)] = 0.15
    least: float | None = None
    extra: Annotated[int, Field(ge=0, le=1024)] | None = None
    prompt: Text | None = None
    scorer: Literal["surprise"] | None = None


class Score(BaseModel):
    """Texts to be judged by the model's likelihood bound."""

    model_config = STRICT

    model: Name | None = None
    text: Text | None = None
    texts: Annotated[list[Text], Field(min_length=1, max_length=4096)] | None = None
    prompt: Text | None = None
    draws: Annotated[int, Field(ge=2, lt=2**31)] = 16
    seed: Seed = 0
    user: Annotated[Text, Field(max_length=256)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Score:
        if (self.text is None) == (self.texts is None):
            raise ValueError("expected either text or texts")
        return self


def _below(path: str) -> str:
    """A path that stays below the folder of the file that names it.

    Raises:
        ValueError: it leads elsewhere, or would on some system.
    """
    parts = path.split("/")
    odd = any(one in ("", ".", "..") for one in parts) or not path.isprintable()
    if odd or "\\" in path or ":" in parts[0]:
        raise ValueError("expected the path of an image below a folder, such as images/1.png")
    return path


class Picture(BaseModel):
    """The name of an image; the image itself stays where it is."""

    model_config = STRICT

    path: Annotated[Text, Field(min_length=1, max_length=512), AfterValidator(_below)]


class Ranking(BaseModel):
    """Completions of a prompt, texts or images, and the place of each."""

    model_config = STRICT

    prompt: Text | Annotated[list[Turn], Field(min_length=1, max_length=256)] = ""
    completions: (
        Annotated[list[Text], Field(min_length=2, max_length=64)]
        | Annotated[list[Picture], Field(min_length=2, max_length=64)]
    )
    ranks: Annotated[list[Count], Field(min_length=2, max_length=64)]

    def row(self) -> dict[str, Any]:
        """The ranking as training data have it."""
        prompt, found = self.prompt, self.completions
        return {
            "prompt": prompt if isinstance(prompt, str) else [turn.row() for turn in prompt],
            "completions": [one if isinstance(one, str) else one.model_dump() for one in found],
            "ranks": self.ranks,
        }


class Judgement(BaseModel):
    """A vote between two texts whose makers were not shown."""

    model_config = STRICT

    prompt: Text = ""
    a: Annotated[Text, Field(min_length=1, max_length=512)]
    b: Annotated[Text, Field(min_length=1, max_length=512)]
    text_a: Text
    text_b: Text
    winner: Literal["a", "b", "tie"]
