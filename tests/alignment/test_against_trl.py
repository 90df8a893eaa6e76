"""Our losses of an autoregressive model are TRL's: the same weights, the same batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.alignment.test_likelihood import llama
from tests.training.worlds import WORDS

from sfumato.alignment.learning.divergences import Link, divergence
from sfumato.alignment.learning.likelihood import Causal
from sfumato.alignment.learning.losses import Hinge, Ipo, PairLoss, Pairwise, Robust, Sigmoid
from sfumato.alignment.learning.objective import PreferenceObjective, frozen
from sfumato.alignment.rankings.sets import RankedRecord, encode_ranked, lay_rows
from sfumato.models.checkpoints import pretrained_tokenizer

BETA = 0.3
KL = divergence("reverse_kl")
ROWS = [
    ("Ann ", "sees tea.", "likes the old house."),
    ("Bob likes ", "the old house.", "rain."),
    ("Eve", " sees rain.", " likes a cat."),
]
RECORDS = [RankedRecord(prompt=p, completions=(c, r), ranks=(1, 2)) for p, c, r in ROWS]

CASES: dict[str, tuple[dict[str, object], PairLoss, Link, bool]] = {
    "sigmoid": ({}, Sigmoid(beta=BETA), KL, False),
    "hinge": ({"loss_type": ["hinge"]}, Hinge(beta=BETA), KL, False),
    "ipo": ({"loss_type": ["ipo"]}, Ipo(beta=BETA), KL, True),
    "robust": (
        {"loss_type": ["robust"], "label_smoothing": 0.2},
        Robust(beta=BETA, label_smoothing=0.2),
        KL,
        False,
    ),
    "forward KL": (
        {"f_divergence_type": "forward_kl"}, Sigmoid(beta=BETA), divergence("forward_kl"), False
    ),
    "JS": (
        {"f_divergence_type": "js_divergence"}, Sigmoid(beta=BETA), divergence("js_divergence"),
        False,
    ),
    "alpha": (
        {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.7},
        Sigmoid(beta=BETA),
        divergence("alpha_divergence", alpha=0.3),
        False,
    ),
}  # fmt: skip


def moved(push: float) -> torch.nn.Module:
    """The tiny Llama, with every weight pushed a little, always the same way."""
    model, source = llama(), torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += push * torch.randn(parameter.shape, generator=source)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_losses_and_gradients_are_equal(name: str, tmp_path: Path) -> None:
    """To 1e-5, the reference being another model, so that no log-ratio is 0."""
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    options, loss, link, per_token = CASES[name]
    examples = [encode_ranked(record, WORDS, max_length=40) for record in RECORDS]
    policy, reference = moved(0.05), llama()
    config = trl.DPOConfig(
        output_dir=str(tmp_path), beta=BETA, use_cpu=True, report_to=[], max_length=None,
        bf16=False, disable_tqdm=True, gradient_checkpointing=False, **options,
    )  # fmt: skip
    rows = [
        {
            "prompt_ids": [i for i, t in zip(one.ids, one.trained, strict=True) if not t],
            "chosen_ids": [i for i, t in zip(one.ids, one.trained, strict=True) if t],
            "rejected_ids": [i for i, t in zip(other.ids, other.trained, strict=True) if t],
        }
        for one, other in (example.candidates for example in examples)
    ]
    texts = [{"prompt": p, "chosen": c, "rejected": r} for p, c, r in ROWS]
    trainer = trl.DPOTrainer(
        model=policy, ref_model=reference, args=config,
        train_dataset=datasets.Dataset.from_list(texts),
        processing_class=pretrained_tokenizer(WORDS),
    )  # fmt: skip
    theirs = trainer.compute_loss(trainer.model, trainer.data_collator(rows))
    theirs.backward()
    gradients = {n: p.grad.clone() for n, p in policy.named_parameters() if p.grad is not None}
    policy.zero_grad()
    objective = PreferenceObjective(
        estimator=Causal(),
        loss=Pairwise(loss=loss),
        reference=frozen(reference),
        link=link,
        per_token=per_token,
    )
    noised = objective.prepare(lay_rows(examples, pad=WORDS.pad), torch.Generator())
    ours = objective(policy, noised) / noised.items
    ours.backward()
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), abs=1e-5, rel=1e-5)
    for parameter, gradient in gradients.items():
        mine = policy.get_parameter(parameter).grad
        torch.testing.assert_close(mine, gradient, atol=1e-5, rtol=1e-4)
