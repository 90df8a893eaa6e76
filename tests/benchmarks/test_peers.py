"""The restated peers compute what they are said to compute, and write what sfumato writes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from benchmarks.networks import Size, bert, modernbert, never_special
from benchmarks.peers import full_canvas, llada, llada2
from torch import Tensor

from sfumato.models.encoders import EncoderDenoiser
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.times import ExactCount
from sfumato.sampling import policies
from sfumato.sampling.loop import finish
from sfumato.text.batching import Batch
from sfumato.text.canvas import Canvas, Hole, Locked, lay_out, stack
from sfumato.training.objectives import Objective, Prepared

ROOT = Path(__file__).parents[2]
SIZE = Size(name="tiny", vocabulary=67, width=32, layers=2, heads=2, inner=48)
SPECIALS = SIZE.specials


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    model = modernbert(SIZE)
    never_special(model, SPECIALS)
    return model


def prompts(rows: int, length: int, seed: int = 0) -> Tensor:
    noise = torch.Generator().manual_seed(seed)
    return torch.randint(0, SPECIALS.eos, (rows, length), generator=noise)


def last(
    generate: Callable[..., object], network: torch.nn.Module, prompt: Tensor, **options: object
) -> Tensor:
    *_, canvas = generate(
        network,
        prompt,
        mask=SPECIALS.mask,
        generator=torch.Generator().manual_seed(0),
        **({"temperature": 0.0} | options),
    )
    return canvas


def ours(network: torch.nn.Module, prompt: Tensor, length: int, steps: int, block: int) -> Tensor:
    parts = [[Locked(ids=tuple(row)), Hole(slots=length)] for row in prompt.tolist()]
    canvas = stack([lay_out(row, mask=SPECIALS.mask) for row in parts], pad=SPECIALS.pad)
    denoiser = EncoderDenoiser(network, mask=SPECIALS.mask).eval()
    policy = policies.llada(steps=steps, block=block)
    return finish(denoiser, canvas, policy, SPECIALS).ids


@pytest.mark.parametrize(
    ("length", "steps", "block"), [(64, 64, 32), (64, 16, 32), (24, 21, 8), (12, 12, 12)]
)
def test_greedy_tokens_are_those_of_llada(
    network: torch.nn.Module, length: int, steps: int, block: int
) -> None:
    """Two rows; one token a step, several, an uneven number (8 in 7 steps), a single block."""
    prompt = prompts(2, 9)
    theirs = last(llada.generate, network, prompt, length=length, steps=steps, block=block)
    assert torch.equal(ours(network, prompt, length, steps, block), theirs)
    assert torch.equal(theirs[:, :9], prompt)
    assert not bool((theirs == SPECIALS.mask).any())
    assert len(theirs[:, 9:].unique()) > 8, "a network that writes one token tests nothing"


def test_llada_yields_a_canvas_a_pass_and_keeps_what_it_wrote(network: torch.nn.Module) -> None:
    """12 tokens in two blocks of 6 and 8 steps: 2, 2, 1, 1 tokens a step in each block."""
    canvases = list(
        llada.generate(
            network,
            prompts(1, 4),
            length=12,
            steps=8,
            block=6,
            temperature=0.7,
            mask=SPECIALS.mask,
            generator=torch.Generator().manual_seed(1),
        )
    )
    written = [int((canvas != SPECIALS.mask).sum()) - 4 for canvas in canvases]
    assert written == [2, 4, 5, 6, 8, 10, 11, 12]
    for earlier, later in pairwise(canvases):
        kept = earlier != SPECIALS.mask
        assert torch.equal(earlier[kept], later[kept])


def test_lladas_noise_draws_from_the_softmax_at_its_temperature() -> None:
    """argmax e^ℓ / E^T with E ~ Exp(1) is argmax ℓ/T + Gumbel: the law is softmax(ℓ / T).

    χ² of 40,000 draws over 4 tokens; 16.3 is exceeded with probability 0.001 at 3 degrees.
    """
    logits, temperature, n = torch.tensor([1.0, 0.0, -1.0, 0.5]), 0.7, 40_000
    noise = torch.Generator().manual_seed(0)
    drawn = llada._race(logits.expand(1, n, 4), temperature, noise).argmax(-1)
    expected = n * (logits / temperature).softmax(-1)
    assert float(((drawn[0].bincount(minlength=4) - expected) ** 2 / expected).sum()) < 16.3


def test_llada2_pipeline_is_our_policy_on_a_growing_canvas(network: torch.nn.Module) -> None:
    """Its blocks do not see the masks to their right, and otherwise it is LLaDA at T = 0."""
    pytest.importorskip("diffusers")
    prompt = prompts(1, 16)
    theirs = last(llada2.generate, network, prompt, length=16, steps=16, block=8)
    half = ours(network, prompt, 8, 8, 8)
    assert torch.equal(ours(network, half, 8, 8, 8), theirs)


def noised_batch(seed: int = 0) -> tuple[Objective, Prepared]:
    """Three rows; the first tokens of each are locked, the last row is padded."""
    ids = prompts(3, 10, seed)
    place, attend = torch.arange(10).expand(3, 10), torch.ones(3, 10, dtype=torch.bool)
    attend[2, 7:] = False
    editable = attend & (place >= 3)
    canvas = Canvas(ids=ids, editable=editable, attend=attend, optional=~attend & attend)
    objective = Objective(process=MaskedProcess(mask=SPECIALS.mask), times=ExactCount())
    batch = Batch(canvas=canvas, weight=editable.float())
    return objective, objective.prepare(batch, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("loss", [full_canvas.masked_rows, full_canvas.every_position])
def test_full_canvas_losses_and_gradients_are_our_objectives(
    loss: Callable[[torch.nn.Module, Prepared], Tensor],
) -> None:
    model = bert(SIZE)
    never_special(model, SPECIALS)
    objective, noised = noised_batch()
    mine = objective(EncoderDenoiser(model, mask=SPECIALS.mask), noised)
    mine.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    theirs = loss(model, noised)
    theirs.backward()
    torch.testing.assert_close(mine, theirs)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-5)


def run_benchmark(name: str, folder: Path) -> dict[str, list[dict[str, dict[str, object]]]]:
    out = folder / "out.json"
    command = [sys.executable, f"benchmarks/{name}", "--quick", "--json", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert not done.returncode, done.stdout + done.stderr
    assert "| sfumato" in done.stdout
    return json.loads(out.read_text())


def test_the_sampling_benchmark_runs(tmp_path: Path) -> None:
    network, *_ = run_benchmark("sampling.py", tmp_path)["networks"]
    assert network["claims"]["T = 0: the same tokens as LLaDA"] is True
    assert {run["passes"] for run in network["runs"]} == {8}


@pytest.mark.slow
def test_the_training_benchmark_runs(tmp_path: Path) -> None:
    task, *_ = run_benchmark("training.py", tmp_path)["tasks"]
    assert len(task["runs"]) == 3
