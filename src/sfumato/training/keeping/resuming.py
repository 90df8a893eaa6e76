"""What a checkpoint holds of a `transformers.Trainer` beside the weights, without a pickle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.optim.lr_scheduler import LRScheduler
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import ExportableState

from sfumato.errors import ResourceError
from sfumato.training.averaging import WeightAverage
from sfumato.training.keeping.checkpoints import (
    RANDOM_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
    write_checkpoint,
)
from sfumato.training.keeping.states import (
    Tree,
    load_states,
    random_states,
    save_states,
    set_random_states,
)


def save_checkpoint(
    trainer: Trainer, whole: nn.Module, average: WeightAverage | None, *, skipped: int
) -> None:
    """Writes a checkpoint; every process has to take part, one writes.

    Args:
        trainer: what it is of.
        whole: the network with all of its weights.
        average: of its weights.
        skipped: steps that were left out so far.

    Raises:
        ResourceError: it cannot be written; the checkpoints before it are untouched.
    """
    args, scaler = trainer.args, getattr(trainer.accelerator, "scaler", None)
    _, optimizer, scheduler = _parts(trainer)
    own = random_states(args.device)
    own |= {
        "unlogged": trainer._tr_loss.clone(),
        "logged": torch.tensor(trainer._globalstep_last_logged),
    }
    drawn: dict[str, Tensor] = trainer.accelerator.gather(
        {name: value[None].to(args.device) for name, value in own.items()}
    )
    states = {
        "optimizer": _whole_states(trainer) if trainer.is_fsdp_enabled else optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "scaler": None if scaler is None else scaler.state_dict(),
        "skipped": skipped,
    }

    def write(folder: Path) -> None:
        safetensors.torch.save_model(whole, str(folder / WEIGHTS_FILE))
        if average is not None:
            average.save(folder)
        save_states(states, folder)
        tensors = {name: value.cpu().contiguous() for name, value in drawn.items()}
        safetensors.torch.save_file(tensors, str(folder / RANDOM_FILE))
        _note_callbacks(trainer)
        trainer.state.save_to_json(str(folder / STATE_FILE))

    run, step, most = Path(str(args.output_dir)), trainer.state.global_step, args.save_total_limit
    _by_the_first(args, lambda: write_checkpoint(run, step, write, most=most))


def load_training(trainer: Trainer, checkpoint: Path) -> int:
    """Gives optimiser and schedule the states of a checkpoint.

    Returns:
        steps that were left out before it.

    Raises:
        ModelError: they cannot be read.
    """
    states = load_states(checkpoint)
    network, optimizer, scheduler = _parts(trainer)
    if trainer.is_fsdp_enabled:
        options = StateDictOptions(full_state_dict=True)
        set_optimizer_state_dict(network, optimizer, states["optimizer"], options=options)
    else:
        optimizer.load_state_dict(states["optimizer"])
    scheduler.load_state_dict(states["scheduler"])
    if states["scaler"] is not None:
        trainer.accelerator.scaler.load_state_dict(states["scaler"])
    return int(states["skipped"])


def load_random(trainer: Trainer, checkpoint: Path) -> None:
    """Goes on with random numbers and unlogged losses, if as many processes wrote them."""
    args = trainer.args
    states = safetensors.torch.load_file(str(checkpoint / RANDOM_FILE))
    if len(states["torch"]) == args.world_size:
        own = {name: value[args.process_index] for name, value in states.items()}
        set_random_states(own, args.device)
        trainer._tr_loss += own["unlogged"].to(args.device)
        trainer._globalstep_last_logged = int(own["logged"])


def _by_the_first(args: TrainingArguments, work: Callable[[], object]) -> None:
    """Lets the first process write; if it cannot, no process goes on."""
    failed: ResourceError | None = None
    if args.should_save:
        try:
            work()
        except ResourceError as error:
            failed = error
    if args.world_size > 1:
        flag = torch.tensor(float(failed is not None), device=args.device)
        torch.distributed.all_reduce(flag)
        if flag and failed is None:
            raise ResourceError("another process could not write the checkpoint: see its message")
    if failed is not None:
        raise failed


def _whole_states(trainer: Trainer) -> Tree:
    """States of the optimiser, of which each process holds a share, by the names of weights."""
    network, optimizer, _ = _parts(trainer)
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return get_optimizer_state_dict(network, optimizer, options=options)


def _parts(trainer: Trainer) -> tuple[nn.Module, torch.optim.Optimizer, LRScheduler]:
    """Network, optimiser and schedule of a trainer that trains."""
    optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    assert trainer.model is not None
    assert optimizer is not None
    assert trainer.lr_scheduler is not None
    return trainer.model, optimizer, trainer.lr_scheduler


def _note_callbacks(trainer: Trainer) -> None:
    kept = cast(dict[str, Any], trainer.state.stateful_callbacks)
    for one in (*trainer.callback_handler.callbacks, trainer.control):
        if isinstance(one, ExportableState):
            kept[type(one).__name__] = one.state()
