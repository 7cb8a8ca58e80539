"""One server forks the workers of all tests: see `forked`."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import ExitStack

import forked
import pytest
from ftev.core.run import launch
from hypothesis import settings

# Before anything is imported that reads them: nobody here waits in a loop, or asks the network.
os.environ |= {**launch.WAITING, "HF_HUB_OFFLINE": "1"}
settings.register_profile("unhurried", deadline=None)  # the machine may be busy
settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    if forked.ADDRESS in os.environ:  # a process of pytest-xdist
        forked.use()
    elif sys.platform == "linux":
        server = ExitStack()
        server.enter_context(forked.server())
        config.add_cleanup(server.close)


def pytest_collection_finish() -> None:
    """What was imported stays: walking through it took an eighth of the time of a screen's test."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture
def unforked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of this test, and theirs, are started as users' are."""
    monkeypatch.delenv(forked.ADDRESS, raising=False)
