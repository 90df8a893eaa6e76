"""Rankings and votes are kept, and training reads them; journals are shown, and nothing else."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.apps.serve.living import Live, serving, tiny
from tests.apps.serve.test_refusals import check

from sfumato.alignment.images.records import read_images
from sfumato.alignment.rankings.formats import read_ranking
from sfumato.errors import ResourceError
from sfumato_apps.serve.stored import database
from sfumato_apps.serve.stored.database import NAME, Database
from sfumato_apps.serve.stored.judgements import Judgements, Vote, wilson
from sfumato_apps.serve.stored.preferences import Preferences

RANKINGS = [
    {"prompt": "the cat", "completions": [" sat", " ran", "\u2028 <b>"], "ranks": [2, 1, 2]},
    {"prompt": "", "completions": ["a", "b"], "ranks": [1, 2]},
    {
        "prompt": [{"role": "user", "content": "Кто там?"}],
        "completions": ["Кот.", "Никто."],
        "ranks": [1, 2],
    },
]


def test_rankings_come_back_and_alignment_reads_them(tmp_path: Path) -> None:
    with serving(tiny(), tmp_path) as live:
        assert live.get("/v1/preferences").json() == {"object": "list", "data": [], "total": 0}
        assert live.get("/v1/preferences/export").text == ""
        assert not (tmp_path / "data").exists()
        for number, ranking in enumerate(RANKINGS, start=1):
            answer = live.post("/v1/preferences", ranking)
            assert answer.status_code == 201
            assert answer.json() | {"created": 0} == {"id": number, "created": 0, **ranking}
    with serving(tiny(), tmp_path) as live:  # another process would find the same
        kept = live.get("/v1/preferences").json()
        assert [one["id"] for one in kept["data"]] == [3, 2, 1]
        assert kept["total"] == 3
        assert [one["id"] for one in live.get("/v1/preferences?limit=1").json()["data"]] == [3]
        lines = live.get("/v1/preferences/export").text.split("\n")
    assert lines.pop() == ""
    for line, ranking in zip(lines, RANKINGS, strict=True):
        assert json.loads(line) == ranking
        assert list(read_ranking(json.loads(line), "").ranks) == ranking["ranks"]


IMAGES = {
    "prompt": "a red house",
    "completions": [{"path": "images/0 1.png"}, {"path": "дом.jpg"}, {"path": "a/b/c.webp"}],
    "ranks": [2, 1, 1],
}


def test_rankings_of_images_are_kept_apart_by_their_names(tmp_path: Path) -> None:
    with serving(tiny(), tmp_path) as live:
        for ranking in (*RANKINGS, IMAGES):
            assert live.post("/v1/preferences", ranking).status_code == 201
        kept = live.get("/v1/preferences?kind=images").json()
        assert (kept["total"], [one["id"] for one in kept["data"]]) == (1, [4])
        assert live.get("/v1/preferences").json()["total"] == 3
        assert len(live.get("/v1/preferences/export").text.split("\n")) == 4
        (line, _) = live.get("/v1/preferences/export?kind=images").text.split("\n")
        check(live.get("/v1/preferences?kind=both"), 400, "invalid_value", "query.kind")
    found = read_images(json.loads(line), "the line", tmp_path)
    assert found.images == tuple(tmp_path / one["path"] for one in IMAGES["completions"])
    assert (found.prompt, found.ranks) == ("a red house", (2, 1, 1))


@pytest.mark.parametrize(
    "path",
    [
        *("", "/a.png", "../a.png", "a/../../b.png", "a//b.png", "./a.png", "C:/a.png"),
        *("a\\b.png", "a\n.png", "a\0.png", "x" * 513, "a/"),
    ],
)
def test_a_name_that_leads_elsewhere_is_not_kept(live: Live, path: str) -> None:
    found = [{"path": path}, {"path": "b.png"}]
    check(live.post("/v1/preferences", {"completions": found, "ranks": [1, 2]}), 400)


@pytest.mark.parametrize(
    "wrong",
    [
        {"completions": [{"path": "a.png"}, "b"], "ranks": [1, 2]},
        {"completions": [{"path": "a.png"}, {"path": "b.png"}], "ranks": [1, 1]},
        {"completions": [{"path": "a.png"}, {"path": "b.png"}], "ranks": [1]},
        {"completions": [{"path": "a.png", "bytes": "x"}, {"path": "b.png"}], "ranks": [1, 2]},
        {
            "prompt": [{"role": "user", "content": "a"}],
            "completions": [{"path": "a.png"}, {"path": "b.png"}],
            "ranks": [1, 2],
        },
        {"completions": ["a", "b"], "ranks": [1]},
        {"completions": ["a", "b"], "ranks": [1, 1]},
        {"completions": ["a", "b"], "ranks": [0, 1]},
        {"completions": ["a", " "], "ranks": [1, 2]},
        {"completions": ["a"], "ranks": [1]},
        {"completions": ["a", "b"], "ranks": [1, 2], "more": 1},
    ],
)
def test_what_is_no_ranking_is_not_kept(live: Live, wrong: dict[str, object]) -> None:
    check(live.post("/v1/preferences", wrong), 400)
    assert live.get("/v1/preferences").json()["total"] == 0


def test_votes_are_counted_whichever_side_was_called_a(live: Live) -> None:
    """Four wins, one of them with the names turned round, two losses and two ties in eight."""
    votes = [("x", "y", "a")] * 3 + [("y", "x", "b")] + [("x", "y", "b")] * 2
    votes += [("x", "y", "tie"), ("y", "x", "tie"), ("x", "z", "b")]
    for a, b, winner in votes:
        said = {"prompt": "p", "text_a": "1", "text_b": "2", "a": a, "b": b, "winner": winner}
        assert live.post("/v1/judgements", said).status_code == 201
    found = live.get("/v1/judgements/summary?a=x&b=y").json()
    assert (found["n"], found["ties"], found["win_rate"]) == (8, 2, 5 / 8)
    assert (found["low"], found["high"]) == pytest.approx(wilson(5 / 8, 8))
    other = live.get("/v1/judgements/summary?a=y&b=x").json()
    assert other["win_rate"] == pytest.approx(1 - found["win_rate"])
    none = live.get("/v1/judgements/summary?a=x&b=nobody").json()
    assert (none["n"], none["win_rate"], none["low"]) == (0, None, None)
    check(live.get("/v1/judgements/summary?a=x"), 400, "invalid_value", "query.b")


def test_the_interval_by_hand() -> None:
    """Wilson solves |p̂ − p| = z √(p(1 − p)/n) for p: both ends are roots."""
    for rate, n in ((0.5, 10), (0.9, 40), (0.0, 5), (1.0, 3)):
        for end in wilson(rate, n):
            assert abs(rate - end) == pytest.approx(
                1.959964 * math.sqrt(end * (1 - end) / n), abs=1e-6
            )


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    """As several processes do: each thread has a connection of its own."""
    judgements = Judgements(database=Database(folder=tmp_path))
    vote = Vote(prompt="", a="a", b="b", text_a="", text_b="", winner="a")
    threads = [
        threading.Thread(target=lambda: [judgements.add(vote) for _ in range(10)]) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert judgements.summary("a", "b")["n"] == 60


def test_a_write_that_sqlite_refuses_at_once_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does where two make the file; a lock that stays is an error, and nothing is half."""
    monkeypatch.setattr(database, "_PATIENCE", 0.3)
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
    refusals = [busy, busy]
    whole = Database._insert

    def refusing(self: Database, *given: Any) -> int:
        if refusals:
            raise refusals.pop()
        return whole(self, *given)

    monkeypatch.setattr(Database, "_insert", refusing)
    preferences = Preferences(database=Database(folder=tmp_path))
    ranking = {"prompt": "a", "completions": ["b", "c"], "ranks": [1, 2]}
    preferences.add(ranking)
    assert not refusals
    with closing(sqlite3.connect(tmp_path / NAME)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ResourceError, match="cannot be written: database is locked"):
            preferences.add(ranking)
        other.rollback()
    assert preferences.add(ranking)["id"] == 2


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    preferences = Preferences(database=Database(folder=tmp_path / "file" / "data"))
    with pytest.raises(ResourceError, match="cannot be written"):
        preferences.add({"prompt": "a", "completions": ["b", "c"], "ranks": [1, 2]})
    (tmp_path / NAME).write_bytes(b"no database at all" * 100)
    with pytest.raises(ResourceError, match="cannot be read"):
        Preferences(database=Database(folder=tmp_path)).newest("texts", 1)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    for name in ("one", "two.b-c_d", "wrong name", "empty"):
        (folder / name).mkdir(parents=True)
    lines = [{"kind": "train", "step": i, "loss": 1 / (i + 1)} for i in range(5)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "one" / "journal.jsonl").write_text(text + '{"step": 5, "torn')
    odd = '{"loss": NaN, "text": "\\ud800"}\nno json\n' + "[" * 100_000 + "\n"
    (folder / "two.b-c_d" / "journal.jsonl").write_text(odd)
    (folder / "wrong name" / "journal.jsonl").write_text(text)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "journal.jsonl").write_text('{"secret": 1}\n')
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "half").mkdir()
    (folder / "half" / "journal.jsonl").symlink_to(tmp_path / "secret" / "journal.jsonl")
    return folder


def test_journals_are_read_from_where_one_is(tmp_path: Path, runs: Path) -> None:
    with serving(tiny(), tmp_path, runs=runs) as live:
        names = [one["name"] for one in live.get("/v1/runs").json()["data"]]
        assert names == ["one", "two.b-c_d"]
        found = live.get("/v1/runs/one/journal").json()
        assert [one["step"] for one in found["data"]] == [0, 1, 2, 3, 4]
        assert found["next"] == 5
        later = live.get("/v1/runs/one/journal?after=3").json()
        assert [one["step"] for one in later["data"]] == [3, 4]
        with (runs / "one" / "journal.jsonl").open("a") as file:
            file.write('": 1}\n')
        assert len(live.get("/v1/runs/one/journal?after=5").json()["data"]) == 1
        odd = live.get("/v1/runs/two.b-c_d/journal").json()
        assert odd["data"] == [{"loss": None, "text": "\ud800"}, None, None]


def test_no_name_leads_out_of_the_folder(tmp_path: Path, runs: Path) -> None:
    names = ["..", ".", "%2e%2e", "..%2fsecret", "%2Fetc", "link", "half", "empty", "nobody"]
    names += ["a" * 65, "one%00", "one%0a", "one/../../secret", "C:%5C", "%5C%5Chost%5Cshare", "о"]
    with serving(tiny(), tmp_path, runs=runs) as live:
        for name in names:
            answer = live.get(f"/v1/runs/{name}/journal")
            assert answer.status_code in (400, 404), name
            check(answer, answer.status_code)
            assert "secret" not in answer.text
            assert os.fspath(tmp_path) not in answer.text


def test_without_a_folder_there_are_no_runs(live: Live) -> None:
    assert live.get("/v1/runs").json()["data"] == []
    check(live.get("/v1/runs/one/journal"), 404, "not_found")
