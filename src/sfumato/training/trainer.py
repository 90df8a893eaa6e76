"""`transformers.Trainer` with the diffusion objective.

What is ours: noise drawn once for the global batch, the loss divided by the global batch's
items, a validation ELBO, a journal, a clean stop. What is the Trainer's: optimisation,
schedules, mixed precision, accumulation, sharding, logging integrations, resume.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import Any, cast

import safetensors.torch
import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sfumato.errors import ResourceError
from sfumato.models.parts.attention import spell_out_attention
from sfumato.text.batching import buckets
from sfumato.training.averaging import WeightAverage
from sfumato.training.journal import Journal, JournalCallback
from sfumato.training.muon import Muon, parameter_groups
from sfumato.training.objectives import Encoded, Learning, Noised, Reporting, stage_of

WEIGHTS_FILE = "model.safetensors"
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
        decay: of the exponential moving average; 0 keeps none.
        validation: measures a model on the validation split; its numbers are logged as `eval_*`.

    Raises:
        ResourceError: the loss became infinite or not a number; the weights are still those
            of the last good step.
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
        decay: float = 0.0,
        validation: Validation | None = None,
    ) -> None:
        args.remove_unused_columns = False
        args.logging_nan_inf_filter = False
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
            data_collator=cast(Any, list),  # noise and layout need the global batch
        )
        self.loss_is_scaled_for_ga = True
        directory = Path(str(args.output_dir))
        self.journal = Journal(directory)
        self.add_callback(JournalCallback(self.journal))
        self.average = WeightAverage(denoiser, decay=decay, directory=directory) if decay else None
        if self.average is not None:
            self.add_callback(self.average)
        if args.bf16 and args.device.type == "cpu":
            spell_out_attention(denoiser, length=max(len(example.ids) for example in examples))

    @property
    def best_weights(self) -> nn.Module:
        """The model to keep: the moving average where there is one."""
        return self._network if self.average is None else self.average.average.module

    @property
    def _network(self) -> nn.Module:
        assert self.model is not None
        return self.model

    def resume(self, checkpoint: Path) -> None:
        """Goes on from a checkpoint of this run: the same steps as if it had never stopped."""
        step = int(checkpoint.name.rsplit("-", 1)[1])
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
        examples = [example for group in groups for example in group]
        key = (self.args.seed * 1_000_003 + self.state.global_step) * 4099
        generator = torch.Generator().manual_seed(key + self.args.process_index)
        now = stage_of(self.objective, self.state.global_step / max(1, self.state.max_steps))
        prepared = now.prepare(self.compose(examples, generator), generator)
        self._kind, items = type(prepared), prepared.items.to(device)
        if self.args.world_size > 1:
            items = self.accelerator.gather(items).sum()
        micro, start = [], 0
        for group in groups:
            micro.append(_as_dict(prepared.rows(start, start + len(group))))
            start += len(group)
        return micro, items

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
        loss = self.objective(model, self._kind(**inputs)) / num_items_in_batch
        if not torch.isfinite(loss):
            raise ResourceError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}: the learning "
                f"rate ({self._get_learning_rate():.2g}) may be too high, or the data broken; "
                "the weights of the last good step are kept"
            )
        scaled: Tensor = loss * self.accelerator.num_processes
        return scaled

    def _get_train_sampler(self, train_dataset: object = None) -> LengthBuckets:
        args = self.args
        return LengthBuckets(
            [len(example.ids) for example in self.examples],
            batch_size=args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
            seed=args.seed,
        )

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Muon or AdamW over matrices, tables and vectors."""
        if self.optimizer is None:
            groups = parameter_groups(
                model or self._network,
                lr=self.args.learning_rate,
                weight_decay=self.args.weight_decay,
                orthogonal=self.muon,
            )
            betas = (self.args.adam_beta1, self.args.adam_beta2)
            dtype = torch.bfloat16 if self.args.bf16 else torch.float32
            self.optimizer = Muon(groups, lr=self.args.learning_rate, betas=betas, iterates=dtype)
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

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        model = self.accelerator.unwrap_model(self.model)
        safetensors.torch.save_model(model, str(folder / WEIGHTS_FILE))

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        path = Path(resume_from_checkpoint) / WEIGHTS_FILE
        safetensors.torch.load_model(model or self._network, str(path))


class LengthBuckets(torch.utils.data.Sampler[int]):
    """Visits each example once an epoch, in an order whose batches have similar lengths.

    Args:
        lengths: of the examples.
        batch_size: rows of a global batch, all devices and micro-batches together.
        seed: with the epoch, it fixes the order.
    """

    def __init__(self, lengths: Sequence[int], *, batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The Trainer says which epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        batches = buckets(self.lengths, self.batch_size, generator)
        # The one short batch must come last, or it would shift the borders of all after it.
        batches.sort(key=len, reverse=True)
        return chain.from_iterable(batches)


def _as_dict(prepared: Any) -> dict[str, Tensor]:  # noqa: ANN401
    return {field.name: getattr(prepared, field.name) for field in fields(prepared)}


class StopOnSignal(TrainerCallback):
    """Ctrl-C and SIGTERM finish the step, save a checkpoint and stop; a second one stops at once.

    Use as a context manager around `Trainer.train`; `stopped` tells what happened.
    """

    def __init__(self) -> None:
        self.stopped: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._notice)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        if self.stopped is not None:
            raise KeyboardInterrupt
        self.stopped = number

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Asks the Trainer to save and stop once a signal has come, to any of the processes."""
        if args.world_size > 1:  # one that stops a step early would leave the others waiting
            number = torch.tensor(self.stopped or 0, device=args.device)
            torch.distributed.all_reduce(number, op=torch.distributed.ReduceOp.MAX)
            self.stopped = int(number) or None
        if self.stopped is not None:
            control.should_save = True
            control.should_training_stop = True


def last_checkpoint(directory: Path) -> Path | None:
    """The newest complete checkpoint of a run, None if there is none.

    The Trainer writes `trainer_state.json` last, so a folder without it was cut off by a crash
    and is passed over.
    """
    found = [
        path
        for path in directory.glob("checkpoint-*")
        if path.name.rsplit("-", 1)[1].isdigit() and (path / "trainer_state.json").is_file()
    ]
    return max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)
