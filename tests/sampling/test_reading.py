"""Words, an end, padding: the most probable row of that form, found among all of them."""

from __future__ import annotations

import pytest
import torch
from tests.sampling.fakes import SIZE, SPECIALS
from torch import Tensor

from sfumato.sampling.latent.reading import read_off


def rows_of(log_p: Tensor, terminal: Tensor) -> list[list[int]]:
    """All rows of one text: words up to an end within the terminal slots, or no end at all."""
    slots = len(log_p)
    words = [token for token in range(SIZE) if token not in (SPECIALS.pad, SPECIALS.eos)]
    said = [max(words, key=lambda token: float(log_p[i, token])) for i in range(slots)]
    free = [said[i] if terminal[i] else int(log_p[i].argmax()) for i in range(slots)]
    ends = [i for i in range(slots) if terminal[i]]
    return [free, *([*free[:e], SPECIALS.eos, *[SPECIALS.pad] * (slots - e - 1)] for e in ends)]


@pytest.mark.parametrize("seed", range(20))
def test_the_best_row_of_all(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    log_p = (2 * torch.randn(3, 6, SIZE, generator=generator)).log_softmax(2)
    starts = torch.randint(0, 7, (3, 1), generator=generator)
    terminal = torch.arange(6) >= starts
    sure, token = read_off(log_p, terminal, SPECIALS)
    for row in range(3):
        rows = rows_of(log_p[row], terminal[row])
        best = max(rows, key=lambda one, row=row: sum(log_p[row, i, t] for i, t in enumerate(one)))
        assert token[row].tolist() == best
        chosen = log_p[row, torch.arange(6), token[row]].exp()
        torch.testing.assert_close(sure[row], chosen)


def test_one_unlikely_word_behind_the_end_does_not_come_back() -> None:
    log_p = torch.full((1, 6, SIZE), 0.01)
    for slot, token in enumerate([5, 6, SPECIALS.eos, SPECIALS.pad, 7, SPECIALS.pad]):
        log_p[0, slot, token] = 1.0
    everywhere = torch.ones(1, 6, dtype=torch.bool)
    assert read_off(log_p.log(), everywhere, SPECIALS)[1].tolist() == [
        [5, 6, SPECIALS.eos, SPECIALS.pad, SPECIALS.pad, SPECIALS.pad]
    ]


@pytest.mark.parametrize("missing", [SPECIALS.pad, SPECIALS.eos])
def test_a_decoder_that_cannot_say_an_end_still_says_words(missing: int) -> None:
    log_p = torch.zeros(2, 4, SIZE)
    log_p[..., 5] = 3.0
    log_p[..., missing] = -torch.inf
    _, token = read_off(log_p.log_softmax(2), torch.ones(2, 4, dtype=torch.bool), SPECIALS)
    assert token.tolist() == [[5, 5, 5, 5]] * 2
