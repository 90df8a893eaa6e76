"""`sfumato demo --open` leads to the studio."""

from __future__ import annotations

import socket
import threading
import webbrowser
from pathlib import Path

import pytest

from sfumato_apps.recipes import serve as recipe
from sfumato_apps.recipes.demo import demo


def test_the_studio_is_opened_as_soon_as_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, shown = [], threading.Event()

    def show(address: str) -> bool:
        opened.append(address)
        shown.set()
        return True

    def serve(*, model: str | None, port: int) -> None:
        assert model == "my-model"
        assert not opened
        with socket.create_server(("127.0.0.1", port)):
            assert shown.wait(10)
        assert opened == [f"http://127.0.0.1:{port}/"]

    monkeypatch.setattr(webbrowser, "open", show)
    monkeypatch.setattr(recipe, "serve", serve)
    monkeypatch.chdir(tmp_path)
    demo(model="my-model", open=True)
    assert not list(tmp_path.iterdir())
