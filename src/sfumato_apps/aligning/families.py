"""What alignment needs of each family of models: the network, its estimator, how texts are laid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from sfumato.alignment.learning.likelihood import Causal, Estimator, TokenElbo
from sfumato.alignment.learning.vectors import VectorElbo, lay_ranked_slots
from sfumato.alignment.rankings.sets import (
    RankedExample,
    RankedRecord,
    encode_ranked,
    lay_rows,
    lay_sets,
)
from sfumato.errors import ModelError, UnusableError, UsageError
from sfumato.models.checkpoints import Checkpoint, save
from sfumato.models.encoders import EncoderDenoiser
from sfumato.models.latent.storage import LatentCheckpoint, is_latent, save_latent
from sfumato.models.lora import with_lora
from sfumato.models.storage import folders
from sfumato.noise.times import ExactCount, Stratified
from sfumato.sampling.ancestral import marks_noise
from sfumato.sampling.tasks import specials_of
from sfumato.text.batching import Example
from sfumato.training.latents import LatentLearner
from sfumato_apps.aligning.plan import AlignPlan
from sfumato_apps.policies import open_writer


@dataclass(frozen=True, kw_only=True, eq=False)
class Aligned:
    """A model that can be aligned.

    Attributes:
        network: what is trained.
        estimator: how likely it finds texts.
        encode: a ranking to ids.
        layout: rankings to a batch.
        keep: saves a trained network with what was found of it.
    """

    network: nn.Module
    estimator: Estimator
    encode: Callable[[RankedRecord], RankedExample]
    layout: Callable[[Sequence[RankedExample]], Any]
    keep: Callable[[nn.Module, Mapping[str, Any]], None]


def open_aligned(plan: AlignPlan, name: str, draws: int, device: torch.device) -> Aligned:
    """Opens a model of any family.

    Args:
        plan: the options.
        name: folder or hub name.
        draws: noise draws a text.
        device: where it goes.

    Raises:
        ModelError: there is no such model, or it is broken.
        UsageError: an option that the family has no use for.
    """
    folder = folders.locate(name)
    if writes_from_left(folder):
        return _causal(plan, folder, device)
    opened = open_writer(name, device=device)
    if isinstance(opened, LatentCheckpoint):
        return _latent(plan, opened, draws)
    return _tokens(plan, opened, draws)


def writes_from_left(folder: Path) -> bool:
    """Whether a folder holds an autoregressive model of transformers."""
    if is_latent(folder):
        return False
    kinds = folders.read_config(folder).get("architectures") or []
    return any(kind.endswith("ForCausalLM") for kind in kinds)


def _tokens(plan: AlignPlan, start: Checkpoint, draws: int) -> Aligned:
    """Masked or uniform noise."""
    words = start.vocabulary
    most = min(plan.max_length, (start.denoiser.max_length or plan.max_length) - plan.slack)
    times = ExactCount() if marks_noise(start.process, specials_of(words)) else Stratified()
    policy = start.denoiser
    if plan.lora:
        policy = with_lora(policy, rank=plan.lora, seed=plan.seed)

    def keep(network: nn.Module, found: Mapping[str, Any]) -> None:
        denoiser = cast(EncoderDenoiser, network)
        metadata = {**start.metadata, "aligned": {**plan.settings, **found}}
        save(replace(start, denoiser=denoiser, metadata=metadata), plan.out)

    return Aligned(
        network=policy,
        estimator=TokenElbo(process=start.process, draws=draws, times=times),
        encode=lambda record: encode_ranked(record, words, max_length=most),
        layout=lambda examples: lay_sets(examples, words, slack=plan.slack),
        keep=keep,
    )


def _latent(plan: AlignPlan, start: LatentCheckpoint, draws: int) -> Aligned:
    """Gaussian noise on vectors; the codec stays as it is."""
    _unadapted(plan, "latent")
    words, sizes = start.vocabulary, start.denoiser.sizes
    learner = LatentLearner(start.denoiser, start.codec)
    learner.codec.requires_grad_(False)

    def keep(network: nn.Module, found: Mapping[str, Any]) -> None:
        denoiser = cast(LatentLearner, network).denoiser
        metadata = {**start.metadata, "aligned": {**plan.settings, **found}}
        save_latent(replace(start, denoiser=denoiser, metadata=metadata), plan.out)

    return Aligned(
        network=learner,
        estimator=VectorElbo(
            process=start.process,
            width=start.codec.width,
            latents=start.codec.latents,
            draws=draws,
        ),
        encode=lambda record: encode_ranked(record, words, max_length=plan.max_length),
        layout=lambda examples: lay_ranked_slots(examples, slots=sizes.slots, pad=words.pad),
        keep=keep,
    )


def _causal(plan: AlignPlan, folder: Path, device: torch.device) -> Aligned:
    """An autoregressive model of transformers."""
    _unadapted(plan, "autoregressive")
    network, tokenizer = open_causal(folder, device)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id

    def keep(trained: nn.Module, found: Mapping[str, Any]) -> None:
        with folders.quiet():
            cast(PreTrainedModel, trained).save_pretrained(plan.out)
            tokenizer.save_pretrained(plan.out)

    return Aligned(
        network=network,
        estimator=Causal(),
        encode=lambda record: _encode_causal(record, tokenizer, plan.max_length),
        layout=lambda examples: lay_rows(examples, pad=int(pad or 0)),
        keep=keep,
    )


def open_causal(
    folder: Path, device: torch.device
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """An autoregressive model and its tokenizer.

    Raises:
        ModelError: it is broken, or lacks weights.
    """
    opened = folders.read_network(folder, kind=AutoModelForCausalLM)
    if opened.missing:
        raise ModelError(f"{folder} lacks weights: {', '.join(opened.missing[:3])} …")
    cast(nn.Module, opened.network).to(device).eval()
    return opened.network, folders.read_tokenizer(folder)


def _encode_causal(
    record: RankedRecord, tokenizer: PreTrainedTokenizerBase, longest: int
) -> RankedExample:
    """Prompt, completion and end of text; turns by the tokenizer's template."""
    if isinstance(record.prompt, str):
        start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        before = [*start, *tokenizer.encode(record.prompt, add_special_tokens=False)]
    else:
        turns = [vars(turn) for turn in record.prompt]
        text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        before = tokenizer.encode(cast(str, text), add_special_tokens=False)
    found = []
    for completion in record.completions:
        after = tokenizer.encode(completion, add_special_tokens=False)
        ids = tuple([*before, *after, tokenizer.eos_token_id][:longest])
        if len(before) >= len(ids) or not before:
            raise UnusableError(
                f"the prompt takes {len(before)} tokens of {longest}, none is left for the answer",
                reason="answer cut away",
                place=record.origin,
            )
        flags = (False,) * len(before) + (True,) * (len(ids) - len(before))
        found.append(Example(ids=ids, trained=flags, origin=record.origin))
    return RankedExample(candidates=tuple(found), ranks=record.ranks)


def _unadapted(plan: AlignPlan, family: str) -> None:
    if plan.lora:
        raise UsageError(f"--lora: adapters are for masked and uniform models, not {family} ones")
