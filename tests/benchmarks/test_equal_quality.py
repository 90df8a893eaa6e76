"""Which setting of a diffusion model counts as good as an autoregressive one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import autoregressive
import equal_quality
import pytest
import torch
from equal_quality import CAUSAL, DIFFUSION, Setting, equals

from sfumato.models.checkpoints import load, save
from sfumato.sampling.parts.quotas import Fixed

RIVAL = Setting(model=CAUSAL, name="T", alone=1.0, batched=0.5, perplexity=20.0, entropy=4.0)
SLOW = replace(RIVAL, model=DIFFUSION, name="slow", alone=4.0, perplexity=18.0)
FAST = replace(SLOW, name="fast", alone=2.0, perplexity=20.9, entropy=3.96)
LOUD, POOR = replace(FAST, perplexity=21.1), replace(FAST, entropy=3.9)


def test_the_fastest_of_those_that_are_as_good_counts() -> None:
    assert [FAST.as_good_as(RIVAL), LOUD.as_good_as(RIVAL), POOR.as_good_as(RIVAL)] == [
        True,
        False,
        False,
    ]
    assert equals([RIVAL, SLOW, FAST], "alone") == [
        ["T", "alone", "1.000", "fast", "2.000", "0.50 ×"]
    ]


def test_none_may_be_as_good() -> None:
    assert equals([RIVAL, LOUD, POOR], "alone")[0][3] == "none is as good"


@pytest.mark.slow
def test_the_command_runs_on_what_restaurants_leaves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load()
    save(model, tmp_path / DIFFUSION)
    torch.manual_seed(0)
    llama = autoregressive.new_llama(model.vocabulary, width=32, layers=1, positions=128)
    autoregressive.save(llama, model.vocabulary, tmp_path / CAUSAL)
    monkeypatch.setattr(equal_quality, "QUOTAS", {"2 tokens a pass": Fixed(size=2)})
    judge = ["--judge", str(tmp_path / CAUSAL)]
    equal_quality.main([str(tmp_path), *judge, "--n", "4", "--timed", "2"])
    assert "| autoregressive | T = 0.7" in capsys.readouterr().out
