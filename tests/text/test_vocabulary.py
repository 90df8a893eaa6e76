"""Text ↔ ids for every family of tokenizers, and which ids may be written."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.text import vocabularies
from tokenizers import AddedToken, Tokenizer, decoders, models

from sfumato.errors import DataError, ModelError, UsageError
from sfumato.text.vocabulary import Vocabulary, learn_vocabulary, with_roles

SPELLED = ["[MASK]", "[SEP]", "[PAD]", "[CLS]", "<mask>", "</s>", "<|user|>", "<|assistant|>"]
texts = st.lists(st.text(max_size=8) | st.sampled_from([*SPELLED, " ", "\r\n", "the"])).map("".join)


@given(text=texts)
@settings(max_examples=50)
def test_byte_level_vocabularies_return_every_string(text: str) -> None:
    for made in (vocabularies.byte_level, vocabularies.byte_level_without_roles):
        assert made().decode(made().encode(text)) == text


@given(text=texts)
@settings(max_examples=12)
def test_no_text_turns_into_a_token_that_steers(vocabulary: Vocabulary, text: str) -> None:
    opening = set() if vocabulary.bos is None else {vocabulary.bos}
    steering = {vocabulary.mask, vocabulary.pad, vocabulary.eos, *vocabulary.roles.values()}
    assert not set(vocabulary.encode(text)) & (steering | opening)


def test_special_tokens_in_a_text_stay_text(words: Vocabulary) -> None:
    text = "[MASK] and <|assistant|> are words here"
    assert words.decode(words.encode(text)) == text


def test_plain_ascii_comes_back_from_every_family(vocabulary: Vocabulary) -> None:
    """Words and spaces survive; lower case is the tokenizer's own doing."""
    text = "the quick dog jumps"
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_control_tokens_are_not_text(vocabulary: Vocabulary) -> None:
    said = vocabulary.encode("the dog")
    noisy = [vocabulary.mask, *said, vocabulary.eos, vocabulary.pad, vocabulary.size + 7]
    noisy += [] if vocabulary.bos is None else [vocabulary.bos]
    assert vocabulary.decode(said) == "the dog"
    assert vocabulary.decode([token for token in noisy if token < vocabulary.size]) == "the dog"


def test_pieces_join_to_the_text(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode("the quick dog, the cat")
    joined = "".join(vocabulary.pieces(ids))
    assert joined.removeprefix(" ") == "the quick dog, the cat"
    assert any(piece.startswith(" ") for piece in vocabulary.pieces(ids)[1:])


def test_pieces_do_not_depend_on_their_neighbours(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode("the quick brown fox")
    alone = [vocabulary.pieces([token])[0] for token in ids]
    assert vocabulary.pieces(ids) == alone
    assert vocabulary.pieces(ids[::-1]) == alone[::-1]


def test_pieces_of_word_pieces_and_control_tokens() -> None:
    words = vocabularies.wordpiece()
    inner = next(i for t, i in sorted(words.tokenizer.get_vocab().items()) if t.startswith("##"))
    assert words.pieces([inner]) == [words.name(inner).removeprefix("##")]
    assert words.pieces([words.mask, words.pad]) == ["[MASK]", "[PAD]"]


@pytest.mark.parametrize("text", ["é", "a жук", "😀!", "\ufffd"])
def test_parts_of_a_letter_are_its_bytes(text: str) -> None:
    words = learn_vocabulary(["a"], size=300)
    pieces = words.pieces(words.encode(text))
    assert "".join(pieces).encode("utf-8", "surrogateescape") == text.encode()
    assert len(pieces) == len(text.encode())
    assert words.decode(words.encode(text)) == text


def test_sentence_pieces_fall_back_to_bytes() -> None:
    names = [*vocabularies.ROBERTA, *(f"<0x{one:02X}>" for one in range(256))]
    tokenizer = Tokenizer(models.Unigram([(name, 0.0) for name in names], 3, byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    words = vocabularies.from_specials(tokenizer, "<mask>", "<pad>", "</s>", "<s>")
    ids = words.encode("ж")
    assert words.pieces(ids) == ["\udcd0", "\udcb6"]


def test_continuation_carries_the_joining_space(vocabulary: Vocabulary) -> None:
    whole = vocabulary.encode("the dog")
    first = vocabulary.encode("the")
    assert vocabulary.continuation(whole[len(first) :]) == " dog"
    assert vocabulary.continuation([]) == ""


def test_what_must_not_be_written(vocabulary: Vocabulary) -> None:
    assert vocabulary.mask in vocabulary.unwritable
    assert vocabulary.bos is None or vocabulary.bos in vocabulary.unwritable
    assert not vocabulary.unwritable & {vocabulary.eos, vocabulary.pad}
    assert not vocabulary.unwritable & set(vocabulary.encode("the quick dog"))
    assert set(vocabulary.roles.values()) <= vocabulary.unwritable


def test_ids_without_a_token_and_unused_places_must_not_be_written() -> None:
    plain = vocabularies.roberta_like()
    wide = Vocabulary(
        tokenizer=plain.tokenizer,
        mask=plain.mask,
        pad=plain.pad,
        eos=plain.eos,
        bos=plain.bos,
        size=plain.size + 5,
    )
    assert set(range(plain.size, plain.size + 5)) <= wide.unwritable
    assert plain.tokenizer.token_to_id("madeupword0000") in wide.unwritable
    assert plain.tokenizer.token_to_id("<unk>") in wide.unwritable


def test_the_unused_places_of_real_vocabularies(request: pytest.FixtureRequest) -> None:
    bert = vocabularies.by_name("bert-base-uncased", request)
    assert sum(bert.name(i).startswith("[unused") for i in bert.unwritable) == 994
    assert len(bert.unwritable) == 994 + 3  # [UNK], [CLS], [MASK]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pad": 3}, "mask and pad are the same token"),
        ({"eos": 0}, "pad and eos are the same token"),
        ({"mask": 400}, r"mask token has id 400, expected 0 to"),
        ({"bos": 0}, "bos token has id 0: expected an id below"),
        ({"size": 100}, "resize the model's embeddings"),
        ({"roles": {"user": 3}}, "mask and marker of 'user' are the same token"),
    ],
)
def test_ids_that_cannot_be_told_apart_are_refused(change: dict, message: str) -> None:
    words = learn_vocabulary(["a"], size=300, roles=())
    fields = {"mask": 3, "pad": 0, "eos": 2, "bos": 1, "size": words.size, "roles": {}}
    assert Vocabulary(tokenizer=words.tokenizer, **fields).mask == words.mask
    with pytest.raises(ModelError, match=message):
        Vocabulary(tokenizer=words.tokenizer, **(fields | change))


def test_a_lone_surrogate_is_a_data_error(words: Vocabulary) -> None:
    with pytest.raises(DataError, match=r"lone surrogate \\ud83d at character 3"):
        words.encode("ab\ud83d")


def test_the_given_tokenizer_stays_as_it_was() -> None:
    """Truncation and padding are of the caller's tokenizer, not of the vocabulary's copy."""
    original = Tokenizer.from_str(vocabularies.roberta_like().tokenizer.to_str())
    original.enable_truncation(5)
    original.enable_padding(pad_id=1, pad_token="<pad>")
    words = vocabularies.from_specials(original, "<mask>", "<pad>", "</s>", "<s>")
    assert len(words.encode("the quick brown fox jumps over the lazy dog")) > 5
    assert original.truncation["max_length"] == 5
    assert original.padding["pad_id"] == 1
    assert not original.encode_special_tokens


def test_a_copy_encodes_like_the_original(words: Vocabulary) -> None:
    """A copied tokenizer forgets to leave special tokens alone; the vocabulary does not."""
    text = "[MASK] the dog"
    for twin in (pickle.loads(pickle.dumps(words)), copy.deepcopy(words)):
        assert twin.encode(text) == words.encode(text)


def test_learning_is_deterministic() -> None:
    once, again = (learn_vocabulary(iter(vocabularies.TEXTS), size=350) for _ in range(2))
    assert once.tokenizer.to_str() == again.tokenizer.to_str()
    assert once.size == 350


def test_few_texts_give_fewer_tokens() -> None:
    """264 = 256 bytes, five special tokens and three role markers; "aa" is the one merge."""
    assert learn_vocabulary(["aa aa"], size=1000).size <= 264 + 3


def test_a_vocabulary_without_room_for_bytes_is_refused() -> None:
    with pytest.raises(UsageError, match="need at least 264"):
        learn_vocabulary(["a"], size=263)
    assert learn_vocabulary(["a"], size=264).size == 264


def test_markers_that_exist_are_taken(words: Vocabulary) -> None:
    bare = Vocabulary(
        tokenizer=words.tokenizer,
        mask=words.mask,
        pad=words.pad,
        eos=words.eos,
        bos=words.bos,
        size=words.size,
    )
    assert dict(with_roles(bare, bare.size).roles) == dict(words.roles)


def test_unused_places_become_markers() -> None:
    plain = vocabularies.roberta_like()
    two = with_roles(plain, plain.size, roles=("user", "assistant"))
    assert [two.name(i) for i in two.roles.values()] == ["madeupword0000", "madeupword0001"]
    assert two.size == plain.size


def test_new_markers_need_room_below_the_capacity() -> None:
    plain = vocabularies.byte_level_without_roles()
    assert with_roles(plain, plain.size + 2).roles == {}
    wide = with_roles(plain, plain.size + 3)
    assert sorted(wide.roles.values()) == list(range(plain.size, plain.size + 3))
    assert wide.size == plain.size + 3


def test_unused_places_and_new_tokens_together() -> None:
    plain = vocabularies.roberta_like()
    three = with_roles(plain, plain.size + 1)
    assert [three.name(i) for i in three.roles.values()][2] == "<|assistant|>"


def test_markers_are_special_tokens_and_the_input_is_untouched() -> None:
    plain = vocabularies.byte_level_without_roles()
    before = plain.tokenizer.to_str()
    wide = with_roles(plain, plain.size + 8)
    assert plain.tokenizer.to_str() == before
    front_end = copy.deepcopy(wide.tokenizer)
    ids = front_end.encode("<|user|>the dog", add_special_tokens=False).ids
    assert ids == [wide.roles["user"], *wide.encode("the dog")]
    assert wide.encode("<|user|>") != (wide.roles["user"],)
    assert wide.decode(ids) == "the dog"


@pytest.mark.parametrize(
    ("name", "capacity", "markers"),
    [
        ("bert-base-uncased", 30522, ["[unused0]", "[unused1]", "[unused2]"]),
        ("roberta-base", 50265, ["madeupword0000", "madeupword0001", "madeupword0002"]),
        ("modernbert-rebuilt", 50368, ["<|system|>", "<|user|>", "<|assistant|>"]),
        ("babyberta", 8192, []),
    ],
)
def test_markers_of_real_vocabularies(
    name: str, capacity: int, markers: list[str], request: pytest.FixtureRequest
) -> None:
    words = with_roles(vocabularies.by_name(name, request), capacity)
    assert [words.name(i) for i in words.roles.values()] == markers
    assert words.size <= capacity


def test_a_word_that_is_listed_as_special_is_dropped() -> None:
    """Sentence-piece vocabularies list "<mask>" as a word, so the library finds it in a text."""
    words = vocabularies.metaspace()
    found = copy.deepcopy(words.tokenizer)
    found.encode_special_tokens = True
    assert words.mask in found.encode("a <mask> b", add_special_tokens=False).ids
    assert words.mask not in words.encode("a <mask> b")


def test_added_words_that_are_not_special_are_content() -> None:
    tokenizer = Tokenizer.from_str(vocabularies.byte_level_without_roles().tokenizer.to_str())
    tokenizer.add_tokens([AddedToken("        ", normalized=True)])
    words = vocabularies.from_specials(tokenizer, "[MASK]", "[PAD]", "[SEP]", "[CLS]")
    wide = tokenizer.token_to_id("        ")
    assert wide in words.encode("a         b")
    assert wide not in words.unwritable
