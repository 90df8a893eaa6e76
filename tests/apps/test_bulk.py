"""`sfumato write --prompts`: a line for each line, whatever happens on the way."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.apps.test_align import model
from tests.apps.test_cli import call

from sfumato_apps.fingerprints import beside
from sfumato_apps.shares import Share, joined

__all__ = ["model"]  # a fixture

LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
LAUNCH += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven lines: prompts, two of them empty, one too long, one broken and one without field."""
    path = tmp_path_factory.mktemp("data") / "prompts.jsonl"
    texts = ["Ann sees", "", "Bob ", "Eve\u2028likes", "", "old " * 60, "Tom", "Ann likes a"]
    rows = [json.dumps({"prompt": text}, ensure_ascii=False) for text in texts]
    rows[2:2] = ["{broken", '{"text": "Ann"}']
    path.write_text("\n".join([*rows, '{"prompt": "Kim"}']), encoding="utf-8")
    return path


def command(model: Path, prompts: Path, *more: str) -> list[str | Path]:
    short = ["--length", "6", "--batch", "3", *more]
    return ["write", "--model", model, "--prompts", prompts, *short]


@pytest.fixture(scope="module")
def whole(model: Path, prompts: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What an uninterrupted run writes."""
    out = tmp_path_factory.mktemp("whole") / "o.jsonl"
    assert call(*command(model, prompts), "--output", out) == 0
    return out.read_bytes()


def test_one_line_for_each_in_order(
    model: Path, prompts: Path, whole: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """Texts begin with their prompts, errors stand in their places, seeds follow the lines."""
    found = [json.loads(line) for line in whole.decode().split("\n")[:-1]]
    assert [number for number, one in enumerate(found, 1) if "error" in one] == [3, 4, 8]
    assert [found[i]["line"] for i in (2, 3, 7)] == [3, 4, 8]
    assert "prompts.jsonl:3" in found[2]["error"]
    assert "field 'prompt'" in found[3]["error"]
    assert "reads at most" in found[7]["error"]
    assert found[7]["source"] == "old " * 60
    for number, one in enumerate(found):
        if "error" not in one:
            assert one["text"].startswith(one["source"])
            assert one["seed"] == number
            assert one["passes"] >= 1
    capfd.readouterr()
    one = ["--prompt", "Tom", "--length", "6", "--seed", "8", "--json"]
    assert call("write", "--model", model, *one) == 0
    assert json.loads(capfd.readouterr().out)["text"] == found[8]["text"]


@pytest.mark.parametrize(
    ("behind", "more"),
    [
        (b"", 0),
        (b"", 20),
        (b"\n", -1),
        (b"\n", 0),
        ("Eve\u2028".encode(), -1),
        (b'"line": 4}', 0),
        (b'"line": 8}\n', 1),
        (b'"source": "Kim"}', 0),
    ],
    ids=["nothing", "a line begun", "before a line feed", "a line", "half a character",
         "an error unended", "a brace", "all but a line feed"],
)  # fmt: skip
def test_a_run_cut_anywhere_goes_on_to_the_same_bytes(
    behind: bytes, more: int, model: Path, prompts: Path, whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "o.jsonl"
    assert behind in whole
    out.write_bytes(whole[: whole.index(behind) + len(behind) + more])
    assert call(*command(model, prompts, "--batch", "2"), "--output", out) == 0
    assert out.read_bytes() == whole


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--temperature", "0.5"], "begun with temperature 1.0, not 0.5:"),
        (["--length", "7", "--top-k", "3"], "begun with length 6, not 7, top_k None, not 3:"),
        (["--rank", "likelihood"], "begun with rank None, not likelihood:"),
    ],
)
def test_a_run_does_not_go_on_with_other_options(
    model: Path,
    prompts: Path,
    whole: bytes,
    tmp_path: Path,
    more: list[str],
    said: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whether it was cut short or not; nothing is written, and with its own options it goes on."""
    out = tmp_path / "o.jsonl"
    out.write_bytes(whole[:-20])
    assert call(*command(model, prompts), "--output", out) == 0
    cut = whole[: len(whole) // 2]
    for content in (cut, whole):
        out.write_bytes(content)
        capfd.readouterr()
        assert call(*command(model, prompts, *more), "--output", out) == 2
        assert said in capfd.readouterr().err
        assert out.read_bytes() == content
    out.write_bytes(cut)
    assert call(*command(model, prompts, "--batch", "5"), "--output", out) == 0
    assert out.read_bytes() == whole
    out.write_bytes(b"")
    assert call(*command(model, prompts, *more), "--output", out) == 0


def test_a_run_does_not_go_on_with_another_model(
    model: Path, prompts: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The same model in another folder is the same."""
    out, moved = tmp_path / "o.jsonl", tmp_path / "moved"
    shutil.copytree(model, moved)
    assert call(*command(model, prompts), "--output", out) == 0
    assert call(*command(moved, prompts), "--output", out) == 0
    capfd.readouterr()
    assert call("write", "--prompts", prompts, "--length", "6", "--output", out) == 2
    assert re.search(r"with another model \(\w{12}, not \w{12}\): give", capfd.readouterr().err)
    (tmp_path / "o.jsonl.run").write_text("{")
    assert call(*command(model, prompts), "--output", out) == 2
    assert "says nothing of what was begun" in capfd.readouterr().err


def test_two_processes_write_the_lines_of_one(
    model: Path, prompts: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each its own, by number, in a part that is gone on with; joined when both are done."""
    out = tmp_path / "o.jsonl"
    for rank in (1, 0):
        monkeypatch.setattr("sfumato_apps.bulk.ranks.patient", lambda rank=rank: State(rank))
        assert call(*command(model, prompts), "--output", out) == 0
        part = tmp_path / f"o.jsonl.{rank}of2"
        if rank:
            content = part.read_bytes()
            assert content == b"".join(whole.splitlines(keepends=True)[1::2])
            part.write_bytes(content[:-30])
            assert call(*command(model, prompts), "--output", out) == 0
            assert part.read_bytes() == content
    assert out.read_bytes() == whole
    assert {*tmp_path.iterdir()} == {out, tmp_path / "o.jsonl.run"}
    assert call(*command(model, prompts), "--output", out) == 2  # not over what is there


class State:
    """One of two processes, as accelerate describes it."""

    device = torch.device("cpu")
    num_processes = 2

    def __init__(self, rank: int) -> None:
        self.process_index = rank

    def wait_for_everyone(self) -> None:
        """Nobody else is there."""


def test_parts_that_do_not_belong_together(tmp_path: Path) -> None:
    """A part that ends too early leaves everything as it is."""
    out = tmp_path / "o"
    contents = (b"0\n3\n6\n", b"1\n4\n", b"2\n")
    parts = [Share(rank=rank, count=3).part(out) for rank in range(3)]
    for part, content in zip(parts, contents, strict=True):
        part.write_bytes(content)
    with pytest.raises(Exception, match="do not belong together"):
        joined(out, 3)
    assert not out.exists()
    assert [part.read_bytes() for part in parts] == [*contents]
    parts[2].write_bytes(b"2\n5\n")
    joined(out, 3)
    assert out.read_bytes() == b"0\n1\n2\n3\n4\n5\n6\n"
    assert [*tmp_path.iterdir()] == [out]


def test_what_the_parts_were_made_with_replaces_what_stood_there(tmp_path: Path) -> None:
    """The file is new, so what an older one of its name was made with says nothing of it."""
    out = tmp_path / "o"
    beside(out).write_text('{"n": 1}\n')
    for rank in range(2):
        part = Share(rank=rank, count=2).part(out)
        part.write_bytes(b"1\n")
        beside(part).write_text('{"n": 2}\n')
    joined(out, 2)
    assert {*tmp_path.iterdir()} == {out, beside(out)}
    assert beside(out).read_text() == '{"n": 2}\n'


def test_several_texts_a_line_the_best_first(model: Path, tmp_path: Path) -> None:
    """Plain text has a prompt a line; with a rank, the score is told."""
    source, out, words = (tmp_path / name for name in ("p.txt", "o.jsonl", "w.txt"))
    source.write_text("Ann\n\nBob sees\n")
    words.write_text("tea\n")
    several = command(model, source, "--n", "3", "--seed", "7", "--output", out)
    assert call(*several) == 0
    found = lines(out)
    assert [one["source"] for one in found] == ["Ann", "", "Bob sees"]
    assert [one["seed"] for one in found] == [7, 10, 13]
    assert all(len(one["others"]) == 2 for one in found)
    ranked = tmp_path / "r.jsonl"
    assert call(*command(model, source, "--n", "3", "--seed", "7"), "--rank", words,
                "--output", ranked) == 0  # fmt: skip
    for one, best in zip(found, lines(ranked), strict=True):
        assert {best["text"], *best["others"]} == {one["text"], *one["others"]}
        assert "score" in best
    assert call(*several) == 0  # the whole file is there
    assert call(*command(model, source, "--n", "3", "--seed", "99"), "--output", out) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompts", "p.txt"], "need each other"),
        (["--output", "o.jsonl"], "need each other"),
        (["--prompts", "p.txt", "--output", "o.jsonl", "--prompt", "A"], "leave out --prompt"),
        (["--prompts", "p.txt", "--output", "o.jsonl", "--json"], "leave out --prompt"),
        (["--prompts", "p.txt", "--output", "o.jsonl", "--batch", "0"], "at least 1"),
        (["--prompts", "p.txt", "--output", "o.jsonl", "--n", "0"], "at least 1"),
        (["--prompts", "other.txt", "--output", "done.jsonl"], "name another --output"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: list[str], message: str, model: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("p.txt").write_text("Ann\n")
    Path("other.txt").write_text("Bob\n")
    record = {"text": "Ann sees", "seed": 0, "passes": 1, "source": "Ann"}
    Path("done.jsonl").write_text(json.dumps(record) + "\n")
    assert call("write", "--model", model, *options) == 2
    assert message in capfd.readouterr().err
    assert json.loads(Path("done.jsonl").read_text()) == record


@pytest.mark.slow
def test_killed_in_the_middle(tmp_path: Path) -> None:
    """By SIGKILL, with the shipped model: no line is lost or doubled, and none differs."""
    source, out, alone = (tmp_path / name for name in ("p.txt", "o.jsonl", "alone.jsonl"))
    source.write_text("\n" * 400)
    run = ["write", "--prompts", source, "--steps", "8", "--output"]
    assert call(*run, alone) == 0
    child = subprocess.Popen([sys.executable, "-m", "sfumato_apps.cli", *map(str, [*run, out])])
    while not out.exists() or out.read_bytes().count(b"\n") < 40:
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert 40 <= out.read_bytes().count(b"\n") < 400
    assert call(*run, out) == 0
    assert out.read_bytes() == alone.read_bytes()


@pytest.mark.slow
def test_processes_share_the_lines_out(
    model: Path, prompts: Path, whole: bytes, tmp_path: Path
) -> None:
    """Two real processes write what one writes."""
    out = tmp_path / "o.jsonl"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    run = [*LAUNCH, "--main_process_port", port, "-m", "sfumato_apps.cli"]
    subprocess.run([*map(str, [*run, *command(model, prompts), "--output", out])], check=True)
    assert out.read_bytes() == whole
    assert {*tmp_path.iterdir()} == {out, tmp_path / "o.jsonl.run"}
