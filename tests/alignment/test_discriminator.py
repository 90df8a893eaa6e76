"""Real against generated: losses and figures by hand, sets from sources and from files."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, sigmoid

from sfumato.alignment.rankings.sources import Answer, beside, read_answers, read_sources
from sfumato.alignment.scoring.discriminator import LOSSES, LossName, best, figures
from sfumato.alignment.scoring.learnt import ordered_rightly
from sfumato.errors import DataError, UnusableError, UsageError
from sfumato.text.dialogue import Message

LOGITS = torch.tensor([[2.0, 1.0, -1.0], [-1.0, 0.5, 9.0]])
RANKS = torch.tensor([[1, 2, 2], [1, 2, 0]])


def test_losses_by_hand() -> None:
    """Binary: log(1 + e⁻²), log(1 + e), log(1 + e⁻¹) and their mean; choice: log Σ e^D − D_real."""
    one = (0.126928 + 1.313262 + 0.313262) / 3
    other = (1.313262 + 0.974077) / 2
    assert LOSSES["binary"](LOGITS, RANKS).tolist() == pytest.approx([one, other], abs=1e-5)
    one = math.log(math.exp(2) + math.exp(1) + math.exp(-1)) - 2
    other = math.log(math.exp(-1) + math.exp(0.5)) + 1
    assert LOSSES["choice"](LOGITS, RANKS).tolist() == pytest.approx([one, other], abs=1e-5)


def test_losses_are_those_of_torch() -> None:
    """Of full sets with the real one in front."""
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    ranks = torch.tensor([[1, 2, 2, 2, 2]]).repeat(4, 1)
    wanted = binary_cross_entropy_with_logits(logits, (ranks == 1).float(), reduction="none")
    assert torch.allclose(LOSSES["binary"](logits, ranks), wanted.mean(1))
    wanted = cross_entropy(logits, torch.zeros(4).long(), reduction="none")
    assert torch.allclose(LOSSES["choice"](logits, ranks), wanted)


def test_binary_ends_at_the_share_of_real_ones() -> None:
    """One real among four that look alike: p = ¼ is where the gradient is 0."""
    logit = torch.tensor(math.log(1 / 3), dtype=torch.float64, requires_grad=True)
    loss = LOSSES["binary"](logit.expand(1, 4), torch.tensor([[2, 1, 2, 2]])).sum()
    (gradient,) = torch.autograd.grad(loss, logit)
    assert float(gradient) == pytest.approx(0, abs=1e-12)
    assert float(sigmoid(logit.detach())) == pytest.approx(0.25)


@pytest.mark.parametrize("name", ["binary", "choice"])
@given(hidden=st.floats(-9, 9))
def test_absent_candidates_do_not_count(name: LossName, hidden: float) -> None:
    wide = torch.tensor([[1.0, -0.5, hidden]], dtype=torch.float64, requires_grad=True)
    ranks = torch.tensor([[2, 1, 0]])
    loss = LOSSES[name](wide, ranks)
    assert torch.equal(loss, LOSSES[name](wide[:, :2], ranks[:, :2]))
    (gradient,) = torch.autograd.grad(loss.sum(), wide)
    assert gradient[0, 2] == 0


def test_ranks_of_people() -> None:
    """The best of those that are there takes the place of the real one."""
    assert best(torch.tensor([[3, 2, 0, 2]])).tolist() == [[False, True, False, True]]


def test_figures_by_hand() -> None:
    """First of two sets is won, 2 of 3 pairs, 2 of 5 sides; of one bin |2 − Σ σ(|D|)| / 5.

    Errors over sets: of a mean of 1 and 0 it is ½; of the ratio 2 of 2 and 0 of 1,
    √(2·(⅔² + ⅔²)) / 3 = 4/9.
    """
    found = figures(LOGITS, RANKS, reference="sets", settings={"model": "m"}, bins=1)
    values = {metric.name: metric.value for metric in found}
    assert values == pytest.approx(
        {
            "top1_accuracy": 1 / 2,
            "pairwise_accuracy": 2 / 3,
            "accuracy": 2 / 5,
            "calibration_error": (0.880797 + 3 * 0.731059 + 0.622459 - 2) / 5,
        },
        abs=1e-6,
    )
    assert found[0].stderr == pytest.approx(1 / 2)
    assert found[1].stderr == pytest.approx(4 / 9)
    assert {metric.n for metric in found} == {2}
    assert all(m.settings["real"] == 2 and m.settings["generated"] == 3 for m in found)
    assert ordered_rightly(LOGITS, RANKS) == pytest.approx(2 / 3)


def test_who_knows_nothing_is_right_by_chance() -> None:
    """All logits 0, the real one in front: not "always the first", but a third, a half, a half."""
    found = figures(torch.zeros(2, 3), RANKS[[0, 0]], reference=None, settings={})
    assert [metric.value for metric in found[:3]] == pytest.approx([1 / 3, 1 / 2, 1 / 2])


@pytest.mark.parametrize("ranks", [[[1, 1]], [[2, 0]]])
def test_sets_of_one_kind_have_no_figures(ranks: list[list[int]]) -> None:
    with pytest.raises(UsageError, match="a real and a generated"):
        figures(torch.zeros(1, 2), torch.tensor(ranks), reference=None, settings={})


def test_sources_are_ranks() -> None:
    row = {
        "prompt": "I ",
        "completions": ["am.", "are.", "was."],
        "source": ["real", "t 1", "real"],
    }
    found = read_sources(row, "")
    assert (found.prompt, found.ranks, found.scores) == ("I ", (1, 1, 2), None)
    assert found.completions == ("am.", "was.", "are.")
    assert read_sources({"chosen": "a", "rejected": "b"}, "").ranks == (1, 2)
    assert read_sources({"completions": ["a", "b"], "scores": [1, 3]}, "").ranks == (2, 1)


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ({"completions": ["a", "b"], "source": ["x", "y"]}, UnusableError, "no text has"),
        ({"completions": ["a", "b"], "source": ["real", "real"]}, UnusableError, "every text is"),
        ({"completions": ["a", "b"], "source": ["real"]}, DataError, "a source for each"),
        ({"completions": "a", "source": ["real"]}, DataError, "a source for each"),
        ({"completions": ["a", " "], "source": ["real", "x"]}, UnusableError, "is empty"),
        ({"completions": ["a", 1], "source": ["real", "x"]}, DataError, "one turn"),
        ({"completions": ["a", "b"]}, DataError, "need scores or ranks"),
    ],
)
def test_bad_rows_are_named(row: dict[str, Any], error: type[DataError], message: str) -> None:
    with pytest.raises(error, match=message):
        read_sources(row, "sets.jsonl:1")


def test_answers_of_every_form() -> None:
    """Texts, pairs, dialogues, infills and candidates; empty candidates are left out."""
    asked = Message(role="user", content="Hi")
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    forms: list[tuple[dict[str, Any], list[Answer]]] = [
        ({"text": "a"}, [Answer(prompt="", text="a")]),
        ({"prompt": "a", "completion": "b"}, [Answer(prompt="a", text="b")]),
        ({"prefix": "a", "middle": "b", "suffix": "c"}, [Answer(prompt="", text="abc")]),
        ({"messages": turns}, [Answer(prompt=(asked,), text="Hello.")]),
        (
            {"prompt": turns[:1], "completions": ["a", "", "b"]},
            [Answer(prompt=(asked,), text="a"), Answer(prompt=(asked,), text="b")],
        ),
    ]
    for row, wanted in forms:
        assert read_answers(row, "") == wanted
    with pytest.raises(UnusableError, match="without an answer"):
        read_answers({"messages": turns[:1]}, "")
    with pytest.raises(DataError, match="a list of texts"):
        read_answers({"completions": "a"}, "")


def test_texts_meet_those_of_the_same_prompt_once() -> None:
    """Five real and seven generated ones, two beside each: three sets; other prompts do not mix."""
    real = [Answer(prompt="", text=f"r{i}") for i in range(5)] + [Answer(prompt="a", text="ra")]
    made = [Answer(prompt="", text=f"g{i}") for i in range(7)]
    made += [Answer(prompt="a", text="ga"), Answer(prompt="a", text="gb")]
    found = [*beside(real, made, n=2, seed=1)]
    assert [*beside(real, made, n=2, seed=1)] == found
    assert {one.prompt for one in found} == {"", "a"}
    assert all(one.ranks == (1, 2, 2) for one in found)
    free = [text for one in found if not one.prompt for text in one.completions]
    assert len(free) == 9 == len({*free})
    assert sorted(text[0] for text in free) == ["g"] * 6 + ["r"] * 3
    (asked,) = [one for one in found if one.prompt]
    assert {*asked.completions} == {"ra", "ga", "gb"}
    assert [*beside(real, made, n=2, seed=2)] != found
    with pytest.raises(UsageError, match="at least one"):
        [*beside(real, made, n=0, seed=1)]
