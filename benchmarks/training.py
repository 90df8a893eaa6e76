"""What a training step costs: sfumato's objective against logits of the whole canvas.

    python benchmarks/training.py                 a small BERT, then ModernBERT-base
    python benchmarks/training.py --quick         tiny, in seconds
    python benchmarks/training.py --json out.json all figures
    python benchmarks/training.py --dialogues CHATS.jsonl --tokenizer FOLDER
                                                  batches of dialogues, ModernBERT-base

One step is noise, forward and backward of one batch; the optimiser is the same for all and left
out. All contestants get the same network, batch and noise, and their losses must agree. Each
runs in a process of its own, A B C A B C …, whose peak of resident memory the system keeps
(Linux only). Where the body's activations are not kept, memory is the point: there large blocks
go back to the system as soon as they are freed, or glibc's fragments would hide the tensors.

With dialogues, a batch has the lengths of real ones, random tokens in them, and the answers are
trained: peers get it padded to the longest, as their collators make it; tokens of padding do not
count.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import torch
from contest import Spent, machine, now, ratio, table
from networks import Size, base, bert, modernbert, never_special
from peers import full_canvas
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel

from sfumato.models.encoders import EncoderDenoiser
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.times import ExactCount
from sfumato.text.batching import Batch
from sfumato.text.canvas import Canvas
from sfumato.training.objectives import Objective, Prepared

OURS = "sfumato"
CONTESTANTS = (OURS, "LLaDA: full logits, masked rows", "dLLM: full logits, every position")
GIB = 2**30
RETURN_BLOCKS = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}

Loss = Callable[[Prepared], Tensor]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A network, a batch of rows of random tokens that are all trained, and how often.

    With `checkpointing`, no contestant keeps the body's activations: what a batch then needs is
    gradients and logits. With `dialogues`, pairs of the tokens of a prompt and of the whole, each
    step takes the next `rows` of them, of which the answers are trained.
    """

    network: str
    size: Size
    rows: int
    length: int
    steps: int
    checkpointing: bool = False
    dialogues: Sequence[Sequence[int]] = ()

    def spans(self, step: int) -> list[tuple[int, int]]:
        """Where each row's trained tokens begin and end in a step."""
        if not self.dialogues:
            return [(0, self.length)] * self.rows
        order = range(step * self.rows, (step + 1) * self.rows)
        return [(begin, end) for begin, end in (self.dialogues[i] for i in order)]

    @property
    def tokens(self) -> int:
        """Tokens of text in all timed steps."""
        return sum(end for step in range(1, self.steps + 1) for _, end in self.spans(step))


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one process measured.

    Attributes:
        total: time of all timed steps.
        loss: of the first step, nats per token.
        idle: memory before the first step, bytes: the weights and the libraries.
        peak: peak of memory from then on, bytes.
    """

    total: Spent
    loss: float
    idle: int
    peak: int


def forget_peak() -> None:
    """The peak of memory is from now on counted from what is in use now."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """The most memory that this process held since `forget_peak`, bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def batch(task: Task, step: int) -> Batch:
    """Random tokens in rows of the step's lengths, padded to the longest."""
    spans, noise = task.spans(step), torch.Generator().manual_seed(step)
    shape = len(spans), max(end for _, end in spans)
    place = torch.arange(shape[1])
    begin, end = (torch.tensor(side)[:, None] for side in zip(*spans, strict=True))
    editable = (place >= begin) & (place < end)
    canvas = Canvas(
        ids=torch.randint(0, task.size.specials.eos, shape, generator=noise),
        editable=editable,
        attend=place < end,
        optional=torch.zeros(shape, dtype=torch.bool),
    )
    return Batch(canvas=canvas, weight=editable.float())


def read_dialogues(path: Path, tokenizer: str, most: int) -> list[tuple[int, int]]:
    """Tokens of the prompt and of prompt and answer, of dialogues cut at `most`, shuffled."""
    words = AutoTokenizer.from_pretrained(tokenizer)
    found = []
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        turns = [turn["content"] for turn in json.loads(line)["messages"]]
        *asked, answer = (len(words(turn, add_special_tokens=False)["input_ids"]) for turn in turns)
        begin, end = sum(asked) + 2, min(most, sum(asked) + answer + 4)
        if begin < end:
            found.append((begin, end))
    random.Random(0).shuffle(found)
    return found


def loss_of(name: str, network: PreTrainedModel, objective: Objective, mask: int) -> Loss:
    """The loss of a contestant, as a function of the noised batch."""
    if name == OURS:
        denoiser = EncoderDenoiser(network, mask=mask)
        return lambda noised: objective(denoiser, noised)
    losses = dict(
        zip(CONTESTANTS[1:], [full_canvas.masked_rows, full_canvas.every_position], strict=True)
    )
    return lambda noised: losses[name](network, noised)


def work(name: str, task: Task) -> Figures:
    """Trains for some steps in this process; the first is not timed."""
    network = {"bert": bert, "modernbert": modernbert}[task.network](task.size).train()
    never_special(network, task.size.specials)
    if task.checkpointing:
        network.gradient_checkpointing_enable()
    process = MaskedProcess(mask=task.size.specials.mask)
    objective = Objective(process=process, times=ExactCount(), in_parts=True)
    loss_at = loss_of(name, network, objective, task.size.specials.mask)
    forget_peak()
    total, first, idle = Spent(), 0.0, peak_memory()
    for step in range(task.steps + 1):
        clean, noise = batch(task, step), torch.Generator().manual_seed(step)
        network.zero_grad()
        begin = now()
        noised = objective.prepare(clean, noise)
        loss = loss_at(noised) / noised.items
        loss.backward()
        if step:
            total += now() - begin
        else:
            first = loss.item()
        del loss
    return Figures(total=total, loss=first, idle=idle, peak=peak_memory())


def measure(name: str, task: Task, threads: int) -> Figures:
    """The same in a new process."""
    order = json.dumps({"name": name, "task": asdict(task)})
    command = [sys.executable, __file__, "--worker", order, "--threads", str(threads)]
    settings = os.environ | (RETURN_BLOCKS if task.checkpointing else {})
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=settings)
    answer = json.loads(done.stdout)
    return Figures(total=Spent(**answer.pop("total")), **answer)


def shown(task: Task, runs: dict[str, list[Figures]]) -> str:
    """A table with one row a contestant; ratios are the peer's figure over ours."""
    ours, rows = runs[OURS], []
    for name, figures in runs.items():
        cpu = median(figure.total.cpu for figure in figures)
        over = ratio([figure.total for figure in figures], [figure.total for figure in ours])
        peak, step = (median(values) for values in zip(*map(_memory, figures), strict=True))
        own_peak, own_step = (median(values) for values in zip(*map(_memory, ours), strict=True))
        rows.append(
            [
                name,
                f"{task.tokens / cpu:,.0f}",
                f"{over.cpu:.2f} ×",
                f"{over.wall:.2f} ×",
                f"{peak / GIB:.2f}",
                f"{peak / own_peak:.2f} ×",
                f"{step / GIB:.2f}",
                f"{step / own_step:.2f} ×",
            ]
        )
    head = ["loss", "tokens per CPU s", "CPU ratio", "wall ratio", "peak GiB", "ratio"]
    return table([*head, "of the step, GiB", "ratio"], rows)


def _memory(figures: Figures) -> tuple[int, int]:
    """Peak of the process, and what the steps added to the idle process."""
    return figures.peak, figures.peak - figures.idle


def run(
    task: Task, repeats: int, threads: int, names: Sequence[str] = CONTESTANTS
) -> dict[str, object]:
    """Measures all contestants, prints their table and returns the figures.

    Raises:
        SystemExit: the contestants do not compute the same loss.
    """
    width = f"up to {task.length}, dialogues" if task.dialogues else f"{task.length}"
    print(
        f"\n{task.size.name}, V = {task.size.vocabulary:,}, batch {task.rows} × {width}, "
        f"{task.steps} steps, repeats: {repeats}"
        f"{', gradient checkpointing' * task.checkpointing}\n",
        flush=True,
    )
    runs: dict[str, list[Figures]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            runs[name].append(measure(name, task, threads))
    losses = {name: figures[0].loss for name, figures in runs.items()}
    if max(losses.values()) - min(losses.values()) > 1e-4 * max(losses.values()):
        raise SystemExit(f"the contestants must compute the same loss, but got {losses}")
    print(shown(task, runs), flush=True)
    figures = {name: [asdict(figure) for figure in found] for name, found in runs.items()}
    return {"task": asdict(task), "runs": figures}


def tasks() -> list[Task]:
    """A small body under two vocabularies, and ModernBERT-base with few and with many tokens."""
    small = [
        Size(name="BERT", vocabulary=size, width=256, layers=4, heads=4, inner=1024)
        for size in (30_522, 50_368)
    ]
    return [
        *(Task(network="bert", size=size, rows=8, length=128, steps=4) for size in small),
        Task(network="modernbert", size=base(50_368), rows=8, length=128, steps=2),
        Task(
            network="modernbert",
            size=base(50_368),
            rows=16,
            length=512,
            steps=1,
            checkpointing=True,
        ),
    ]


def dialogue_tasks(dialogues: list[tuple[int, int]], length: int, rows: int) -> list[Task]:
    """ModernBERT-base under its own vocabulary and under mmBERT's."""
    own = [
        Task(
            network="modernbert",
            size=base(vocabulary),
            rows=rows,
            length=length,
            steps=2,
            checkpointing=checkpointing,
            dialogues=dialogues,
        )
        for checkpointing in (False, True)
        for vocabulary in (50_368, 256_000)
    ]
    return [replace(task, dialogues=dialogues[: task.rows * (task.steps + 1)]) for task in own]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tiny network, in seconds")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--dialogues", type=Path, help="JSON lines with messages")
    parser.add_argument("--tokenizer", help="a folder, for their lengths")
    parser.add_argument("--length", type=int, default=512, help="where dialogues are cut")
    parser.add_argument("--rows", type=int, default=8, help="dialogues in a batch")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of the tasks, from 0")
    parser.add_argument("--peer", choices=CONTESTANTS[1:], help="beside this one alone")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.worker:
        order = json.loads(options.worker)
        size = Size(**order["task"].pop("size"))
        print(json.dumps(asdict(work(order["name"], Task(size=size, **order["task"])))))
        return
    chosen, repeats = tasks(), options.repeats
    if options.quick:
        tiny = Size(name="tiny BERT", vocabulary=500, width=16, layers=1, heads=2, inner=32)
        chosen, repeats = [Task(network="bert", size=tiny, rows=2, length=16, steps=1)], 1
    if options.dialogues:
        lengths = read_dialogues(options.dialogues, options.tokenizer, options.length)
        chosen = dialogue_tasks(lengths, options.length, options.rows)
    if options.only:
        chosen = [chosen[number] for number in options.only]
    names = (OURS, options.peer) if options.peer else CONTESTANTS
    described = machine()
    print(", ".join(f"{name} {value}" for name, value in described.items()), flush=True)
    figures = [run(task, repeats, options.threads, names) for task in chosen]
    if options.json:
        options.json.write_text(json.dumps({"machine": described, "tasks": figures}, indent=1))


if __name__ == "__main__":
    main()
