"""Requests that nobody wrote, answered by real models: a last reply, and the worker goes on."""

from __future__ import annotations

import fuzzed


def test_requests_are_answered_or_refused_in_words() -> None:
    once_failed = [path.read_bytes() for path in fuzzed.ONCE_FAILED.glob("requests.*")]
    assert once_failed
    with fuzzed.opened("requests") as target:
        given = [*once_failed, *fuzzed.inputs(target, 200, seed=11)]
        assert not fuzzed.try_each(target, given).failed
