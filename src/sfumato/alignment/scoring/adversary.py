"""A regulariser of masked and uniform models: what they predict shall look real.

    p = softmax of the logits ─► Σ_v p_v·e_v ─► D ─► softplus(−D)

Tokens cannot be differentiated, so D, an encoder with the same tokens, is given the mean of its own
embeddings under the model's prediction wherever the text is noised (so Guo et al., arXiv
2104.13733, for attacks on classifiers). D stays as it is.

Legend of shapes: `B` sets, `L` positions, `V` tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus
from transformers import PreTrainedModel

from sfumato.alignment.learning.likelihood import NoisedTokens
from sfumato.errors import UsageError
from sfumato.protocols import Denoiser


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenAdversary:
    """weight · softplus(−D(x̂_0)) of the best text of each set, with the noise of its first draw.

    Attributes:
        judge: a classifier of one number, such as `sfumato discriminator train` makes of the model
            itself; frozen.
        weight: of the loss.
        pad: is not shown to the judge.

    Raises:
        UsageError: a negative weight.
    """

    judge: PreTrainedModel
    weight: float
    pad: int

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise UsageError(f"expected a weight ≥ 0, got {self.weight}")

    def __call__(self, denoiser: Denoiser, noised: NoisedTokens) -> Float[Tensor, "B"]:
        """The loss of each set.

        Args:
            denoiser: the policy.
            noised: ranked texts with noise.

        Raises:
            UsageError: policy and judge have other tokens.
        """
        ranks = noised.ranks
        best = ranks.masked_fill(ranks == 0, int(ranks.max()) + 1).argmin(1)
        row = torch.arange(len(best), device=best.device)
        ids, attend = noised.ids[row, best], noised.attend[row, best]
        where = noised.where[row, best, 0]
        logits = denoiser(noised.x_t[row, best, 0], where, attend=attend, t=noised.t[:, 0])
        embeddings: Any = self.judge.get_input_embeddings()
        table: Tensor = embeddings.weight
        if logits.shape[1] > len(table):
            raise UsageError(
                f"the policy writes {logits.shape[1]} tokens and the judge knows {len(table)}: "
                "train a discriminator with the policy's folder as its --model"
            )
        soft = logits.softmax(1).to(table) @ table[: logits.shape[1]]
        shown = table[ids].index_put(where.nonzero(as_tuple=True), soft)
        judge: nn.Module = self.judge
        seen = attend & (ids != self.pad)
        said = judge(inputs_embeds=shown, attention_mask=seen.long()).logits[:, 0]
        return self.weight * softplus(-said.float())
