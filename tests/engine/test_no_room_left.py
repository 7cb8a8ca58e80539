"""A worker whose disk is full says so, and its run is resumed when there is room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ftev.core.config.config import RunConfig
from ftev.core.run.history import read_history
from ftev.core.run.launch import start_worker
from ftev.core.run.runs import Run, create_run
from small_disks import fill, small_disk
from test_worker import PATIENCE, finish
from waiting import wait_for


def test_a_run_goes_on_after_room_was_made_on_its_full_disk(
    verses: RunConfig,
    tmp_path: Path,
) -> None:
    short = replace(verses, train=replace(verses.train, max_steps=6, eval_every=3))
    with small_disk(tmp_path / "disk", "4m") as disk:
        run = create_run(short, disk)
        ballast = fill(disk, leave=180_000)
        failed = finish(run)
        assert failed.finished is not None
        assert failed.finished.status == "failed"
        assert "checkpoints/step_00000" in failed.finished.error
        assert "cannot be written: No space left on device (" in failed.finished.error
        assert "Make room there; then `ftev-tui resume RUN`" in failed.finished.error
        assert not list(run.checkpoints.glob("*.tmp"))
        ballast.unlink()
        resumed = finish(run, "--resume")
        assert resumed.finished is not None
        assert resumed.finished.status == "finished", resumed.finished.error
        assert resumed.step == 6


def test_a_run_whose_folder_is_moved_ends_in_words_and_goes_on_there(
    verses: RunConfig, tmp_path: Path
) -> None:
    run = create_run(
        replace(verses, train=replace(verses.train, max_steps=40, eval_every=2)), tmp_path
    )
    worker = start_worker(run, "--serve-minutes", "0")
    wait_for(lambda: read_history(run).step or worker.poll() is not None, "a step")
    there = Run(tmp_path / "moved")
    run.path.rename(there.path)
    worker.wait(PATIENCE)
    ended = read_history(there).finished
    assert ended is not None
    assert ended.status == "failed"
    assert f"{run.path} is gone" in ended.error
    assert not run.path.exists()
    resumed = finish(there, "--resume")
    assert resumed.finished is not None
    assert resumed.finished.status == "finished", resumed.finished.error
