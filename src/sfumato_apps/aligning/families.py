"""What alignment needs of each family of models: the network, its estimator, how texts are laid."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from sfumato.alignment.learning.likelihood import Causal, Complementary, Estimator, TokenElbo
from sfumato.alignment.learning.vectors import VectorElbo, lay_ranked_slots
from sfumato.alignment.rankings.causal import encode_causal
from sfumato.alignment.rankings.sets import encode_ranked, lay_rows, lay_sets
from sfumato.alignment.rankings.sources import REAL
from sfumato.alignment.scoring.adversary import TokenAdversary
from sfumato.errors import ModelError, UsageError
from sfumato.models.checkpoints import Checkpoint, save
from sfumato.models.encoders import EncoderDenoiser
from sfumato.models.latent.storage import LatentCheckpoint, is_latent, save_latent
from sfumato.models.lora import with_lora
from sfumato.models.scorers import classifier
from sfumato.models.storage import folders
from sfumato.noise.times import ExactCount, Stratified
from sfumato.protocols import TimeSampler
from sfumato.sampling.ancestral import marks_noise
from sfumato.sampling.tasks import specials_of
from sfumato.training.latents import LatentLearner
from sfumato_apps.aligning.material import Encode
from sfumato_apps.policies import open_writer

ABOUT = "aligned.json"
_ALIGNED = "aligned"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How texts are read, whatever the family.

    Attributes:
        max_length: the most tokens of prompt and text.
        draws: noise draws a text.
        complementary: masks in pairs, for masked models.
        slack: spare slots behind the longest text of a ranking.
        lora: rank of low-rank adapters; 0 for none.
        seed: of the adapters.
    """

    max_length: int
    draws: int
    complementary: bool = False
    slack: int = 0
    lora: int = 0
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Aligned:
    """A model that can be aligned.

    Attributes:
        network: what is trained.
        estimator: how likely it finds texts, as alignment weighs it.
        bound: the same in nats.
        encode: a ranking to what is learnt from.
        layout: rankings to a batch.
        keep: saves a trained network in a folder, with what is known of its alignment.
        about: what was known of its alignment when it was opened.
        apart: laying out is dear, and each process does so for its own rankings only.
    """

    network: nn.Module
    estimator: Estimator
    bound: Estimator
    encode: Encode
    layout: Callable[[Sequence[Any]], Any]
    keep: Callable[[nn.Module, Path, Mapping[str, Any]], None]
    about: Mapping[str, Any]
    apart: bool = False


def open_aligned(name: str | Path, reading: Reading, device: torch.device) -> Aligned:
    """Opens a model of any family.

    Args:
        name: folder or hub name.
        reading: how texts are read.
        device: where it goes.

    Raises:
        ModelError: there is no such model, or it is broken.
        UsageError: an option that the family has no use for.
    """
    folder = folders.locate(name)
    if writes_from_left(folder):
        return _causal(reading, folder, device)
    opened = open_writer(str(folder), device=device)
    if isinstance(opened, LatentCheckpoint):
        return _latent(reading, opened)
    return _tokens(reading, opened)


def writes_from_left(folder: Path) -> bool:
    """Whether a folder holds an autoregressive model of transformers."""
    if is_latent(folder):
        return False
    kinds = folders.read_config(folder).get("architectures") or []
    return any(kind.endswith("ForCausalLM") for kind in kinds)


def _tokens(reading: Reading, start: Checkpoint) -> Aligned:
    """Masked or uniform noise."""
    words, slack = start.vocabulary, reading.slack
    most = min(reading.max_length, (start.denoiser.max_length or reading.max_length) - slack)
    policy = start.denoiser
    if reading.lora:
        policy = with_lora(policy, rank=reading.lora, seed=reading.seed)

    def keep(network: nn.Module, out: Path, about: Mapping[str, Any]) -> None:
        denoiser = cast(EncoderDenoiser, network)
        save(replace(start, denoiser=denoiser, metadata=_with(start.metadata, about)), out)

    marked = marks_noise(start.process, specials_of(words))
    elbo = TokenElbo(
        process=start.process, draws=reading.draws, times=_times(reading, marked=marked)
    )
    return Aligned(
        network=policy,
        estimator=elbo,
        bound=elbo,
        encode=lambda record: encode_ranked(record, words, max_length=most),
        layout=lambda examples: lay_sets(examples, words, slack=slack),
        keep=keep,
        about=start.metadata.get(_ALIGNED, {}),
    )


def _times(reading: Reading, *, marked: bool) -> TimeSampler:
    """How noise on tokens is drawn."""
    if not marked:
        _of_masks(reading, "uniform")
        return Stratified()
    if reading.complementary and reading.draws % 2:
        raise UsageError(f"--complementary: pairs need an even --draws, got {reading.draws}")
    return Complementary() if reading.complementary else ExactCount()


def _latent(reading: Reading, start: LatentCheckpoint) -> Aligned:
    """Gaussian noise on vectors; the codec stays as it is."""
    _unadapted(reading, "latent")
    _of_masks(reading, "latent")
    words, sizes, codec = start.vocabulary, start.denoiser.sizes, start.codec
    learner = LatentLearner(start.denoiser, codec)
    learner.codec.requires_grad_(False)

    def keep(network: nn.Module, out: Path, about: Mapping[str, Any]) -> None:
        denoiser = cast(LatentLearner, network).denoiser
        save_latent(replace(start, denoiser=denoiser, metadata=_with(start.metadata, about)), out)

    errors = VectorElbo(
        process=start.process, width=codec.width, latents=codec.latents, draws=reading.draws
    )
    return Aligned(
        network=learner,
        estimator=errors,
        bound=replace(errors, weighting=None),
        encode=lambda record: encode_ranked(record, words, max_length=reading.max_length),
        layout=lambda examples: lay_ranked_slots(examples, slots=sizes.slots, pad=words.pad),
        keep=keep,
        about=start.metadata.get(_ALIGNED, {}),
    )


def _causal(reading: Reading, folder: Path, device: torch.device) -> Aligned:
    """An autoregressive model of transformers."""
    _unadapted(reading, "autoregressive")
    _of_masks(reading, "autoregressive")
    network, tokenizer = open_causal(folder, device)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    notes = folder / ABOUT

    def keep(trained: nn.Module, out: Path, about: Mapping[str, Any]) -> None:
        with folders.quiet():
            cast(PreTrainedModel, trained).save_pretrained(out)
            tokenizer.save_pretrained(out)
        (out / ABOUT).write_text(json.dumps(about, ensure_ascii=False, indent=2))

    return Aligned(
        network=network,
        estimator=Causal(),
        bound=Causal(),
        encode=lambda record: encode_causal(record, tokenizer, max_length=reading.max_length),
        layout=lambda examples: lay_rows(examples, pad=int(pad or 0)),
        keep=keep,
        about=json.loads(notes.read_text(encoding="utf-8")) if notes.is_file() else {},
    )


def adversary_of(
    name: str, opened: Aligned, *, weight: float, device: torch.device
) -> TokenAdversary:
    """A discriminator of texts as a regulariser.

    Args:
        name: folder or hub name of the discriminator.
        opened: the model to be aligned.
        weight: of the loss.
        device: where it goes.

    Raises:
        ModelError: there is no such discriminator.
        UsageError: the model has no tokens to be judged, or other ones.
    """
    if not isinstance(opened.estimator, TokenElbo):
        raise UsageError("--adversary: for masked and uniform models, and for images")
    judge = classifier(name, label=REAL, device=device)
    cast(nn.Module, judge.network).requires_grad_(False)
    words = folders.vocabulary_of(judge.tokenizer, int(judge.network.config.vocab_size))
    own = cast(EncoderDenoiser, opened.network).word_embeddings.shape[0]
    if words.size != own:
        raise UsageError(
            f"the model writes {own} tokens and {name} knows {words.size}: train a discriminator "
            "with the model's folder as its --model"
        )
    return TokenAdversary(judge=judge.network, weight=weight, pad=words.pad)


def _with(metadata: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    return {**metadata, _ALIGNED: {**about}}


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


def _unadapted(reading: Reading, family: str) -> None:
    if reading.lora:
        raise UsageError(f"--lora: adapters are for masked and uniform models, not {family} ones")


def _of_masks(reading: Reading, family: str) -> None:
    if reading.complementary:
        raise UsageError(
            f"--complementary: pairs of masks are for masked models, not {family} ones"
        )
