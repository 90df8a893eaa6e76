"""Can this model be turned into one that writes? The answer and its reasons, before any training.

config.json ──► is there an architecture with an MLM head?        no  ──► NO_HEAD
tokenizer   ──► is there a mask token?                            no  ──► NO_MASK_TOKEN
weights     ──► are those of the head among them?                 no  ──► NO_HEAD
files, states ► was it trained to compare whole texts?            yes ──► CONTRASTIVE
vocabulary  ──► does it cut these texts into words?               no  ──► WRONG_LANGUAGE
predictions ──► are they better than the unigram's at 15 %?       no  ──► UNTRAINED
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from sfumato.errors import ModelError, UsageError
from sfumato.models.checkpoints import Checkpoint
from sfumato.models.encoders import EncoderDenoiser
from sfumato.models.evidence import Level, Tokenization, likeness, predict, rows_of, tokenization
from sfumato.models.storage import folders
from sfumato.text.vocabulary import Vocabulary

RATES = (0.15, 0.5, 0.85, 1.0)
_ALIKE = 0.2
_LENGTH_WITHOUT_BOUND = 512
_SENTENCE_FILES = ("modules.json", "config_sentence_transformers.json", "1_Pooling/config.json")


class Reason(Enum):
    """Why a model cannot be converted."""

    NO_HEAD = "no masked-language-model head"
    NO_MASK_TOKEN = "no mask token"
    CONTRASTIVE = "contrastive training"
    WRONG_LANGUAGE = "wrong language"
    UNTRAINED = "no better than the unigram"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A reason with its evidence in one sentence."""

    reason: Reason
    text: str


@dataclass(frozen=True, kw_only=True)
class ProbeReport:
    """What a probe found.

    Attributes:
        model: name of the model.
        findings: why it cannot be converted, the weightiest first; empty if it can.
        levels: masked prediction by noise level; empty if there is nothing to predict with.
        fresh_head: the head's weights are missing; `levels` are those of a random head.
        tokenization: how the vocabulary cuts the texts; None without a usable tokenizer.
        likeness: how alike the states of one text are; None if that was not measured.
        texts: how many texts were measured.
    """

    model: str
    findings: tuple[Finding, ...]
    levels: tuple[Level, ...] = ()
    fresh_head: bool = False
    tokenization: Tokenization | None = None
    likeness: float | None = None
    texts: int = 0

    @property
    def convertible(self) -> bool:
        """Whether the model can be turned into one that writes."""
        return not self.findings

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The findings' reasons."""
        return tuple(finding.reason for finding in self.findings)

    @property
    def summary(self) -> str:
        """The verdict and the reason in words."""
        if self.findings:
            return f"{self.model} cannot be converted: " + "; ".join(f.text for f in self.findings)
        level = self.levels[0]
        return (
            f"{self.model} can be converted: with {level.rate:.0%} masked it predicts "
            f"{level.accuracy:.0%} of the tokens (most frequent token: "
            f"{level.unigram_accuracy:.0%}) at {level.cross_entropy:.2f} nats a token (unigram: "
            f"{level.unigram_cross_entropy:.2f})"
        )

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "model": self.model,
            "convertible": self.convertible,
            "reasons": [{"reason": f.reason.value, "text": f.text} for f in self.findings],
            "texts": self.texts,
            "levels": [asdict(level) for level in self.levels],
            "fresh_head": self.fresh_head,
            "tokenization": None if self.tokenization is None else asdict(self.tokenization),
            "likeness": self.likeness,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class _Subject:
    """What could be opened of a model, and what stood in the way."""

    name: str
    findings: tuple[Finding, ...] = ()
    vocabulary: Vocabulary | None = None
    denoiser: EncoderDenoiser | None = None
    missing: tuple[str, ...] = ()
    sentence_encoder: bool = False


def probe(
    model: str | Path | Checkpoint,
    texts: Sequence[str],
    *,
    rates: Sequence[float] = RATES,
    max_length: int = 128,
    seed: int = 0,
    trust_remote_code: bool = False,
    device: torch.device | str | None = None,
) -> ProbeReport:
    """Says whether a model can be converted, why not, and how well it predicts the texts.

    Args:
        model: a folder, a name on the hub, or a checkpoint that is open.
        texts: texts of the kind that the model is to write; some dozens are enough.
        rates: noise levels, the verdict's first.
        max_length: longest row in tokens; longer texts are cut.
        seed: of the choice of masked positions.
        trust_remote_code: run Python code that comes with the model.
        device: where to measure; None leaves the model where it is.

    Raises:
        ModelError: there is no such model or its files are broken.
        UsageError: there are no texts, or a rate is outside (0, 1].

    Example:
        >>> from sfumato.models.scratch import new_encoder
        >>> from sfumato.noise.masked import MaskedProcess
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a cat sat"], size=300)
        >>> denoiser = new_encoder(words, width=8, layers=1, heads=2, max_length=16)
        >>> process = MaskedProcess(mask=words.mask)
        >>> untrained = Checkpoint(denoiser=denoiser, vocabulary=words, process=process)
        >>> probe(untrained, ["a cat sat on a cat"]).reasons
        (<Reason.UNTRAINED: 'no better than the unigram'>,)
    """
    if not any(text.strip() for text in texts):
        raise UsageError("probe needs texts to measure on, got none with content")
    if not rates or not all(0 < rate <= 1 for rate in rates):
        raise UsageError(f"noise levels must be in (0, 1], got {tuple(rates)}")
    subject = _subject(model, trust_remote_code=trust_remote_code, seed=seed)
    words, denoiser = subject.vocabulary, subject.denoiser
    cut = None if words is None else tokenization(texts, words)
    if words is None or denoiser is None:
        return ProbeReport(model=subject.name, findings=subject.findings, tokenization=cut)
    training = denoiser.network.training
    denoiser.to(device).eval()
    rows = rows_of(texts, words, min(max_length, denoiser.max_length or _LENGTH_WITHOUT_BOUND))
    levels = tuple(predict(denoiser, rows, words, rate=rate, seed=seed) for rate in rates)
    alike = likeness(denoiser, rows, words)
    denoiser.network.train(training)
    return ProbeReport(
        model=subject.name,
        findings=(*subject.findings, *_measured(subject, levels[0], alike, cut)),
        levels=levels,
        fresh_head=bool(subject.missing),
        tokenization=cut,
        likeness=alike,
        texts=len(rows),
    )


def _subject(model: str | Path | Checkpoint, *, trust_remote_code: bool, seed: int) -> _Subject:
    if not isinstance(model, str | Path):
        network, words = model.denoiser.network, model.vocabulary
        plain = EncoderDenoiser(network, mask=words.mask)
        return _Subject(name=type(network).__name__, vocabulary=words, denoiser=plain)
    folder = folders.locate(model, trust_remote_code=trust_remote_code)
    config = folders.read_config(folder)
    headless = _without_architecture(config, trust_remote_code=trust_remote_code)
    sentence_encoder = any((folder / name).is_file() for name in _SENTENCE_FILES)
    try:
        tokenizer = folders.read_tokenizer(folder, trust_remote_code=trust_remote_code)
    except ModelError:
        if headless is None:
            raise
        return _Subject(name=str(model), findings=(headless,))
    unmasked = None if tokenizer.mask_token_id is not None else _unmasked(tokenizer)
    found = tuple(finding for finding in (headless, unmasked) if finding is not None)
    if found:
        return _Subject(name=str(model), findings=found)
    opened = folders.read_network(folder, trust_remote_code=trust_remote_code)
    network = opened.network
    _draw(network, opened.missing, seed)
    words = folders.vocabulary_of(tokenizer, int(network.config.vocab_size), roles={})
    return _Subject(
        name=str(model),
        findings=(_lost(config, opened.missing),) if opened.missing else (),
        vocabulary=words,
        denoiser=EncoderDenoiser(network, mask=words.mask),
        missing=opened.missing,
        sentence_encoder=sentence_encoder,
    )


def _without_architecture(config: Mapping[str, Any], *, trust_remote_code: bool) -> Finding | None:
    """Models that transformers knows no masked language model for."""
    kind, own = str(config.get("model_type")), config.get("auto_map") or {}
    names = ", ".join(config.get("architectures") or ["an unnamed architecture"])
    if trust_remote_code and "AutoModelForMaskedLM" in own:
        return None
    if kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.get("is_encoder_decoder"):
        return None
    text = (
        f"it is {names} (model type {kind!r}), which has no masked-language-model head: "
        "an encoder taken out of an encoder–decoder or trained for something else; "
        "choose a model that was pre-trained with masks, such as ModernBERT"
    )
    return Finding(reason=Reason.NO_HEAD, text=text)


def _unmasked(tokenizer: object) -> Finding:
    return Finding(
        reason=Reason.NO_MASK_TOKEN,
        text=f"its tokenizer ({type(tokenizer).__name__}) has no mask token, so it never learnt "
        "to fill one in; choose a model that was pre-trained with masks",
    )


def _lost(config: Mapping[str, Any], missing: Sequence[str]) -> Finding:
    saved = ", ".join(config.get("architectures") or ["a body"])
    return Finding(
        reason=Reason.NO_HEAD,
        text=f"the weights of its masked-language-model head are missing ({missing[0]} and "
        f"{len(missing) - 1} more; it was saved as {saved}), and random ones predict nothing: "
        "take the checkpoint from before the head was dropped",
    )


def _draw(network: PreTrainedModel, missing: Sequence[str], seed: int) -> None:
    """Weights that the checkpoint lacks, from our own generator: N(0, 0.02²), biases zero."""
    generator = torch.Generator().manual_seed(seed)
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for name in missing:
            parameter = parameters.get(name)
            if parameter is None:
                continue
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.02, generator=generator)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)


def _measured(
    subject: _Subject, level: Level, alike: float, cut: Tokenization | None
) -> list[Finding]:
    """What the measurements say against a model."""
    found = []
    better = level.gain > 2 * level.gain_stderr and level.accuracy > level.unigram_accuracy
    better = better and not subject.missing
    figures = (
        f"accuracy {level.accuracy:.2f} and {level.cross_entropy:.1f} nats a token at "
        f"{level.rate:.0%} masking, unigram {level.unigram_accuracy:.2f} and "
        f"{level.unigram_cross_entropy:.1f}"
    )
    if not better and (subject.sentence_encoder or alike >= _ALIKE):
        sign = "its files are those of a sentence encoder" if subject.sentence_encoder else ""
        states = f"the states of one text are alike (mean cosine {alike:.2f})"
        text = f"it was trained contrastively, to compare whole texts: {sign or states}; "
        text += f"a new head alone does not cure that ({figures})"
        found.append(Finding(reason=Reason.CONTRASTIVE, text=text))
    strained = cut is not None and cut.strained and not better and not subject.missing
    if cut is not None and (cut.broken or strained):
        text = (
            "its vocabulary is of another language: "
            f"{cut.characters_per_token:.1f} characters a token (its own tokens have "
            f"{cut.usual:.1f}), {cut.unknown:.0%} unknown tokens"
        )
        found.append(Finding(reason=Reason.WRONG_LANGUAGE, text=text))
    if not better and not found and not subject.missing:
        text = f"it predicts these texts no better than their token frequencies do: {figures}"
        found.append(Finding(reason=Reason.UNTRAINED, text=text))
    return found
