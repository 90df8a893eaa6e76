"""What can be measured about an encoder before any training, on the user's own texts.

    masked prediction    accuracy and cross-entropy at several noise levels, beside the unigram
    tokenization         characters a token, unknown tokens: is this the vocabulary's language?
    geometry             how alike the output states of one text are: contrastive training
                         pulls them together

Legend of shapes: `B` batch, `L` positions, `D` width.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sfumato.models.encoders import EncoderDenoiser
from sfumato.text.vocabulary import Vocabulary

_BATCH = 16
_PREDICTED_SHARE = 0.5
_SAMPLED = 5000


@dataclass(frozen=True, kw_only=True)
class Level:
    """How well masked tokens are predicted at one noise level.

    Attributes:
        rate: share of the tokens of each text that is masked.
        n: predictions made.
        accuracy: share of them that is right.
        cross_entropy: nats a token.
        unigram_accuracy: share that guessing the most frequent token gets right.
        unigram_cross_entropy: nats a token under the unigram of the other tokens of the texts.
        gain_stderr: standard error of the difference of the cross-entropies, over texts.
    """

    rate: float
    n: int
    accuracy: float
    cross_entropy: float
    unigram_accuracy: float
    unigram_cross_entropy: float
    gain_stderr: float

    @property
    def gain(self) -> float:
        """Nats a token that the model saves against the unigram."""
        return self.unigram_cross_entropy - self.cross_entropy


@dataclass(frozen=True, kw_only=True)
class Tokenization:
    """How the vocabulary cuts the texts.

    Attributes:
        characters_per_token: characters other than spaces, a token.
        usual: the same over the vocabulary's own tokens, each once.
        unknown: share of tokens that are the unknown token.
        ideographic: share of characters of scripts that write about a word a character.
    """

    characters_per_token: float
    usual: float
    unknown: float
    ideographic: float

    @property
    def broken(self) -> bool:
        """The texts fall into single letters or unknowns, though the vocabulary has words."""
        return self.unknown > 0.05 or self._shorter_than(1.5, 0.4)

    @property
    def strained(self) -> bool:
        """The texts fall into shorter pieces than the vocabulary's own language does."""
        return self.unknown > 0.01 or self._shorter_than(2.5, 0.5)

    def _shorter_than(self, letters: float, share: float) -> bool:
        letters = self.ideographic * 0.67 + (1 - self.ideographic) * letters
        return self.characters_per_token < min(letters, share * self.usual)


def rows_of(texts: Sequence[str], vocabulary: Vocabulary, max_length: int) -> list[list[int]]:
    """[bos] text [eos], cut to `max_length`; texts without content are left out."""
    opening = [] if vocabulary.bos is None else [vocabulary.bos]
    room = max_length - len(opening) - 1
    encoded = [vocabulary.encode(text)[:room] for text in texts]
    return [[*opening, *ids, vocabulary.eos] for ids in encoded if ids]


def tokenization(texts: Sequence[str], vocabulary: Vocabulary) -> Tokenization:
    """How the vocabulary cuts the texts.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a dog saw a dog"] * 9, size=300)
        >>> tokenization(["a dog saw a dog"], words).characters_per_token
        2.2
    """
    unknown = _unknown_id(vocabulary)
    ids = [token for text in texts for token in vocabulary.encode(text)]
    characters = [c for text in texts for c in text if not c.isspace()]
    words = [token for token in range(vocabulary.size) if token not in vocabulary.control]
    sample = words[:: 1 + len(words) // _SAMPLED]
    own = [len(vocabulary.decode((token,)).strip()) or 1 for token in sample]
    return Tokenization(
        characters_per_token=len(characters) / max(1, len(ids)),
        usual=sum(own) / max(1, len(own)),
        unknown=sum(token == unknown for token in ids) / max(1, len(ids)),
        ideographic=sum(map(_ideographic, characters)) / max(1, len(characters)),
    )


def _unknown_id(vocabulary: Vocabulary) -> int | None:
    name = getattr(vocabulary.tokenizer.model, "unk_token", None)
    return None if name is None else vocabulary.tokenizer.token_to_id(name)


def _ideographic(character: str) -> bool:
    name = unicodedata.name(character, "")
    return name.startswith(("CJK", "HANGUL", "HIRAGANA", "KATAKANA"))


def unigram(rows: Sequence[Sequence[int]], vocabulary: Vocabulary) -> tuple[Tensor, float]:
    """The unigram's log-probability of each id, and the share of the most frequent one.

    Each occurrence is judged by the counts of all the others, smoothed after Witten & Bell
    (1991): with N others of T types, p(x) = (c(x) − 1 + T/V)/(N + T).

    Returns:
        log-probabilities, *shape* `V`, and the accuracy of always guessing one token.
    """
    counts = Counter(t for row in rows for t in row if t not in vocabulary.control)
    others, types = max(1, sum(counts.values()) - 1), len(counts)
    seen = torch.zeros(vocabulary.size)
    for token, count in counts.items():
        seen[token] = count
    others_seen = (seen - 1).clamp(min=0)
    log_p = ((others_seen + types / vocabulary.size) / (others + types)).log()
    return log_p, max(counts.values(), default=0) / max(1, sum(counts.values()))


@torch.no_grad()
def predict(
    denoiser: EncoderDenoiser,
    rows: Sequence[Sequence[int]],
    vocabulary: Vocabulary,
    *,
    rate: float,
    seed: int,
) -> Level:
    """Masks the same share of every text and predicts it back.

    Args:
        denoiser: the model, in evaluation mode.
        rows: encoded texts, see `rows_of`.
        vocabulary: tells content from control tokens, which are neither masked nor counted.
        rate: share of the content to mask, at least one token a text.
        seed: of the choice; the same seed masks the same positions for every model.
    """
    generator = torch.Generator().manual_seed(seed)
    log_p, most_frequent = unigram(rows, vocabulary)
    totals = torch.zeros(len(rows), 4, dtype=torch.float64)
    control = torch.tensor(sorted(vocabulary.control))
    for _ in range(max(1, round(_PREDICTED_SHARE / rate))):
        for start in range(0, len(rows), _BATCH):
            x_0, attend = _padded(rows[start : start + _BATCH], vocabulary.pad)
            where = _choose(attend & ~torch.isin(x_0, control), rate, generator)
            device = denoiser.word_embeddings.device
            x_t = x_0.masked_fill(where, vocabulary.mask)
            logits = denoiser(x_t.to(device), where.to(device), attend=attend.to(device)).cpu()
            target = x_0[where]
            loss = nn.functional.cross_entropy(logits, target, reduction="none")
            right = logits.argmax(1) == target
            judged = torch.stack((loss, -log_p[target], right, torch.ones_like(loss)), 1)
            totals.index_add_(0, start + where.nonzero()[:, 0], judged.double())
    sums = totals.sum(0)
    n = max(1.0, sums[3].item())
    gains = totals[:, 1] - totals[:, 0]
    mean_gain = gains.sum() / n
    spread = (gains - mean_gain * totals[:, 3]).square().sum().sqrt() / n
    return Level(
        rate=rate,
        n=int(sums[3]),
        accuracy=sums[2].item() / n,
        cross_entropy=sums[0].item() / n,
        unigram_accuracy=most_frequent,
        unigram_cross_entropy=sums[1].item() / n,
        gain_stderr=float(spread) * math.sqrt(len(rows) / max(1, len(rows) - 1)),
    )


@torch.no_grad()
def likeness(
    denoiser: EncoderDenoiser, rows: Sequence[Sequence[int]], vocabulary: Vocabulary
) -> float:
    """Mean cosine of two output states of one text, each dimension standardised over all texts.

    About 0.0–0.15 in masked language models; 0.24–0.30 in all-MiniLM-L6-v2, whose contrastive
    training pulls the states of a text towards the text's one vector.
    """
    states: list[Float[Tensor, "N D"]] = []
    for start in range(0, len(rows), _BATCH):
        ids, attend = _padded(rows[start : start + _BATCH], vocabulary.pad)
        device = denoiser.word_embeddings.device
        hidden = denoiser.hidden(ids.to(device), attend=attend.to(device))
        states += [h[a] for h, a in zip(hidden.float().cpu(), attend, strict=True)]
    every = torch.cat(states)
    mean, spread = every.mean(0), every.std(0).clamp(min=1e-6)
    cosines = []
    for state in states:
        unit = nn.functional.normalize((state[1:-1] - mean) / spread, dim=1)
        if len(unit) > 1:
            pairs = len(unit) * (len(unit) - 1)
            cosines.append((unit.sum(0).square().sum() - len(unit)).item() / pairs)
    return sum(cosines) / max(1, len(cosines))


def _padded(
    rows: Sequence[Sequence[int]], pad: int
) -> tuple[Int[Tensor, "B L"], Bool[Tensor, "B L"]]:
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return ids, torch.arange(width) < lengths[:, None]


def _choose(
    content: Bool[Tensor, "B L"], rate: float, generator: torch.Generator
) -> Bool[Tensor, "B L"]:
    """Exactly round(rate·n) of the n content positions of each row, at least one."""
    order = torch.rand(content.shape, generator=generator).masked_fill(~content, 2.0)
    rank = order.argsort(1).argsort(1)
    wanted = (content.sum(1) * rate).round().clamp(min=1)
    return content & (rank < wanted[:, None])
