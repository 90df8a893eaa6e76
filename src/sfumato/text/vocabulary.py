"""The vocabulary: a tokenizer, the ids with a meaning of their own, and what may be written.

`encode` turns text into content only. Special tokens spelled out in a text ("[SEP]",
"<|assistant|>") stay ordinary text, so what a user types cannot open a turn or end one.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from sfumato.errors import DataError, ModelError, UsageError
from sfumato.text.letters import with_bytes

ROLES = ("system", "user", "assistant")
_UNUSED = re.compile(r"\[unused\d+\]|<unused\d+>|madeupword\d+|</?\w+>NOTUSED")
_ANCHOR = "a"


@dataclass(frozen=True, kw_only=True, eq=False)
class Vocabulary:
    """Text ↔ ids, with the ids that steer a text.

    Attributes:
        tokenizer: a Rust tokenizer; a private copy is kept, without truncation and padding.
        mask: id of the mask token.
        pad: id of the padding token; as content it means "nothing here".
        eos: id of the token that ends a text.
        bos: id of the token that opens a text, if there is one.
        size: width of the model's logits; may exceed the number of tokens.
        roles: role name → id of its marker; empty where the vocabulary has no room for them.

    Raises:
        ModelError: two of the ids coincide, or one is not below `size`.

    Example:
        >>> words = learn_vocabulary(["a cat sat on a mat"], size=300)
        >>> words.decode(words.encode("a cat"))
        'a cat'
    """

    tokenizer: Tokenizer = field(repr=False)
    mask: int
    pad: int
    eos: int
    bos: int | None
    size: int
    roles: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = {"mask": self.mask, "pad": self.pad, "eos": self.eos}
        named |= {f"marker of {role!r}": marker for role, marker in self.roles.items()}
        _check_ids(named, self.bos, self.size)
        highest = max(self.tokenizer.get_vocab(with_added_tokens=True).values())
        if highest >= self.size:
            raise ModelError(
                f"the tokenizer has ids up to {highest}, but the model's logits are only "
                f"{self.size} wide: resize the model's embeddings or use its own tokenizer"
            )
        if not self.tokenizer.encode_special_tokens:
            object.__setattr__(self, "tokenizer", _plain_copy(self.tokenizer))

    def encode(self, text: str) -> tuple[int, ...]:
        """Content ids of a text: nothing is added at its ends.

        Raises:
            DataError: the text holds a lone surrogate, which UTF-8 cannot express.
        """
        # A pickled or copied tokenizer forgets this switch (it is not part of its JSON).
        self.tokenizer.encode_special_tokens = True
        try:
            ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        except TypeError as error:
            raise DataError(f"{lone_surrogate(text) or error}") from None
        # Sentence-piece models list "<mask>" among their words: such a word is dropped.
        return tuple(token for token in ids if token not in self._steering)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; control tokens, padding and ids without a token are dropped."""
        text = self._render(ids)
        return text[1:] if self._opens_with_space and text.startswith(" ") else text

    def continuation(self, ids: Iterable[int]) -> str:
        """The text that ids add after other text: `decode` with the space that joins them."""
        tail = self._render((*self._anchor, *ids))
        head = self._render(self._anchor)
        return tail.removeprefix(head) if tail.startswith(head) else self._render(ids)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """One readable string a token, each on its own, with the space it begins with.

        Control tokens and padding show as their names. Bytes of a letter that other tokens
        complete are surrogates, as `surrogateescape` makes them.
        """
        return [self._piece(token) for token in ids]

    def name(self, token: int) -> str:
        """The token as the tokenizer spells it, "" for an id without one."""
        return self.tokenizer.id_to_token(token) or ""

    @cached_property
    def control(self) -> frozenset[int]:
        """Ids that never are text: special tokens, padding, unused places, ids without a token."""
        tokens = self.tokenizer.get_vocab(with_added_tokens=True)
        added = self.tokenizer.get_added_tokens_decoder()
        unknown = getattr(self.tokenizer.model, "unk_token", None)
        special = {token for token, what in added.items() if what.special}
        odd = {i for text, i in tokens.items() if text == unknown or _UNUSED.fullmatch(text)}
        missing = set(range(self.size)) - set(tokens.values())
        return frozenset(self._steering | special | odd | missing)

    @cached_property
    def unwritable(self) -> frozenset[int]:
        """Ids that must never be sampled: `control` without the end of text and the padding."""
        return self.control - {self.eos, self.pad}

    @cached_property
    def _steering(self) -> frozenset[int]:
        opening = () if self.bos is None else (self.bos,)
        return frozenset({self.mask, self.pad, self.eos, *opening, *self.roles.values()})

    @cached_property
    def _anchor(self) -> tuple[int, ...]:
        return tuple(token for token in self.encode(_ANCHOR) if token not in self.control)

    @cached_property
    def _opens_with_space(self) -> bool:
        return self._render(self._anchor).startswith(" ")

    @cached_property
    def _known_pieces(self) -> dict[int, str]:
        return {}

    def _piece(self, token: int) -> str:
        known = self._known_pieces
        if token not in known:
            plain = token not in self.control
            found = self.continuation((token,)) if plain else self.name(token)
            known[token] = with_bytes(found, self.name(token))
        return known[token]

    def _render(self, ids: Iterable[int]) -> str:
        kept = [token for token in ids if token not in self.control]
        text: str = self.tokenizer.decode(kept, skip_special_tokens=False)
        return text


def learn_vocabulary(
    texts: Iterable[str], *, size: int, roles: Sequence[str] = ROLES
) -> Vocabulary:
    """Learns a byte-level BPE vocabulary: every string comes back as it was.

    Args:
        texts: what to learn from.
        size: upper bound of the number of tokens; few texts give fewer.
        roles: names that get a marker token `<|name|>`.

    Raises:
        UsageError: `size` has no room for the 256 bytes and the special tokens.

    Example:
        >>> words = learn_vocabulary(["to be or not to be"], size=280)
        >>> words.name(words.mask), sorted(words.roles)
        ('[MASK]', ['assistant', 'system', 'user'])
    """
    names = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *map(marker, roles)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if size < len(names) + len(alphabet):
        raise UsageError(
            f"a vocabulary of {size} is too small: {len(alphabet)} bytes and {len(names)} "
            f"special tokens need at least {len(names) + len(alphabet)}"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=names, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    ids = tokenizer.get_vocab()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, ids[name]) for name in ("[CLS]", "[SEP]")],
    )
    return Vocabulary(
        tokenizer=tokenizer,
        mask=ids["[MASK]"],
        pad=ids["[PAD]"],
        eos=ids["[SEP]"],
        bos=ids["[CLS]"],
        size=tokenizer.get_vocab_size(),
        roles={role: ids[marker(role)] for role in roles},
    )


def with_roles(
    vocabulary: Vocabulary, capacity: int, *, roles: Sequence[str] = ROLES
) -> Vocabulary:
    """Gives a vocabulary role markers that are real special tokens, where it has room.

    Tried in this order for each role: a token `<|role|>` that exists, a place that the
    vocabulary keeps unused (`[unused7]`, `<unused7>`, `madeupword0000`), a new token below
    `capacity`. If one role finds no place, none gets a marker and dialogues fall back to plain
    text.

    Args:
        vocabulary: where to put the markers; itself stays as it is.
        capacity: width of the model's embeddings: new ids must stay below it.
        roles: role names.

    Example:
        >>> words = learn_vocabulary(["to be"], size=300, roles=())
        >>> full, wide = with_roles(words, words.size), with_roles(words, words.size + 64)
        >>> dict(full.roles), [wide.name(i) for i in wide.roles.values()]
        ({}, ['<|system|>', '<|user|>', '<|assistant|>'])
    """
    names = _marker_names(vocabulary.tokenizer, capacity, roles)
    tokenizer = copy.deepcopy(vocabulary.tokenizer)
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in names.values()]
    )
    tokens = tokenizer.get_vocab(with_added_tokens=True)
    markers = {role: tokens[name] for role, name in names.items()}
    return Vocabulary(
        tokenizer=tokenizer,
        mask=vocabulary.mask,
        pad=vocabulary.pad,
        eos=vocabulary.eos,
        bos=vocabulary.bos,
        size=max(vocabulary.size, *(i + 1 for i in markers.values()), 0),
        roles=markers,
    )


def marker(role: str) -> str:
    """The marker's name of a role, as chat models spell it."""
    return f"<|{role}|>"


def lone_surrogate(text: str) -> str | None:
    """What is wrong with a text that UTF-8 cannot express, or None if nothing is."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = f"\\u{ord(text[error.start]):04x}"
        return (
            f"lone surrogate {code} at character {error.start + 1}: it is half a character; "
            "write both halves or drop it"
        )
    return None


def _marker_names(tokenizer: Tokenizer, capacity: int, roles: Sequence[str]) -> dict[str, str]:
    tokens = tokenizer.get_vocab(with_added_tokens=True)
    unused = iter(sorted(filter(_UNUSED.fullmatch, tokens), key=tokens.__getitem__))
    free = capacity - 1 - max(tokens.values())
    names: dict[str, str] = {}
    for role in roles:
        name = marker(role)
        if name not in tokens:
            spare = next(unused, None)
            free -= spare is None
            name = spare or name
        names[role] = name
    return names if free >= 0 else {}


def _plain_copy(tokenizer: Tokenizer) -> Tokenizer:
    plain = copy.deepcopy(tokenizer)
    plain.no_truncation()
    plain.no_padding()
    plain.encode_special_tokens = True
    return plain


def _check_ids(named: Mapping[str, int], bos: int | None, size: int) -> None:
    owner: dict[int, str] = {}
    for name, token in named.items():
        if not 0 <= token < size:
            raise ModelError(
                f"the {name} token has id {token}, expected 0 to {size - 1}: the tokenizer and "
                "the model do not belong together"
            )
        if token in owner:
            raise ModelError(
                f"{owner[token]} and {name} are the same token (id {token}): a diffusion model "
                "must tell them apart; give the tokenizer a token of its own for each"
            )
        owner[token] = name
    if bos is not None and (not 0 <= bos < size or owner.get(bos, "eos") != "eos"):
        raise ModelError(
            f"the bos token has id {bos}: expected an id below {size} that is neither mask, pad "
            "nor a role marker"
        )
