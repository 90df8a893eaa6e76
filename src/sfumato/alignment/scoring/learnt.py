"""A reward that is learnt from rankings: an encoder with one number on top (Bradley and Terry).

    texts ─► encoder ─► r(text);   p(ranking) by r, as a preference loss has it

Bradley–Terry is the sigmoid loss of pairs, Plackett–Luce its form for lists (Stiennon et al.,
arXiv 2009.01325, §3.2): the losses of alignment with r in the place of the log-ratio.

Legend of shapes: `B` sets, `N` candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from sfumato.alignment.learning.likelihood import Causal, NoisedTokens, placed
from sfumato.alignment.learning.losses import PlackettLuce, better
from sfumato.alignment.rankings.sets import RankedExample, RankedSets, lay_rows
from sfumato.errors import UsageError
from sfumato.models.scorers import Classifier, classifier
from sfumato.models.storage import folders

LABEL = "reward"
SetLoss = Callable[[Tensor, Tensor], Tensor]  # scores and ranks, B N → B


@dataclass(frozen=True, kw_only=True)
class RewardObjective:
    """What a reward is trained on: the loss of the rankings, with r as the score.

    Attributes:
        loss: of pairs, of lists, or of each candidate by itself: one number a set.

    Example:
        >>> RewardObjective().loss
        PlackettLuce(beta=1.0, top=None)
    """

    loss: SetLoss = field(default_factory=lambda: PlackettLuce(beta=1.0))

    def prepare(self, batch: RankedSets, generator: torch.Generator) -> NoisedTokens:
        """The batch as it is: there is no noise."""
        return Causal().prepare(batch, generator)

    def __call__(self, denoiser: nn.Module, prepared: NoisedTokens) -> Float[Tensor, ""]:
        """The summed loss of the sets; divide by the global batch's `items`."""
        return self.loss(rewards_of(denoiser, prepared), prepared.ranks).sum()


def rewards_of(network: nn.Module, noised: NoisedTokens) -> Float[Tensor, "B N"]:
    """The reward of each candidate; 0 for one that is not there."""
    there = noised.ranks > 0
    ids, attend = noised.ids[there], noised.attend[there]
    found = network(input_ids=ids, attention_mask=attend.long()).logits.float()
    return placed(found, there)[..., 0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """What a network says of ranked sets.

    Attributes:
        logits: one number a candidate, 0 for one that is not there, *shape* `B N`.
        ranks: places, 0 for a candidate that is not there, *shape* `B N`.
    """

    logits: Float[Tensor, "B N"]
    ranks: Int[Tensor, "B N"]


@torch.no_grad()
def judged(
    network: nn.Module, examples: Sequence[RankedExample], *, pad: int, batch_size: int = 16
) -> Judged:
    """Asks a network about sets, those of similar length together; on the CPU.

    Args:
        network: the reward.
        examples: encoded rankings, at least one.
        pad: fills the rows.
        batch_size: sets judged side by side.
    """
    device = next(network.parameters()).device
    most = max(len(one.candidates) for one in examples)
    logits, ranks = torch.zeros(len(examples), most), torch.zeros(len(examples), most).long()
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].ids))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = lay_rows([examples[i] for i in rows], pad=pad)
        noised = Causal().prepare(batch, torch.Generator()).to(device)
        found, wide = rewards_of(network, noised).cpu(), batch.ranks.shape[1]
        logits[rows, :wide], ranks[rows, :wide] = found, batch.ranks
    return Judged(logits=logits, ranks=ranks)


def pairs_right(
    logits: Float[Tensor, "B N"], ranks: Int[Tensor, "B N"]
) -> tuple[Float[Tensor, "B"], Int[Tensor, "B"]]:
    """How many pairs of each set stand in the order of their ranks, of how many; a tie is half.

    Args:
        logits: the higher the better.
        ranks: 1 for the best, 0 for a candidate that is not there.

    Example:
        >>> logits, ranks = torch.tensor([[2.0, 1.0, 2.0]]), torch.tensor([[1, 2, 2]])
        >>> pairs_right(logits, ranks)
        (tensor([1.5000]), tensor([2]))
    """
    lead, order = logits[:, :, None] - logits[:, None], better(ranks)
    return ((lead.sign() + 1) / 2 * order).sum((1, 2)), order.sum((1, 2))


def ordered_rightly(logits: Float[Tensor, "B N"], ranks: Int[Tensor, "B N"]) -> float:
    """The share of pairs whose better text has the higher number; see `pairs_right`.

    Raises:
        UsageError: no pair with an order.
    """
    right, pairs = pairs_right(logits, ranks)
    if not pairs.sum():
        raise UsageError("there is no pair with an order to measure on")
    return float(right.sum() / pairs.sum())


def new_reward(folder: str | Path, *, label: str = LABEL, seed: int = 0) -> PreTrainedModel:
    """An encoder with an untrained head of one number.

    Args:
        folder: folder or hub name of an encoder of transformers, or of a model of masked noise.
        label: what the number is called.
        seed: of the head.

    Raises:
        ModelError: there is no such model, or it is broken.
    """
    opened = folders.read_network(folders.locate(folder), kind=AutoModelForSequenceClassification)
    network = opened.network
    source = torch.Generator().manual_seed(seed)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    head = nn.Linear(last.in_features, 1, bias=last.bias is not None)
    with torch.no_grad():
        head.weight.normal_(std=0.02, generator=source)
        if last.bias is not None:
            head.bias.zero_()
        fresh = {name for name in opened.missing if name.endswith("weight")}
        for name, parameter in network.named_parameters():
            if name in fresh and parameter.dim() > 1:
                parameter.normal_(std=0.02, generator=source)
    name = next(name for name, module in network.named_modules() if module is last)
    network.set_submodule(name, head)
    network.config.num_labels = 1
    cast(Any, network).num_labels = 1
    network.config.id2label, network.config.label2id = {0: label}, {label: 0}
    return network


@dataclass(frozen=True, kw_only=True, eq=False)
class Learnt:
    """A trained reward as a scorer: r, the log-odds of the classifier in its folder.

    Attributes:
        judge: the classifier.
    """

    judge: Classifier

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """One number a text."""
        p = torch.tensor(self.judge(texts), dtype=torch.float64).clamp(1e-7, 1 - 1e-7)
        return torch.logit(p).tolist()


def learnt(folder: str | Path, *, device: torch.device | str = "cpu") -> Learnt:
    """Opens a trained reward.

    Args:
        folder: folder or hub name.
        device: where it goes.

    Raises:
        ModelError: there is none.
    """
    return Learnt(judge=classifier(folder, label=LABEL, device=device))
