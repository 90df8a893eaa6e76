"""The objective and its training: what is learnt, what is logged, what is refused."""

from __future__ import annotations

import copy
import json
import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tests.alignment.test_likelihood import EXAMPLES, RECORDS, SETS, llama
from tests.training.worlds import WORDS, arguments, tiny

from sfumato.alignment.learning.divergences import divergence
from sfumato.alignment.learning.likelihood import Causal, TokenElbo
from sfumato.alignment.learning.losses import Hinge, Pairwise, PlackettLuce, Sigmoid
from sfumato.alignment.learning.objective import PreferenceObjective, frozen
from sfumato.alignment.learning.presets import METHODS, method
from sfumato.alignment.learning.trainer import preference_trainer
from sfumato.alignment.rankings.sets import RankedExample, encode_ranked, lay_rows, lay_sets
from sfumato.errors import UsageError
from sfumato.models.encoders import EncoderDenoiser
from sfumato.models.lora import adapters_off, with_lora
from sfumato.noise.masked import MaskedProcess
from sfumato.sampling.tasks import write

ELBO = TokenElbo(process=MaskedProcess(mask=WORDS.mask), draws=4)


def layout(examples: list[RankedExample]) -> object:
    return lay_sets(examples, WORDS)


def objective(policy: EncoderDenoiser, **changes: object) -> PreferenceObjective:
    loss = Pairwise(loss=Sigmoid(beta=0.5))
    made = PreferenceObjective(estimator=ELBO, loss=loss, reference=frozen(policy))
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_policy_begins_at_its_reference() -> None:
    """At the start all log-ratios are exactly 0, for the noise is shared: log 2 a set."""
    policy = tiny().eval()
    goal = objective(policy)
    noised = goal.prepare(SETS, torch.Generator().manual_seed(0))
    assert goal(policy, noised).item() == pytest.approx(2 * math.log(2))
    found = goal.report()
    assert found["rewards/margins"] == found["rewards/chosen"] == found["log_ratio/std_mc"] == 0
    assert found["logps/chosen"] < 0
    assert goal.report() == {}


def test_micro_batches_add_up() -> None:
    """The loss and its gradient are sums over sets."""
    policy = tiny().eval()
    goal = objective(tiny(seed=1), anchor=0.3, loss=PlackettLuce(beta=0.5))
    noised = goal.prepare(SETS, torch.Generator().manual_seed(0))
    assert float(noised.items) == 2
    whole = goal(policy, noised)
    whole.backward()
    gradient = [p.grad.clone() for p in policy.parameters() if p.grad is not None]
    policy.zero_grad()
    parts = [goal(policy, noised.rows(i, i + 1)) for i in range(2)]
    torch.testing.assert_close(sum(parts), whole)
    sum(parts).backward()  # type: ignore[union-attr]
    after = [p.grad for p in policy.parameters() if p.grad is not None]
    torch.testing.assert_close(after, gradient, rtol=1e-3, atol=1e-5)


def test_the_anchor_is_the_likelihood_of_the_best() -> None:
    policy = tiny().eval()
    plain, held = objective(policy), objective(policy, anchor=0.3)
    noised = plain.prepare(SETS, torch.Generator().manual_seed(0))
    sizes = noised.sizes
    best = ELBO(policy, noised).mean(2)[torch.arange(2), torch.tensor([0, 1])]
    nll = -(best / sizes[torch.arange(2), torch.tensor([0, 1])]).sum()
    torch.testing.assert_close(held(policy, noised) - plain(policy, noised), 0.3 * nll)


def test_only_the_order_of_ranks_counts() -> None:
    """Ranks 4 and 7 are as good as 1 and 2, for the anchor too."""
    policy = tiny().eval()
    goal = objective(tiny(seed=1), anchor=0.3)
    noised = goal.prepare(SETS, torch.Generator().manual_seed(0))
    later = replace(noised, ranks=noised.ranks * 3 + (noised.ranks > 0))
    torch.testing.assert_close(goal(policy, later), goal(policy, noised))


def test_adapters_off_are_the_reference() -> None:
    """With LoRA the policy is its own reference, and is as it was afterwards."""
    pytest.importorskip("peft")
    base = tiny().eval()
    policy = with_lora(base, rank=2).eval()
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    noised = ELBO.prepare(SETS, torch.Generator().manual_seed(0))
    own = replace(objective(base), reference=adapters_off)
    torch.testing.assert_close(own(policy, noised), objective(base)(policy, noised))
    assert own.report()["rewards/margins"] != 0
    loss = own(policy, noised)
    loss.backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in policy.parameters())
    with pytest.raises(UsageError, match="no low-rank adapters"):
        own(base, noised)


def test_a_reference_that_is_the_policy_is_refused() -> None:
    """Its log-ratios are all 0, and every loss would look alike."""
    policy = tiny()
    shared = copy.copy(policy)  # another object with the same weights
    noised = ELBO.prepare(SETS, torch.Generator().manual_seed(0))
    for reference in (shared, policy):
        goal = objective(policy, reference=lambda _, of=reference: nullcontext(of))
        with pytest.raises(UsageError, match="share their weights"):
            goal(policy, noised)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": None, "link": divergence("forward_kl")}, "needs a reference"),
        ({"anchor": -1.0}, "anchor ≥ 0"),
    ],
)
def test_wrong_objectives_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        objective(tiny(), **changes)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_its_rankings(name: str, tmp_path: Path) -> None:
    """A few steps put the better candidate first, whatever the method; logs have TRL's keys."""
    policy, chosen = tiny(), method(name, beta=0.5 if name != "simpo" else None)
    goal = PreferenceObjective(
        estimator=replace(ELBO, draws=2),
        loss=chosen.loss,
        reference=frozen(policy) if chosen.referred else None,
        per_token=chosen.per_token,
        anchor=chosen.anchor,
    )
    args = arguments(tmp_path, max_steps=25, learning_rate=5e-3, per_device_train_batch_size=2)
    trainer = preference_trainer(
        policy, objective=goal, examples=EXAMPLES, layout=layout, args=args, held=EXAMPLES
    )
    trainer.train()
    entries = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    logged = [entry for entry in entries if "rewards/margins" in entry]
    assert len(logged) == 25
    names = ("chosen", "rejected", "accuracies")
    assert {"logps/chosen", *(f"rewards/{name}" for name in names)} <= {*logged[0]}
    metrics = trainer.evaluate()
    assert metrics["eval_rewards/margins"] > 0
    assert metrics["eval_rewards/accuracies"] >= 0.75


def test_an_autoregressive_model_learns_too(tmp_path: Path) -> None:
    policy = llama()
    goal = PreferenceObjective(
        estimator=Causal(), loss=Pairwise(loss=Sigmoid(beta=0.5)), reference=frozen(policy)
    )
    trainer = preference_trainer(
        policy,
        objective=goal,
        examples=EXAMPLES,
        layout=lambda rows: lay_rows(rows, pad=WORDS.pad),
        args=arguments(tmp_path, max_steps=15, per_device_train_batch_size=2),
        held=EXAMPLES,
    )
    trainer.train()
    assert trainer.evaluate()["eval_rewards/accuracies"] == 1


def test_preferences_change_what_is_written(tmp_path: Path) -> None:
    """Taught that rain is better than tea, a model writes of rain more often."""
    policy = tiny()
    records = [
        replace(RECORDS[1], completions=(f"{who} sees rain.", f"{who} sees tea."), ranks=(1, 2))
        for who in ("Ann", "Bob", "Eve", "Tom")
    ]
    examples = [encode_ranked(record, WORDS, max_length=30) for record in records]
    goal = objective(policy, anchor=1.0)

    def rain() -> int:
        model = SimpleNamespace(
            denoiser=policy.eval(), vocabulary=WORDS, process=ELBO.process, answers=(12,)
        )
        return sum("rain" in one.text for one in write(model, n=40, length=12, seed=1))

    before = rain()
    args = arguments(tmp_path, max_steps=150, per_device_train_batch_size=4)
    preference_trainer(policy, objective=goal, examples=examples, layout=layout, args=args).train()
    assert rain() > max(8, 2 * before)


def test_training_that_cannot_learn_stops(tmp_path: Path) -> None:
    """No rankings, all weights frozen, no gradient, or steps that change nothing."""
    policy = tiny()
    goal = objective(policy)

    def train(goal: PreferenceObjective = goal, **changes: object) -> None:
        args = arguments(tmp_path, max_steps=9, per_device_train_batch_size=2, **changes)
        preference_trainer(
            policy, objective=goal, examples=EXAMPLES, layout=layout, args=args
        ).train()

    with pytest.raises(UsageError, match="got none"):
        preference_trainer(
            policy, objective=goal, examples=[], layout=layout, args=arguments(tmp_path)
        )
    with pytest.raises(UsageError, match="exactly 0 after 5 steps"):
        train(learning_rate=0.0)
    satisfied = replace(goal, loss=Pairwise(loss=Hinge(beta=0.5, margin=-2.0)))
    with pytest.raises(UsageError, match="no weight got a gradient"):
        train(satisfied)
    policy.requires_grad_(False)
    with pytest.raises(UsageError, match="all are frozen"):
        train()


def test_unknown_methods_teach() -> None:
    with pytest.raises(UsageError, match="expected one of dpo, f_dpo"):
        method("ppo")
    with pytest.raises(UsageError, match="takes whole lists"):
        method("pl_dpo", pairs="all")
