"""Inputs that nobody wrote are read, or refused in words; those that once failed, again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fuzzed
import pytest

LIGHT = sorted(fuzzed.TARGETS.keys() - {"requests"})  # a worker's own ear needs the engine


def kept(name: str) -> list[Path]:
    return sorted(fuzzed.ONCE_FAILED.glob(f"{name}.*"))


@pytest.fixture(scope="module", params=LIGHT)
def target(request: pytest.FixtureRequest) -> Iterator[tuple[str, fuzzed.Target]]:
    with fuzzed.opened(request.param) as target:
        yield request.param, target


def test_what_is_not_mutated_is_read(target: tuple[str, fuzzed.Target]) -> None:
    tried = fuzzed.try_each(target[1], target[1].corpus)
    assert not tried.failed
    assert tried.refused < tried.count, "nothing that is whole was read"


def test_what_once_failed_is_refused_in_words(target: tuple[str, fuzzed.Target]) -> None:
    name, reader = target
    tried = fuzzed.try_each(reader, [path.read_bytes() for path in kept(name)])
    assert not tried.failed


def test_mutations_are_read_or_refused_in_words(target: tuple[str, fuzzed.Target]) -> None:
    tried = fuzzed.try_each(target[1], fuzzed.inputs(target[1], 60, seed=11))
    assert not tried.failed
    assert tried.refused < tried.count


def test_each_input_that_once_failed_has_a_reader() -> None:
    assert {path.name.partition(".")[0] for path in kept("*")} <= fuzzed.TARGETS.keys()


def test_a_reader_that_raises_or_hangs_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzed, "SECONDS", 0.02)

    def read(data: bytes) -> None:
        while data == b"slow":
            pass
        raise KeyError(data)

    found = fuzzed.try_each(fuzzed.Target([], read), [b"slow", b"a longer one", b"short"])
    assert found.count == 3
    assert b"short" in found.failed.values()
    assert b"slow" in found.failed.values()
    assert b"a longer one" in found.failed.values()  # another text of the error
