"""The ways of `sfumato candidates`: from options to ways to write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from sfumato.alignment.baselines import biased, prefixed, token_bias
from sfumato.alignment.candidates import Way, causal_way, diffusion_way
from sfumato.alignment.search import causal_search_way, search_way
from sfumato.errors import UsageError
from sfumato.models.checkpoints import SHIPPED
from sfumato.models.latent.storage import LatentCheckpoint
from sfumato.models.storage import folders
from sfumato.sampling.latent.descent import Descent
from sfumato.sampling.latent.solvers import SOLVERS
from sfumato.sampling.search import Beams
from sfumato.sampling.tasks import Policy
from sfumato.sampling.tasks.writing import BLOCK
from sfumato_apps.aligning.families import open_causal, writes_from_left
from sfumato_apps.choices import Decoding
from sfumato_apps.judging.ranking import reward_of
from sfumato_apps.policies import open_writer, policy_of

_LENGTH = 128


@dataclass(frozen=True, kw_only=True)
class WayPlan:
    """The options of ways; what each means stands at `recipes.candidates`."""

    model: str | None
    temperatures: list[float] | None = None
    step_counts: list[int] | None = None
    length: int | None = None
    search: list[str] | None = None
    beams: int = 8
    keep: int = 2
    every: int = 4
    prefix: str | None = None
    bias: list[str] | None = None

    @property
    def searching(self) -> dict[str, Any]:
        """What a search needs; nothing without one."""
        if not self.search:
            return {}
        beams = Beams(width=self.beams, keep=self.keep, every=self.every)
        return {"reward": reward_of(self.search), "beams": beams}

    @property
    def words(self) -> dict[str, float]:
        """Words and what they gain.

        Raises:
            UsageError: no word and number with a sign of equality between them.
        """
        found = {}
        for one in self.bias or ():
            word, _, text = one.rpartition("=")
            gain = float(text) if re.fullmatch(r"[+-]?\d+(\.\d*)?", text.strip()) else None
            if gain is None or not word.strip():
                raise UsageError(f"--bias {one}: expected WORD=NUMBER, such as cheap=2.0")
            found[word.strip()] = gain
        return found


@dataclass(frozen=True, kw_only=True)
class _Setting:
    """A temperature and step count, and the ways that there are with it, by their names."""

    label: str
    plain: Callable[[str], Way]
    biased: Callable[[str], Way]
    searched: Callable[[str], Way]


def ways_of(plan: WayPlan, device: torch.device) -> list[Way]:
    """A way for each temperature and step count; after these, those with a prefix, bias or search.

    Args:
        plan: the options.
        device: where the model goes.

    Raises:
        UsageError: options that do not go together, or not with the model's family.
    """
    if plan.search and 0 in (plan.temperatures or ()):
        raise UsageError("--search: at temperature 0 all runs of a text are alike")
    name = plan.model or str(SHIPPED)
    folder = folders.locate(name)
    left = writes_from_left(folder)
    made = [*(_causal(plan, folder, device) if left else _own(plan, name, device))]
    ways = [one.plain(one.label) for one in made]
    if plan.prefix is not None:
        ways += [prefixed(f"{way.name}, prefix", way, plan.prefix) for way in ways]
    if plan.bias:
        ways += [one.biased(f"{one.label}, bias") for one in made]
    if plan.search:
        ways += [one.searched(f"{one.label}, search") for one in made]
    return ways


def _causal(plan: WayPlan, folder: Path, device: torch.device) -> Iterator[_Setting]:
    """Ways of an autoregressive model."""
    if plan.step_counts:
        raise UsageError("--step-counts: an autoregressive model has no steps to choose")
    searching = plan.searching
    network, tokenizer = open_causal(folder, device)
    bias = token_bias(plan.words, partial(tokenizer.encode, add_special_tokens=False))
    length = plan.length or _LENGTH
    for t in plan.temperatures or [1.0]:
        usual: dict[str, Any] = {"model": network, "tokenizer": tokenizer}
        usual |= {"length": length, "temperature": t}
        yield _Setting(
            label=f"temperature {t:g}",
            plain=partial(causal_way, **usual),
            biased=partial(causal_way, **usual, bias=bias),
            searched=partial(causal_search_way, **usual, **searching),
        )


def _own(plan: WayPlan, name: str, device: torch.device) -> Iterator[_Setting]:
    """Ways of a diffusion model."""
    searching = plan.searching
    model = open_writer(name, device=device)
    latent = isinstance(model, LatentCheckpoint)
    if latent and plan.length is not None:
        raise UsageError("--length: a latent model writes as many tokens as it was trained on")
    bias = token_bias(plan.words, model.vocabulary.encode)
    counts: list[int | None] = [*plan.step_counts] if plan.step_counts else [None]
    for t, steps in product(plan.temperatures or [1.0], counts):
        decoding = replace(Decoding(), temperature=t, steps=steps)
        policy = policy_of(model, decoding, block=0 if steps and not latent else BLOCK)
        usual: dict[str, Any] = {"model": model, "length": plan.length}
        yield _Setting(
            label=f"temperature {t:g}" + (f", {steps} steps" if steps else ""),
            plain=partial(diffusion_way, **usual, policy=policy),
            biased=partial(diffusion_way, **usual, policy=biased(policy, bias) if bias else policy),
            searched=partial(search_way, **usual, policy=_drawing(policy), **searching),
        )


def _drawing(policy: Policy) -> Policy:
    """A policy whose runs part: a latent model's usual solver draws nothing on its way."""
    return replace(policy, solver=SOLVERS["ddpm"]) if isinstance(policy, Descent) else policy
