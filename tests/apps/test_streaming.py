"""A file worked off: order, errors as records, and going on after an interruption."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfumato.errors import DataError, UsageError
from sfumato_apps.streaming import in_batches, work_off


class Upper:
    """Upper-cases texts, refuses those that say so, and is interrupted when told to be."""

    def __init__(self, *, until: int | None = None) -> None:
        self.until = until
        self.calls: list[int] = []

    def __call__(self, texts: list[str]) -> list[dict[str, Any]]:
        if self.until is not None and len(self.calls) >= self.until:
            raise KeyboardInterrupt
        self.calls.append(len(texts))
        if any("refuse" in text for text in texts):
            raise UsageError("too long")
        return [{"text": text.upper(), "source": text} for text in texts]


def run(source: Path, target: Path, work: Upper, batch: int = 16) -> tuple[int, int]:
    return work_off(
        source, target, in_batches(work, batch), field="text", say=lambda line: None, made={}
    )


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def corpus(path: Path, texts: list[str]) -> Path:
    rows = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    path.write_text("".join(rows), encoding="utf-8")
    return path


def test_a_thousand_lines_in_their_order(tmp_path: Path) -> None:
    texts = [f"Строка {i}\u2028 ё\t👩🏽" for i in range(1003)]
    source, target = corpus(tmp_path / "in.jsonl", texts), tmp_path / "out.jsonl"
    said: list[str] = []
    work = Upper()
    counts = work_off(source, target, in_batches(work, 16), field="text", say=said.append, made={})
    assert counts == (1003, 0)
    assert [line["text"] for line in written(target)] == [text.upper() for text in texts]
    assert work.calls == [16] * 62 + [11]
    assert len(said) == 10
    assert re.fullmatch(r"1000 lines, [\d.]+ texts a second", said[-1])


@pytest.mark.parametrize("until", [0, 1, 7])
def test_an_interrupted_run_goes_on_to_the_same_file(tmp_path: Path, until: int) -> None:
    source = corpus(tmp_path / "in.jsonl", [f"text {i}" for i in range(50)])
    target, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    run(source, whole, Upper(), batch=5)
    with pytest.raises(KeyboardInterrupt):
        run(source, target, Upper(until=until), batch=5)
    assert len(written(target)) == 5 * until
    again = Upper()
    assert run(source, target, again, batch=5) == (50, 0)
    assert sum(again.calls) == 50 - 5 * until
    assert target.read_bytes() == whole.read_bytes()
    assert run(source, target, Upper(until=0), batch=5) == (50, 0)


@pytest.mark.parametrize("cut", [1, 9, 40])
def test_a_torn_line_is_dropped(tmp_path: Path, cut: int) -> None:
    source = corpus(tmp_path / "in.jsonl", ["одна", "две", "три"])
    target, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    run(source, whole, Upper())
    target.write_bytes(whole.read_bytes()[:-cut])
    run(source, target, Upper())
    assert target.read_bytes() == whole.read_bytes()


def test_errors_are_records_in_their_place(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [b'{"text": "a"}', b"{", b'{"txt": 1}', b'{"text": 3}', b'{"text": "\xff"}', b""]
    rows += [b'{"text": "\\ud800"}', b"[]", b'{"text": "refuse"}', b'{"text": "b"}']
    source.write_bytes(b"\n".join(rows) + b"\n")
    done, errors = run(source, target, Upper())
    assert (done, errors) == (10, 8)
    lines = written(target)
    assert [line.get("text") for line in lines] == ["A", *[None] * 8, "B"]
    assert [line["line"] for line in lines[1:-1]] == list(range(2, 10))
    assert "in.jsonl:3: expected an object with a string in the field 'text'" in lines[2]["error"]
    assert "surrogate" in lines[6]["error"]
    assert lines[8] == {"error": "too long", "source": "refuse", "line": 9}
    for kept in range(1, 10):
        target.write_bytes(b"\n".join(target.read_bytes().split(b"\n")[:kept]) + b"\n")
        assert run(source, target, Upper())[0] == 10
        assert written(target) == lines


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_plain_text_has_a_text_a_line(tmp_path: Path, texts: list[str]) -> None:
    """No character but the line feed ends a line: not U+2028, not a form feed."""
    source, target = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_bytes("".join(f"{text}\n" for text in texts).encode("utf-8"))
    target.unlink(missing_ok=True)
    run(source, target, Upper(), batch=3)
    first = [texts[0].removeprefix("\ufeff")] if texts else []
    expected = [*first, *texts[1:]]
    if not any("refuse" in text for text in texts):
        assert [line["source"] for line in written(target)] == expected


def test_windows_line_ends_and_no_last_line_feed(tmp_path: Path) -> None:
    source, target = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_bytes(b"\xef\xbb\xbfa\r\n\r\nb")
    run(source, target, Upper())
    assert [line["source"] for line in written(target)] == ["a", "", "b"]


def test_a_foreign_target_is_left_alone(tmp_path: Path) -> None:
    source = corpus(tmp_path / "in.jsonl", ["a", "b"])
    for content in (
        "a note",
        "a note\n",
        '{"text": "X", "source": "x"}\n',
        "[]\n",
        '{"error": "e"}\n',
    ):
        target = tmp_path / "other.jsonl"
        target.write_text(content)
        with pytest.raises(UsageError, match="name another --output"):
            run(source, target, Upper())
        assert target.read_text() == content
    run(source, tmp_path / "out.jsonl", Upper())
    with pytest.raises(UsageError, match="more lines"):
        run(corpus(tmp_path / "less.jsonl", ["a"]), tmp_path / "out.jsonl", Upper())
    with pytest.raises(DataError, match="cannot be read"):
        run(tmp_path / "absent.jsonl", tmp_path / "out2.jsonl", Upper())
