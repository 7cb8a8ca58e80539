"""A worker whose disk is full says so, and its run is resumed when there is room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ftev.core.config import RunConfig
from ftev.core.runs import create_run
from small_disks import fill, small_disk
from test_worker import finish


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
