"""How many steps fit into the minutes that a person gives: measured, not guessed."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence

import torch
from accelerate import PartialState
from torch import nn

from sfumato.text.batching import Example
from sfumato.training.muon import Muon, parameter_groups
from sfumato.training.objectives import Objective
from sfumato.training.trainer import Composer
from sfumato_apps import ranks

_WARM_UP, _MEASURED, _OVERHEAD = 3, 12, 1.15


def steps_for(
    minutes: float,
    denoiser: nn.Module,
    objective: Objective,
    lay: Composer,
    examples: Sequence[Example],
    *,
    rows: int,
    bf16: bool,
    muon: bool,
) -> int:
    """Measures a few steps on a copy of the model and says how many fit into the minutes.

    The copy is trained on the device that the run will have, in its precision.
    """
    device = PartialState(cpu=ranks.share_cpus()).device
    model = copy.deepcopy(denoiser).to(device)
    optimizer = Muon(parameter_groups(model, lr=0.0, weight_decay=0.0, orthogonal=muon), lr=0.0)
    generator = torch.Generator().manual_seed(0)
    seconds = []
    for step in range(_WARM_UP + _MEASURED):
        start = time.monotonic()
        first = step * rows % max(1, len(examples) - rows)
        batch = lay(examples[first : first + rows], generator)
        prepared = objective.prepare(batch, generator).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = objective(model, prepared) / prepared.items
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.monotonic() - start)
    typical = sorted(seconds[_WARM_UP:])[_MEASURED // 2]
    return max(1, int(minutes * 60 / (typical * _OVERHEAD)))
