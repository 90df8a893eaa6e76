"""What a model predicts is shown to a discriminator: the same loss as of tokens, and a gradient."""

from __future__ import annotations

import pytest
import torch
from tests.alignment.test_likelihood import SETS
from tests.training.worlds import WORDS, tiny
from torch import Tensor
from torch.nn.functional import softplus
from transformers import BertConfig, BertForSequenceClassification

from sfumato.alignment.learning.likelihood import NoisedTokens, TokenElbo
from sfumato.alignment.scoring.adversary import TokenAdversary
from sfumato.errors import UsageError
from sfumato.noise.masked import MaskedProcess


def judge(words: int = WORDS.size) -> BertForSequenceClassification:
    """An untrained discriminator of the same tokens."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "initializer_range": 0.5}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=words, num_labels=1, **sizes, **layers)
    return BertForSequenceClassification(config).eval().requires_grad_(False)


def noised() -> NoisedTokens:
    """Rankings with noise."""
    elbo = TokenElbo(process=MaskedProcess(mask=WORDS.mask), draws=2)
    return elbo.prepare(SETS, torch.Generator().manual_seed(1))


class Knowing:
    """A denoiser that is sure of the clean tokens of some rows."""

    def __init__(self, ids: Tensor) -> None:
        self.ids = ids

    def __call__(self, x_t: Tensor, where: Tensor, **_: object) -> Tensor:
        return 1e4 * torch.nn.functional.one_hot(self.ids[where], WORDS.size).float()


def test_a_sure_prediction_is_judged_as_its_tokens() -> None:
    """The best are the first text of the first ranking and the second of the second."""
    batch, network = noised(), judge()
    ids = SETS.ids[torch.arange(2), torch.tensor([0, 1])]
    found = TokenAdversary(judge=network, weight=0.5, pad=WORDS.pad)(Knowing(ids), batch)
    attend = (ids != WORDS.pad).long()
    said = network(input_ids=ids, attention_mask=attend).logits[:, 0]
    assert torch.allclose(found, 0.5 * softplus(-said), atol=1e-5)


def test_its_gradient_makes_predictions_look_real() -> None:
    policy, batch = tiny().eval(), noised()
    adversary = TokenAdversary(judge=judge(), weight=1.0, pad=WORDS.pad)
    descent = torch.optim.Adam(policy.parameters(), lr=1e-2)
    found = []
    for _ in range(30):
        loss = adversary(policy, batch).sum()
        descent.zero_grad()
        loss.backward()
        descent.step()
        found.append(loss.item())
    assert found[-1] < 0.9 * found[0]


def test_other_tokens_are_refused() -> None:
    with pytest.raises(UsageError, match="the judge knows 20"):
        TokenAdversary(judge=judge(20), weight=1.0, pad=0)(tiny().eval(), noised())
    with pytest.raises(UsageError, match="weight"):
        TokenAdversary(judge=judge(20), weight=-1.0, pad=0)
