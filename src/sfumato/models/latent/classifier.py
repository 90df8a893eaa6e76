"""A classifier of noisy vectors: log p(y | x_t, λ), of a label or of a text that is given.

    x_t ─▶ Linear ─▶ + place ─▶ layers ─▶ first slot ─▶ logits ─┐
                                 ↑  ↑                           + ─▶ f
                                 λ  condition                   │
    α·⟨x_t, m(y)⟩ − ½·α²·‖m(y)‖² ──────────────────── · e^s(λ) ─┘

The lower path is what the log-odds are when the noise hides everything but the mean: were x_0
given y normal around m(y) with variance one, it would be all of them. A network has to find that
sum over all slots in what looks like noise.

Legend of shapes: `B` batch, `S` slots, `L` slots of a condition, `D` width of a vector, `W` width
of the network, `K` logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sfumato.errors import UsageError
from sfumato.models.latent.layers import Layer, PairMeans, SharedMeans, initialise
from sfumato.models.parts.conditioning import sinusoids
from sfumato.noise.gaussian import Path
from sfumato.types import Condition

Beside = Literal["cross", "beside"]
_LOG_SNRS = 40.0


@dataclass(frozen=True, kw_only=True)
class ClassifierSizes:
    """Sizes and choices of a classifier.

    Attributes:
        width: `D`, of the vectors.
        slots: the most slots of a text.
        labels: how many classes; 0 for whether x_t belongs to a condition.
        given: the most slots of a condition.
        hidden: `W`, of the network.
        layers: their number.
        heads: of attention.
        reading: how a condition is read: by cross-attention, or beside the slots.
        linear: add the path of the means.
        dropout: chance to drop a unit.

    Raises:
        UsageError: sizes that do not fit each other.

    Example:
        >>> ClassifierSizes(width=16, slots=8, labels=3).outputs
        3
    """

    width: int
    slots: int
    labels: int = 0
    given: int = 64
    hidden: int = 128
    layers: int = 3
    heads: int = 4
    reading: Beside = "beside"
    linear: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        least = min(self.width, self.slots, self.given, self.layers, self.heads)
        if least < 1 or self.hidden % self.heads:
            raise UsageError(f"expected positive sizes, hidden a multiple of heads, got {self}")
        if self.labels < 0 or self.labels == 1:
            raise UsageError(f"expected 2 labels or more, or 0 for pairs, got {self.labels}")

    @property
    def outputs(self) -> int:
        """`K`."""
        return self.labels or 1

    def as_json(self) -> Mapping[str, Any]:
        """What a checkpoint keeps."""
        return asdict(self)


class NoisyClassifier(nn.Module):
    """A transformer over noisy vectors that knows λ.

    Args:
        sizes: what to build.
        path: how α and σ follow from λ.
        seed: of the weights.

    Example:
        >>> from sfumato.noise.gaussian import Preserving
        >>> sizes = ClassifierSizes(width=4, slots=6, labels=3, hidden=8, layers=1, heads=2)
        >>> classifier = NoisyClassifier(sizes, path=Preserving())
        >>> classifier(torch.randn(2, 6, 4), torch.zeros(2)).shape
        torch.Size([2, 3])
    """

    def __init__(self, sizes: ClassifierSizes, *, path: Path, seed: int = 0) -> None:
        super().__init__()
        self.sizes, self.path = sizes, path
        hidden, paired = sizes.hidden, not sizes.labels
        self.enter = nn.Linear(sizes.width, hidden)
        self.place = nn.Embedding(1 + sizes.slots, hidden)
        last = nn.Linear(hidden, 6 * hidden)
        self.time = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), last)
        self.layers = nn.ModuleList(
            Layer(
                width=hidden,
                heads=sizes.heads,
                crossing=paired and sizes.reading == "cross",
                dropout=sizes.dropout,
            )
            for _ in range(sizes.layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, sizes.outputs)
        if paired:
            self.read = nn.Linear(sizes.width, hidden)
            self.read_place = nn.Embedding(sizes.given, hidden)
        self.means: PairMeans | SharedMeans | None = None
        if sizes.linear:
            self.means = _means(sizes)
            self.temper = nn.Linear(hidden, 1)
        initialise(self, seed=seed)
        for layer in (last, self.head, *([self.temper] if sizes.linear else [])):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        x_t: Float[Tensor, "B S D"],
        log_snr: Float[Tensor, "B"],
        *,
        condition: Condition | None = None,
    ) -> Float[Tensor, "B K"]:
        """Logits of the labels, or the log-odds that x_t belongs to the condition.

        Args:
            x_t: noisy vectors.
            log_snr: λ of each row.
            condition: the text that is given; only for a classifier of pairs.

        Raises:
            UsageError: a condition is missing or not wanted, or more slots than there are places.
        """
        self._check(x_t, condition)
        of = self.path.scales(log_snr).over(x_t)
        seen = x_t * (of.alpha**2 + of.sigma**2).rsqrt()
        waves = sinusoids(0.5 + log_snr / _LOG_SNRS, self.sizes.hidden).to(x_t.dtype)
        known = None if condition is None else self._known(condition, x_t)
        given = None if known is None else self._read(known)
        x = nn.functional.pad(self.enter(seen), (0, 0, 1, 0))
        x = x + self.place.weight[: x.shape[1]]
        by = self.time(waves).unflatten(1, (6, -1))
        logits: Tensor = self.head(self.norm(self._layers(x, by, given)[:, 0]))
        if self.means is None:
            return logits
        alpha = torch.sigmoid(2 * log_snr).sqrt().to(x_t)
        linear: Tensor = self.temper(waves).exp() * self.means(seen, alpha, known, given)
        return logits + linear

    def mean(self, condition: Condition, slots: int) -> Float[Tensor, "B S D"] | None:
        """m: what the path of the means expects of a text that belongs; None without the path.

        Raises:
            UsageError: the classifier knows labels.
        """
        if self.sizes.labels:
            raise UsageError("only a classifier of pairs expects something of a condition")
        if not isinstance(self.means, PairMeans):
            return None
        known = self._known(condition, self.read.weight)
        return self.means.mean(slots, known, self._read(known))

    def _check(self, x_t: Tensor, condition: Condition | None) -> None:
        if (condition is None) != bool(self.sizes.labels):
            wanted = "no condition, it knows labels" if self.sizes.labels else "a condition"
            raise UsageError(f"this classifier takes {wanted}")
        if x_t.shape[1] > self.sizes.slots:
            raise UsageError(
                f"the text has {x_t.shape[1]} slots, the classifier {self.sizes.slots}: judge less "
                "at a time"
            )

    def _known(self, condition: Condition, x_t: Tensor) -> Condition:
        """What fits of the condition; a row that is told nothing keeps its first slot."""
        exists = condition.attend[:, : self.sizes.given].clone()
        exists[:, 0] |= ~exists.any(1)
        latents = condition.latents[:, : self.sizes.given].to(x_t)
        return Condition(latents=latents, attend=exists)

    def _read(self, known: Condition) -> tuple[Tensor, Tensor]:
        places = self.read_place.weight[: known.latents.shape[1]]
        return self.read(known.latents) + places, known.attend

    def _layers(
        self,
        x: Float[Tensor, "B S W"],
        by: Float[Tensor, "B 6 W"],
        given: tuple[Tensor, Tensor] | None,
    ) -> Float[Tensor, "B S2 W"]:
        attend = None
        if given is not None and self.sizes.reading == "beside":
            own = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
            x, attend = torch.cat([x, given[0]], 1), torch.cat([own, given[1]], 1)
            given = None
        for layer in self.layers:
            x = layer(x, attend, by, given)
        return x


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelLaw:
    """log p(label | x_t, λ) of each row, for `sampling.latent.guides.Gradient`.

    Attributes:
        classifier: of labels.
        label: the wanted one, by number.

    Raises:
        UsageError: there is no such label.

    Example:
        >>> from sfumato.noise.gaussian import Preserving
        >>> sizes = ClassifierSizes(width=4, slots=6, labels=2, hidden=8, layers=1, heads=2)
        >>> law = LabelLaw(classifier=NoisyClassifier(sizes, path=Preserving()), label=1)
        >>> law(torch.randn(3, 6, 4), torch.zeros(3)).shape
        torch.Size([3])
    """

    classifier: NoisyClassifier
    label: int

    def __post_init__(self) -> None:
        if not 0 <= self.label < self.classifier.sizes.labels:
            known = self.classifier.sizes.labels
            raise UsageError(f"the classifier knows labels 0 to {known - 1}, got {self.label}")

    def __call__(
        self, x_t: Float[Tensor, "B S D"], log_snr: Float[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """The law."""
        logits: Tensor = self.classifier(x_t, log_snr)
        return logits.log_softmax(1)[:, self.label]


@dataclass(frozen=True, kw_only=True, eq=False)
class ConditionLaw:
    """log p(x_t belongs to the condition | x_t, λ), for `sampling.latent.guides.Gradient`.

    The log-odds f of a classifier whose negatives are other texts are log p(x_t|c)/p(x_t), so ∇f is
    ∇ log p(c|x_t); ∇ log p(belongs) is (1 − p)·∇f, weaker the surer the classifier is.

    Attributes:
        classifier: of pairs.
        condition: one row for all texts, or one for each.
        odds: f in the place of log p.

    Raises:
        UsageError: the classifier knows labels.
    """

    classifier: NoisyClassifier
    condition: Condition
    odds: bool = False

    def __post_init__(self) -> None:
        if self.classifier.sizes.labels:
            raise UsageError("a law of a condition needs a classifier of pairs, got one of labels")

    def __call__(
        self, x_t: Float[Tensor, "B S D"], log_snr: Float[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """The law, or the odds."""
        rows = (len(x_t), -1)
        condition = Condition(
            latents=self.condition.latents.expand(*rows, -1),
            attend=self.condition.attend.expand(*rows),
        )
        f: Tensor = self.classifier(x_t, log_snr, condition=condition)[:, 0]
        return f if self.odds else nn.functional.logsigmoid(f)


def _means(sizes: ClassifierSizes) -> PairMeans | SharedMeans:
    if sizes.labels:
        return SharedMeans(count=sizes.labels, width=sizes.width)
    return PairMeans(slots=sizes.slots, width=sizes.width, hidden=sizes.hidden, heads=sizes.heads)
