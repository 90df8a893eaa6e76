"""How many steps fit into the minutes that a person gives: measured, not guessed."""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Sequence

import torch
from accelerate import PartialState
from torch import nn

from sfumato.models.parts.attention import spell_out_attention
from sfumato.training.muon import Muon, parameter_groups
from sfumato.training.objectives import Encoded, Learning
from sfumato.training.trainer import Composer
from sfumato_apps import ranks

_BATCHES, _TIMES, _OVERHEAD = 4, 4, 1.05


def steps_for(
    minutes: float,
    denoiser: nn.Module,
    objective: Learning,
    lay: Composer,
    examples: Sequence[Encoded],
    *,
    rows: int,
    bf16: bool,
    muon: bool,
) -> int:
    """Measures a few steps on a copy of the model and says how many fit into the minutes.

    The copy is trained on the device that the run will have, in its precision. The same few
    batches of random examples are taken several times, and the fastest time of each counts: what
    another process took for a moment is not the step's.
    """
    device = PartialState(cpu=ranks.share_cpus()).device
    model = copy.deepcopy(denoiser).to(device)
    if bf16 and device.type == "cpu":
        spell_out_attention(model, length=max(len(example.ids) for example in examples))
    groups = parameter_groups(model, lr=0.0, weight_decay=0.0, orthogonal=muon)
    optimizer = Muon(groups, lr=0.0, iterates=torch.bfloat16 if bf16 else torch.float32)
    order = random.Random(0).choices(range(len(examples)), k=_BATCHES * rows)
    fastest = [math.inf] * _BATCHES
    for step in range(_BATCHES * _TIMES):
        start = time.monotonic()
        number = step % _BATCHES
        generator = torch.Generator().manual_seed(number)
        chosen = order[number * rows : (number + 1) * rows]
        batch = lay([examples[i] for i in chosen], generator)
        prepared = objective.prepare(batch, generator).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = objective(model, prepared) / prepared.items
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        fastest[number] = min(fastest[number], time.monotonic() - start)
    return max(1, int(minutes * 60 * _BATCHES / (sum(fastest) * _OVERHEAD)))
