"""`transformers.Trainer` with the diffusion objective.

What is ours: noise drawn once for the global batch, the loss divided by the global batch's
items, a validation ELBO, a journal, and what `keeping` does about faults. What is the Trainer's:
optimisation, schedules, mixed precision, accumulation, sharding, logging integrations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from sfumato.errors import UsageError
from sfumato.models.parts.attention import spell_out_attention
from sfumato.training.averaging import WeightAverage
from sfumato.training.journal import Journal, JournalCallback
from sfumato.training.keeping.checkpoints import WEIGHTS_FILE, check, step_of
from sfumato.training.keeping.resuming import load_random, load_training, save_checkpoint
from sfumato.training.keeping.room import Room
from sfumato.training.keeping.sound import SoundSteps, named, poisoned
from sfumato.training.muon import new_optimizer
from sfumato.training.objectives import Encoded, Learning, Noised, Reporting, stage_of
from sfumato.training.sharing.rows import LengthBuckets, alone, read_alike, shares
from sfumato.training.sharing.weights import gathered

_COUNTS = "counts"
Composer = Callable[[Sequence[Any], torch.Generator], Any]
Validation = Callable[[nn.Module], dict[str, float]]


class DiffusionTrainer(Trainer):
    """Trains a denoiser on encoded examples.

    Args:
        denoiser: the network, an `nn.Module` that the objective can ask.
        objective: noise and loss.
        examples: the training split, encoded.
        compose: lays examples out as a batch for the objective, given a generator.
        args: the Trainer's own arguments; `seed` also keys the noise of every step.
        muon: use Muon for the body's matrices; otherwise AdamW for everything.
        apart: each process lays out and noises its own rows only, with draws of its own, for
            layouts that are dear, such as images to encode. Otherwise each does so for the global
            batch, and any number of processes take the same steps.
        decay: of the exponential moving average; 0 keeps none.
        max_nonfinite: how many steps whose loss or gradient is not finite may be left out.
        validation: measures a model on the validation split; its numbers are logged as `eval_*`.

    Raises:
        UsageError: DeepSpeed, or `load_best_model_at_end`: both read files that are no checkpoints
            of ours.
        ResourceError: more steps than may be were not finite, memory gave out, or a checkpoint
            cannot be written; the weights are those of the last good step.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        *,
        objective: Learning,
        examples: Sequence[Encoded],
        compose: Composer,
        args: TrainingArguments,
        muon: bool = False,
        apart: bool = False,
        decay: float = 0.0,
        max_nonfinite: int = 3,
        validation: Validation | None = None,
    ) -> None:
        args.remove_unused_columns = False
        args.logging_nan_inf_filter = False
        if args.ddp_find_unused_parameters is None:
            args.ddp_find_unused_parameters = False
        self.apart = apart
        self.objective: Learning = objective
        self._kind: type[Noised] | None = None
        self.examples = examples
        self.compose: Composer = compose
        self.muon = muon
        self.validation: Validation | None = validation
        super().__init__(
            model=denoiser,
            args=args,
            train_dataset=examples,
            eval_dataset=examples[:1],
        )
        if self.is_deepspeed_enabled or args.load_best_model_at_end:
            unsafe = "DeepSpeed and load_best_model_at_end read pickles"
            raise UsageError(f"{unsafe}: shard with FSDP2, and keep the moving average")
        self.loss_is_scaled_for_ga = True
        self.room = Room(rows=args.train_batch_size, processes=args.world_size)
        self.journal = Journal(Path(str(args.output_dir)))
        tell = self.journal.write if args.should_save else lambda *_: None
        self.sound = SoundSteps(most=max_nonfinite, tell=tell)
        self.add_callback(JournalCallback(self.journal))
        self.average = WeightAverage(denoiser, decay=decay) if decay else None
        averaged = None if self.average is None else self.average.average
        self._gathered = (
            gathered(denoiser, self.accelerator, averaged, bf16=args.bf16)
            if self.is_fsdp_enabled
            else None
        )
        for callback in (self.average, self._gathered):
            if callback is not None:
                self.add_callback(callback)
        if args.bf16 and args.device.type == "cpu":
            spell_out_attention(denoiser, length=max(len(example.ids) for example in examples))

    @property
    def best_weights(self) -> nn.Module:
        """The model to keep: the moving average where there is one."""
        if self.average is not None:
            return self.average.average.module
        return self._network if self._gathered is None else self._gathered.network

    @property
    def _network(self) -> nn.Module:
        assert self.model is not None
        return self.model

    def resume(self, checkpoint: Path) -> None:
        """Goes on from a checkpoint of this run: the same steps as if it had never stopped.

        Raises:
            ModelError: the checkpoint is not what was written.
        """
        check(checkpoint)
        step = step_of(checkpoint)
        if self.args.should_save:
            self.journal.rewind(step)
        if self.average is not None:
            self.average.load(checkpoint)
        if step < self.args.max_steps:
            self.train(resume_from_checkpoint=str(checkpoint))
        else:  # the Trainer would take one step more
            self._load_from_checkpoint(str(checkpoint))
            self.state.global_step = step

    def get_batch_samples(
        self, epoch_iterator: Iterator[list[Encoded]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Tensor]], Tensor]:
        """Collects the micro-batches of one optimiser step and noises them with one draw."""
        groups, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not groups:
            return [], torch.tensor(0.0)
        process, processes = self.args.process_index, self.args.world_size
        own = shares([len(group) for group in groups], process=process, processes=processes)
        examples = [example for group in groups for example in group]
        self.room.begin()
        self.sound.begin(self.state.global_step + 1, partial(named, examples, self.examples))
        key = (self.args.seed * 1_000_003 + self.state.global_step) * 4099
        if self.apart:
            examples = [example for one in own for example in examples[one.start : one.stop]]
            own, key = alone(own), key + process
        generator = torch.Generator().manual_seed(key)
        now = stage_of(self.objective, self.state.global_step / max(1, self.state.max_steps))
        prepared = now.prepare(self.compose(examples, generator), generator)
        self._kind, items = type(prepared), prepared.items.to(device)
        micro = [prepared.rows(one.start, one.stop) for one in own]
        if self.apart and processes > 1:
            counted = [part.items for part, one in zip(micro, own, strict=True) if one.counts]
            items = self.accelerator.gather(torch.stack([0 * items, *counted]).sum()).sum()
        counts = [{_COUNTS: torch.tensor(float(one.counts))} for one in own]
        return [_as_dict(part) | one for part, one in zip(micro, counts, strict=True)], items

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """One micro-batch, in pieces if memory asks for it."""
        step, counts = super().training_step, inputs.pop(_COUNTS)
        assert self._kind is not None

        def take(piece: Noised) -> Tensor:
            return step(model, {**_as_dict(piece), _COUNTS: counts}, num_items_in_batch)

        return self.sound.heard(self.room.take(self._kind(**inputs), take, model.zero_grad))

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The micro-batch's share of the global batch's mean loss, nats per item."""
        assert num_items_in_batch is not None
        assert self._kind is not None
        counts = inputs.pop(_COUNTS)
        loss = counts * self.objective(model, self._kind(**inputs)) / num_items_in_batch
        return poisoned(loss * self.accelerator.num_processes)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:  # noqa: ANN401
        norm = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        self.sound.measured(float(norm))
        return norm

    def get_train_dataloader(self) -> DataLoader[list[Encoded]]:
        """Global micro-batches; each process takes its rows when they are noised."""
        args = self.args
        rows = args.train_batch_size * args.world_size
        order = LengthBuckets(
            [len(example.ids) for example in self.examples],
            batch_size=rows * args.gradient_accumulation_steps,
            seed=args.seed,
        )
        workers = args.dataloader_num_workers
        return read_alike(self.examples, order, rows=rows, workers=workers)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Muon or AdamW over matrices, tables and vectors."""
        if self.optimizer is None:
            self.optimizer = new_optimizer(model or self._network, self.args, muon=self.muon)
            self.optimizer.register_step_pre_hook(self.sound.before_step)
        return self.optimizer

    def evaluate(
        self,
        eval_dataset: object = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Measures the validation split with the weights that would be kept."""
        if self.validation is None:
            return {}
        if self.average is None:
            self._whole()
        model = self.best_weights
        training = model.training
        model.eval()
        with torch.no_grad():
            metrics = {f"eval_{name}": value for name, value in self.validation(model).items()}
        model.train(training)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Logs, beside the loss, what an objective that is `Reporting` found."""
        if "loss" in logs and isinstance(self.objective, Reporting):
            logs |= self.objective.report()
        super().log(logs, start_time)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Writes the weights as one file, by the first process."""
        model = self._whole()
        if self.args.should_save:
            folder = Path(output_dir or str(self.args.output_dir))
            folder.mkdir(parents=True, exist_ok=True)
            safetensors.torch.save_model(model, str(folder / WEIGHTS_FILE))

    def _save_checkpoint(self, model: nn.Module, trial: object) -> None:
        self.store_flos()
        save_checkpoint(self, self._whole(), self.average, skipped=self.sound.skipped)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self.sound.skipped = load_training(self, Path(checkpoint))

    def _load_scaler(self, checkpoint: str | None) -> None:
        """`_load_optimizer_and_scheduler` has loaded it."""

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_random(self, Path(checkpoint))

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        path = Path(resume_from_checkpoint) / WEIGHTS_FILE
        network = model or self._network
        if self._gathered is None:
            safetensors.torch.load_model(network, str(path))
            return
        safetensors.torch.load_model(self._gathered.network, str(path))
        if network is not self._gathered.network:
            self._gathered.scatter(network)

    def _whole(self) -> nn.Module:
        """The network with all of its weights; all processes have to ask for it."""
        if self._gathered is None:
            whole: nn.Module = self.accelerator.unwrap_model(self._network)
            return whole
        return self._gathered.gather(self._network)


def _as_dict(prepared: Any) -> dict[str, Tensor]:  # noqa: ANN401
    return {field.name: getattr(prepared, field.name) for field in fields(prepared)}
