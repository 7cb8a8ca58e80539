"""Threads that begin a form from a file or a run, and a run from a form."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from ....core.errors import Fault, FtevError
from ....core.run.runs import Run
from ....core.tasks import TASKS
from ...app.background import Post, in_thread

if TYPE_CHECKING:
    from ....core.config.draft import Draft
    from ....core.run.estimate import Estimate


@dataclass
class FormReady(Message):
    """The settings are read; `told` says where the draft comes from and what was left out."""

    draft: Draft
    told: str = ""
    failed: bool = False


@dataclass
class RunMade(Message):
    """The worker of a new run is started."""

    run: Run


@dataclass
class StartRefused(Message):
    """Why there is no new run."""

    text: str
    faults: tuple[Fault, ...] = ()


def open_form(source: Draft | Run | Path | None, post: Post) -> None:
    """A draft from a run, a run.toml, an earlier form or nothing. The imports take a while."""
    in_thread(lambda: _open_form(source, post))


def _open_form(source: Draft | Run | Path | None, post: Post) -> None:
    from ....core.config.draft import Draft, draft_of, form_settings, load_draft

    form_settings()
    empty = Draft({"task": next(iter(TASKS))}, str(Path.cwd()))
    try:
        if isinstance(source, Run):
            post(FormReady(draft_of(source.config()), f"like {source.id}"))
        elif isinstance(source, Path):
            draft, unknown = load_draft(source)
            left = f"; left out, no settings: {', '.join(unknown)}" if unknown else ""
            post(FormReady(draft, f"from {source}{left}"))
        else:
            post(FormReady(source or empty))
    except FtevError as error:
        post(FormReady(empty, str(error).replace("\n", "  "), failed=True))


def start_run(draft: Draft, runs_dir: Path, estimate: Estimate | None, post: Post) -> None:
    """Check settings and data as they are now, make the run and start its worker."""
    in_thread(lambda: _start_run(draft, runs_dir, estimate, post))


def _start_run(draft: Draft, runs_dir: Path, estimate: Estimate | None, post: Post) -> None:
    from ....core.config.draft import check_draft
    from ....core.data.data import read_run_data
    from ....core.run import launch
    from ....core.run.estimate import write_estimate
    from ....core.run.processes import processes_of
    from ....core.run.runs import create_run

    config = check_draft(draft).config
    if config is None:
        post(StartRefused("the settings have faults"))
        return
    try:
        read_run_data(config)
    except FtevError as error:
        post(StartRefused(f"the data cannot be used: {error.faults[0]}", error.faults))
        return
    try:
        processes_of(config)
        run = create_run(config, runs_dir)
        if estimate is not None:
            write_estimate(run, estimate)
        worker = launch.start_worker(run)
    except (FtevError, OSError) as error:
        post(StartRefused(str(error)))
        return
    threading.Thread(
        target=worker.wait, daemon=True
    ).start()  # an ended child is to be taken note of
    post(RunMade(run))
