"""Our MAUVE, BERTScore and SARI beside the packages that people quote.

mauve-text is under the GPL, bert-score does not keep up with transformers, EASSE brings much
along, so that none of them is a dependency. They are installed by hand, beside a copy of this
environment:

    pip install --no-deps mauve-text faiss-cpu bert-score matplotlib sacremoses
    pip install --no-deps git+https://github.com/feralvam/easse
"""

from __future__ import annotations

import random
import warnings
from types import ModuleType

import pytest
import torch

from sfumato.evaluation.likeness.distribution import frontier_area, mauve_of_features
from sfumato.evaluation.likeness.encodings import Encoder
from sfumato.evaluation.likeness.semantics import bert_score
from sfumato.evaluation.likeness.simplification import sari

SOURCES = [
    "Adjacent counties are Marin (to the south), Mendocino (to the north) and Napa.",
    "The verdict had come in, and the judge was getting ready to read it aloud.",
    "He was formerly married to the actress, whom he had met while they were filming.",
    "Мама мыла раму, а папа читал газету, которую принёс почтальон.",
]
TEXTS = [
    "Near counties are Marin, Mendocino and Napa.",
    "The verdict had come. The judge was ready to read.",
    "He was married to the actress. He met her while they were filming a film.",
    "Мама мыла раму. Папа читал газету.",
]
REFERENCES = [
    ["Nearby counties are Marin, Mendocino and Napa.", "Marin and Napa are next to it."],
    ["The verdict had come in. The judge was about to read it.", "The judge read the verdict."],
    ["He was married to the actress. They met while filming.", "He married an actress once."],
    ["Мама мыла раму. Папа читал.", "Мама мыла раму, папа читал газету."],
]


def package(name: str) -> ModuleType:
    """A package of the separate environment; its own warnings are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} is installed in an environment apart")


def dirichlet(size: int, draws: random.Random) -> torch.Tensor:
    raw = torch.tensor([draws.gammavariate(0.5, 1.0) for _ in range(size)], dtype=torch.float64)
    return raw / raw.sum()


@pytest.mark.parametrize("size", [2, 10, 500])
@pytest.mark.parametrize("disjoint", [False, True])
def test_the_frontier_is_that_of_mauve_text(size: int, disjoint: bool) -> None:
    """The area of given histograms, also where half of the clusters are empty on one side."""
    theirs = package("mauve.compute_mauve")
    draws = random.Random(size)
    p, q = dirichlet(size, draws), dirichlet(size, draws)
    if disjoint:
        p[: size // 2] = 0
        p /= p.sum()
    weights = torch.linspace(1e-6, 1 - 1e-6, 25, dtype=torch.float64).numpy()
    x, y = theirs.get_divergence_curve_for_multinomials(p.numpy(), q.numpy(), weights, 5).T
    one = theirs.compute_area_under_curve(x[x.argsort()], y[x.argsort()])
    other = theirs.compute_area_under_curve(y[y.argsort()], x[y.argsort()])
    assert float(frontier_area(p, q)) == pytest.approx((one + other) / 2, abs=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.5])
def test_mauve_of_given_features_is_that_of_mauve_text(shift: float) -> None:
    """Two clusterers differ as much as two seeds of one of them: means of five, ± 0.02."""
    theirs = package("mauve.compute_mauve")
    generator = torch.Generator().manual_seed(3)
    left, right = (torch.randn(1000, 24, generator=generator) for _ in range(2))
    right[:, :3] += shift
    found = [
        theirs.compute_mauve(
            p_features=left.numpy(), q_features=right.numpy(), seed=seed, verbose=False
        ).mauve
        for seed in range(5)
    ]
    ours = mauve_of_features(left, right, clusterings=5)
    print(f"shift {shift}: ours {ours.value:.4f} ± {ours.stderr:.4f}, theirs {found}")
    assert ours.value == pytest.approx(sum(found) / 5, abs=0.02)


@pytest.mark.parametrize("idf", [False, True])
@pytest.mark.parametrize("layer", [3, 6])
def test_each_score_is_that_of_bert_score(minilm: Encoder, idf: bool, layer: int) -> None:
    """Text by text, with [CLS] and [SEP] as candidates, which bert-score has."""
    theirs = package("bert_score")
    references = [several[0] for several in REFERENCES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scorer = theirs.BERTScorer(
            model_type=minilm.network.config.name_or_path,
            num_layers=layer,
            idf=idf,
            idf_sents=references if idf else None,
            device="cpu",
        )
        expected = scorer.score(TEXTS, references)
    chosen = Encoder(**{**vars(minilm), "layer": layer})
    found = bert_score(TEXTS, references, chosen, idf=idf, specials=True)
    for metric, column in zip(found, expected, strict=True):
        assert metric.parts is not None
        assert metric.parts.columns[0] == pytest.approx(column.tolist(), abs=2e-6)


@pytest.mark.parametrize("texts", [TEXTS, SOURCES, [several[0] for several in REFERENCES]])
def test_sari_is_that_of_easse(texts: list[str]) -> None:
    theirs = package("easse.sari")
    columns = [list(column) for column in zip(*REFERENCES, strict=True)]
    paper = theirs.corpus_sari(
        SOURCES, texts, columns, use_paper_version=True, use_f1_for_deletion=False
    )
    assert sari(SOURCES, texts, REFERENCES).value == pytest.approx(paper)
    usual = theirs.corpus_sari(SOURCES, texts, columns)
    assert sari(SOURCES, texts, REFERENCES, easse=True).value == pytest.approx(usual)
