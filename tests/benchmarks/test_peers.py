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
from networks import Size, bert, llama, modernbert, never_special
from peers import causal, dllm, fast_dllm, full_canvas, llada, llada2
from peers.turns import Report, in_turns
from torch import Tensor

from sfumato.models.encoders import EncoderDenoiser
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.times import ExactCount
from sfumato.sampling import policies
from sfumato.sampling.decoding import DecodingPolicy
from sfumato.sampling.loop import finish
from sfumato.sampling.parts.logits import TokenSampler
from sfumato.sampling.parts.planners import Blocks
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
    drawn = llada.race(logits.expand(1, n, 4), temperature, noise).argmax(-1)
    expected = n * (logits / temperature).softmax(-1)
    assert float(((drawn[0].bincount(minlength=4) - expected) ** 2 / expected).sum()) < 16.3


def test_llada2_pipeline_is_our_policy_on_a_growing_canvas(network: torch.nn.Module) -> None:
    """Its blocks do not see the masks to their right, and otherwise it is LLaDA at T = 0."""
    pytest.importorskip("diffusers")
    prompt = prompts(1, 16)
    theirs = last(llada2.generate, network, prompt, length=16, steps=16, block=8)
    half = ours(network, prompt, 8, 8, 8)
    assert torch.equal(ours(network, half, 8, 8, 8), theirs)


PROMPTS, ANSWERS = (9, 4, 6), (5, 12, 8)


def uneven() -> tuple[Tensor, Tensor]:
    """Three rows with prompts and answers of their own length, padded on the right; and where."""
    rows = [
        torch.cat([prompts(1, start, seed)[0], torch.full((count,), SPECIALS.mask)])
        for seed, (start, count) in enumerate(zip(PROMPTS, ANSWERS, strict=True))
    ]
    pad = torch.nn.utils.rnn.pad_sequence
    ones = [torch.ones_like(row, dtype=torch.bool) for row in rows]
    canvas = pad(rows, batch_first=True, padding_value=SPECIALS.pad)
    return canvas, pad(ones, batch_first=True)


def holes(network: torch.nn.Module, policy: DecodingPolicy) -> Tensor:
    """What sfumato writes into the same rows."""
    ids, attend = uneven()
    editable = ids == SPECIALS.mask
    canvas = Canvas(ids=ids, editable=editable, attend=attend, optional=attend & ~attend)
    denoiser = EncoderDenoiser(network, mask=SPECIALS.mask).eval()
    return finish(denoiser, canvas, policy, SPECIALS).ids


@pytest.mark.parametrize("block", [None, 4])
def test_dllm_writes_our_tokens_on_rows_of_different_length(
    network: torch.nn.Module, block: int | None
) -> None:
    """One token a pass in every row, and as many passes as the longest answer has tokens."""
    canvas, attend = uneven()
    theirs = [
        *dllm.generate(
            network,
            canvas,
            attend=attend,
            steps=12,
            block=block,
            temperature=0.0,
            mask=SPECIALS.mask,
            generator=torch.Generator(),
        )
    ]
    assert len(theirs) == 12
    policy = DecodingPolicy(blocks=Blocks(size=block), tokens=TokenSampler(temperature=0.0))
    assert torch.equal(theirs[-1], holes(network, policy))


def test_dllms_numbers_of_tokens_are_means_rounded_without_empty_steps() -> None:
    """Halves go to the even number: 8 in 7 steps are 8/7 → 1, …, 4/3 → 1, 3/2 → 2, 1/1.

    2 in 7 are 2/7 → 0, …, 2/4 → 0, 2/3 → 1, 1/2 → 0, 1/1.
    """
    found = dllm.transfers(torch.tensor([8, 2]), 7)
    assert found.tolist() == [[1, 1, 1, 1, 1, 2, 1], [1, 1, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("threshold", [0.02, 0.9])
def test_fast_dllm_writes_our_tokens(network: torch.nn.Module, threshold: float) -> None:
    """Two blocks; the low threshold writes several tokens a pass, the high one a token."""
    canvas, attend = uneven()
    theirs = [
        *fast_dllm.generate(
            network,
            canvas,
            attend=attend,
            threshold=threshold,
            block=6,
            temperature=0.0,
            mask=SPECIALS.mask,
            generator=torch.Generator(),
        )
    ]
    assert (len(theirs) < 12) is (threshold < 0.5)
    policy = policies.fast_dllm(threshold=threshold, block=6)
    assert torch.equal(theirs[-1], holes(network, policy))


def test_llada_takes_prompts_that_are_padded_on_the_left(network: torch.nn.Module) -> None:
    short, long = prompts(1, 4, seed=0), prompts(1, 9, seed=1)
    padded = torch.nn.functional.pad(short, (5, 0), value=SPECIALS.pad)
    attend = torch.tensor([[False] * 5 + [True] * 4, [True] * 9])
    options = {"length": 8, "steps": 8, "block": 4}
    both = last(llada.generate, network, torch.cat([padded, long]), attend=attend, **options)
    assert torch.equal(both[:1, 5:], last(llada.generate, network, short, **options))
    assert torch.equal(both[1:], last(llada.generate, network, long, **options))


def test_the_autoregressive_peer_yields_a_token_a_turn_and_writes_what_generate_does() -> None:
    model, prompt = llama(SIZE), prompts(2, 5)
    attend = torch.ones_like(prompt, dtype=torch.bool)
    turns = [
        *causal.generate(model, prompt, attend=attend, length=6, temperature=0.0, seed=0),
    ]
    assert [turn.shape[1] for turn in turns] == [6, 7, 8, 9, 10, 11]
    whole = model.generate(prompt, attention_mask=attend.long(), max_new_tokens=6, do_sample=False)
    assert torch.equal(turns[-1], whole)


def test_what_runs_in_turns_waits_for_each() -> None:
    steps: list[int] = []

    def work(report: Report) -> None:
        for step in range(3):
            steps.append(step)
            report(torch.tensor(step))

    run = in_turns(work)
    assert next(run) == 0
    assert steps == [0]
    assert [int(step) for step in run] == [1, 2]


def test_a_peer_that_fails_says_so() -> None:
    def work(report: Report) -> None:
        report(torch.tensor(0))
        raise ValueError("broken")

    with pytest.raises(RuntimeError, match="failed after 1 steps: broken"):
        list(in_turns(work))


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


@pytest.mark.slow
def test_the_training_benchmark_runs(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [sys.executable, "benchmarks/training.py", "--quick", "--json", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert not done.returncode, done.stdout + done.stderr
    assert "| sfumato" in done.stdout
    task, *_ = json.loads(out.read_text())["tasks"]
    assert len(task["runs"]) == 3
