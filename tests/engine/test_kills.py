"""The short part of the torture bench's kills: a run that was killed ends as if it had not been."""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path
from typing import Any

import forked
import pytest

pytest.importorskip("torch", reason="the engine's tests need torch")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "bench")
    return importlib.import_module("torture_kills")


@pytest.mark.skipif(forked.ADDRESS not in os.environ, reason="forks on Linux only")
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(bench: Any, tmp_path: Path) -> None:
    kind = next(k for k in bench.kinds(tmp_path) if k.name == "classification, LoRA")
    bench.rehearse(kind, tmp_path / "whole")
    options = argparse.Namespace(seed=3, processes=1)
    rows = list(bench.chains(kind, tmp_path, options, 3))
    tried = {what.partition(": ")[2]: count for what, count, _ in rows}
    assert tried["kills"] >= 3
    assert tried["weights"] >= 1
    assert [failed for *_, failed in rows if failed] == []
