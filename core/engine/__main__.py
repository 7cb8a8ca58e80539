"""The worker: the story of a run, from config to last event.

    python -m ftev.core.engine RUN_DIRECTORY [--resume | --serve] [--serve-minutes N]

or, on several devices, the same under torchrun: the first process runs the story, the others carry
out what it orders.

The worker has no terminal and outlives whoever started it. It writes facts into the run directory,
answers prompts between optimizer steps, and when the run is over serves prompts until it is idle.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # the working directory: a file there may bear the name of a library

import argparse
import os
import signal
import socket
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from ... import __version__
from ..config.config import RunConfig
from ..errors import FtevError
from ..run.events import Note, RunFinished, RunStarted
from ..run.listen import Listener
from ..run.runs import Run, newest_whole, step_of, way_on
from .distributed.members import Members, name_of_launch, place_in_world
from .worker.endings import (
    Stopped,
    end_without,
    ending_of,
    explain,
    follow_to_the_end,
    give_up,
    leave,
    write_report,
)
from .worker.outbox import Outbox

if TYPE_CHECKING:
    from .worker.session import Session


def main() -> int:
    """Do what the command line asks for; returns the exit code."""
    args = _arguments()
    run = Run(Path(args.run).resolve())
    rank, world = place_in_world()
    if rank:  # no lock and no socket: one worker has a run, whatever its number of processes
        return _follow(Members(run, rank, world))
    try:
        with Listener(run, name_of_launch()) as listener:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: listener.stop.set())
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the terminal may go, the run stays
            if args.serve:
                return _serve_only(run, listener, args.serve_minutes)
            code = work(run, listener, args)
    except FtevError as error:  # held by another worker, or a disk that cannot be written
        print(error, file=sys.stderr)
        return error.exit_code
    # with others, an ordinary exit would wait for collective operations nobody takes part in
    return code if world == 1 else leave(code)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ftev.core.engine")
    parser.add_argument("run")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--serve-minutes", type=float)
    return parser.parse_args()


def work(run: Run, listener: Listener, args: argparse.Namespace) -> int:
    """A run from its first event to its last: whatever happens in it, its end is written down."""
    from ..config.config_file import load_config

    config = load_config(run.path / "run.toml")
    resume, damages = newest_whole(run) if args.resume else (None, [])
    session: Session | None = None
    with Outbox(run.events_path) as events:
        events.write(_started(run, config, resume))  # before torch, whose import takes seconds
        events.write(*(Note(level="warning", text=text) for text in way_on(resume, damages)))
        members = Members(run, *place_in_world())
        members.watch(lambda lost: end_without(lost, run, events, listener))
        try:
            session = _session(run, config, events, listener, members)
            story(session, resume)
            ended = RunFinished(status="finished", time=time.time())
        except Exception as error:
            ended = ending_of(error, members)
        members.leave()  # from here on a rank that ends is not missed
        if ended.status == "finished":
            listener.state = "writing the report"
            write_report(run, events, ended)  # before the end is written: a finished run has one
        events.write(ended)
        events.flush()
        if session is not None and ended.status == "finished":
            from .answering.answer import serve

            minutes = args.serve_minutes
            serve(session, config.evaluate.serve_minutes if minutes is None else minutes)
    return ended.exit_code


def story(s: Session, resume: Path | None) -> None:
    """The five stages, each in `stages.py`; the training loop is in `training/train.py`."""
    from . import stages
    from .distributed.follow import compare_inputs, compare_with_before
    from .models.devices import Telemetry

    stages.read_data(s)
    if resume:
        compare_with_before(s, step_of(resume))
    # the first rank has read them: a fault of the data is reported once, and not by each
    s.ranks.order("read_data")
    s.ranks.order("compare_inputs")
    compare_inputs(s)
    with Telemetry(s.write, s.device) as telemetry:
        s.ranks.order("load_base_model")
        stages.load_base_model(s)
        stages.prepare_training_data(s)
        stages.fine_tune(s, resume, telemetry)
        stages.prepare_evaluation_data(s)
        stages.evaluate_models(s)
    s.ranks.order("end")


def _started(run: Run, config: RunConfig, resume: Path | None) -> RunStarted:
    return RunStarted(
        run=run.id,
        name=config.name,
        task=config.task,
        pid=os.getpid(),
        host=socket.gethostname(),
        ftev_version=__version__,
        resumed_from_step=step_of(resume) if resume else 0,
    )


def _session(
    run: Run,
    config: RunConfig,
    events: Outbox | None,
    listener: Listener,
    members: Members | None = None,
) -> Session:
    """The session, once all ranks are there; here torch is imported."""
    if members and not members.wait_for_all(listener.stop, lambda text: _warn(events, text)):
        raise Stopped
    from .models.imports import import_models

    import_models(alone=members is None or members.world == 1)
    from transformers.utils import logging

    from .distributed.ranks import Ranks, join
    from .models.devices import on_cpu
    from .worker.session import Session

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    ranks = Ranks() if members is None else join(on_cpu(config))
    return Session(run, config, events, listener, ranks)


def _warn(events: Outbox | None, text: str) -> None:
    """In the run's events, or of another rank in the log."""
    if events is None:
        print(text, flush=True)
    else:
        events.write(Note(level="warning", text=text))


def _follow(members: Members) -> int:
    """A rank that is not the first: it carries out orders, and ends when the first ends."""
    from ..config.config_file import load_config

    run = members.run
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    members.arrive()
    for number in (signal.SIGTERM, signal.SIGINT):  # the first decides on a stop
        signal.signal(number, signal.SIG_IGN)
    members.watch(lambda lost: follow_to_the_end(lost, run))
    try:
        session = _session(run, load_config(run.path / "run.toml"), None, Listener(run), members)
        from . import stages
        from .distributed.follow import Follower, compare_inputs

        same_for_all = (
            stages.read_data,
            compare_inputs,
            stages.load_base_model,
            stages.take_given_model,
            stages.round_weights,
        )
        Follower(session, {work.__name__: work for work in same_for_all}).follow()
    except Exception as error:
        give_up(error, members)
    members.leave()
    return leave(0)


def _serve_only(run: Run, listener: Listener, minutes: float | None) -> int:
    """Load a finished run's models and answer prompts; nothing of the run is computed again."""
    from ..config.config_file import load_config
    from .answering.answer import refuse, serve
    from .worker.session import load_finished

    listener.state = "loading"
    with Outbox(run.events_path) as events:
        try:
            config = load_config(run.path / "run.toml")
            s = _session(run, config, events, listener)
            load_finished(s)
        except Exception as error:
            traceback.print_exc()
            refuse(listener, explain(error))
            return 1
        serve(s, config.evaluate.serve_minutes if minutes is None else minutes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
