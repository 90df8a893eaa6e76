"""What every test and doctest runs under: no network, one thread, no deadline.

Shapes and types of the packages are checked by jaxtyping and beartype through the option
`--jaxtyping-packages` in pyproject.toml, which instruments them before any import.
"""

from __future__ import annotations

import os

# Read by torch, transformers and datasets when they are imported, here and in child processes.
os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
)

import ipaddress
import socket
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parent

# Shared machines are slow now and then: a deadline would make good tests fail by chance.
hypothesis.settings.register_profile("house", deadline=None, print_blob=True)
hypothesis.settings.load_profile("house")


class NetworkBlockedError(RuntimeError):
    """A test that is not marked `network` tried to leave this machine."""


def _is_local(host: object) -> bool:
    if host in (None, "", b"", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host if isinstance(host, str) else "?").is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets reach this machine only, unless the test is marked `network`."""
    if request.node.get_closest_marker("network"):
        return

    def check(host: object) -> None:
        if not _is_local(host):
            raise NetworkBlockedError(f"a connection to {host!r}: mark the test `network`")

    def guarded(name: str) -> None:
        original = getattr(socket.socket, name)

        def connect(self: socket.socket, address: object) -> object:
            check(address[0] if isinstance(address, tuple) else None)  # a path is AF_UNIX
            return original(self, address)

        monkeypatch.setattr(socket.socket, name, connect)

    look_up = socket.getaddrinfo

    def getaddrinfo(host: object, *args: object, **kwargs: object) -> object:
        check(host)
        return look_up(host, *args, **kwargs)

    guarded("connect")
    guarded("connect_ex")
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data sets that some tests use when it is there.

    SFUMATO_DATA names it, else it is `shared/data` beside the repository.
    """
    folder = Path(os.environ.get("SFUMATO_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no data sets beside the repository: set SFUMATO_DATA to their folder")
    return folder
