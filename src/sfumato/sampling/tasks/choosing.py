"""Which words to change, and how likely a model finds a text.

    The  cat  sad  on the mat        every word masked in turn, in one batch:
    ▒▒▒  cat  sad  on the mat        how surprised is the model by the word that stands there?
    The  ▒▒▒  sad  on the mat
    The  cat  ▒▒▒  on the mat        the most surprising words are opened

Legend of shapes: `B` rows, `L` positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import torch

from sfumato.errors import UsageError
from sfumato.protocols import Scorer
from sfumato.sampling.ancestral import marks_noise
from sfumato.sampling.tasks.jobs import Model, device_of, specials_of
from sfumato.sampling.tasks.results import scores_of
from sfumato.text.spans import cut, ids_before, join_neighbours, without
from sfumato.text.template import following_ids, locked_ids
from sfumato.text.vocabulary import Vocabulary
from sfumato.text.words import Span, word_spans

Chooser = Callable[[str, Sequence[Span]], Sequence[float]]
Masked = tuple[list[int], list[int]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Surprise:
    """Scores words by how little a model expects them: −log p(word | the rest), nats.

    The tokens of a word are masked together and taken as independent.

    Attributes:
        model: a checkpoint of masked noise.
        prompt: what a model of pairs reads before the text; the text is its completion.
        blind: mask all words at once: words that will be changed together do not vouch for each
            other, and one pass is enough. The prompt must say what to expect.
        batch_size: words judged side by side.

    Example:
        >>> from types import SimpleNamespace
        >>> from sfumato.noise.masked import MaskedProcess
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a cat"], size=300)
        >>> blank = lambda x_t, where, **_: torch.zeros(int(where.sum()), words.size)
        >>> process = MaskedProcess(mask=words.mask)
        >>> model = SimpleNamespace(denoiser=blank, vocabulary=words, process=process)
        >>> [round(one, 3) for one in Surprise(model=model)("a cat", [(0, 1)])]
        [5.587]
    """

    model: Model
    batch_size: int = 32
    prompt: str | None = None
    blind: bool = False

    def __call__(self, text: str, words: Sequence[Span]) -> list[float]:
        """Nats of each word.

        Raises:
            UsageError: the model's noise leaves no mark, or the text is longer than it reads.
        """
        ids, places = _encode_apart(text, words, self.model.vocabulary, self.prompt)
        masked = [[*chain.from_iterable(places)]] if self.blind else places
        found = chain.from_iterable(
            _log_likelihoods(self.model, [(ids, where) for where in masked], self.batch_size)
        )
        return [-sum(islice(found, len(where))) for where in places]


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution:
    """Scores words by what a scorer loses without them: its number with minus without the word.

    Where no word makes a difference by itself, as when a word stands twice, each is scored alone.

    Attributes:
        scorer: any scorer.

    Example:
        >>> loud = lambda texts: [float(text.count("!") + text.count("NO")) for text in texts]
        >>> Attribution(scorer=loud)("oh NO dear", [(0, 2), (3, 5), (6, 10)])
        [0.0, 1.0, 0.0]
    """

    scorer: Scorer

    def __call__(self, text: str, words: Sequence[Span]) -> list[float]:
        """The difference that each word makes."""
        texts = [text, *(without(text, [word]) for word in words)]
        whole, *rest = scores_of(self.scorer, texts)
        found = [whole - one for one in rest]
        if found and max(found) <= 0:
            return scores_of(self.scorer, [text[start:stop] for start, stop in words])
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class PseudoLikelihood:
    """A scorer: the mean log-probability of a text's tokens, each from others, nats a token.

    In pass j of `folds` every `folds`-th token is masked, from the j-th on, and the end of the
    text is one of them. With as many folds as tokens each is predicted from all the others
    (Salazar et al., arXiv 1910.14659).

    Attributes:
        model: a checkpoint of masked noise.
        folds: passes a text; more are dearer and hide fewer neighbours.
        batch_size: rows judged side by side.

    Raises:
        UsageError: fewer than one fold.
    """

    model: Model
    folds: int = 8
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.folds < 1:
            raise UsageError(f"expected folds ≥ 1, got {self.folds}")

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """Nats a token, at most 0."""
        sums = self.sums(texts)
        return [total / self.size(text) for total, text in zip(sums, texts, strict=True)]

    def size(self, text: str) -> int:
        """How many tokens of a text are judged: all of them and the end."""
        return len(self.model.vocabulary.encode(text)) + 1

    def sums(self, texts: Sequence[str]) -> list[float]:
        """Nats of each whole text, at most 0."""
        vocabulary = self.model.vocabulary
        opening = [] if vocabulary.bos is None else [vocabulary.bos]
        rows: list[Masked] = []
        owner: list[int] = []
        totals = [0.0] * len(texts)
        for index, text in enumerate(texts):
            ids = [*opening, *vocabulary.encode(text), vocabulary.eos]
            judged = range(len(opening), len(ids))
            for fold in range(min(self.folds, len(judged))):
                rows.append((ids, list(judged)[fold :: self.folds]))
                owner.append(index)
        for index, sum_ in zip(
            owner, log_likelihoods(self.model, rows, self.batch_size), strict=True
        ):
            totals[index] += sum_
        return totals


def choose_spans(
    text: str, choose: Chooser, *, budget: int | float, least: float = 0.0
) -> tuple[Span, ...]:
    """The words that a chooser scores highest, as spans; neighbours become one span.

    Args:
        text: what to change.
        choose: scores every word, higher to be changed first.
        budget: the most words, or as a float the largest share of the words (at least one word).
        least: words that score no more than this are left alone.

    Raises:
        UsageError: a negative budget, or a share above 1.

    Example:
        >>> choose_spans("a bad old cat", lambda text, words: [0, 9, 5, 1], budget=2)
        ((2, 9),)
    """
    words = word_spans(text)
    count = allowed(budget, len(words))
    if not words or not count:
        return ()
    return join_neighbours(
        text, highest(words, [float(one) for one in choose(text, words)], least)[:count]
    )


def highest(words: Sequence[Span], scores: Sequence[float], least: float) -> list[Span]:
    """Words with a score above `least`, the highest first."""
    if len(scores) != len(words):
        raise UsageError(f"a chooser scored {len(scores)} of {len(words)} words: score each")
    order = sorted(range(len(words)), key=lambda i: -scores[i])
    return [words[i] for i in order if scores[i] > least]


def allowed(budget: int | float, words: int) -> int:
    """How many of `words` words a budget allows to change.

    Example:
        >>> allowed(3, 10), allowed(0.25, 10), allowed(0.01, 10)
        (3, 2, 1)
    """
    if budget < 0 or (isinstance(budget, float) and budget > 1):
        raise UsageError(
            f"expected a budget of 0 or more words, or a share from 0.0 to 1.0, got {budget}"
        )
    if isinstance(budget, float):
        return min(words, max(int(budget * words), int(budget > 0)))
    return min(words, budget)


def log_likelihoods(model: Model, rows: Sequence[Masked], batch_size: int) -> list[float]:
    """Σ log p of the tokens at some positions of each row, masked together, given the others.

    Raises:
        UsageError: the model's noise does not mark what is unwritten.
    """
    return [sum(one) for one in _log_likelihoods(model, rows, batch_size)]


@torch.no_grad()
def _log_likelihoods(model: Model, rows: Sequence[Masked], batch_size: int) -> list[list[float]]:
    """Log p of each masked token, from left to right."""
    vocabulary = model.vocabulary
    if not marks_noise(model.process, specials_of(vocabulary)):
        raise UsageError(
            f"{model.process} has no mask to hide a word behind: choose words and judge fluency "
            "with a model of masked noise, or by another scorer"
        )
    device = device_of(model.denoiser)
    found: list[list[float]] = []
    for first in range(0, len(rows), batch_size):
        batch = rows[first : first + batch_size]
        width = max(len(ids) for ids, _ in batch)
        x_0 = torch.tensor([[*ids, *[vocabulary.pad] * (width - len(ids))] for ids, _ in batch])
        attend = torch.arange(width) < torch.tensor([[len(ids)] for ids, _ in batch])
        where = torch.zeros_like(attend)
        for row, (_, masked) in enumerate(batch):
            where[row, masked] = True
        x_t = x_0.masked_fill(where, vocabulary.mask)
        t = where.sum(1) / attend.sum(1)
        logits = model.denoiser(
            x_t.to(device), where.to(device), attend=attend.to(device), t=t.to(device)
        )
        log_p = logits.log_softmax(1).cpu().gather(1, x_0[where][:, None])[:, 0].double()
        found += [part.tolist() for part in torch.split(log_p, where.sum(1).tolist())]
    return found


def _encode_apart(
    text: str, words: Sequence[Span], vocabulary: Vocabulary, prompt: str | None
) -> tuple[list[int], list[list[int]]]:
    """Ids of a text in which no token reaches across a word's edge, and each word's positions."""
    opening, lead = ids_before(prompt, vocabulary)
    ids = [*opening]
    places: list[list[int]] = []
    first, *rest = cut(text, words)
    *gaps, tail = lead + first, *rest
    for index, (gap, (start, stop)) in enumerate(zip(gaps, words, strict=True)):
        # A lone space between two words belongs to the second of them, as in running text.
        lone = gap == " " and index > 0
        ids += () if lone else locked_ids(gap, vocabulary, index=index, last=False)
        word = " " * gap.endswith(" ") + text[start:stop]
        new = following_ids(word, vocabulary) if text[:start] else vocabulary.encode(word)
        places.append(list(range(len(ids), len(ids) + len(new))))
        ids += new
    ids += following_ids(tail, vocabulary) if words else vocabulary.encode(tail)
    return [*ids, vocabulary.eos], places
