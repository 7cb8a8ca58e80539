"""`make gpu`: what a part lacks, what is kept of one that is lost, and that the time suffices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "bench")
    import gpu

    return gpu


def test_no_part_takes_nine_minutes_nor_all_of_them_twenty_five(gpu: Any) -> None:
    assert all(part.limit(rehearse=False) < 9 * 60 for part in gpu.PARTS.values())
    assert sum(part.limit(rehearse=False) for part in gpu.PARTS.values()) <= 25 * 60


def test_a_part_says_in_a_sentence_what_it_lacks(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(gpu.PARTS, "qlora", replace(gpu.PARTS["qlora"], needs=("no_such_peer",)))
    results = tmp_path / "results.md"
    assert not gpu.measure("qlora", True, results)
    lacks = "Not measured: no-such-peer is not installed (pip install no-such-peer)."
    assert lacks in results.read_text()


def test_a_part_whose_time_is_up_leaves_its_section_and_the_others(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = tmp_path / "results.md"
    results.write_text(gpu.TITLE + "\n## another part\n\nits figures\n")
    monkeypatch.setitem(gpu.PARTS, "nccl", replace(gpu.PARTS["nccl"], seconds=0.05))
    assert not gpu.measure("nccl", True, results)
    page = results.read_text()
    assert "Its 0.2 s were up" in page
    assert "its figures" in page
