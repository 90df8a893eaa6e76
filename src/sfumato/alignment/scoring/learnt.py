"""A reward that is learnt from rankings: an encoder with one number on top (Bradley and Terry).

    texts ─► encoder ─► r(text);   p(ranking) by r, as a preference loss has it

Bradley–Terry is the sigmoid loss of pairs, Plackett–Luce its form for lists (Stiennon et al.,
arXiv 2009.01325, §3.2): the losses of alignment with r in the place of the log-ratio.

Legend of shapes: `B` sets, `N` candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from sfumato.alignment.learning.likelihood import Causal, NoisedTokens, placed
from sfumato.alignment.learning.losses import PlackettLuce, PreferenceLoss, better
from sfumato.alignment.rankings.sets import RankedSets
from sfumato.errors import UsageError
from sfumato.models.scorers import Classifier, classifier
from sfumato.models.storage import folders

LABEL = "reward"


@dataclass(frozen=True, kw_only=True)
class RewardObjective:
    """What a reward is trained on: the loss of the rankings, with r as the score.

    Attributes:
        loss: of pairs or lists.

    Example:
        >>> RewardObjective().loss
        PlackettLuce(beta=1.0, top=None)
    """

    loss: PreferenceLoss = field(default_factory=lambda: PlackettLuce(beta=1.0))

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


@torch.no_grad()
def ordered_rightly(network: nn.Module, batches: Sequence[NoisedTokens]) -> float:
    """The share of pairs whose better text has the higher reward.

    Args:
        network: the reward.
        batches: rankings, prepared.

    Raises:
        UsageError: no pair with an order.
    """
    right, total = 0, 0
    for batch in batches:
        rewards, order = rewards_of(network, batch), better(batch.ranks)
        right += int((rewards[:, :, None] > rewards[:, None])[order].sum())
        total += int(order.sum())
    if not total:
        raise UsageError("there is no pair with an order to measure on")
    return right / total


def new_reward(folder: str | Path, *, seed: int = 0) -> PreTrainedModel:
    """An encoder with an untrained head of one number.

    Args:
        folder: folder or hub name of an encoder of transformers, or of a model of masked noise.
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
    network.config.id2label, network.config.label2id = {0: LABEL}, {LABEL: 0}
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
