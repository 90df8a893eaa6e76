"""A new encoder is reproducible; the warm start equals counts, PMI and an exact SVD by hand."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import Tensor, nn

from sfumato.errors import UsageError
from sfumato.models.encoders import EncoderDenoiser
from sfumato.models.scratch import cooccurrence, new_encoder, ppmi, warm_start
from sfumato.text.vocabulary import Vocabulary, learn_vocabulary

TEXTS = ["a cat sat on a mat", "a dog sat on a log", "the cat saw the dog", "a mat is on a log"]


@pytest.fixture(scope="module")
def words() -> Vocabulary:
    return learn_vocabulary(TEXTS, size=300)


def _encoder(words: Vocabulary, seed: int = 0, architecture: str = "bert") -> EncoderDenoiser:
    return new_encoder(
        words, width=32, layers=2, heads=2, max_length=12, architecture=architecture, seed=seed
    )


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_the_seed_decides_the_weights_and_the_global_one_is_left_alone(
    words: Vocabulary, architecture: str
) -> None:
    state = torch.random.get_rng_state()
    first, again = _encoder(words, 1, architecture), _encoder(words, 1, architecture)
    assert torch.equal(torch.random.get_rng_state(), state)
    for one, two in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    other = _encoder(words, 2, architecture)
    assert not torch.equal(first.word_embeddings, other.word_embeddings)
    assert first.max_length == 12
    assert first.mask == words.mask
    x_t = torch.full((1, 12), words.mask)
    assert first(x_t, x_t == words.mask).shape == (12, words.size)


def test_sizes_that_do_not_fit_are_refused(words: Vocabulary) -> None:
    sizes = {"width": 16, "layers": 1, "heads": 2, "max_length": 8}
    for wrong in ({"width": 15}, {"heads": 16}, {"layers": 0}, {"dropout": 1.0}):
        with pytest.raises(UsageError):
            new_encoder(words, **sizes | wrong)
    with pytest.raises(UsageError, match=r"unknown architecture 'gpt'.*\['bert', 'modernbert'\]"):
        new_encoder(words, **sizes, architecture="gpt")


def test_pairs_do_not_cross_texts() -> None:
    joint = cooccurrence([torch.tensor([0, 1]), torch.tensor([2, 3])], 4, window=3).to_dense()
    expected = torch.zeros(4, 4)
    expected[0, 1] = expected[1, 0] = expected[2, 3] = expected[3, 2] = 1.0
    assert torch.equal(joint, expected)


def test_ppmi_by_hand() -> None:
    """One text 0 1 0 2, window 1: pairs 01, 10, 02, each both ways, 6 in all.

    p(0,1) = 4/6 over both orders, p(0) = 3/6, p(1) = 2/6, p(2) = 1/6, so one order has
    pmi(0,1) = log((2/6)/(3/6·2/6)) = log 2 and pmi(0,2) = log((1/6)/(3/6·1/6)) = log 2.
    """
    information = ppmi(cooccurrence([torch.tensor([0, 1, 0, 2])], 3, window=1)).to_dense()
    expected = math.log(2) * torch.tensor([[0.0, 1, 1], [1, 0, 0], [1, 0, 0]])
    torch.testing.assert_close(information, expected)


def _rows(words: Vocabulary) -> list[tuple[int, ...]]:
    return [words.encode(text) for text in TEXTS]


def test_the_bias_is_the_smoothed_log_unigram(words: Vocabulary) -> None:
    denoiser = _encoder(words)
    rows = _rows(words)
    warm_start(denoiser, rows)
    counts = torch.ones(words.size)
    for token in (token for row in rows for token in row):
        counts[token] += 1
    bias = denoiser.network.get_output_embeddings().bias
    torch.testing.assert_close(bias.exp(), counts / counts.sum(), atol=1e-7, rtol=1e-4)


def test_embeddings_are_the_leading_directions_of_the_ppmi(words: Vocabulary) -> None:
    """Their inner products equal those of an exact SVD, row by row normalised."""
    denoiser = _encoder(words)
    before = denoiser.word_embeddings.detach().clone()
    rows = _rows(words)
    warm_start(denoiser, rows, window=3, exponent=0.5)
    matrix = ppmi(cooccurrence([torch.tensor(row) for row in rows], words.size, 3)).to_dense()
    left, values, _ = torch.linalg.svd(matrix)
    exact = nn.functional.normalize(left[:, :32] * values[:32] ** 0.5)
    seen = sorted({token for row in rows for token in row})
    after = denoiser.word_embeddings.detach()
    norm = before.norm(dim=1).mean()
    torch.testing.assert_close(after[seen].norm(dim=1), norm.expand(len(seen)), rtol=1e-4, atol=0)
    gram = nn.functional.normalize(after[seen]) @ nn.functional.normalize(after[seen]).T
    torch.testing.assert_close(gram, (exact @ exact.T)[seen][:, seen], atol=2e-2, rtol=0)
    unseen = [token for token in range(words.size) if token not in seen]
    assert torch.equal(after[unseen], before[unseen])


def test_a_warm_start_needs_text(words: Vocabulary) -> None:
    with pytest.raises(UsageError, match="two tokens"):
        warm_start(_encoder(words), [(1,)])


def _loss_after(denoiser: EncoderDenoiser, rows: Tensor, steps: int) -> float:
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(denoiser.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        where = torch.rand(rows.shape, generator=generator) < 0.5
        where[:, 0] = True
        logits = denoiser(rows.masked_fill(where, denoiser.mask), where)
        loss = nn.functional.cross_entropy(logits, rows[where])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return sum(losses[-5:]) / 5


def test_a_warm_start_learns_faster() -> None:
    """On a language of twenty word pairs that always come together."""
    chooser = random.Random(0)
    pairs = [(f"{first}o", f"{first}u") for first in "bcdfghjklmnpqrstvwxz"]
    texts = [" ".join(" ".join(chooser.choice(pairs)) for _ in range(4)) for _ in range(64)]
    words = learn_vocabulary(texts, size=330)
    rows = [words.encode(text)[:8] for text in texts]
    rows = torch.tensor([row for row in rows if len(row) == 8])
    cold, warm = (new_encoder(words, width=32, layers=1, heads=2, max_length=8) for _ in range(2))
    warm_start(warm, rows.tolist(), window=2)
    assert _loss_after(warm, rows, 20) < _loss_after(cold, rows, 20) - 0.3
