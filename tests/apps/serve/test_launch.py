"""`sfumato serve` as a program: its address, its token, its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore

import httpx
import pytest
from tests.apps.serve.living import tiny
from tests.apps.serve.programs import WAIT, program, value

from sfumato.models.checkpoints import save


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "my-model"
    save(tiny(), folder)
    return folder


@pytest.mark.slow
def test_the_program_writes_and_lets_streams_end(folder: Path, tmp_path: Path) -> None:
    """SIGTERM in the middle of a stream: the stream ends as it should, then the program does."""
    token = tmp_path / "token"
    token.write_text("from a file\n")
    places = ["--data", str(tmp_path / "data"), "--runs", str(tmp_path)]
    arguments = ["--model", str(folder), "--token-file", str(token), *places]
    with program(*arguments) as (running, url):
        headers = {"Authorization": "Bearer from a file"}
        with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=WAIT) as client:
            assert client.get("/v1/models").json()["data"][0]["id"] == "my-model"
            assert client.get("/").status_code in (200, 404)
            body = {"prompt": "a", "n": 16, "max_tokens": 64, "steps": 64, "stream": True}
            with client.stream(
                "POST", "/v1/completions", json={**body, "diffusing": "events"}
            ) as answer:
                lines = answer.iter_lines()
                assert next(lines) == "event: denoise"
                running.send_signal(signal.SIGTERM)
                rest = list(lines)
        assert rest[-2] == "data: [DONE]" or "data: [DONE]" in rest[-3:]
        assert any(line == "event: done" for line in rest)
        assert running.wait(15) in (0, -signal.SIGTERM)


@pytest.mark.slow
def test_streams_that_outlast_the_end_are_told(folder: Path, tmp_path: Path) -> None:
    """Ten seconds after SIGTERM, with more to write than that: an error, then the program ends."""
    arguments = ["--model", str(folder), "--batch", "1", "--data", str(tmp_path / "data")]
    body = {"prompt": "a", "n": 16, "max_tokens": 80, "steps": 80, "block": 0, "stream": True}
    with program(*arguments) as (running, url):

        def read(seed: int) -> list[str]:
            with httpx.Client(base_url=url, trust_env=False, timeout=WAIT) as client:
                asked = {**body, "seed": 100 * seed}
                with client.stream("POST", "/v1/completions", json=asked) as answer:
                    begun.release()
                    return [line for line in answer.iter_lines() if line.startswith("data: ")]

        begun = Semaphore(0)
        with ThreadPoolExecutor(30) as readers:
            streams = [readers.submit(read, seed) for seed in range(30)]
            for _ in streams:
                assert begun.acquire(timeout=WAIT)
            start = time.monotonic()
            running.send_signal(signal.SIGTERM)
            ends = [stream.result(WAIT)[-2:] for stream in streams]
        assert running.wait(15) in (0, -signal.SIGTERM)
        assert 9 < time.monotonic() - start < 15
    assert {done for _, done in ends} == {"data: [DONE]"}
    told = [one for one, _ in ends if '"code":"server_shutting_down"' in one]
    assert told


def agreed(url: str, name: str, expected: float) -> None:
    """Waits until eight answers in a row are what is expected: within the second of the copies."""
    end, same = time.monotonic() + WAIT, 0
    while same < 8:
        assert time.monotonic() < end, (name, value(url, name), expected)
        same = same + 1 if value(url, name) == expected else 0


@pytest.mark.slow
def test_any_worker_answers_for_what_all_have_counted(folder: Path, tmp_path: Path) -> None:
    """Also for one that was killed, but for its queue; the folder of the counts goes at the end."""
    arguments = ["--model", str(folder), "--workers", "2", "--data", str(tmp_path / "data")]
    counts = tmp_path / "counts"
    counts.mkdir()
    with program(*arguments, TMPDIR=str(counts)) as (running, url):
        agreed(url, "sfumato_ready", 2)
        for asked in (6, 12):
            for _ in range(6):
                body = {"prompt": "a", "max_tokens": 4}
                httpx.post(f"{url}/v1/completions", json=body, trust_env=False, timeout=WAIT)
            agreed(url, "sfumato_requests_total", asked)
            agreed(url, 'sfumato_http_requests_total{method="POST",status="200"}', asked)
            agreed(url, "sfumato_running", 0)
            if asked == 6:
                first = workers(running)[0]
                os.kill(first, signal.SIGKILL)
                replaced(running, first)
        agreed(url, "sfumato_ready", 2)
        assert value(url, "process_resident_memory_bytes") > 100e6
        assert any(counts.glob("sfumato-counts-*/counter_*.db"))
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
    assert not any(counts.iterdir())


def workers(running: subprocess.Popen[str]) -> list[int]:
    """The processes that serve."""
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    names = {int(one): Path(f"/proc/{one}/cmdline").read_bytes() for one in children}
    return sorted(one for one, name in names.items() if b"spawn_main" in name)


def replaced(running: subprocess.Popen[str], dead: int) -> None:
    """Waits until another worker stands in the place of one that died."""
    end = time.monotonic() + WAIT
    while len(workers(running)) < 2 or dead in workers(running):
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_followed_by_another(folder: Path, tmp_path: Path) -> None:
    arguments = ["--model", str(folder), "--workers", "2", "--data", str(tmp_path / "data")]
    with program(*arguments, SFUMATO_TOKEN="t") as (running, url):
        headers = {"Authorization": "Bearer t"}

        def ask() -> httpx.Response:
            body = {"prompt": "a", "max_tokens": 4}
            return httpx.post(f"{url}/v1/completions", json=body, headers=headers, timeout=WAIT)

        assert ask().status_code == 200
        before = workers(running)
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        replaced(running, before[0])
        ranking = {"completions": ["a", "b"], "ranks": [1, 2]}
        answer = httpx.post(f"{url}/v1/preferences", json=ranking, headers=headers, timeout=WAIT)
        assert answer.status_code == 201
        assert ask().status_code == 200
        running.send_signal(signal.SIGTERM)
        running.wait(30)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--host", "0.0.0.0"], 2, "is reached by others: give a token"),
        (["--token-file", "/no/such/file"], 3, "--token-file"),
        (["--model", "/no/such/model"], 4, "no such folder"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    arguments: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sfumato_apps.cli import main

    monkeypatch.delenv("SFUMATO_TOKEN", raising=False)
    with pytest.raises(SystemExit) as stop:
        main(["serve", "--port", "0", *arguments])
    assert stop.value.code == code
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_without_the_extra_the_error_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sfumato_apps.cli import main

    for name in [name for name in sys.modules if name.startswith("sfumato_apps.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit) as stop:
        main(["serve"])
    assert stop.value.code == 5
    assert "pip install 'sfumato[serve]'" in capsys.readouterr().err


def test_help_loads_neither_torch_nor_fastapi() -> None:
    code = (
        "import sys\nsys.argv = ['sfumato', 'serve', '--help']\n"
        "from sfumato_apps.cli import main\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "import json\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--token-file" in done.stdout
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert not loaded & {"torch", "transformers", "fastapi", "uvicorn", "starlette"}
