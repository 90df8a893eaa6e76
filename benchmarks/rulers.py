"""What texts written freely are measured by, the same in every benchmark of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from contestants import SEED

from sfumato.evaluation.diversity import div
from sfumato.evaluation.likeness.distribution import mauve
from sfumato.evaluation.likeness.encodings import Encoder, encoder
from sfumato.evaluation.loops import loop_rate
from sfumato.evaluation.memorisation import memorisation
from sfumato.evaluation.perplexity import causal_perplexity
from sfumato.evaluation.records import Metric

HEAD = ("div", "MAUVE", "perplexity", "memorised", "loops")


def tidy(text: str) -> str:
    """A text in lower case, without spaces that a matter of taste would put before stops."""
    text = " ".join(text.casefold().replace("ё", "е").split())
    return re.sub(r" (?=[.,!?;:])", "", text)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rulers:
    """Real texts, a judge and an encoder; all texts are tidied, for some tokenizers tidy theirs.

    Attributes:
        judge: an autoregressive model, for perplexity.
        features: an encoder, for MAUVE.
        learnt: texts that were trained on.
        apart: texts that were not.
    """

    judge: str
    features: str
    learnt: Sequence[str]
    apart: Sequence[str]
    _encoders: dict[str, Encoder] = field(default_factory=dict)

    def measure(self, written: Sequence[str], judged: Sequence[str] = ()) -> list[Metric]:
        """The numbers of `HEAD`; empty texts are left out.

        Args:
            written: the texts.
            judged: what MAUVE compares with the held-out texts, if not the texts.
        """
        texts = [tidy(text) for text in written if text.strip()]
        learnt, apart = [*map(tidy, self.learnt)], [*map(tidy, self.apart[: len(texts)])]
        if self.features not in self._encoders:
            self._encoders[self.features] = encoder(self.features)
        reader = self._encoders[self.features]
        return [
            div(texts),
            mauve([*map(tidy, judged)] or texts, apart, reader, seed=SEED),
            causal_perplexity(self.judge, texts)[0],
            memorisation(texts, learnt),
            loop_rate(texts, seed=SEED),
        ]


def cells(metrics: Sequence[Metric]) -> list[str]:
    """Values and standard errors."""
    return [f"{metric.value:.3f} ± {metric.stderr or 0:.3f}" for metric in metrics]
