"""`sfumato candidates` and `rank`: from prompts to rankings, with what can go wrong."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.alignment.test_likelihood import llama
from tests.apps.test_align import model
from tests.apps.test_bulk import State
from tests.apps.test_cli import call
from tests.training.worlds import WORDS

from sfumato.alignment.rankings.formats import read_ranking
from sfumato.models.checkpoints import pretrained_tokenizer
from sfumato_apps.fingerprints import beside
from sfumato_apps.judging.sharing import lines_of

__all__ = ["model"]  # a fixture

SHORT = ["--length", "6", "--n", "2", "--batch", "2"]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four texts, the last one as a turn."""
    path = tmp_path_factory.mktemp("data") / "prompts.jsonl"
    rows: list[dict[str, Any]] = [{"prompt": f"{name} "} for name in ("Ann", "Bob", "Eve")]
    rows.append({"messages": [{"role": "user", "content": "Tom"}]})
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_ways_and_a_run_that_goes_on(model: Path, prompts: Path, tmp_path: Path) -> None:
    """Two temperatures by two step counts, twice each; a torn file is gone on with, the same."""
    out, again = tmp_path / "c.jsonl", tmp_path / "again.jsonl"
    ways = ["--temperatures", "0.5", "--temperatures", "1", "--step-counts", "2"]
    run = ["--model", model, "--prompts", prompts, *SHORT, *ways, "--step-counts", "4"]
    assert call("candidates", "--out", out, *run) == 0
    rows = lines(out)
    assert [row["prompt"] for row in rows[:3]] == ["Ann ", "Bob ", "Eve "]
    assert rows[3]["prompt"] == [{"role": "user", "content": "Tom"}]
    assert all(len(row["completions"]) == len(row["source"]) == 8 for row in rows)
    assert len({*rows[0]["source"]}) == 4
    torn = out.read_bytes()
    again.write_bytes(torn[: torn.index(b"\n") + 30])
    assert call("candidates", "--out", again, *run) == 0
    assert again.read_bytes() == torn
    assert call("candidates", "--out", again, *run) == 0  # nothing is left to do
    assert again.read_bytes() == torn


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--temperatures", "0.5"], "begun with temperatures None, not [0.5]:"),
        (["--n", "3", "--seed", "4"], "begun with n 2, not 3, seed 0, not 4:"),
        (["--bias", "tea=9"], "begun with bias None, not ['tea=9']:"),
    ],
)
def test_a_run_does_not_go_on_with_other_options(
    model: Path,
    prompts: Path,
    tmp_path: Path,
    more: list[str],
    said: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Nothing is written, and with its own options it goes on."""
    out = tmp_path / "c.jsonl"
    run = ["--model", model, "--prompts", prompts, *SHORT, "--out", out]
    assert call("candidates", *run) == 0
    whole = out.read_bytes()
    cut = whole[: len(whole) // 2]
    out.write_bytes(cut)
    assert call("candidates", *run, *more) == 2
    assert said in capfd.readouterr().err
    assert out.read_bytes() == cut
    assert call("candidates", *run, "--batch", "3") == 0
    assert out.read_bytes() == whole
    assert call("candidates", "--prompts", prompts, *SHORT, "--out", out) == 2
    assert "begun with another model (" in capfd.readouterr().err


def test_two_processes_write_the_candidates_of_one(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they were made with stands beside the joined file only."""
    alone, out = tmp_path / "alone.jsonl", tmp_path / "c.jsonl"
    run = ["candidates", "--model", model, "--sets", "3", "--length", "4", "--n", "2"]
    assert call(*run, "--out", alone) == 0
    for rank in (1, 0):
        monkeypatch.setattr("sfumato_apps.ranks.patient", lambda rank=rank: State(rank))
        monkeypatch.setattr("sfumato_apps.ranks.is_first", lambda rank=rank: not rank)
        assert call(*run, "--out", out) == 0
    assert out.read_bytes() == alone.read_bytes()
    files = (alone, out)
    assert {*tmp_path.iterdir()} == {*files, *map(beside, files)}
    assert beside(out).read_bytes() == beside(alone).read_bytes()


def test_free_texts_differ(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.jsonl"
    run = ["--model", model, "--sets", "3", "--n", "3", "--length", "8"]
    assert call("candidates", "--out", out, *run) == 0
    texts = [text for row in lines(out) for text in row["completions"]]
    assert len(texts) == 9
    assert len({*texts}) > 5


BETTER = ["--search", "pattern:e", "--beams", "4", "--keep", "2", "--every", "2"]
BETTER += ["--prefix", "Now ", "--bias", "tea=9", "rain=-9"]


def test_ways_to_better_texts(model: Path, prompts: Path, tmp_path: Path) -> None:
    """Three more ways beside the plain one, which writes as it does alone; with their passes."""
    out, plain = tmp_path / "c.jsonl", tmp_path / "plain.jsonl"
    run = ["--model", model, "--prompts", prompts, *SHORT]
    assert call("candidates", "--out", out, *run, *BETTER) == 0
    assert call("candidates", "--out", plain, *run) == 0
    ways = ["temperature 1", *(f"temperature 1, {more}" for more in ("prefix", "bias", "search"))]
    for row, alone in zip(lines(out), lines(plain), strict=True):
        assert row["source"] == [way for way in ways for _ in range(2)]
        assert row["completions"][:2] == alone["completions"]
        assert row["passes"][:2] == alone["passes"]
        assert min(row["passes"][6:]) > max(row["passes"][:6])
    texts = [text for row in lines(out) for text in row["completions"][4:6]]
    assert sum("tea" in text for text in texts) > 4


def test_an_autoregressive_model_writes(prompts: Path, tmp_path: Path) -> None:
    """A text depends on its prompt and number, not on its neighbours."""
    folder, rows = tmp_path / "llama", []
    llama().save_pretrained(folder)
    pretrained_tokenizer(WORDS).save_pretrained(folder)
    head = tmp_path / "head.jsonl"
    head.write_text("\n".join(prompts.read_text().splitlines()[:3]))
    for batch in ("1", "3"):
        out = tmp_path / f"{batch}.jsonl"
        run = ["--model", folder, "--prompts", head, "--n", "2", "--length", "6"]
        assert call("candidates", "--out", out, *run, "--batch", batch) == 0
        rows.append(lines(out))
    assert rows[0] == rows[1]
    assert any(text for row in rows[0] for text in row["completions"])
    assert call("candidates", "--out", tmp_path / "x", *run, "--step-counts", "4") == 2
    assert call("candidates", "--out", tmp_path / "b", *run, *BETTER) == 0
    found = lines(tmp_path / "b")[0]
    assert found["completions"][:2] == rows[0][0]["completions"]
    assert found["source"][-1] == "temperature 1, search"
    assert "tea" in found["completions"][4]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Candidates whose order is known: the more cats, the better."""
    path = tmp_path / "c.jsonl"
    rows = [
        {"prompt": "I see ", "completions": ["a cat.", "a cat and a cat.", "rain.", "no one."]},
        {"prompt": "", "completions": ["Rain.", "Rain.", "No."]},
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_rankings_by_a_sum_of_rewards(
    written: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """5·cats a word − distance from four words: the second first, then the first."""
    out = tmp_path / "r.jsonl"
    by = ["--by", "5*pattern:cat", "--by", "length:4"]
    assert call("rank", "--data", written, *by, "--out", out) == 0
    (row,) = lines(out)
    record = read_ranking(row, "")
    assert record.completions[:2] == ("a cat.", "a cat and a cat.")
    assert record.scores is not None
    assert record.scores[:2] == pytest.approx([5 / 2 - 0.5, 5 * 2 / 5 - 0.25])
    said = capfd.readouterr().err
    assert "1 rankings (1 of 4 texts)" in said or "1 rankings" in said
    assert "no order" in said or "not all the same" in said or "two or more" in said


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("pairs", {"prompt": "I see ", "chosen": "a cat.", "rejected": "no one."}),
        ("labels", {"prompt": "I see ", "completion": "a cat.", "label": True}),
    ],
)
def test_forms_of_trl(form: str, expected: dict[str, Any], written: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    # The star belongs to the pattern.
    run = ["--data", written, "--by", "pattern:cat(s*)", "--out", out, "--most", "2"]
    assert call("rank", *run, "--form", form) == 0
    assert lines(out)[0] == expected


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--by", "nice"], 2, "names no reward"),
        (["--by", "x*length:4"], 2, "a number before the star"),
        (["--by", "length:four"], 2, "a number of words"),
        (["--by", "pattern:("], 2, "no regular expression"),
        (["--by", "valence:/no/such"], 3, "words and valences"),
        (["--by", "length:4", "--chosen", "1"], 2, "need each other"),
        (["--by", "length:4", "--most", "1"], 2, "--most ≥ 2"),
        (["--by", "pattern:zebra"], 3, "no candidates could be ranked"),
    ],
)
def test_rank_refuses(
    options: list[str], code: int, message: str, written: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert call("rank", "--data", written, "--out", tmp_path / "r", *options) == code
    assert message in capfd.readouterr().err


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    """Separators of Unicode may stand in a text."""
    path = tmp_path / "c.jsonl"
    row = json.dumps({"prompt": "a\u2028b\x85c"}, ensure_ascii=False)
    path.write_text(f"{row}\n{row}\n", encoding="utf-8")
    assert lines_of(path) == [row, row]


def test_candidates_refuse(
    model: Path, prompts: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """No prompts, both kinds, rows that ask nothing, a file of other prompts."""
    out = tmp_path / "c.jsonl"
    assert call("candidates", "--out", out, "--model", model) == 2
    assert call("candidates", "--out", out, "--prompts", prompts, "--sets", "2") == 2
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"label": 1}')
    assert call("candidates", "--out", out, "--model", model, "--prompts", bad) == 3
    bad.write_text('{"prompt": [{"content": "Hi"}]}')
    assert call("candidates", "--out", out, "--model", model, "--prompts", bad) == 3
    out.write_text("no candidates\n")
    assert call("candidates", "--out", out, "--model", model, "--prompts", prompts, *SHORT) == 2
    out.write_text('{"prompt": "Zoe "}\n')
    assert call("candidates", "--out", out, "--model", model, "--prompts", prompts, *SHORT) == 2
    assert "other prompts" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--search", "nice"], "names no reward"),
        (["--search", "length:4", "--keep", "3"], "keep must divide width"),
        (["--search", "length:4", "--temperatures", "0"], "all runs of a text are alike"),
        (["--bias", "tea"], "expected WORD=NUMBER"),
        (["--bias", "=2"], "expected WORD=NUMBER"),
        (["--bias", "tea=nan"], "expected WORD=NUMBER"),
    ],
)
def test_ways_that_make_no_sense_are_refused(
    options: list[str], message: str, model: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = ["--out", tmp_path / "c", "--model", model, "--sets", "1", *SHORT]
    assert call("candidates", *run, *options) == 2
    assert message in capfd.readouterr().err


@pytest.mark.slow
def test_processes_share_the_prompts_out(model: Path, tmp_path: Path) -> None:
    """Two processes write what one writes, in the same order."""
    run = ["candidates", "--model", model, "--sets", "5", "--n", "2", "--length", "6"]
    alone, together = tmp_path / "alone.jsonl", tmp_path / "together.jsonl"
    assert call(*run, "--out", alone) == 0
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    launch += ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    launch += ["--dynamo_backend", "no", "--main_process_port", port, "-m", "sfumato_apps.cli"]
    subprocess.run([*map(str, [*launch, *run, "--out", together])], check=True)
    assert together.read_bytes() == alone.read_bytes()
    assert {*tmp_path.glob("together*")} == {together, tmp_path / "together.jsonl.run"}
