"""A server with the shipped model, and pages of Chromium that may reach nothing else."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
LOCAL = {"127.0.0.1", ""}  # blob: and data: addresses have no host
DELAY = float(os.environ.get("STUDIO_DELAY", "0"))  # ms before and after what a page waits for
SLOWLY = """
  const later = (act) => async function (...given) {
    const pause = () => new Promise((go) => setTimeout(go, DELAY));
    await pause();
    const found = await act.apply(this, given);
    await pause();
    return found;
  };
  window.fetch = later(window.fetch);
  Blob.prototype.text = later(Blob.prototype.text);
"""
JOURNAL = [
    '{"kind": "train", "step": 10, "loss": 4.5, "learning_rate": 0.01}',
    '{"kind": "train", "step": 20, "loss": 3.25, "learning_rate": 0.005}',
    '{"kind": "valid", "step": 10, "eval_elbo_nats_per_token": 4.0}',
    '{"kind": "valid", "step": 20, "eval_elbo_nats_per_token": 3.0}',
    '{"kind": "sample", "step": 10, "text": "the the curry", "seed": 0}',
    '{"kind": "sample", "step": 20, "text": "The curry is cheap.", "seed": 0}',
]
FRONTIER: dict[str, Any] = {
    "format": "sfumato-frontier/1",
    "title": "Reward and diversity",
    "x_label": "reward",
    "y_label": "div of 8 words",
    "models": [
        {"model": "beta-5", "reward": 0.25, "div": 0.75, "front": True, "chance": 1.0, "n": 40},
        {"model": "beta-1", "reward": 0.5, "div": 0.5, "front": True, "chance": 0.875, "n": 40},
        {"model": "beta-.1", "reward": 0.375, "div": 0.25, "front": False, "chance": 0.125, "n": 40}
        | {"reward_span": [0.25, 0.5], "div_span": [0.125, 0.375], "group": "reverse_kl"},
    ],
}


def swept(scale: float, value: float) -> dict[str, Any]:
    """A run of a report of `sfumato sweep`."""
    metrics = [{"name": "bleu", "value": value, "stderr": 0.125, "n": 100}]
    return {"label": f"guidance {scale:g}", "metrics": metrics, "samples": []}


SWEEP = {
    "format": "sfumato-report/1",
    "title": "Guidance by the prompt",
    "note": "100 prompts",
    "runs": [swept(0, 0.25), swept(2, 0.75), swept(0.5, 0.5)],
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run, a frontier and a sweep, which is the older one."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("curry", "betas"):
        (folder / name).mkdir()
    (folder / "curry" / "journal.jsonl").write_text("\n".join(JOURNAL) + "\n", encoding="utf-8")
    (folder / "betas" / "frontier.json").write_text(json.dumps(FRONTIER), encoding="utf-8")
    (folder / "guidance.json").write_text(json.dumps(SWEEP), encoding="utf-8")
    os.utime(folder / "guidance.json", (1, 1))
    return folder


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory, runs: Path) -> Iterator[str]:
    """The address of a server with the shipped model."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("served")
    options = ["--port", str(port), "--runs", str(runs), "--data", str(folder)]
    command = [sys.executable, "-m", "sfumato_apps.cli", "serve", *options]
    told = (folder / "stderr").open("w+")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=told) as server:
        address = f"http://127.0.0.1:{port}/"
        try:
            _wait(address, server, Path(told.name))
            yield address
        finally:
            server.terminate()
    told.close()


def _wait(address: str, server: subprocess.Popen[bytes], told: Path) -> None:
    for _ in range(600):
        assert server.poll() is None, told.read_text()
        try:
            with urllib.request.urlopen(f"{address}healthz", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"no answer from {address} in a minute: {told.read_text()}")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser; skips where there is none."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium on the path")
    with driver.sync_playwright() as playwright:
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@dataclass(kw_only=True)
class Heard:
    """What pages said that they should not have said.

    Attributes:
        wrong: errors on the console and exceptions.
        hosts: that requests went to.
        allowed: parts of errors that a test provokes.
    """

    wrong: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    allowed: tuple[str, ...] = ()

    def follow(self, page: Any) -> None:
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", self._said)
        page.on("request", lambda one: self.hosts.add(urlsplit(one.url).hostname or ""))

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning") and not any(
            part in message.text for part in self.allowed
        ):
            self.wrong.append(message.text)


@pytest.fixture
def heard() -> Iterator[Heard]:
    """What the pages of a test say; afterwards nothing may have been wrong."""
    found = Heard()
    yield found
    assert found.wrong == []
    assert found.hosts <= LOCAL


@pytest.fixture
def page(chromium: Any, studio: str, heard: Heard) -> Iterator[Any]:
    """A fresh page of the studio on a desktop."""
    context = chromium.new_context(viewport=DESKTOP, base_url=studio, accept_downloads=True)
    context.set_default_timeout(20_000)
    if DELAY:
        context.add_init_script(SLOWLY.replace("DELAY", str(DELAY)))
    found = context.new_page()
    heard.follow(found)
    yield found
    context.close()
