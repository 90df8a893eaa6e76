"""How fast a text is written: sfumato, LLaDA's algorithm and diffusers' LLaDA2Pipeline in turns.

    python benchmarks/sampling.py                 ModernBERT-base, V = 50,368 and then 256,000
    python benchmarks/sampling.py --quick         a small network, in seconds
    python benchmarks/sampling.py --json out.json all figures

One prompt of 64 tokens, an answer of 64, blocks of 32, 64 passes. All contestants share one
network with random weights and take turns after every pass. A ratio is the peer's time over
sfumato's in the same repeat; the median over the repeats is shown.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch
from contest import Contestant, Outcome, machine, race, ratio, table
from networks import Size, base, modernbert, never_special
from peers import llada, llada2
from torch import Tensor
from transformers import PreTrainedModel

from sfumato.models.encoders import EncoderDenoiser
from sfumato.sampling import policies
from sfumato.sampling.loop import sample
from sfumato.text.canvas import Hole, Locked, lay_out

OURS, GROWING = "sfumato", "sfumato, canvas grows"
LLADA, LLADA2 = "LLaDA, restated", "LLaDA2Pipeline"
TEMPERATURES = (0.0, 0.7)
TARGETS = {0.0: 1.3, 0.7: 2.2}
BEYOND = 0.05


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is to be written: tokens of the prompt and of the answer, blocks, passes."""

    prompt: int = 64
    length: int = 64
    block: int = 32
    steps: int = 64


QUICK = Problem(prompt=8, length=8, block=4, steps=8)


@dataclass(frozen=True, kw_only=True, eq=False)
class Heat:
    """One repeat at one temperature."""

    temperature: float
    repeat: int
    outcomes: list[Outcome]

    def of(self, name: str) -> Outcome:
        """The outcome of a contestant."""
        return next(outcome for outcome in self.outcomes if outcome.name == name)


def write_ours(
    denoiser: EncoderDenoiser, size: Size, prompt: Tensor, problem: Problem, temperature: float
) -> Iterator[Tensor]:
    """The preset `llada` on a canvas that holds the whole answer."""
    policy = policies.llada(steps=problem.steps, block=problem.block, temperature=temperature)
    parts = [Locked(ids=tuple(prompt[0].tolist())), Hole(slots=problem.length)]
    canvas = lay_out(parts, mask=size.specials.mask)
    frames = sample(denoiser, canvas, policy, size.specials)
    next(frames)
    yield from (frame.ids for frame in frames)


def write_growing(
    denoiser: EncoderDenoiser, size: Size, prompt: Tensor, problem: Problem, temperature: float
) -> Iterator[Tensor]:
    """The same, block after block on a canvas that ends with the block, as LLaDA2Pipeline does."""
    blocks = problem.length // problem.block
    for _ in range(blocks):
        part = Problem(length=problem.block, block=problem.block, steps=problem.steps // blocks)
        for canvas in write_ours(denoiser, size, prompt, part, temperature):
            prompt = canvas
            yield canvas


def contestants(
    network: PreTrainedModel, size: Size, problem: Problem, temperature: float, seed: int
) -> list[Contestant]:
    """Who takes part, with one prompt for all of them."""
    noise = torch.Generator().manual_seed(seed)
    prompt = torch.randint(0, size.specials.eos, (1, problem.prompt), generator=noise)
    denoiser = EncoderDenoiser(network, mask=size.specials.mask).eval()
    own = partial(write_ours, denoiser, size, prompt, problem, temperature)
    grown = partial(write_growing, denoiser, size, prompt, problem, temperature)

    def peer(generate: Callable[..., Iterator[Tensor]]) -> Iterator[Tensor]:
        return generate(
            network,
            prompt,
            length=problem.length,
            steps=problem.steps,
            block=problem.block,
            temperature=temperature,
            mask=size.specials.mask,
            generator=torch.Generator().manual_seed(seed),
        )

    found = [
        Contestant(name=OURS, run=own, module=denoiser),
        Contestant(name=LLADA, run=partial(peer, llada.generate), module=network),
    ]
    if importlib.util.find_spec("diffusers"):
        found += [
            Contestant(name=GROWING, run=grown, module=denoiser),
            Contestant(name=LLADA2, run=partial(peer, llada2.generate), module=network),
        ]
    return found


def run(size: Size, problem: Problem, repeats: int) -> list[Heat]:
    """All heats of one network."""
    network = modernbert(size)
    never_special(network, size.specials)
    one_pass = Problem(prompt=problem.prompt, length=problem.block, block=problem.block, steps=1)
    race(contestants(network, size, one_pass, temperature=0.0, seed=0))
    heats = []
    for repeat in range(repeats):
        for temperature in TEMPERATURES:
            outcomes = race(contestants(network, size, problem, temperature, seed=repeat))
            heats.append(Heat(temperature=temperature, repeat=repeat, outcomes=outcomes))
    return heats


def same_tokens(heats: Sequence[Heat], one: str, other: str) -> bool:
    """Whether two contestants wrote the same at temperature 0, in every repeat."""
    greedy = [heat for heat in heats if heat.temperature == 0]
    return all(torch.equal(heat.of(one).canvas, heat.of(other).canvas) for heat in greedy)


def shown(heats: Sequence[Heat], problem: Problem) -> str:
    """A table with one row a contestant and temperature."""
    rows = []
    for temperature in TEMPERATURES:
        chosen = [heat for heat in heats if heat.temperature == temperature]
        for name in (outcome.name for outcome in chosen[0].outcomes):
            outcomes = [heat.of(name) for heat in chosen]
            own = GROWING if name == LLADA2 else OURS
            against = ratio([o.total for o in outcomes], [heat.of(own).total for heat in chosen])
            cpu = median(outcome.total.cpu for outcome in outcomes)
            wall = median(outcome.total.wall for outcome in outcomes)
            rows.append(
                [
                    f"{temperature:g}",
                    name,
                    f"{outcomes[0].passes}",
                    f"{cpu:.2f}",
                    f"{wall:.2f}",
                    f"{problem.length / cpu:.2f}",
                    f"{median(outcome.beyond for outcome in outcomes):.1%}",
                    f"{against.cpu:.2f} ×",
                    f"{against.wall:.2f} ×",
                ]
            )
    head = ["T", "sampler", "passes", "CPU s", "wall s", "tokens per CPU s"]
    return table([*head, "beyond the network", "CPU ratio", "wall ratio"], rows)


def claims(heats: Sequence[Heat]) -> dict[str, str | float | bool]:
    """What the figures are held to: sameness, ratios of CPU time, share beyond the network."""
    found: dict[str, str | float | bool] = {
        "T = 0: the same tokens as LLaDA": same_tokens(heats, OURS, LLADA)
    }
    if any(outcome.name == LLADA2 for outcome in heats[0].outcomes):
        same = same_tokens(heats, GROWING, LLADA2)
        found["T = 0: the same tokens as LLaDA2Pipeline on a growing canvas"] = same
    for temperature, target in TARGETS.items():
        chosen = [heat for heat in heats if heat.temperature == temperature]
        totals = ([heat.of(name).total for heat in chosen] for name in (LLADA, OURS))
        name = f"T = {temperature:g}: LLaDA's CPU time over ours, target ≥ {target}"
        found[name] = round(ratio(*totals).cpu, 3)
    beyond = median(heat.of(OURS).beyond for heat in heats)
    found[f"our share beyond the network, target ≤ {BEYOND}"] = round(beyond, 4)
    return found


def report(size: Size, problem: Problem, heats: Sequence[Heat]) -> dict[str, object]:
    """Prints the tables of one network and returns all its figures."""
    repeats = 1 + max(heat.repeat for heat in heats)
    print(f"\n{size.name}, V = {size.vocabulary:,}, {problem}, repeats: {repeats}\n")
    print(shown(heats, problem), "\n", flush=True)
    found = claims(heats)
    for name, value in found.items():
        print(f"{name}: {value}", flush=True)
    runs = [
        {
            "temperature": heat.temperature,
            "repeat": heat.repeat,
            "sampler": outcome.name,
            "passes": outcome.passes,
            "total": asdict(outcome.total),
            "network": asdict(outcome.network),
        }
        for heat in heats
        for outcome in heat.outcomes
    ]
    return {"size": asdict(size), "problem": asdict(problem), "claims": found, "runs": runs}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small network, in seconds")
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[50_368, 256_000])
    parser.add_argument("--repeats", type=int, default=3, help="of the first; one of the others")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    sizes, problem, repeats = [base(v) for v in options.vocabularies], Problem(), options.repeats
    if options.quick:
        small = Size(name="small", vocabulary=500, width=32, layers=2, heads=2, inner=48)
        sizes, problem, repeats = [small], QUICK, 1
    described = machine()
    print(", ".join(f"{name} {value}" for name, value in described.items()), flush=True)
    figures = []
    for place, size in enumerate(sizes):
        heats = run(size, problem, 1 if place else repeats)
        figures.append(report(size, problem, heats))
    if options.json:
        text = json.dumps({"machine": described, "networks": figures}, indent=1)
        options.json.write_text(text + "\n")
    same = [value for f in figures for value in f["claims"].values() if isinstance(value, bool)]
    return 0 if all(same) else 1


if __name__ == "__main__":
    raise SystemExit(main())
