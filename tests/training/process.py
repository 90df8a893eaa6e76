"""One of several processes that train together; `test_processes.py` starts it, on CPUs.

python -m accelerate.commands.launch --config_file FILE tests/training/process.py FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import safetensors.torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from tests.alignment.test_likelihood import RECORDS
from tests.alignment.test_objective import ELBO, layout
from tests.training import worlds
from torch import distributed, nn
from transformers import TrainingArguments

from sfumato.alignment.learning.losses import Pairwise, Sigmoid
from sfumato.alignment.learning.objective import PreferenceObjective
from sfumato.alignment.learning.trainer import preference_trainer
from sfumato.alignment.rankings.sets import encode_ranked
from sfumato.evaluation.perplexity import elbo
from sfumato.models.checkpoints import Checkpoint
from sfumato.models.lora import adapters_off, with_lora
from sfumato.noise.masked import MaskedProcess
from sfumato.training.journal import Journal
from sfumato.training.trainer import DiffusionTrainer

ROWS = 12  # of a global batch; the epoch's last one has 7, which two processes cannot share evenly


def arguments(folder: Path, *, processes: int, rows: int, **changes: object) -> TrainingArguments:
    """The same steps for any number of processes, in two micro-batches if they are several."""
    parts = 1 if processes == 1 else 2
    size = rows // processes // parts
    batch = {"per_device_train_batch_size": size, "gradient_accumulation_steps": parts}
    made = worlds.arguments(folder, **batch, max_steps=6, **changes)
    if made.device.type == "cpu" and "ACCELERATE_USE_FSDP" in os.environ:
        # accelerate shards on GPUs only; torch does on CPUs as well.
        PartialState().distributed_type = DistributedType.MULTI_GPU
    return made


def bound(model: nn.Module) -> dict[str, float]:
    """The likelihood bound of four texts."""
    process = MaskedProcess(mask=worlds.WORDS.mask)
    whole = Checkpoint(denoiser=model, vocabulary=worlds.WORDS, process=process)  # type: ignore[arg-type]
    return {one.name: one.value for one in elbo(whole, worlds.EXAMPLES[:4], draws=2, seed=0)}


def denoising(folder: Path, *, processes: int = 1) -> DiffusionTrainer:
    """Muon, a moving average, accumulation, validations and checkpoints."""
    return DiffusionTrainer(
        worlds.tiny(),
        objective=worlds.objective(),
        examples=worlds.EXAMPLES[:31],
        compose=worlds.lay,
        args=arguments(
            folder,
            processes=processes,
            rows=ROWS,
            save_strategy="steps",
            save_steps=3,
            eval_strategy="steps",
            eval_steps=3,
        ),
        muon=True,
        decay=0.9,
        validation=bound,
    )


def preferring(folder: Path, *, processes: int = 1) -> DiffusionTrainer:
    """Adapters, which are the reference when they are off: twice through the network in a step."""
    policy = with_lora(worlds.tiny(), rank=4)
    goal = PreferenceObjective(
        estimator=replace(ELBO, draws=2),
        loss=Pairwise(loss=Sigmoid(beta=0.5)),
        reference=adapters_off,
    )
    examples = [encode_ranked(record, worlds.WORDS, max_length=24) for record in RECORDS] * 4
    args = arguments(folder, processes=processes, rows=4)
    return preference_trainer(policy, objective=goal, examples=examples, layout=layout, args=args)


def only_the_first_writes(process: int) -> None:
    """Makes writing an error in every other process."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError(f"process {process} writes")

    if process:
        Journal.write = Journal.rewind = refuse  # type: ignore[method-assign, assignment]
        safetensors.torch.save_model = refuse


def main(folder: Path) -> None:
    """Trains both, and goes on with the first from its checkpoint."""
    processes = int(os.environ["WORLD_SIZE"])
    only_the_first_writes(int(os.environ["RANK"]))
    denoising(folder / "denoising", processes=processes).train()
    again = denoising(folder / "denoising", processes=processes)
    again.resume(folder / "denoising" / "checkpoint-3")
    preferred = preferring(folder / "preferring", processes=processes)
    preferred.train()
    ended = {"sharded": preferred.accelerator.is_fsdp2, "processes": preferred.args.world_size}
    for name, run in (("denoising", again), ("preferring", preferred)):
        if run.args.should_save:
            weights = {n: v.clone() for n, v in run.best_weights.state_dict().items()}
            safetensors.torch.save_file(weights, str(folder / f"{name}.safetensors"))
            (folder / "ended.json").write_text(json.dumps(ended))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    if distributed.is_initialized():
        distributed.destroy_process_group()
