"""Images on the command line: candidates, a discriminator, alignment; refusals, going on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from PIL import Image
from tests.alignment.images import tiny
from tests.apps.test_cli import call

from sfumato.alignment.images.captions import captioner
from sfumato.alignment.images.pipelines import open_images
from sfumato.errors import ModelError

# diffusers' Euler scheduler hands tensors to NumPy as NumPy 2 will not have them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
QUICK = ["--draws", "2", "--batch", "2", "--learning-rate", "1e-3", "--evaluate-every", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models, and six photographs, one of them ugly."""
    made = tmp_path_factory.mktemp("images")
    tiny.stable_xl(made / "xl")
    tiny.clip(made / "clip")
    rows = []
    for i in range(6):
        Image.new("RGB", (20, 30), (40 * i, 0, 0)).save(made / f"{i}.jpg")
        row = {"caption": f"red {i}", "image": f"{i}.jpg", "aesthetic_score": 5 if i == 2 else 7}
        rows.append(json.dumps(row))
    (made / "photos.jsonl").write_text("\n".join(rows) + "\n")
    return made


@pytest.fixture(scope="module")
def sets(folder: Path) -> Path:
    """Candidates of one and of two steps beside the photographs."""
    run = ["--pipeline", folder / "xl", "--prompts", folder / "photos.jsonl", "--real"]
    ways = ["--step-counts", "1", "2", "--aesthetic", "6.5", "--batch", "2"]
    assert call("candidates", "image", *run, *ways, "--out", folder / "c") == 0
    return folder / "c" / "candidates.jsonl"


@pytest.fixture(scope="module")
def judge(folder: Path, sets: Path) -> Path:
    """A discriminator after some steps."""
    run = ["--data", sets, "--model", folder / "clip", "--out", folder / "judge"]
    quick = ["--steps", "4", "--batch", "2", "--learning-rate", "1e-2", "--evaluate-every", "2"]
    assert call("discriminator", "train", *run, *quick) == 0
    return folder / "judge"


def lines(path: Path) -> list[dict[str, object]]:
    """Rows of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_candidates_stand_beside_the_real_image(sets: Path) -> None:
    rows = lines(sets)
    assert [row["prompt"] for row in rows] == [f"red {i}" for i in (0, 1, 3, 4, 5)]
    assert all(row["source"] == ["1 step", "2 steps", "real"] for row in rows)
    for row in rows:
        for one in row["completions"]:  # type: ignore[attr-defined]
            with Image.open(sets.parent / one["path"]) as image:
                assert image.size == (16, 16)


def test_a_broken_photograph_is_left_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"text")
    rows = [{"caption": "bad", "image": "bad.jpg"}]
    rows.append({"caption": "good", "image": str(folder / "1.jpg")})
    (tmp_path / "photos.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run = ["--pipeline", folder / "xl", "--prompts", tmp_path / "photos.jsonl", "--real"]
    assert call("candidates", "image", *run, "--step-counts", "1", "--out", tmp_path / "c") == 0
    assert [row["prompt"] for row in lines(tmp_path / "c" / "candidates.jsonl")] == ["good"]
    assert "bad.jpg" in capsys.readouterr().err


def test_candidates_go_on_and_stay_the_same(folder: Path, sets: Path, tmp_path: Path) -> None:
    run = ["--pipeline", folder / "xl", "--prompts", folder / "photos.jsonl", "--real"]
    ways = ["--step-counts", "1", "2", "--aesthetic", "6.5", "--batch", "3"]
    whole = sets.read_text()
    (tmp_path / "images").mkdir()
    (tmp_path / "candidates.jsonl").write_text(whole.splitlines()[0] + '\n{"torn')
    assert call("candidates", "image", *run, *ways, "--out", tmp_path) == 0
    assert (tmp_path / "candidates.jsonl").read_text() == whole
    same = Path("images") / "000003-2-0.png"
    assert (tmp_path / same).read_bytes() == (sets.parent / same).read_bytes()


def test_candidates_do_not_go_on_with_another_pipeline_or_other_options(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights of a pipeline stand in folders of its folder."""
    moved, out = tmp_path / "moved", tmp_path / "c"
    shutil.copytree(folder / "xl", moved)
    run = ["--prompts", folder / "photos.jsonl", "--step-counts", "1", "--out", out]
    for name in (folder / "xl", moved):
        assert call("candidates", "image", "--pipeline", name, *run) == 0
    capsys.readouterr()
    assert call("candidates", "image", "--pipeline", moved, *run, "--guidance", "2") == 2
    assert "begun with guidance None, not 2.0:" in capsys.readouterr().err
    weights = next((moved / "unet").glob("*.safetensors"))
    state = safetensors.torch.load_file(weights)
    safetensors.torch.save_file({name: value + 1 for name, value in state.items()}, weights)
    assert call("candidates", "image", "--pipeline", moved, *run) == 2
    assert "begun with another model (" in capsys.readouterr().err


def test_a_judge_ranks_and_a_pipeline_learns(
    folder: Path, sets: Path, judge: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ranked = tmp_path / "elsewhere" / "ranked.jsonl"
    ranked.parent.mkdir()
    capsys.readouterr()
    assert call("discriminator", "score", "--model", judge, "--data", sets, "--out", ranked) == 0
    figures = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {one["name"] for one in figures} >= {"top1_accuracy", "pairwise_accuracy"}
    rows = lines(ranked)
    assert all(row["scores"] == sorted(row["scores"], reverse=True) for row in rows)  # type: ignore[call-overload]
    assert all((ranked.parent / one["path"]).exists() for r in rows for one in r["completions"])  # type: ignore[attr-defined]

    run = ["--pipeline", folder / "xl", "--data", ranked, "--method", "pl_dpo", "--beta", "2000"]
    more = ["--adversary", judge, "--timesteps", "249", "999", "--steps", "2", *QUICK]
    more += ["--valid-fraction", "0.4"]
    assert call("align", "image", *run, *more, "--out", tmp_path / "full") == 0
    assert call("align", "image", *run, *more, "--lora", "2", "--out", tmp_path / "lora") == 0
    before = open_images(folder / "xl").network.state_dict()
    for name in ("full", "lora"):
        after = open_images(tmp_path / name).network.state_dict()
        assert after.keys() == before.keys()
        assert any(not torch.equal(after[key], value) for key, value in before.items())
    logged = lines(tmp_path / "full" / "journal.jsonl")
    assert any("eval_regulariser_loss" in row for row in logged)


def test_an_alignment_goes_on(folder: Path, sets: Path, judge: Path, tmp_path: Path) -> None:
    ranked = tmp_path / "ranked.jsonl"
    assert call("discriminator", "score", "--model", judge, "--data", sets, "--out", ranked) == 0
    run = ["--pipeline", folder / "xl", "--data", ranked, "--out", tmp_path / "out", *QUICK]
    assert call("align", "image", *run, "--steps", "2") == 0
    assert call("align", "image", *run, "--steps", "4", "--resume") == 0
    steps = [row["step"] for row in lines(tmp_path / "out" / "journal.jsonl") if "step" in row]
    assert max(steps) == 4  # type: ignore[type-var]


def test_mistakes_are_one_line(
    folder: Path, sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = folder / "photos.jsonl", tmp_path / "out"
    apart = ["--real", photos, "--generated", photos]
    wrong = [
        (4, ["candidates", "image", "--pipeline", tmp_path, "--prompts", photos, "--out", out]),
        (3, ["align", "image", "--pipeline", folder / "xl", "--data", sets, "--out", out]),
        (4, ["align", "image", "--pipeline", folder / "clip", "--data", sets, "--out", out]),
        (2, ["discriminator", "train", "--model", folder / "clip", "--out", out, *apart]),
    ]
    for code, command in wrong:
        capsys.readouterr()
        assert call(*command) == code
        assert "Traceback" not in capsys.readouterr().err


def test_a_model_names_the_images(folder: Path, tmp_path: Path) -> None:
    """Captions are the model's own, so the same as it says alone, and not those of the rows."""
    tiny.llava(tmp_path / "llava")
    run = ["--pipeline", folder / "xl", "--prompts", folder / "photos.jsonl"]
    named = ["--captioner", tmp_path / "llava", "--step-counts", "1", "--out", tmp_path / "c"]
    assert call("candidates", "image", *run, *named) == 0
    name = captioner(tmp_path / "llava")
    rows = lines(tmp_path / "c" / "candidates.jsonl")
    assert [row["prompt"] for row in rows] == [name(folder / f"{i}.jpg") for i in range(6)]
    assert all(row["prompt"] and row["source"] == ["1 step"] for row in rows)


def test_what_cannot_name_an_image_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="image-text-to-text"):
        captioner(folder / "clip")
