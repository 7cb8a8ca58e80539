"""Waiting for what another process does: for a condition, and never for a fixed time.

Every bound of a test is multiplied by FTEV_TEST_PATIENCE (default 1), for a machine that is slow or
shared: it ends a broken test and is never an expectation.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

FACTOR = float(os.environ.get("FTEV_TEST_PATIENCE", "1"))


def patience(seconds: float) -> float:
    """A bound on a broken test, for this machine."""
    return seconds * FACTOR


PATIENCE = patience(120.0)


def wait_for(condition: Callable[[], object], what: str, *, seconds: float = PATIENCE) -> None:
    """Returns once the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def wait_for_silence(happened: Callable[[], object], *, seconds: float) -> None:
    """Returns once `happened` has given the same for so long."""
    before, since = happened(), time.monotonic()
    deadline = since + PATIENCE
    while time.monotonic() < since + seconds:
        if (now := happened()) != before:
            before, since = now, time.monotonic()
        assert since < deadline, "it is never silent"
        time.sleep(0.02)
