"""The worker: the story of a run, from config to last event.

    python -m ftev.core.engine RUN_DIRECTORY [--resume | --serve] [--serve-minutes N]

or, on several devices, the same under torchrun: the first process tells the story, the others do
what it orders.

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
from contextlib import nullcontext
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.config import RunConfig
from ..errors import FtevError
from ..files.disk import replacing
from ..run.checkpoint_files import newest_whole, way_on
from ..run.events import Note, RunFinished, RunStarted
from ..run.runs import Run, step_of
from .distributed.launched import place_in_world
from .distributed.members import Members
from .worker.endings import end_without, ending_of, follow_to_the_end, give_up, leave
from .worker.errors import explain
from .worker.listen import Listener
from .worker.outbox import Outbox

if TYPE_CHECKING:
    from .models.devices import Telemetry
    from .models.models import Loaded
    from .worker.session import Session


def main() -> int:
    args = _arguments()
    run = Run(Path(args.run).resolve())
    rank, world = place_in_world()
    if rank:
        return _follow(Members(run, rank, world))
    try:
        with Listener(run) as listener:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: listener.stop.set())
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            if args.serve:
                return _serve_only(run, listener, args.serve_minutes)
            code = work(run, listener, args)
    except FtevError as error:  # held by another, or a disk that takes no word of it
        print(error, file=sys.stderr)
        return error.exit_code
    return code if world == 1 else leave(code)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ftev.core.engine")
    parser.add_argument("run")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--serve-minutes", type=float)
    return parser.parse_args()


def work(run: Run, listener: Listener, args: argparse.Namespace) -> int:
    """Tell the story and, whatever happens in it, write down how it ended."""
    from ..config.config_file import (
        load_config,  # before torch: the first event names the first seconds
    )

    config = load_config(run.path / "run.toml")
    resume, damages = newest_whole(run) if args.resume else (None, [])
    session: Session | None = None
    with Outbox(run.events_path) as events:
        events.write(_started(run, config, resume))
        events.write(*(Note(level="warning", text=text) for text in way_on(resume, damages)))
        members = Members(run, *place_in_world())
        members.watch(lambda lost: end_without(lost, run, events, listener))
        try:
            session = _session(run, config, events, listener, members)
            story(session, resume)
            ended = RunFinished(status="finished", time=time.time())
        except Exception as error:
            ended = ending_of(error, members)
        members.leave()
        if ended.status == "finished":
            listener.state = "writing the report"
            _write_report(run, events, ended)
        events.write(ended)
        events.flush()
        if session is not None and ended.status == "finished":
            from .worker.serve import serve

            minutes = args.serve_minutes
            serve(session, config.evaluate.serve_minutes if minutes is None else minutes)
    return ended.exit_code


def story(s: Session, resume: Path | None) -> None:
    """The five stages."""
    from .distributed.agreement import compare_inputs, compare_with_before
    from .models.devices import Telemetry

    read_data(s)
    if resume:
        compare_with_before(s, step_of(resume))
    s.ranks.order("read_data")
    s.ranks.order("compare_inputs")
    compare_inputs(s)
    with Telemetry(s.write, s.device) as telemetry:
        s.ranks.order("load_base_model")
        load_base_model(s)
        prepare_training_data(s)
        fine_tune(s, resume, telemetry)
        prepare_evaluation_data(s)
        evaluate_models(s)
    s.ranks.order("end")


def read_data(s: Session) -> None:
    """Every bad row stops the run here, before a model is loaded."""
    from msgspec.structs import replace

    from ..data.data import read_run_data
    from ..metrics.metrics import default_positive
    from .scoring.rows import begin_with_space

    c = s.config
    s.listener.state = "reading data"
    s.dataset = read_run_data(c)
    if s.dataset.skipped:
        rows = sum(s.dataset.skipped_rows.values())
        s.note(f"{rows:,} bad rows skipped, as the config says", "warning")
    s.form = s.dataset.columns.form
    if s.form == "prompt_completion":
        seen = s.dataset.splits.get("train") or s.dataset.splits["test"]
        s.spaced = begin_with_space(seen.frame["completion"])
    s.write(replace(s.dataset.columns_found(), spaced=s.spaced))
    if c.task_type.has_labels:
        counted = s.dataset.splits.get("train") or s.dataset.splits["test"]
        s.data_labels = labels = s.dataset.labels
        s.positive = c.objective.positive or default_positive(labels, counted.label_counts())
        s.fix_labels(labels)


def load_base_model(s: Session) -> None:
    from msgspec.structs import replace

    from .distributed.agreement import compare_weights
    from .models import models
    from .models.devices import describe_device, drawn_from, training_precision

    with s.stage(1) as told:
        check_label_map(s)
        s.tuned = s.load(s.config.model.base, trainable=s.config.trains)
        if s.config.task_type.has_labels:
            s.base_has_head = not s.tuned.new_head
            take_labels(s, s.tuned)
        described = models.describe(s.tuned, s.config.model.base)
        s.precision = training_precision(s.config, s.device, described.parameters)
        if s.config.trains and s.config.model.adapter == "lora" and not s.tuned.has_adapter:
            with drawn_from(s.config.train.seed):
                models.add_adapter(s.tuned, s.config)
            described = models.describe(s.tuned, s.config.model.base)
        compare_weights(s, s.tuned)
        for text in models.notes_on_base(s.tuned, s.config):
            s.note(text)
        precision = s.precision if s.config.trains else s.config.evaluate.precision
        device = describe_device(s.device, precision)
        found = replace(device, trains=s.config.trains, devices=s.ranks.world)
        s.write(found, described)
        told["note"] = models.in_words(described)


def check_label_map(s: Session) -> None:
    """Names in data.label_map that neither a model nor the data know end the run here."""
    from .models.heads import check_label_map as check
    from .models.models import own_labels

    if not s.config.task_type.has_labels or not s.config.data.label_map:
        return
    given = [name for name in (s.config.model.base, s.config.model.tuned) if name]
    heads = {name: own_labels(s.config, name) for name in given}
    check(s.config.data.label_map, heads, s.data_labels)


def take_labels(s: Session, loaded: Loaded) -> None:
    """The labels of the run: a trained model's own order; in `eval` the data's, and what else a
    head can answer, which is a wrong prediction here."""
    from .models.heads import merge_labels

    own = loaded.labels
    labels = own if s.config.trains else merge_labels(s.labels, [own])
    if labels != s.labels:
        s.fix_labels(labels)


def prepare_training_data(s: Session) -> None:
    from ..data.drawn import tell_draws
    from ..data.leakage import find_leakage

    with s.stage(2) as told:
        for split in ("train", "validation"):
            if split in s.dataset.splits:
                s.prepare(split)
        check_tokens(s, s.config.model.base)
        s.leakage = find_leakage(s.dataset.splits, near=s.config.data.near_duplicates)
        s.write(s.leakage.as_event(), *tell_draws(s.dataset))
        if "train" in s.rows:
            told.update(s.shapes("train"))
        else:
            told["note"] = "no training data"


def check_tokens(s: Session, name: str) -> None:
    """Before anything is trained or scored: a token without an embedding stops the run, or warns.

    Test rows are looked at too, which otherwise are tokenised after training.
    """
    from .models.vocabulary import check_vocabulary, tokens_without_embedding
    from .scoring.conclude import texts_as_rows

    if not tokens_without_embedding(s.tuned):
        return
    rows = {split: s.render(split, s.tuned) for split in s.dataset.splits}
    rows |= texts_as_rows(s)
    if told := check_vocabulary(s.tuned, name, rows):
        s.note(told, "warning")


def fine_tune(s: Session, resume: Path | None, telemetry: Telemetry) -> None:
    """Step 0, the loop, and the best checkpoint at its end."""
    from .models import models
    from .scoring.pairing import compare_models
    from .training.fine_tune import fit_probe_on_base, train_to_the_best

    with s.stage(3) as told, telemetry.around():
        if s.config.trains:
            fit_probe_on_base(s)
            told["note"] = train_to_the_best(s, resume)
        else:
            s.ranks.order("take_given_model")
            take_given_model(s)
            check_tokens(s, str(s.config.model.tuned))
            s.write(compare_models(s.base, s.tuned))
            fit_probe_on_base(s)
            told["note"] = f"nothing to train: {s.config.model.tuned} is evaluated as it is"
        with replacing(s.run.model_path, models.size_of(s.tuned)) as temporary:
            models.save(s.tuned, temporary)


def take_given_model(s: Session) -> None:
    """What was loaded is the base; the tuned model is a given one."""
    from .distributed.agreement import compare_weights

    assert s.config.model.tuned is not None
    s.keep_base(s.tuned)
    s.tuned = s.load(s.config.model.tuned)
    compare_weights(s, s.tuned)
    take_labels(s, s.tuned)
    s.base.max_length = s.tuned.max_length = min(s.base.max_length, s.tuned.max_length)


def prepare_evaluation_data(s: Session) -> None:
    with s.stage(4) as told:
        if "test" in s.dataset.splits and s.config.evaluate.test:
            s.prepare("test")
            told.update(s.shapes("test"))
        else:
            missing = "test is held back" if "test" in s.dataset.splits else "no test data"
            told["note"] = f"{missing}: results are on validation, which chose the checkpoint"


def evaluate_models(s: Session) -> None:
    from .answering.answer import answer_probes
    from .scoring.conclude import evaluate_split, score_texts
    from .scoring.parity import parity
    from .scoring.read_back import Reader
    from .scoring.self_test import self_test

    with s.stage(5) as told:
        splits = [name for name in ("validation", "test") if name in s.rows]
        with Reader() if s.config.evaluate.parity_rows else nullcontext() as reader:
            for split in splits:
                evaluate_split(s, split)
            if not s.config.task_type.has_labels:
                score_texts(s)
            if not s.config.trains:  # in training they are answered at each evaluation
                answer_probes(s)
            judged = splits[-1]  # the verdict rests upon it
            for fact in chain(self_test(s, judged), parity(s, judged, reader)):
                s.write(fact)
        rows = sum(len(s.rows[name]) for name in splits)
        told.update(rows_in=rows, rows_out=rows, note="on " + " and ".join(splits))


def _session(
    run: Run,
    config: RunConfig,
    events: Outbox | None,
    listener: Listener,
    members: Members | None = None,
) -> Session:
    if members is not None:
        members.wait_for_all(listener.stop, lambda text: _warn(events, text))
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
    """A rank that is not the first: it works on what it is told, and ends when the first ends."""
    from ..config.config_file import load_config

    run = members.run
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    members.arrive()
    for number in (signal.SIGTERM, signal.SIGINT):  # the first decides on a stop
        signal.signal(number, signal.SIG_IGN)
    members.watch(lambda lost: follow_to_the_end(lost, run))
    try:
        session = _session(run, load_config(run.path / "run.toml"), None, Listener(run), members)
        from .distributed.agreement import compare_inputs
        from .distributed.follow import Follower

        chapters = (read_data, compare_inputs, load_base_model, take_given_model)
        Follower(session, {chapter.__name__: chapter for chapter in chapters}).follow()
    except Exception as error:
        give_up(error, members)
    members.leave()
    return leave(0)


def _started(run: Run, config: RunConfig, resume: Path | None) -> RunStarted:
    return RunStarted(
        run=run.id,
        name=config.name,
        task=config.task,
        pid=os.getpid(),
        host=socket.gethostname(),
        ftev_version=metadata.version("ftev"),
        resumed_from_step=step_of(resume) if resume else 0,
    )


def _serve_only(run: Run, listener: Listener, minutes: float | None) -> int:
    """Load a finished run's models and answer prompts; nothing of the run is computed again."""
    from ..config.config_file import load_config
    from .worker.serve import load_finished, refuse, serve

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


def _write_report(run: Run, events: Outbox, ended: RunFinished) -> None:
    """The report of a run as it will stand once its end is written: a finished run has one.

    It is a view of what is stored: a fault in it does not undo the run, and is told.
    """
    from ..report.report import DEFAULT_FORMATS, write_report
    from ..run.history import read_history

    events.flush()
    history = read_history(run)
    history.add(ended)
    try:
        write_report(run, (*DEFAULT_FORMATS, "card"), history=history)
    except Exception as error:
        traceback.print_exc()
        text = f"the report could not be written: {explain(error)}. `ftev-tui report {run.id}` does"
        events.write(Note(level="warning", text=text))


if __name__ == "__main__":
    sys.exit(main())
