"""What texts written freely are measured by, the same in every benchmark of them."""

from __future__ import annotations

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


@dataclass(frozen=True, kw_only=True, eq=False)
class Rulers:
    """Real texts, a judge and an encoder.

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

    def measure(
        self, texts: Sequence[str], *, against: Sequence[str] | None = None
    ) -> list[Metric]:
        """The numbers of `HEAD`; empty texts are left out.

        Args:
            texts: what was written.
            against: what MAUVE compares with the held-out texts, if not the texts.
        """
        texts = [text for text in texts if text.strip()]
        if self.features not in self._encoders:
            self._encoders[self.features] = encoder(self.features)
        reader = self._encoders[self.features]
        return [
            div(texts),
            mauve(judged or texts, self.apart[: len(texts)], reader, seed=SEED),
            causal_perplexity(self.judge, texts)[0],
            memorisation(texts, self.learnt),
            loop_rate(texts, seed=SEED),
        ]


def cells(metrics: Sequence[Metric]) -> list[str]:
    """Values and standard errors."""
    return [f"{metric.value:.3f} ± {metric.stderr or 0:.3f}" for metric in metrics]
