"""Text in, text out, with a model that speaks from a script."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
import torch
from tests.sampling.told import WORDS, Model, whimsical
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.uniform import UniformProcess
from sfumato.sampling.ancestral import Ancestral
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.frames import Frame
from sfumato.sampling.parts.constraints import Repetition
from sfumato.sampling.tasks import ban_texts, complete, complete_each, fill, write
from sfumato.text.batching import prompt_ids
from sfumato.text.canvas import Canvas
from sfumato.text.dialogue import Message


@dataclass(frozen=True, kw_only=True)
class Script:
    """Believes that the pending positions, left to right, hold these ids, then an end."""

    ids: tuple[int, ...]

    def __call__(
        self, x_t: Tensor, where: Tensor, *, attend: Tensor | None = None, t: Tensor | None = None
    ) -> Tensor:
        logits = torch.zeros(int(where.sum()), WORDS.size)
        given = (x_t[0] != WORDS.mask).long().cumprod(0).sum() - self.written(x_t[0])
        for row, position in enumerate((where.nonzero()[:, 1] - given).tolist()):
            told = (*self.ids, WORDS.eos)
            logits[row, told[position] if position < len(told) else WORDS.pad] = 40.0
        return logits

    def written(self, row: Tensor) -> int:
        """How many of the leading tokens are the script's own."""
        head = row[: int((row != WORDS.mask).long().cumprod(0).sum())].tolist()
        fits = [n for n in range(len(self.ids) + 1) if tuple(head[len(head) - n :]) == self.ids[:n]]
        return max(n for n in fits if n == 0 or head[-n:] == list(self.ids[:n]))


def scripted(text: str) -> Model:
    return Model(denoiser=Script(ids=WORDS.encode(text)))


def test_a_text_is_written_up_to_its_end() -> None:
    (one,) = write(scripted("the cat sat"), length=16)
    assert one.text == "the cat sat"
    assert one.trajectory.ids[-1] == WORDS.pad
    assert one.passes == one.trace.passes <= 16
    assert one.trace.text == one.text


@pytest.mark.parametrize("prompt", ["the dog", "the dog ", "THE\n dog!"])
def test_a_prompt_comes_back_unchanged(prompt: str) -> None:
    (one,) = write(scripted(" sat on the mat"), prompt=prompt, length=12)
    joined = " sat on the mat".removeprefix(" ") if prompt.endswith(" ") else " sat on the mat"
    assert one.text == prompt + joined


def test_complete_gives_what_follows() -> None:
    (one,) = complete(scripted(" sat on the mat"), "the dog", length=12)
    assert one.text == " sat on the mat"


def test_many_texts_are_completed_as_each_alone() -> None:
    """Side by side, whatever their lengths; the i-th has the next seed."""
    model, texts = whimsical(), ["the cat", "the dog ran to", "a"]
    found = complete_each(model, texts, lengths=[5, 9, 3], seed=4, batch_size=2)
    alone = [
        complete(model, text, length=length, seed=4 + i)[0].text
        for i, (text, length) in enumerate(zip(texts, [5, 9, 3], strict=True))
    ]
    assert [one.text for one in found] == alone
    with pytest.raises(UsageError, match="a length for each of 3 texts, got 2"):
        complete_each(model, texts, lengths=[5, 9])


@pytest.mark.parametrize(
    ("prompt", "answers", "widths"),
    [(None, (5, 7, 6), {9, 11}), ("the cat", (5, 7, 6), {7}), ("the cat", (), {9, 11})],
)
def test_canvases_are_as_wide_as_those_trained_on(
    prompt: str | None, answers: tuple[int, ...], widths: set[int]
) -> None:
    """After a prompt as answers, where those are known; else text and prompt as whole texts."""
    model = replace(whimsical(), lengths=(9, 11), answers=answers)
    given = 0 if prompt and answers else len(prompt_ids(prompt or "", WORDS))
    seen: list[Canvas] = []
    write(model, prompt=prompt, n=20, watch=lambda frame: seen.append(frame.canvas))
    open_slots = {slots for canvas in seen for slots in canvas.editable.sum(1).tolist()}
    assert {given + slots for slots in open_slots} == widths


def test_a_dialogue_is_answered() -> None:
    turns = [Message(role="user", content="who sat?")]
    (one,) = write(scripted("the cat"), prompt=turns, length=12)
    assert one.text == "the cat"
    assert one.trajectory.ids[: len(prompt_ids(turns, WORDS))] == prompt_ids(turns, WORDS)


@pytest.mark.parametrize("text", ["the {} sat on {3}!", "{2}", "a{}b{1} {} ", "x {{y}} {4}"])
def test_everything_but_the_holes_comes_back_byte_for_byte(text: str) -> None:
    for one in fill(whimsical(), text, n=3):
        literal = text.replace("{{", "\0").replace("}}", "\1")
        parts = [
            part.split("}")[-1].replace("\0", "{").replace("\1", "}") for part in literal.split("{")
        ]
        place = 0
        for part in parts:
            found = one.text.find(part, place)
            assert found >= place
            place = found + len(part)
        assert one.text.startswith(parts[0])
        assert one.text.endswith(parts[-1])


def test_samples_do_not_depend_on_their_batch() -> None:
    together = write(whimsical(), n=5, length=10, seed=3)
    apart = write(whimsical(), n=5, length=10, seed=3, batch_size=2)
    assert [one.text for one in together] == [one.text for one in apart]
    (last,) = write(whimsical(), n=1, length=10, seed=7)
    assert last.text == together[4].text
    assert [one.seed for one in together] == [3, 4, 5, 6, 7]
    assert len({one.text for one in together}) == 5


def test_every_frame_can_be_watched() -> None:
    frames: list[Frame] = []
    (one,) = write(whimsical(), length=8, watch=frames.append)
    assert frames[0].pending.sum() == 8
    assert tuple(frames[-1].ids[0].tolist()) == one.trajectory.ids


def test_banned_and_required_words() -> None:
    banned = write(whimsical(), n=6, length=24, ban=["the", "cat"])
    assert not any("the" in one.text or "cat" in one.text for one in banned)
    required = write(whimsical(), n=3, length=24, require=["dog ran", "mat"])
    assert all(" dog ran" in one.text and " mat" in one.text for one in required)
    written = [sum(step >= 0 for step in one.trajectory.commit_step) for one in required]
    assert all(one.passes >= 2 + n / 24 for one, n in zip(required, written, strict=True))
    (hole,) = fill(whimsical(), "a {8} b", require=["dog"])
    assert " dog" in hole.text


def test_a_ban_is_spelled_at_a_word_s_beginning_and_inside() -> None:
    assert ban_texts(["cat"], WORDS).phrases == (WORDS.encode("cat"), WORDS.encode(" cat"))


def test_uniform_noise_is_written_by_ancestral_sampling() -> None:
    process = UniformProcess(size=WORDS.size, excluded=tuple(sorted(WORDS.unwritable)))
    model = replace(whimsical(), process=process)
    (one,) = write(model, length=10)
    assert one.passes == 10
    (other,) = write(model, length=10, policy=Ancestral(process=process, steps=3))
    assert other.passes == 3
    assert fill(model, "the {4} sat")[0].text.startswith("the")
    for options in ({"policy": DecodingPolicy()}, {"ban": ["cat"]}, {"require": ["cat"]}):
        with pytest.raises(UsageError, match="does not mark what is unwritten"):
            write(model, **options)


def test_a_policy_s_own_constraints_stay_with_a_ban() -> None:
    policy = DecodingPolicy(constraints=(Repetition(size=2),))
    (one,) = write(whimsical(), length=24, policy=policy, ban=["the"])
    ids = list(one.trajectory.ids)
    grams = [gram for gram in pairwise(ids) if WORDS.pad not in gram]
    assert len(set(grams)) == len(grams)
    assert "the" not in one.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n ≥ 1"),
        ({"length": 0}, "length ≥ 1"),
        ({"batch_size": 0}, "batch_size ≥ 1"),
        ({"length": 2, "require": ["the dog ran to the cat"]}, "fits into no hole"),
    ],
)
def test_bad_arguments_say_why(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        write(whimsical(), **options)


def test_ancestral_sampling_takes_no_ban() -> None:
    policy = Ancestral(process=MaskedProcess(mask=WORDS.mask))
    with pytest.raises(UsageError, match="takes no constraints"):
        write(whimsical(), policy=policy, ban=["the"])
