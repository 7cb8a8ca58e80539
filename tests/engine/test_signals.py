"""A few of the signals that `tests/bench/torture.py signals` sends: told right, and resumable."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_a_worker_that_is_halted_or_interrupted_leaves_what_an_undisturbed_one_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "bench")
    import torture_kills
    import torture_signals

    kind = next(k for k in torture_kills.kinds(tmp_path) if k.config.task == "generation")
    torture_kills.rehearse(kind, tmp_path / "whole")
    for name in ("SIGSTOP, SIGCONT", "SIGINT twice"):
        count = torture_kills.Count({}, {})
        deed, ends = torture_signals.DEEDS[name]
        torture_signals.endure(kind, tmp_path / "run", deed, ends, count)
        assert not any(count.failed.values()), name
        assert "weights" in count.tried
