"""The house itself: what conftest.py and pyproject.toml promise to every test."""

from __future__ import annotations

import socket

import pytest
import torch
from jaxtyping import TypeCheckError

import sfumato


def test_a_default_test_cannot_leave_the_machine() -> None:
    with pytest.raises(RuntimeError, match="mark the test `network`"):
        socket.create_connection(("example.org", 80), timeout=1)
    with socket.socket() as peer, pytest.raises(RuntimeError, match="192.0.2.1"):
        peer.connect(("192.0.2.1", 80))


def test_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname(), timeout=5) as client:
            assert client.getpeername() == server.getsockname()


def test_tensors_are_summed_by_one_thread() -> None:
    assert torch.get_num_threads() == 1


def test_shapes_are_checked_under_pytest() -> None:
    row = torch.zeros(3, dtype=torch.long)
    flags = torch.zeros(1, 3, dtype=torch.bool)
    with pytest.raises(TypeCheckError):
        sfumato.Canvas(ids=row, editable=flags, attend=flags, optional=flags)
