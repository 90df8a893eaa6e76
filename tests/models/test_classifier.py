"""The noisy classifier: what its paths say, its laws, and that it is saved whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sfumato.errors import ModelError, UsageError
from sfumato.models.latent.classifier import (
    ClassifierSizes,
    ConditionLaw,
    LabelLaw,
    NoisyClassifier,
)
from sfumato.models.latent.classifier_storage import (
    ClassifierCheckpoint,
    load_classifier,
    save_classifier,
)
from sfumato.noise.gaussian import Exploding, Flow, GaussianProcess, Preserving
from sfumato.noise.gaussian import Path as NoisePath
from sfumato.noise.log_snr import Tangent
from sfumato.sampling.latent.guides import Gradient, View
from sfumato.types import Condition

LABELS = ClassifierSizes(width=4, slots=5, labels=3, hidden=8, layers=2, heads=2)
PAIRS = replace(LABELS, labels=0, given=6)
PROCESS = GaussianProcess(schedule=Tangent(), path=Preserving())


def stirred(sizes: ClassifierSizes, path: NoisePath | None = None) -> NoisyClassifier:
    """A classifier with no weight at zero."""
    network = NoisyClassifier(sizes, path=path or Preserving())
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return network.eval()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def condition(rows: int = 3, slots: int = 6) -> Condition:
    attend = torch.ones(rows, slots, dtype=torch.bool)
    attend[:, -2:] = False
    return Condition(latents=noise(rows, slots, 4, seed=2), attend=attend)


@pytest.mark.parametrize("reading", ["cross", "beside"])
def test_only_what_exists_of_a_condition_is_read(reading: str) -> None:
    network = stirred(replace(PAIRS, reading=reading))  # type: ignore[arg-type]
    given = condition()
    x_t, level = noise(3, 5, 4), torch.zeros(3)
    found = network(x_t, level, condition=given)
    garbage = torch.where(given.attend[..., None], given.latents, 99.0)
    other = network(x_t, level, condition=Condition(latents=garbage, attend=given.attend))
    torch.testing.assert_close(found, other)
    changed = Condition(latents=given.latents.flip(1), attend=given.attend)
    assert not torch.allclose(found, network(x_t, level, condition=changed))
    none = Condition(latents=given.latents, attend=torch.zeros_like(given.attend))
    assert network(x_t, level, condition=none).isfinite().all()


def test_every_option_of_the_sizes_has_an_effect() -> None:
    given, x_t, level = condition(), noise(3, 5, 4), torch.zeros(3)
    found = [
        stirred(replace(PAIRS, **change))(x_t, level, condition=given)
        for change in ({}, {"reading": "cross"}, {"linear": False}, {"layers": 1}, {"heads": 1})
    ]
    assert len({tuple(one.flatten().tolist()) for one in found}) == len(found)


@pytest.mark.parametrize("path", [Exploding(), Flow()])
def test_the_paths_of_the_noise_differ_by_a_factor_that_it_sees_through(path: NoisePath) -> None:
    level = torch.tensor([-1.0, 0.5])
    of, wanted = path.scales(level), Preserving().scales(level)
    x = noise(2, 5, 4)
    scaled = x * (of.alpha / wanted.alpha)[:, None, None]
    torch.testing.assert_close(stirred(LABELS, path)(scaled, level), stirred(LABELS)(x, level))


def test_a_new_classifier_of_pairs_asks_what_the_given_text_has_in_common() -> None:
    """The layers say 0; the guess is 0.3 of the mean of what is given, plus a small map of it."""
    network = NoisyClassifier(PAIRS, path=Preserving())
    torch.nn.init.zeros_(network.means.say.weight)
    given, level = condition(), torch.zeros(3)
    first = given.latents[:, :4].mean(1)
    m = (0.3 * first)[:, None].expand(-1, 5, -1)
    torch.testing.assert_close(network.mean(given, 5), m)
    x_t, alpha = noise(3, 5, 4), 0.5**0.5
    expected = (alpha * x_t * m - alpha**2 * m.square() / 2).sum((1, 2)) / 20**0.5
    torch.testing.assert_close(network(x_t, level, condition=given)[:, 0], expected)


def test_laws_are_log_probabilities_with_gradients() -> None:
    x, level = noise(3, 5, 4), torch.zeros(3)
    network = stirred(LABELS)
    laws = [LabelLaw(classifier=network, label=label)(x, level) for label in range(3)]
    torch.testing.assert_close(torch.stack(laws).exp().sum(0), torch.ones(3))
    one = condition(rows=1)
    law = ConditionLaw(classifier=stirred(PAIRS), condition=one)
    odds = replace(law, odds=True)(x, level)
    torch.testing.assert_close(law(x, level), torch.nn.functional.logsigmoid(odds))
    at = PROCESS.path.scales(torch.tensor(0.0))
    view = View(x_t=x, clean=x, at=at, log_snr=0.0, predict=lambda state: state)
    for chosen in (law, LabelLaw(classifier=network, label=0)):
        moved = Gradient(log_p=chosen, scale=1e-2).bend(view)
        assert bool((chosen(moved, level) > chosen(x, level)).all())


@pytest.mark.parametrize("sizes", [LABELS, PAIRS])
def test_saved_is_loaded(sizes: ClassifierSizes, tmp_path: Path) -> None:
    network = stirred(sizes)
    labels = ("a", "b", "c") if sizes.labels else ()
    kept = ClassifierCheckpoint(
        classifier=network, process=PROCESS, labels=labels, metadata={"seed": 1}
    )
    save_classifier(kept, tmp_path)
    again = load_classifier(tmp_path)
    assert (again.labels, again.process, again.metadata["seed"]) == (labels, PROCESS, 1)
    assert again.classifier.sizes == sizes
    given = None if sizes.labels else condition()
    asked = (noise(3, 5, 4), torch.zeros(3))
    assert torch.equal(network(*asked, condition=given), again.classifier(*asked, condition=given))


def test_what_is_no_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no classifier"):
        load_classifier(tmp_path)
    save_classifier(ClassifierCheckpoint(classifier=stirred(PAIRS), process=PROCESS), tmp_path)
    path = tmp_path / "sfumato.json"
    settings = json.loads(path.read_text())
    settings["parts"]["classifier"]["depth"] = 3
    del settings["own_sha256"]
    path.write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="sizes that do not fit"):
        load_classifier(tmp_path)


def test_wrong_calls_are_refused() -> None:
    x, level = noise(3, 5, 4), torch.zeros(3)
    with pytest.raises(UsageError, match="takes no condition"):
        stirred(LABELS)(x, level, condition=condition())
    with pytest.raises(UsageError, match="takes a condition"):
        stirred(PAIRS)(x, level)
    with pytest.raises(UsageError, match="has 6 slots"):
        stirred(LABELS)(noise(3, 6, 4), level)
    with pytest.raises(UsageError, match="labels 0 to 2"):
        LabelLaw(classifier=stirred(LABELS), label=3)
    with pytest.raises(UsageError, match="classifier of pairs"):
        ConditionLaw(classifier=stirred(LABELS), condition=condition())
    with pytest.raises(UsageError, match="only a classifier of pairs"):
        stirred(LABELS).mean(condition(), 5)
    with pytest.raises(UsageError, match="names for 3 labels"):
        ClassifierCheckpoint(classifier=stirred(LABELS), process=PROCESS)
    for wrong in ({"labels": 1}, {"hidden": 9}, {"slots": 0}):
        with pytest.raises(UsageError, match="expected"):
            replace(LABELS, **wrong)
