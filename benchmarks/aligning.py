"""What an alignment step costs: sfumato's objective against TRL's DPO on one autoregressive model.

    python benchmarks/aligning.py                 a Llama of 512 × 8 layers
    python benchmarks/aligning.py --quick         tiny, in seconds

One step is forward of policy and reference and backward of a batch of pairs; the optimiser is the
same for all and left out. Both get the same weights and tokens, and their losses must agree. Each
runs in a process of its own, in turn. The second table is the masked estimator's: what K draws of
noise cost beside a single forward pass of the same tokens. Needs trl.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from contest import Spent, machine, now, ratio, table
from networks import Size, bert, never_special
from torch import Tensor, nn
from training import GIB, Figures, forget_peak, peak_memory
from transformers import LlamaConfig, LlamaForCausalLM

from sfumato.alignment.learning.likelihood import Causal, TokenElbo
from sfumato.alignment.learning.losses import Pairwise, Sigmoid
from sfumato.alignment.learning.objective import PreferenceObjective, frozen
from sfumato.alignment.rankings.sets import RankedSets
from sfumato.models.encoders import EncoderDenoiser
from sfumato.noise.masked import MaskedProcess

OURS, TRL = "sfumato", "TRL's DPOTrainer"
BETA = 0.1
Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A Llama and pairs of random tokens."""

    width: int
    layers: int
    vocabulary: int
    pairs: int
    prompt: int
    answer: int
    steps: int


def llama(task: Task, seed: int) -> LlamaForCausalLM:
    """Random weights."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=task.vocabulary,
        hidden_size=task.width,
        intermediate_size=4 * task.width,
        num_hidden_layers=task.layers,
        num_attention_heads=8,
        max_position_embeddings=2 * (task.prompt + task.answer),
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    return LlamaForCausalLM(config)


def tokens(task: Task, seed: int) -> Tensor:
    """Pairs of a prompt and two answers, *shape* `B 2 L`."""
    noise = torch.Generator().manual_seed(seed)
    shape = (task.pairs, 2, task.prompt + task.answer)
    ids = torch.randint(3, task.vocabulary, shape, generator=noise)
    ids[:, 1, : task.prompt] = ids[:, 0, : task.prompt]
    return ids


def sets_of(ids: Tensor, prompt: int) -> RankedSets:
    """The pairs as rankings."""
    judged = torch.zeros_like(ids, dtype=torch.bool)
    judged[..., prompt:] = True
    return RankedSets(
        ids=ids,
        judged=judged,
        attend=torch.ones_like(judged),
        ranks=torch.tensor([[1, 2]]).expand(len(ids), 2),
    )


def ours(task: Task, policy: nn.Module, reference: nn.Module) -> Step:
    """The loss of a batch by sfumato."""
    reference.eval().requires_grad_(False)
    objective = PreferenceObjective(
        estimator=Causal(),
        loss=Pairwise(loss=Sigmoid(beta=BETA)),
        reference=lambda _: nullcontext(reference),
    )

    def step(ids: Tensor) -> Tensor:
        noised = objective.prepare(sets_of(ids, task.prompt), torch.Generator())
        return objective(policy, noised) / noised.items

    return step


def theirs(task: Task, policy: nn.Module, reference: nn.Module) -> Step:
    """The loss of a batch by TRL."""
    import datasets
    import trl
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[EOS]": 1, "[BOS]": 2}, unk_token="[PAD]"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", eos_token="[EOS]", bos_token="[BOS]"
    )
    config = trl.DPOConfig(
        output_dir=tempfile.mkdtemp(), beta=BETA, use_cpu=True, report_to=[], max_length=None,
        bf16=False, disable_tqdm=True, gradient_checkpointing=False,
    )  # fmt: skip
    some = datasets.Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}])
    trainer: Any = trl.DPOTrainer(
        model=policy, ref_model=reference, args=config, train_dataset=some,
        processing_class=tokenizer,
    )  # fmt: skip

    def step(ids: Tensor) -> Tensor:
        rows = [
            {
                "prompt_ids": pair[0, : task.prompt].tolist(),
                "chosen_ids": pair[0, task.prompt :].tolist(),
                "rejected_ids": pair[1, task.prompt :].tolist(),
            }
            for pair in ids
        ]
        loss: Tensor = trainer.compute_loss(trainer.model, trainer.data_collator(rows))
        return loss

    return step


def work(name: str, task: Task) -> Figures:
    """Some steps in this process; the first is not timed."""
    warnings.simplefilter("ignore")
    policy, reference = llama(task, 0), llama(task, 1)
    step_of = {OURS: ours, TRL: theirs}[name](task, policy, reference)
    forget_peak()
    total, first, idle = Spent(), 0.0, peak_memory()
    for step in range(task.steps + 1):
        ids = tokens(task, step)
        policy.zero_grad()
        begin = now()
        loss = step_of(ids)
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
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    return Figures(total=Spent(**answer.pop("total")), **answer)


def compare(task: Task, repeats: int, threads: int) -> str:
    """A table of both.

    Raises:
        SystemExit: they do not compute the same loss.
    """
    runs: dict[str, list[Figures]] = {OURS: [], TRL: []}
    for _ in range(repeats):
        for name, found in runs.items():
            found.append(measure(name, task, threads))
    losses = [found[0].loss for found in runs.values()]
    if abs(losses[0] - losses[1]) > 1e-5 * losses[0]:
        raise SystemExit(f"both must compute the same loss, but got {losses}")
    rows = []
    for name, found in runs.items():
        over = ratio([one.total for one in found], [one.total for one in runs[OURS]])
        peak = median(one.peak for one in found)
        added = median(one.peak - one.idle for one in found)
        own = median(one.peak - one.idle for one in runs[OURS])
        cpu = median(one.total.cpu for one in found) / task.steps
        cells = [f"{cpu:.2f}", f"{over.cpu:.2f} ×", f"{over.wall:.2f} ×"]
        rows.append(
            [name, *cells, f"{peak / GIB:.2f}", f"{added / GIB:.2f}", f"{added / own:.2f} ×"]
        )
    head = ["step by", "CPU s", "CPU ratio", "wall ratio", "peak GiB", "of the step, GiB", "ratio"]
    return table(head, rows)


def draws(size: Size, task: Task, counts: Sequence[int]) -> str:
    """What the masked estimator costs: policy and reference, K draws, forward and backward."""
    network = bert(size).train()
    never_special(network, size.specials)
    denoiser = EncoderDenoiser(network, mask=size.specials.mask)
    process = MaskedProcess(mask=size.specials.mask)
    ids = tokens(task, 0) % size.specials.eos
    every = torch.ones(2 * task.pairs, ids.shape[2], dtype=torch.bool)
    flat, where = ids.flatten(0, 1), every.clone()
    where[:, : task.prompt] = False
    with torch.no_grad():
        denoiser(flat, where, attend=every)
        begin = now()
        for _ in range(task.steps):
            denoiser(flat, where, attend=every)
        once = (now() - begin).cpu / task.steps
    rows = []
    for count in counts:
        objective = PreferenceObjective(
            estimator=TokenElbo(process=process, draws=count),
            loss=Pairwise(loss=Sigmoid(beta=BETA)),
            reference=frozen(denoiser),
        )
        spent = 0.0
        for step in range(task.steps + 1):
            network.zero_grad()
            begin = now()
            noised = objective.prepare(
                sets_of(ids, task.prompt), torch.Generator().manual_seed(step)
            )
            objective(denoiser, noised).backward()
            spent += (now() - begin).cpu if step else 0.0
        cost = spent / task.steps
        rows.append([str(count), f"{cost:.2f}", f"{cost / once:.1f}"])
    return table(["draws", "CPU s a step", "forward passes of the batch"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tiny network, in seconds")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.worker:
        order = json.loads(options.worker)
        print(json.dumps(asdict(work(order["name"], Task(**order["task"])))))
        return
    task = Task(width=512, layers=8, vocabulary=32_000, pairs=4, prompt=64, answer=64, steps=3)
    size = Size(name="BERT", vocabulary=32_000, width=512, layers=8, heads=8, inner=2048)
    if options.quick:
        task = Task(width=32, layers=1, vocabulary=100, pairs=2, prompt=8, answer=8, steps=1)
        size = Size(name="tiny BERT", vocabulary=100, width=32, layers=1, heads=2, inner=64)
    described = machine()
    print(", ".join(f"{name} {value}" for name, value in described.items()), flush=True)
    print(f"\n{task}\n", flush=True)
    print(compare(task, 1 if options.quick else options.repeats, options.threads), flush=True)
    print()
    print(draws(size, task, (1, 2) if options.quick else (1, 4, 8)))


if __name__ == "__main__":
    main()
