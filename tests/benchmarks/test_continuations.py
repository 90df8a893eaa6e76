"""The benchmark of continuations: every system beside every floor, gains over the first."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest


def test_the_tables_have_systems_floors_and_gains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    files = []
    for name, words in (("first", "the dog ran off"), ("second", "the cat sat on a mat")):
        rows = [
            {
                "source": f"A cat. It sat {i}.",
                "target": f"the cat sat on mat {i}",
                "generated": words,
            }
            for i in range(6)
        ]
        files.append(tmp_path / f"{name}.jsonl")
        files[-1].write_text("\n".join(map(json.dumps, rows)))
    importlib.import_module("continuations").main([str(path) for path in files])
    lines = [line.split("|") for line in capsys.readouterr().out.splitlines() if "|" in line]
    named = {line[1].strip(): line[2:] for line in lines}
    floors = {"another reference", "copy of the source", "last sentence of the source"}
    assert floors | {"first", "second", "gain over first"} <= named.keys()
    assert [cell.strip()[:2] for cell in named["gain over first"][:4]] == ["R1", "R2", "RL", "BL"]
    # Two tables have a line "second"; the gains stand in the last one.
    assert named["second"][0].strip().startswith("+")
