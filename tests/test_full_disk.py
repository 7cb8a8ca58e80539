"""A disk that takes no more, or nothing at all: one sentence, and no half file left behind."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from ftev.core.catalog.notes import RunNotes, write_notes
from ftev.core.config.config import DataConfig, ModelConfig, RunConfig
from ftev.core.engine.worker.outbox import Outbox
from ftev.core.errors import RunError
from ftev.core.files.disk import make_folder, replacing, write_whole
from ftev.core.report.report import write_report
from ftev.core.report.review.review import Judgement, append
from ftev.core.run.events import Note
from ftev.core.run.history import read_history
from ftev.core.run.runs import Run, create_run
from safetensors.numpy import save_file
from small_disks import fill, make_read_only, small_disk
from stored_runs import labelled, write_run

LARGE = 400_000  # bytes: more than the small disk has


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "256k") as folder:
        yield folder


def notes(folder: Path) -> None:
    write_notes(Run(folder), RunNotes(note="x" * LARGE))


def judgement(folder: Path) -> None:
    judged = Judgement(pair="p" * LARGE, reviewer="a", choice="tie", seed=0)
    append(folder / "reviews.jsonl", judged)


def weights(folder: Path) -> None:
    with replacing(folder / "model.safetensors", LARGE) as temporary:
        save_file({"a": np.zeros(LARGE, np.uint8)}, temporary)


def rows(folder: Path) -> None:
    frame = pl.DataFrame({"a": np.random.default_rng(0).integers(0, 1 << 60, LARGE // 8)})
    with replacing(folder / "test.tuned.parquet", LARGE) as temporary:
        frame.write_parquet(temporary)


def events(folder: Path) -> None:
    with Outbox(folder / "events.jsonl") as outbox:
        outbox.write(Note(level="info", text="x" * LARGE))
        outbox.flush()


WRITERS = [notes, judgement, weights, rows, events]


@pytest.mark.parametrize("write", WRITERS)
def test_a_full_disk_is_one_sentence_with_path_need_and_room(
    disk: Path, write: Callable[[Path], None]
) -> None:
    with pytest.raises(RunError) as refused:
        write(disk)
    [fault] = refused.value.faults
    assert fault.where.startswith(str(disk))
    assert "No space left on device (" in fault.what
    assert "bytes are needed" in fault.what
    assert "are free)" in fault.what
    assert fault.remedy.startswith("Make room there; then ")
    assert not [p for p in disk.iterdir() if p.suffix == ".tmp" or p.name.startswith(".")]


@pytest.mark.parametrize("write", [notes, judgement, weights, rows])
def test_a_read_only_disk_is_one_sentence(disk: Path, write: Callable[[Path], None]) -> None:
    make_read_only(disk)
    with pytest.raises(RunError, match=r"Read-only file system\. Have it mounted so that"):
        write(disk)


def test_a_run_and_a_report_that_find_no_room_say_so(disk: Path) -> None:
    run = write_run(disk / "run", {"tuned": labelled(20)})
    fill(disk, leave=8192)
    with pytest.raises(RunError, match=r"report\.html: cannot be written: No space left.*choose"):
        write_report(run, ("html",))
    fill(disk, leave=0)
    config = RunConfig(
        task="classification", model=ModelConfig(base="b" * 9000), data=DataConfig(train="t.csv")
    )
    with pytest.raises(RunError, match="cannot be written: No space left on device"):
        create_run(config, disk / "runs")


def test_what_a_killed_writer_began_goes_with_the_next_and_what_a_live_one_writes_stays(
    tmp_path: Path,
) -> None:
    path, other = tmp_path / "report.md", tmp_path / ".report.json.1-1.tmp"
    with subprocess.Popen(["true"]) as gone:
        pass
    abandoned = tmp_path / f".report.md.{gone.pid}-7.tmp"
    begun = tmp_path / ".report.md.1-7.tmp"  # of the first process of all
    for file in (abandoned, begun, other):
        file.write_text("half")
    write_whole(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert sorted(tmp_path.iterdir()) == sorted([path, begun, other])


def test_a_folder_that_was_moved_away_is_not_made_anew(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"tuned": labelled(20)})
    history = read_history(run)
    run.path.rename(tmp_path / "moved")
    text = r"Where its folder was moved, go on in the new place; then"
    gone = pytest.raises(RunError, match=rf"\({run.path} is gone\)\. {text}")
    with gone, replacing(run.model_path) as temporary:
        temporary.mkdir(parents=True)  # as libraries do
    with pytest.raises(RunError, match=text):
        make_folder(run.predictions)
    with pytest.raises(RunError, match="is gone"):
        write_report(run, ("md", "card"), history=history)
    assert not run.path.exists()
