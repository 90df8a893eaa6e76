"""The sandbox lets programs run and keeps them in."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import sandbox

IMPORTS = "import collections, hashlib, heapq, itertools, math, random, re, string, typing"
INSIDE = "import os, tempfile; open('a', 'w').write('x'); os.mkdir('d'); os.rename('a', 'd/b')"


@pytest.mark.parametrize("program", ["assert 1 + 1 == 2", IMPORTS, INSIDE, "print('é' * 99)"])
def test_what_is_harmless_passes(program: str) -> None:
    verdict = sandbox.run(program)
    assert verdict.passed, verdict.why


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("assert 1 + 1 == 3", "AssertionError"),
        ("def f(:", "SyntaxError"),
        ("exit()", "status 0"),
        ("import os; os._exit(0)", "status 0"),
        ("input()", "EOFError"),
        ("x = bytearray(1 << 40)", "MemoryError"),
        ("open('big', 'wb').write(b'x' * (1 << 22))", "File too large"),
        ("import os\nwhile True: os.fork()", "refuses os.fork"),
        ("import os; os.system('true')", "refuses os.system"),
        ("import subprocess; subprocess.run(['true'])", "refuses subprocess"),
        ("import _posixsubprocess", "_posixsubprocess"),
        ("import ctypes; ctypes.CDLL(None)", "refuses ctypes"),
        ("import sys\nwhile True: sys.stderr.write('x' * 999)", "x"),
    ],
)
def test_what_is_not_fails(program: str, why: str) -> None:
    verdict = sandbox.run(program)
    assert not verdict.passed
    assert why in verdict.why


@pytest.mark.parametrize("program", ["while True: pass", "import time; time.sleep(60)"])
def test_nothing_runs_for_ever(program: str) -> None:
    assert sandbox.run(program, seconds=0.5).why == "not finished after 0.5 seconds"


@pytest.mark.parametrize("namespace", [True, False])
def test_there_is_no_network(namespace: bool) -> None:
    """Neither by a name nor by an address, whether the kernel helps or not."""
    verdict = sandbox.run("pass", namespace=namespace)
    assert verdict.network == "audit hook" or namespace
    for host in ("127.0.0.1", "localhost"):
        call = f"import socket; socket.create_connection(('{host}', 22), 1)"
        verdict = sandbox.run(call, namespace=namespace)
        assert not verdict.passed
        assert "unreachable" in verdict.why or "refuses socket" in verdict.why or host in call


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    """A hook of the interpreter sees to it: native code could get around that."""
    target = tmp_path / "there"
    target.write_text("kept")
    for program in (
        f"open({str(target)!r}, 'w')",
        f"import os; os.open({str(target)!r}, os.O_WRONLY | os.O_TRUNC)",
        f"import os; os.remove({str(target)!r})",
        f"import os; os.symlink({str(target)!r}, 'link'); open('link', 'w')",
        f"import shutil; shutil.rmtree({str(tmp_path)!r})",
    ):
        verdict = sandbox.run(program)
        assert not verdict.passed
        assert "sandbox refuses" in verdict.why
    assert target.read_text() == "kept"


def test_a_program_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    home = "import os; assert 'SECRET' not in os.environ; assert os.environ['HOME'] == os.getcwd()"
    assert sandbox.run(home).passed
