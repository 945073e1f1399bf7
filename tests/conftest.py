"""What holds for every test: one thread, one seed, no network, and no GPU test without a GPU.

Being here also puts this folder on the import path: tests can `from fakes import ...`.
"""

from __future__ import annotations

import os

# Read by torch and numpy when they are first imported; small tensors gain nothing from threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import ipaddress
import random
import socket
import sys

import numpy as np
import pytest

SEED = 0


@pytest.fixture(autouse=True)
def _seed_everything() -> None:
    random.seed(SEED)
    np.random.seed(SEED)  # libraries under test still draw from numpy's global generator
    if "torch" in sys.modules:  # a test that does not need torch shall not pay for its import
        sys.modules["torch"].manual_seed(SEED)


class NetworkRefusedError(OSError):
    """An OSError, so that code under test behaves as on a machine without a network."""


def _is_local(host: object) -> bool:
    if not isinstance(host, str) or host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(host: object) -> None:
        raise NetworkRefusedError(
            f"expected a test to use loopback only, it asked for {host!r}; tests have no network: "
            "write the data with write_tiny, or use a package of the offline extra"
        )

    def guard_connect(name: str) -> None:
        real = getattr(socket.socket, name)

        def connect(self: socket.socket, address: object) -> object:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
                refuse(address[0])
            return real(self, address)

        monkeypatch.setattr(socket.socket, name, connect)

    real_getaddrinfo = socket.getaddrinfo

    def getaddrinfo(host: object, *args: object, **kwargs: object) -> object:
        if not _is_local(host.decode() if isinstance(host, bytes) else host):
            refuse(host)
        return real_getaddrinfo(host, *args, **kwargs)

    guard_connect("connect")
    guard_connect("connect_ex")
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked ``gpu`` on a machine without one."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
