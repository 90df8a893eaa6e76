"""Errors of ranked images: the formula, noise that all share, the adversary."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler
from PIL import Image
from tests.alignment.images import tiny
from torch import Tensor, nn

from sfumato.alignment.images.discriminator import (
    Adversary,
    ImageDiscriminator,
    new_discriminator,
    open_discriminator,
)
from sfumato.alignment.images.likelihood import ImageErrors, RankedLatents, lay_images
from sfumato.alignment.images.pipelines import ImageModel, draw, open_images
from sfumato.alignment.images.records import ImageSet
from sfumato.alignment.learning.losses import PlackettLuce
from sfumato.alignment.learning.objective import PreferenceObjective, frozen
from sfumato.errors import ModelError, UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Stable Diffusion, a tiny SDXL and a tiny CLIP."""
    made = tmp_path_factory.mktemp("models")
    tiny.stable(made / "stable")
    tiny.stable_xl(made / "xl")
    tiny.clip(made / "clip")
    return made


def grey(level: int) -> bytes:
    """A file in memory."""
    kept = io.BytesIO()
    Image.new("RGB", (16, 16), (level,) * 3).save(kept, format="PNG")
    return kept.getvalue()


SETS = [
    ImageSet(prompt="dark", images=(grey(10), grey(120), grey(250)), ranks=(1, 2, 3)),
    ImageSet(prompt="light", images=(grey(240), grey(30)), ranks=(1, 2)),
]


@pytest.mark.parametrize("name", ["stable", "xl"])
def test_errors_are_those_of_one_image_at_a_time(folder: Path, name: str) -> None:
    model = open_images(folder / name)
    errors = ImageErrors(model=model, draws=2)
    noised = errors.prepare(lay_images(SETS, model), torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = errors(model.network, noised)
    assert found.shape == (2, 3, 2)
    assert not found[1, 2].any()
    for b, n, k in ((0, 0, 1), (0, 2, 0), (1, 1, 1)):
        z, noise, t = noised.z[b, n][None], noised.noise[b, k][None], noised.t[b, k][None]
        kept = model.noise.alphas_cumprod[t]
        z_t = kept.sqrt() * z + (1 - kept).sqrt() * noise
        told = {key: value[b][None] for key, value in noised.told.items()}
        with torch.no_grad():
            said = model.predict(model.network, z_t, t, told)
        wanted = -float((said - noise).square().mean()) / 2
        assert found[b, n, k].item() == pytest.approx(wanted, rel=1e-4)


def test_images_of_a_set_share_noise_and_draws_are_spread(folder: Path) -> None:
    model = open_images(folder / "stable")
    noised = ImageErrors(model=model, draws=4).prepare(
        lay_images(SETS, model), torch.Generator().manual_seed(0)
    )
    assert noised.noise.shape[:2] == (2, 4)
    quarters = noised.t.sort(1).values // 250
    assert (quarters == torch.arange(4)).all()
    few = ImageErrors(model=model, draws=8, timesteps=(249, 999))
    found = few.prepare(lay_images(SETS, model), torch.Generator().manual_seed(0)).t
    assert {*found.flatten().tolist()} == {249, 999}


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_a_prediction_of_the_truth_gives_the_image_back(kind: str) -> None:
    noise = DDPMScheduler(prediction_type=kind)
    model = ImageModel(pipeline=None, noise=noise)
    source = torch.Generator().manual_seed(0)
    z, eps = torch.randn(2, 5, 3, 4, 4, generator=source, dtype=torch.float64)
    t = torch.tensor([0, 100, 500, 900, 999])
    z_t = model.noised(z, eps, t)
    found = model.clean(z_t, model.target(z, eps, t), t)
    assert torch.allclose(found, z, atol=1e-4)


class Flat(nn.Module):
    """Predicts one number everywhere."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, z_t: Tensor, t: Tensor, states: Tensor, **_: object) -> object:
        """As a U-Net answers."""

        class Said:
            sample = self.value.expand_as(z_t)

        return Said()


class Level(ImageModel):
    """No VAE: pixels are latents."""

    def encode(self, images: Tensor) -> Tensor:
        """The images."""
        return images

    def decode(self, latents: Tensor) -> Tensor:
        """The images."""
        return latents


def test_the_score_is_diffusion_dpos() -> None:
    """−½·(‖ε − ε_θ‖² − ‖ε − ε_ref‖²), by hand."""
    model = Level(pipeline=None, noise=DDPMScheduler())
    z = torch.zeros(1, 2, 3, 4, 4)
    told = {"encoder_hidden_states": torch.zeros(1, 1, 1)}
    batch = RankedLatents(z=z, told=told, caption=torch.zeros(1, 0), ranks=torch.tensor([[1, 2]]))
    errors = ImageErrors(model=model, draws=1)
    noised = errors.prepare(batch, torch.Generator().manual_seed(3))
    eps = noised.noise[0, 0]
    found = errors(Flat(0.5), noised) - errors(Flat(0.0), noised)
    wanted = -((eps - 0.5).square().mean() - eps.square().mean()) / 2
    assert torch.allclose(found, wanted.expand(1, 2, 1))


def test_the_adversary_pulls_predictions_towards_what_looks_real(folder: Path) -> None:
    """A judge that likes light images; the network's gradient makes them lighter."""

    class Judge(ImageDiscriminator):
        def forward(self, images: Tensor, captions: Tensor) -> Tensor:
            return images.mean((1, 2, 3))

    model = Level(pipeline=None, noise=DDPMScheduler(prediction_type="sample"))
    told = {"encoder_hidden_states": torch.zeros(1, 1, 1)}
    ranks = torch.tensor([[2, 1, 0]])
    batch = RankedLatents(
        z=torch.zeros(1, 3, 3, 4, 4), told=told, caption=torch.zeros(1, 0), ranks=ranks
    )
    noised = ImageErrors(model=model).prepare(batch, torch.Generator().manual_seed(0))
    network = Flat(0.25)
    opened = new_discriminator(folder / "clip")
    judge = Judge(opened.towers, opened.tokenizer)
    loss = Adversary(model=model, judge=judge, weight=2.0)(network, noised)
    assert loss.item() == pytest.approx(2 * math.log1p(math.exp(-0.25)))
    loss.sum().backward()
    assert network.value.grad is not None
    assert network.value.grad < 0


def test_one_step_of_alignment_prefers_the_better_image(folder: Path) -> None:
    model = open_images(folder / "stable")
    judge = new_discriminator(folder / "clip").requires_grad_(False)
    objective = PreferenceObjective(
        estimator=ImageErrors(model=model, draws=2),
        loss=PlackettLuce(beta=2000.0),
        reference=frozen(model.network),
        regulariser=Adversary(model=model, judge=judge, weight=0.1),
    )
    batch = lay_images(SETS, model, describe=judge.describe)
    noised = objective.prepare(batch, torch.Generator().manual_seed(0))
    descent = torch.optim.SGD(model.network.parameters(), lr=1e-5)
    before = objective(model.network, noised)
    before.backward()
    descent.step()
    figures = objective.report()
    assert figures["rewards/margins"] == 0
    assert "regulariser_loss" in figures
    assert objective(model.network, noised) < before
    assert objective.report()["rewards/margins"] > 0


def test_images_do_not_depend_on_those_beside_them(folder: Path) -> None:
    model = open_images(folder / "stable")
    both = draw(model, ["a cat", "a dog"], [1, 2], steps=2)
    alone = draw(model, ["a dog"], [2], steps=2)
    assert both[1].tobytes() == alone[0].tobytes()
    with pytest.raises(UsageError, match="steps"):
        draw(model, ["a cat"], [1], steps=0)


def test_a_discriminator_is_the_same_after_it_was_saved(folder: Path, tmp_path: Path) -> None:
    judge = new_discriminator(folder / "clip", seed=3)
    with torch.no_grad():
        judge.head[0].weight += 1
    judge.save(tmp_path)
    again = open_discriminator(tmp_path)
    images, captions = [grey(20), grey(200)], ["dark", "light"]
    assert again.judge(images, captions) == pytest.approx(judge.judge(images, captions))
    with pytest.raises(ModelError, match="discriminator of images"):
        open_discriminator(folder / "clip")


def test_what_is_no_pipeline_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="pipeline of diffusers"):
        open_images(tmp_path)
    with pytest.raises(ModelError, match="CLIP"):
        new_discriminator(tmp_path)
    with pytest.raises(UsageError, match="ranked images"):
        lay_images([ImageSet(prompt="a", images=(b"",))], open_images(folder / "stable"))
    with pytest.raises(UsageError, match="timesteps"):
        ImageErrors(model=open_images(folder / "stable"), timesteps=(1000,))
