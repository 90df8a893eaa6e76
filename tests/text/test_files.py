"""Files of a corpus: their kinds, and what is said about faults in them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from tests.text.written import put

from sfumato.errors import DataError, UsageError
from sfumato.text.corpora import Source, read
from sfumato.text.dialogue import Message
from sfumato.text.records import DialogueRecord, TextRecord


def texts(path: str) -> list[str]:
    return [record.text for record in read(Source(path=path)) if isinstance(record, TextRecord)]


def fault(path: str) -> str:
    """What is said about a file, without its folder."""
    with pytest.raises(DataError) as caught:
        list(read(Source(path=path)))
    return str(caught.value).replace(str(Path(path).parent) + "/", "")


# Formats of files.


def test_a_text_file_has_one_text_a_line(tmp_path: Path) -> None:
    path = put(tmp_path, "a.txt", "\ufeffA cat.\r\n\r\n  A dog. \n\nlast")
    found = list(read(Source(path=path)))
    assert [record.text for record in found] == ["A cat.", "  A dog. ", "last"]
    assert [record.origin for record in found] == [f"{path}:{n}" for n in (1, 3, 5)]


def test_json_lines(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jsonl", '\ufeff{"text": "кот"}\r\n\n{"text": "a\\nb", "id": 3}')
    assert texts(path) == ["кот", "a\nb"]


def test_json_files_hold_a_list_an_object_or_lines(tmp_path: Path) -> None:
    listed = put(tmp_path, "a.json", '[\n {"text": "a"},\n {"text": "b"}\n]')
    assert texts(listed) == ["a", "b"]
    assert [r.origin for r in read(Source(path=listed))] == [f"{listed}[0]", f"{listed}[1]"]
    assert texts(put(tmp_path, "b.json", '{\n "text": "a"\n}')) == ["a"]
    assert texts(put(tmp_path, "c.json", '{"text": "a"}\n{"text": "b"}\n')) == ["a", "b"]


def test_tables(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", 'id,text\r\n1,"a, ""b""\n\nc"\r\n2,d\r\n')
    assert texts(path) == ['a, "b"\n\nc', "d"]
    assert [record.origin for record in read(Source(path=path))] == [f"{path}:4", f"{path}:5"]
    assert texts(put(tmp_path, "a.tsv", "text\tid\na, b\t1\n")) == ["a, b"]


def test_compressed_files(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jsonl.gz", gzip.compress(b'{"text": "a"}\n'))
    assert texts(path) == ["a"]
    cut = gzip.compress(b'{"text": "a"}\n' * 999)[:-20]
    assert "the compressed file is cut" in fault(put(tmp_path, "b.jsonl.gz", cut))
    assert "cannot be read" in fault(put(tmp_path, "c.txt.gz", b"no gzip"))


def test_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = str(tmp_path / "a.parquet")
    turns = [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]] * 3
    pyarrow.parquet.write_table(pyarrow.table({"messages": turns}), path)
    found = list(read(Source(path=path)))
    assert found[2].origin == f"{path}:3"
    assert isinstance(found[0], DialogueRecord)
    assert found[0].messages[1] == Message(role="assistant", content="b")
    assert fault(put(tmp_path, "b.parquet", "text")).startswith("b.parquet: not a Parquet file")
    assert fault(str(tmp_path / "c.parquet")) == "c.parquet: no such file"


def test_the_hub_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []

    def load_dataset(name: str, *, split: str, streaming: bool) -> list[dict]:
        asked.append((name, split, streaming))
        return [{"text": "a"}, {"text": "b"}]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert texts("hub:owner/name") == ["a", "b"]
    assert texts("hub:owner/name:test[:2]") == ["a", "b"]
    assert asked == [("owner/name", "train", True), ("owner/name", "test[:2]", True)]


def test_a_data_set_that_is_not_there() -> None:
    """The suite is offline, so the real library refuses."""
    with pytest.raises(DataError, match="hub:owner/none: the data set cannot be loaded"):
        list(read(Source(path="hub:owner/none")))


# Faults: file:line:column, what was expected, what came, what to do.


def test_faults_of_files(tmp_path: Path) -> None:
    assert fault(str(tmp_path / "no.jsonl")) == "no.jsonl: no such file"
    assert fault(str(tmp_path / "a.docx")).startswith("a.docx: unknown kind of file '.docx'")
    assert "the file is empty" in fault(put(tmp_path, "a.jsonl", ""))
    assert "the file is empty" in fault(put(tmp_path, "a.json", "\n \n"))
    assert "the file is empty" in fault(put(tmp_path, "a.csv", "text\n"))
    assert "the file is empty" in fault(put(tmp_path, "a.txt", "\n\n"))
    (tmp_path / "folder.txt").mkdir()
    assert fault(str(tmp_path / "folder.txt")) == "folder.txt: cannot be read: Is a directory"


def test_a_cut_line_is_named_with_its_column(tmp_path: Path) -> None:
    lines = ['{"text": "a"}'] * 4020 + ['{"text": "broken', '{"text": "b"}']
    found = fault(put(tmp_path, "m.jsonl", "\n".join(lines)))
    assert found == 'm.jsonl:4021:10: unterminated string — {"text": "broken⏎'


def test_bad_bytes_are_named_with_their_place(tmp_path: Path) -> None:
    good = b'{"text": "a"}\n' * 499
    found = fault(put(tmp_path, "u.jsonl", good + b'{"text": \xff\xfe"}\n'))
    assert found.startswith("u.jsonl:500: invalid UTF-8 byte 0xff at byte 10")
    found = fault(put(tmp_path, "u.txt", "кот\n".encode() + "кот\n".encode("cp1251")))
    assert found.startswith("u.txt:2: invalid UTF-8 byte 0xea at byte 1: save the file as UTF-8")
    found = fault(put(tmp_path, "u.csv", b"text\na\n\xff\n"))
    assert found.startswith("u.csv:3: invalid UTF-8 byte 0xff at byte 1")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": 3.5}', "m.jsonl:2: field 'text' is the number '3.5', expected a string"),
        ('{"text": true}', "m.jsonl:2: field 'text' is the boolean 'True', expected a string"),
        ('{"text": null}', "m.jsonl:2: field 'text' is null, expected a string"),
        ('{"text": ["a"]}', "m.jsonl:2: field 'text' is a list, expected a string"),
        ('{"text": " "}', "m.jsonl:2: field 'text' is empty: drop the line"),
        (
            '{"txet": "a"}',
            "m.jsonl:2: no field 'text': did you mean 'text' where it says 'txet'?; it has 'txet'",
        ),
        ('{"id": 1}', "m.jsonl:2: no field 'text'; it has 'id'"),
        ("{}", "m.jsonl:2: no field 'text'; it has (none)"),
        ('["a"]', "m.jsonl:2: expected an object {…}, but got a list"),
        ('"a"', "m.jsonl:2: expected an object {…}, but got the string 'a'"),
        (
            '{"text": "\\ud83d"}',
            "m.jsonl:2: field 'text': lone surrogate \\ud83d at character 1",
        ),
        ('{"text": "a", "x": NaN}', "m.jsonl:2: NaN is not JSON"),
        ('{"text" "a"}', 'm.jsonl:2:9: expecting \':\' delimiter — {"text" "a"}'),
        ('{"text": "a"} {}', 'm.jsonl:2:15: extra data — …xt": "a"} {}⏎'),
        ("[" * 100_000, "m.jsonl:2: "),
        ("not json", "m.jsonl:2:1: expecting value — not json"),
    ],
)
def test_faults_of_lines(tmp_path: Path, line: str, message: str) -> None:
    path = put(tmp_path, "m.jsonl", f'{{"text": "good"}}\n{line}\n{{"text": "good"}}')
    assert fault(path).startswith(message)

    told: list[DataError] = []
    found = list(read(Source(path=path), on_bad=told.append))
    assert len(found) == 2
    assert [str(error).replace(f"{tmp_path}/", "").startswith(message) for error in told] == [True]


def test_faults_of_json_files_and_tables(tmp_path: Path) -> None:
    found = fault(put(tmp_path, "m.json", '[\n {"text": "a"},\n {"text": "b}\n]'))
    assert found.startswith("m.json:3:14: invalid control character")
    assert fault(put(tmp_path, "n.json", '[{"text": "a"}, 3]')).startswith("n.json[1]: expected an")
    found = fault(put(tmp_path, "m.csv", "id,text\n1,a\n2,b,c\n"))
    assert found.startswith("m.csv:3: more cells than the header has columns")
    assert fault(put(tmp_path, "n.csv", "id,text\n1,a\n2\n")).startswith("n.csv:3: field 'text' is")
    assert fault(put(tmp_path, "o.csv", 'text\n"a\n')).startswith("o.csv:2: ")


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.json", "a.jsonl.gz"])
def test_a_line_that_is_too_long_is_a_bad_row(tmp_path: Path, name: str) -> None:
    """It is never held as a whole, and the lines after it keep their numbers."""
    text = b'{"text": "a"}\n{"text": "' + b"b" * 2000 + b'"}\n{"text": "c"}\n{"text": 3}\n'
    path = put(tmp_path, name, gzip.compress(text) if name.endswith("gz") else text)
    told: list[str] = []
    source = Source(path=path, max_line_bytes=1000)
    found = list(read(source, on_bad=lambda error: told.append(str(error))))
    assert [record.origin for record in found][:2] == [f"{path}:1", f"{path}:3"]
    assert told[0].startswith(f"{path}:2: the line is longer than 1000 bytes")
    assert "--max-line-bytes" in told[0]
    with pytest.raises(DataError, match=":2: the line is longer than 1000 bytes"):
        list(read(source))
    assert len(list(read(Source(path=path), on_bad=lambda _: None))) == len(found) + 1


def test_a_line_may_be_as_long_as_the_bound(tmp_path: Path) -> None:
    path = put(tmp_path, "a.txt", "abcd\nabcde\nabcd")
    assert [r.text for r in read(Source(path=path, max_line_bytes=4), on_bad=lambda _: None)] == [
        "abcd",
        "abcd",
    ]
    with pytest.raises(UsageError, match="at least 1 byte"):
        Source(path=path, max_line_bytes=0)
