"""Vocabularies of every family that encoders come with: small ones made here, real ones if there.

The small ones have the families' quirks: BERT's lower case and `##` pieces, RoBERTa's
`add_prefix_space` and eager `<mask>`, the metaspace of sentence-piece models.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from tokenizers import (
    AddedToken,
    BertWordPieceTokenizer,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from sfumato.text.vocabulary import Vocabulary, learn_vocabulary

TEXTS = (
    "The quick brown fox jumps over the lazy dog. It's the dog's day, isn't it?",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "def f(x):\n    return {x: [1, 2, 3]}  # a comment\n",
    "user: who is there? assistant: a cat sat on the mat. system: be brief",
) * 3
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


@cache
def byte_level() -> Vocabulary:
    return learn_vocabulary(TEXTS, size=420)


@cache
def byte_level_without_roles() -> Vocabulary:
    return learn_vocabulary(TEXTS, size=400, roles=())


@cache
def wordpiece() -> Vocabulary:
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(
        TEXTS, vocab_size=300, min_frequency=1, special_tokens=BERT, show_progress=False
    )
    return from_specials(tokenizer._tokenizer, "[MASK]", "[PAD]", "[SEP]", "[CLS]")


@cache
def roberta_like() -> Vocabulary:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    names = [*ROBERTA, "madeupword0000", "madeupword0001"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=names, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>")
    return from_specials(tokenizer, "<mask>", "<pad>", "</s>", "<s>")


@cache
def metaspace() -> Vocabulary:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=ROBERTA, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return from_specials(tokenizer, "<mask>", "<pad>", "</s>", "<s>")


def from_specials(
    tokenizer: Tokenizer, mask: str, pad: str, eos: str, bos: str | None
) -> Vocabulary:
    ids = tokenizer.get_vocab(with_added_tokens=True)
    return Vocabulary(
        tokenizer=tokenizer,
        mask=ids[mask],
        pad=ids[pad],
        eos=ids[eos],
        bos=None if bos is None else ids[bos],
        size=max(ids.values()) + 1,
    )


SMALL: dict[str, Callable[[], Vocabulary]] = {
    made.__name__: made
    for made in (byte_level, byte_level_without_roles, wordpiece, roberta_like, metaspace)
}
REAL = ("bert-base-uncased", "bert-base-cased", "roberta-base", "babyberta", "modernbert-rebuilt")
NAMES = [*SMALL, *REAL]


@cache
def real(name: str, folder: Path) -> Vocabulary:
    if name.startswith("bert"):
        path = str(folder / "tokenizers" / name / "vocab.txt")
        tokenizer = BertWordPieceTokenizer(path, lowercase="uncased" in name)._tokenizer
    else:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / name / "tokenizer.json"))
    if "[MASK]" in tokenizer.get_vocab(with_added_tokens=True):
        return from_specials(tokenizer, "[MASK]", "[PAD]", "[SEP]", "[CLS]")
    return from_specials(tokenizer, "<mask>", "<pad>", "</s>", "<s>")


def by_name(name: str, request: pytest.FixtureRequest) -> Vocabulary:
    """A small vocabulary, or a real one where the data sets are there."""
    if name in SMALL:
        return SMALL[name]()
    return real(name, request.getfixturevalue("shared_data"))
