"""Rewards: rules by hand, TRL's signature, a judge from a folder; candidates and their seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.alignment.test_likelihood import llama
from tests.training.worlds import WORDS, tiny

from sfumato.alignment.candidates import candidates, causal_way, diffusion_way
from sfumato.alignment.scoring.rewards import (
    Fluency,
    Length,
    Pattern,
    Valence,
    Weighted,
    for_trl,
    from_trl,
    valences,
)
from sfumato.errors import DataError, UsageError
from sfumato.models.checkpoints import Checkpoint, pretrained_tokenizer
from sfumato.noise.masked import MaskedProcess
from sfumato.sampling.decoding import DecodingPolicy

FEEL = Valence(words={"good": 1.9, "bad": -2.5})


def test_valence_by_hand() -> None:
    """s / √(s² + 15): 1.9 → 0.44, turned round 1.9·(−0.74) → −0.34; far negations do not count."""
    texts = ["good", "It isn't good.", "not that it is so very good", "good bad", ""]
    found = FEEL(texts)
    assert found == pytest.approx([0.4404, -0.3412, 0.4404, -0.1531, 0.0], abs=2e-4)


@given(st.text(max_size=60))
def test_valence_stays_within_its_range(text: str) -> None:
    assert -1 < FEEL([text, f"{text} good"])[1] < 1


def test_a_sum_and_trl() -> None:
    """A weighted sum, there and back through TRL's signature, with turns."""
    reward = Weighted(parts=((2.0, Length(best=2)), (1.0, Pattern(expression="a"))))
    texts = ["a b", "b"]
    assert reward(texts) == [0.5, -1.0]
    outward = for_trl(reward)
    assert outward(prompts=["", ""], completions=texts, label=[1, 2]) == reward(texts)
    turns = [[{"role": "assistant", "content": text}] for text in texts]
    assert outward(prompts=[[], []], completions=turns) == reward(texts)
    assert from_trl(outward)(texts) == reward(texts)


@torch.no_grad()
def test_fluency_is_a_mean_log_probability(tmp_path: Path) -> None:
    model = llama()
    model.save_pretrained(tmp_path)
    pretrained_tokenizer(WORDS).save_pretrained(tmp_path)
    ids = torch.tensor([[WORDS.bos, *WORDS.encode("Ann sees tea.")]])
    log_p = model(ids).logits[0, :-1].log_softmax(1)
    expected = log_p.gather(1, ids[0, 1:, None]).mean().item()
    assert Fluency(model=str(tmp_path))(["Ann sees tea."]) == pytest.approx([expected], abs=1e-4)


def test_bad_lexicons_are_named() -> None:
    with pytest.raises(DataError, match="words.tsv:2: expected a word, a tab and a number"):
        valences(["good\t1.9", "bad"], "words.tsv")
    with pytest.raises(UsageError, match="got none"):
        Valence(words={})


def test_candidates_do_not_depend_on_their_neighbours() -> None:
    """The second prompt written with the first, and alone as number one: the same texts."""
    model = Checkpoint(
        denoiser=tiny().eval(), vocabulary=WORDS, process=MaskedProcess(mask=WORDS.mask),
        metadata={},
    )  # fmt: skip
    tokenizer = pretrained_tokenizer(WORDS)
    ways = [
        diffusion_way("masked", model, DecodingPolicy(), length=6),
        causal_way("left", llama(), tokenizer, length=6, batch_size=3),
        causal_way("greedy", llama(), tokenizer, length=4, temperature=0.0),
    ]
    both = candidates(["Ann ", ""], ways, n=2, seed=7)
    alone = candidates([""], ways, n=2, seed=7, first=1)
    assert both[1] == alone[0]
    assert both[1].sources == ("masked",) * 2 + ("left",) * 2 + ("greedy",) * 2
    one, other = both[0].completions[4:]
    assert one == other
    assert len({*both[0].completions}) > 2


def test_no_prompts_are_refused() -> None:
    with pytest.raises(UsageError, match="expected prompts, ways"):
        candidates([], [], n=1)
