"""`transformers.Trainer` with the diffusion objective.

What is ours: noise drawn once for the global batch, the loss divided by the global batch's
items, a validation ELBO, a journal. What is the Trainer's: optimisation,
schedules, mixed precision, accumulation, sharding, logging integrations, resume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from sfumato.errors import ResourceError, UsageError
from sfumato.models.parts.attention import spell_out_attention
from sfumato.training.averaging import WeightAverage
from sfumato.training.journal import Journal, JournalCallback
from sfumato.training.muon import Muon, parameter_groups
from sfumato.training.objectives import Encoded, Learning, Noised, Reporting, stage_of
from sfumato.training.sharing.rows import LengthBuckets, Share, alone, read_alike, shares
from sfumato.training.sharing.weights import BF16, Gathered

WEIGHTS_FILE = "model.safetensors"
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
        apart: bool = False,
        decay: float = 0.0,
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
        self.loss_is_scaled_for_ga = True
        directory = Path(str(args.output_dir))
        self.journal = Journal(directory)
        self.add_callback(JournalCallback(self.journal))
        self.average = WeightAverage(denoiser, decay=decay, directory=directory) if decay else None
        self._gathered = self._gather_to(denoiser)
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

    def _gather_to(self, denoiser: nn.Module) -> Gathered | None:
        """Where the weights come together, if the processes are to hold shards of them."""
        if not self.is_fsdp_enabled:
            return None
        if not self.accelerator.is_fsdp2:
            raise UsageError("expected fsdp_version: 2 in accelerate's configuration, got 1")
        if self.args.bf16:
            self.accelerator.state.fsdp_plugin.mixed_precision_policy = BF16
        if self.average is None:
            return Gathered(denoiser, device=self.args.device)
        self.average.average.to(self.args.device)
        return Gathered(denoiser, device=torch.device("cpu"))

    @property
    def _network(self) -> nn.Module:
        assert self.model is not None
        return self.model

    def resume(self, checkpoint: Path) -> None:
        """Goes on from a checkpoint of this run: the same steps as if it had never stopped."""
        step = int(checkpoint.name.rsplit("-", 1)[1])
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
        return [_as_dict(part, one) for part, one in zip(micro, own, strict=True)], items

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
        if not torch.isfinite(loss):
            raise ResourceError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}: the learning "
                f"rate ({self._get_learning_rate():.2g}) may be too high, or the data broken; "
                "the weights of the last good step are kept"
            )
        scaled: Tensor = loss * self.accelerator.num_processes
        return scaled

    def get_train_dataloader(self) -> DataLoader[list[Encoded]]:
        """Global micro-batches; each process takes its rows when they are noised."""
        args = self.args
        rows = args.train_batch_size * args.world_size
        order = LengthBuckets(
            [len(example.ids) for example in self.examples],
            batch_size=rows * args.gradient_accumulation_steps,
            seed=args.seed,
        )
        return read_alike(self.examples, order, rows=rows)

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


def _as_dict(prepared: Any, share: Share) -> dict[str, Tensor]:  # noqa: ANN401
    found = {field.name: getattr(prepared, field.name) for field in fields(prepared)}
    return {**found, _COUNTS: torch.tensor(float(share.counts))}


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
