"""How a run ends: with its report, stopped, failed, or without one of its processes."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from typing import NoReturn

from ...errors import FtevError, RunError
from ...run.events import EventWriter, Note, RunFinished
from ...run.history import read_history
from ...run.listen import Listener
from ...run.lock import run_lock
from ...run.runs import SILENT_SECONDS, Run
from ..distributed.members import Members, lost_the_line, way_on
from .outbox import Outbox

CERTAINTY_SECONDS = 2 * SILENT_SECONDS  # by then a rank that cannot be reached is known to be lost


class Stopped(Exception):  # noqa: N818  (a request, not an error)
    """Somebody asked the run to stop; its state is saved."""


def explain(error: Exception) -> str:
    """What, and what to do; the traceback stands in worker.log."""
    if isinstance(error, FtevError):
        return str(error)
    if "out of memory" in str(error).lower():
        return (
            "the device ran out of memory. Lower train.batch_size or model.max_length, "
            'raise train.gradient_accumulation_steps, or use model.adapter = "lora"'
        )
    return f"{type(error).__name__}: {error}. The traceback is in worker.log"


def ending_of(error: Exception, members: Members) -> RunFinished:
    """How a run ends that did not come to its end."""
    if isinstance(error, Stopped):
        if lost := members.lost():  # torchrun ends the others when one is lost: nobody asked
            return _failed_without(lost, members.run)
        return RunFinished(status="stopped")
    traceback.print_exc()
    if lost_the_line(error):
        time.sleep(CERTAINTY_SECONDS)  # the watch ends the run, with the rank that is lost
    code = error.exit_code if isinstance(error, FtevError) else 1
    return RunFinished(status="failed", error=explain(error), exit_code=code)


def write_report(run: Run, events: Outbox, ended: RunFinished) -> None:
    """The report of a run as it will stand once its end is written: a finished run has one.

    It is a view of what is stored: a fault in it does not undo the run, and is a warning.
    """
    from ...report import report
    from ...report.formats import DEFAULT_FORMATS

    events.flush()
    history = read_history(run)
    history.add(ended)
    try:
        report.write_report(run, (*DEFAULT_FORMATS, "card"), history=history)
    except Exception as error:
        traceback.print_exc()
        text = f"the report could not be written: {explain(error)}. `ftev-tui report {run.id}` does"
        events.write(Note(level="warning", text=text))


def end_without(lost: str, run: Run, events: Outbox, listener: Listener) -> NoReturn:
    """End the run at once, from a thread: the story may wait for the lost rank for ever."""
    events.write(_failed_without(lost, run))
    events.flush()
    listener.__exit__()  # frees lock and socket: the run can be resumed at once
    os._exit(1)


def follow_to_the_end(lost: str, run: Run) -> NoReturn:
    """End a rank whose first one is gone; of one that was killed, write down the run's end.

    Only where nobody has the run now: not another rank that does this, nor a worker that goes on.
    """
    lock = run_lock(run)
    with contextlib.suppress(RunError, OSError):
        if lock.take() is None:
            history = read_history(run)
            if history.started is not None and history.finished is None:
                writer = EventWriter(run.events_path)
                writer.write(_failed_without(lost, run))
                writer.close()
    lock.release()
    os._exit(0)


def _failed_without(lost: str, run: Run) -> RunFinished:
    return RunFinished(status="failed", error=f"{lost}. {way_on(run)}", exit_code=1)


def give_up(error: Exception, members: Members) -> NoReturn:
    """End a rank that is not the first, with word of why; the first writes it down."""
    if lost_the_line(error):
        print(f"rank {members.rank}: another rank is out of reach: {error}", flush=True)
        time.sleep(CERTAINTY_SECONDS)  # the watch ends this process when the first is gone
    else:
        traceback.print_exc()
    members.fail(explain(error))
    leave(1)


def leave(code: int) -> NoReturn:
    """End one of several processes without waiting for what others would have to take part in."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
