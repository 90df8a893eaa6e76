"""The encoders that presets convert, from their configurations: as they are, and tiny.

Sizes and ids of special tokens are those of the models' config.json on the hub. The tiny ones have
the same class, the same special tokens under the same names, and a small vocabulary of the same
kind, learnt here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import (
    BertWordPieceTokenizer,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

TEXTS = (
    "Where is the station? It is by the river, near the park.",
    "Где вокзал? Он у реки, рядом с парком.",
    "def f(x):\n    return [x, 1]",
) * 4
BERT_NAMES = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
_BERT_ROLES = {
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "mask_token": "[MASK]",
}
GEMMA_NAMES = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """What is known of an encoder.

    Attributes:
        kind: of its vocabulary.
        size: width of its logits.
        ids: of its special tokens, as the configuration names them.
        shape: its sizes.
    """

    kind: str
    size: int
    ids: Mapping[str, int]
    shape: Mapping[str, int]


_MODERNBERT = {
    "cls_token_id": 50281,
    "bos_token_id": 50281,
    "sep_token_id": 50282,
    "eos_token_id": 50282,
    "pad_token_id": 50283,
}
_MMBERT = {
    "pad_token_id": 0,
    "eos_token_id": 1,
    "sep_token_id": 1,
    "cls_token_id": 1,
    "bos_token_id": 2,
}


def _shape(width: int, layers: int, heads: int, inner: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
    }


_BASE, _LARGE = _shape(768, 22, 12, 1152), _shape(1024, 28, 16, 2624)
ENCODERS: Mapping[str, Encoder] = {
    "deepvk/RuModernBERT-base": Encoder(kind="bpe", size=50368, ids=_MODERNBERT, shape=_BASE),
    "jhu-clsp/mmBERT-base": Encoder(kind="gemma", size=256000, ids=_MMBERT, shape=_BASE),
    "jhu-clsp/ettin-encoder-1b": Encoder(
        kind="bpe", size=50368, ids=_MODERNBERT, shape=_shape(1792, 28, 28, 3840)
    ),
    "answerdotai/ModernBERT-base": Encoder(kind="bpe", size=50368, ids=_MODERNBERT, shape=_BASE),
    "answerdotai/ModernBERT-large": Encoder(kind="bpe", size=50368, ids=_MODERNBERT, shape=_LARGE),
    "cointegrated/rubert-tiny2": Encoder(
        kind="wordpiece", size=83828, ids={"pad_token_id": 0}, shape=_shape(312, 3, 12, 600)
    ),
}


def as_it_is(name: str) -> PreTrainedModel:
    """The model in its true size, without memory for its weights."""
    known = ENCODERS[name]
    config = _config(known, known.size, known.ids, known.shape)
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForMaskedLM.from_config(config)
    return model


def tiny(name: str, folder: Path) -> None:
    """Saves the same architecture with tiny widths, its tokenizer beside it."""
    known = ENCODERS[name]
    tokenizer = _TOKENIZERS[known.kind]()
    named = {
        f"{role}_token_id": getattr(tokenizer, f"{role}_token_id")
        for role in ("cls", "bos", "sep", "eos", "pad")
    }
    ids = {role: token for role, token in named.items() if role in known.ids}
    torch.manual_seed(0)
    shape = _shape(16, 2, 2, 24)
    AutoModelForMaskedLM.from_config(
        _config(known, len(tokenizer), ids, shape, max_position_embeddings=96)
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def with_vocabulary(name: str, files: Path, folder: Path) -> None:
    """Saves the same architecture with tiny widths and a real vocabulary."""
    known = ENCODERS[name]
    if (files / "tokenizer.json").is_file():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(files)
        size, ids = known.size, known.ids
    else:
        pieces = BertWordPieceTokenizer(str(files / "vocab.txt"), lowercase=False)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces._tokenizer, **_BERT_ROLES)
        size, ids = len(tokenizer), {"pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    config = _config(known, size, ids, _shape(8, 1, 2, 8), max_position_embeddings=96)
    AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _config(
    known: Encoder,
    size: int,
    ids: Mapping[str, int],
    shape: Mapping[str, int],
    max_position_embeddings: int | None = None,
) -> PretrainedConfig:
    if known.kind == "wordpiece":
        length = max_position_embeddings or 2048
        return BertConfig(vocab_size=size, max_position_embeddings=length, **ids, **shape)
    length = max_position_embeddings or 8192
    return ModernBertConfig(vocab_size=size, max_position_embeddings=length, **ids, **shape)


def _learnt(tokenizer: Tokenizer, names: tuple[str, ...], size: int, **more: object) -> Tokenizer:
    trainer_kind = (
        trainers.WordPieceTrainer
        if isinstance(tokenizer.model, models.WordPiece)
        else trainers.BpeTrainer
    )
    trainer = trainer_kind(vocab_size=size, special_tokens=list(names), show_progress=False, **more)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def _wrapped(tokenizer: Tokenizer, opening: str, ending: str) -> Tokenizer:
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{opening} $A {ending}",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in {opening, ending}],
    )
    return tokenizer


def _bpe() -> PreTrainedTokenizerFast:
    """ModernBERT's: bytes, then the special tokens, then places that are kept unused."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.normalizer = normalizers.NFC()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = _learnt(tokenizer, (), 300, initial_alphabet=alphabet)
    tokenizer.add_special_tokens(list(BERT_NAMES))
    tokenizer.add_tokens([f"[unused{n}]" for n in range(8)])
    return PreTrainedTokenizerFast(
        tokenizer_object=_wrapped(tokenizer, "[CLS]", "[SEP]"),
        **_BERT_ROLES,
    )


def _gemma() -> PreTrainedTokenizerFast:
    """mmBERT's: spaces as ▁, bytes for what is unknown, the special tokens first."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    octets = tuple(f"<0x{value:02X}>" for value in range(256))
    unused = tuple(f"<unused{n}>" for n in range(8))
    tokenizer = _learnt(tokenizer, (*GEMMA_NAMES, *unused, *octets), 420)
    return PreTrainedTokenizerFast(
        tokenizer_object=_wrapped(tokenizer, "<bos>", "<eos>"),
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        cls_token="<bos>",
        sep_token="<eos>",
        pad_token="<pad>",
        mask_token="<mask>",
    )


def _wordpiece() -> PreTrainedTokenizerFast:
    """rubert-tiny2's: WordPiece with capitals; no place for a marker is left."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    names = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    return PreTrainedTokenizerFast(
        tokenizer_object=_wrapped(_learnt(tokenizer, names, 300), "[CLS]", "[SEP]"),
        **_BERT_ROLES,
    )


_TOKENIZERS = {"bpe": _bpe, "gemma": _gemma, "wordpiece": _wordpiece}
