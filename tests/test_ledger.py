"""The test ledger: which earlier runs scored the same test rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import story
from ftev.core.catalog import ledger
from ftev.core.catalog.ledger import count_test_readings
from ftev.core.config.config import RunConfig
from ftev.core.run.events import AnyEvent, PromptAnswered, SplitPrepared
from ftev.core.run.runs import Run
from msgspec.structs import replace

TEST = next(e for e in story.ending() if isinstance(e, SplitPrepared))


def told(split: SplitPrepared = TEST) -> list[AnyEvent]:
    return [split if e is TEST or e == TEST else e for e in story.whole()]


def make(folder: Path, name: str, *, config: RunConfig | None = None, split: SplitPrepared = TEST,
         events: list[AnyEvent] | None = None) -> Run:  # fmt: skip
    return story.write_story(folder / name, told(split) if events is None else events, config)


def test_T3_runs_on_the_same_test_rows_are_counted(tmp_path: Path) -> None:
    own = make(tmp_path, "2026-01-09_own")
    assert count_test_readings(own, TEST).runs == 0
    make(tmp_path, "2026-01-01_same")
    make(tmp_path, "2026-01-02_other_settings", config=story.config(metric="mcc"))
    make(tmp_path, "2026-01-03_other_rows", split=replace(TEST, sha256="c" * 64))
    make(tmp_path, "2026-01-04_unfinished", events=[*story.beginning(), *story.epoch(1)])
    scored = [e for e in told() if type(e).__name__ != "ResultsComputed"]
    make(tmp_path, "2026-01-05_prepared_only", events=scored)
    (tmp_path / "2026-01-06_empty").mkdir()
    found = count_test_readings(own, TEST)
    assert (found.runs, found.other_configs) == (2, 1)
    assert found.ids == ["2026-01-02_other_settings", "2026-01-01_same"]
    assert not found.more


def test_shares_of_one_file_are_told_apart_by_their_rows(tmp_path: Path) -> None:
    own = make(tmp_path, "own")
    mine, other = (replace(TEST, rows_sha256=x * 64) for x in "de")
    make(tmp_path, "same_share", split=replace(mine, sha256="f" * 64))  # copied to another file
    make(tmp_path, "other_share", split=other)
    assert count_test_readings(own, mine).ids == ["same_share"]


def test_the_cost_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = make(tmp_path, "own")
    for i in range(4):
        make(tmp_path, f"r{i}")
    monkeypatch.setattr(ledger, "RUNS_READ", 3)
    found = count_test_readings(own, TEST)
    assert (found.runs, found.looked_at, found.more) == (3, 3, True)
    assert found.ids == ["r3", "r2", "r1"]


def test_an_end_longer_than_a_block_is_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = make(tmp_path, "own")
    chat: list[AnyEvent] = [PromptAnswered(prompt="x" * 50, step=12) for _ in range(20)]
    make(tmp_path, "talked_to", events=[*told(), *chat])
    monkeypatch.setattr(ledger, "BLOCK", 100)  # smaller than a line
    monkeypatch.setattr(ledger, "BLOCKS", 1000)
    assert count_test_readings(own, TEST).runs == 1
    monkeypatch.setattr(ledger, "BLOCKS", 5)
    assert count_test_readings(own, TEST).runs == 0


def test_a_run_that_lost_its_configuration_counts_as_another(tmp_path: Path) -> None:
    own, other = make(tmp_path, "own"), make(tmp_path, "other")
    (other.path / "run.toml").unlink()
    found = count_test_readings(own, TEST)
    assert (found.runs, found.other_configs) == (1, 1)
