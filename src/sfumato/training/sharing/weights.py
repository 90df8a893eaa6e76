"""The whole weights of a network of which each process holds a shard (FSDP2).

What one process does alone, writing a file or a sample, needs a network that is all there; to make
it so, every process has to take part.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sfumato.errors import UsageError

# Weights travel in bfloat16; autocast does the rest as without shards. accelerate's own policy
# would round times, losses and the sums of gradients as well.
BF16 = MixedPrecisionPolicy(
    param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
)


def _whole(value: Tensor) -> Tensor:
    found: Tensor = value.full_tensor() if isinstance(value, DTensor) else value
    return found.detach()


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A network's weights, each gathered from all processes when it is asked for.

    Attributes:
        network: in shards or not.
    """

    network: nn.Module

    def parameters(self) -> Iterator[Tensor]:
        """Its parameters, in their order."""
        return map(_whole, self.network.parameters())

    def buffers(self) -> Iterator[Tensor]:
        """Its buffers, in their order."""
        return map(_whole, self.network.buffers())


def gathered(
    denoiser: nn.Module, accelerator: Accelerator, average: nn.Module | None, *, bf16: bool
) -> Gathered:
    """Where the weights come together, if the processes are to hold shards of them.

    Args:
        denoiser: before it is cut.
        accelerator: cuts it.
        average: of the weights, which evaluations need on the device.
        bf16: train in mixed precision.

    Raises:
        UsageError: another version of FSDP.
    """
    if not accelerator.is_fsdp2:
        raise UsageError("expected fsdp_version: 2 in accelerate's configuration, got 1")
    if bf16:
        accelerator.state.fsdp_plugin.mixed_precision_policy = BF16
    if average is None:
        return Gathered(denoiser, device=accelerator.device)
    average.to(accelerator.device)
    return Gathered(denoiser, device=torch.device("cpu"))


class Gathered(TrainerCallback):
    """A copy of a network that stays whole while the network itself is cut into shards.

    Args:
        network: before it is cut.
        device: where the copy is.
    """

    def __init__(self, network: nn.Module, *, device: torch.device) -> None:
        self.network = copy.deepcopy(network).to(device)

    @torch.no_grad()
    def gather(self, shards: nn.Module) -> nn.Module:
        """The copy with the weights of the shards; all processes have to call it."""
        of, own = Whole(network=shards), self.network
        kept = chain(own.parameters(), own.buffers())
        for old, new in zip(kept, chain(of.parameters(), of.buffers()), strict=True):
            old.copy_(new)
        return self.network

    def scatter(self, shards: nn.Module) -> None:
        """Gives the shards the weights of the copy; all processes have to call it."""
        options = StateDictOptions(full_state_dict=True)
        set_model_state_dict(shards, self.network.state_dict(), options=options)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Takes the weights that the training ended with."""
        shards = kwargs["model"]
        assert isinstance(shards, nn.Module)
        self.gather(shards)
