"""A run in plain lines, for where there is no screen: followed until it ends or its worker does,
then its table and verdict."""

from __future__ import annotations

import contextlib
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from ...core.errors import RunError
from ...core.judgement.observations import observe_epoch, reason_kept
from ...core.judgement.selection import (
    NOT_COMPARED,
    describe_leaked,
    find_comparison,
    judged_split,
    of_models,
    reference_model,
    was_compared,
)
from ...core.metrics.analyses import Parity, SelfTest
from ...core.metrics.metric import repeats
from ...core.report.document import Report
from ...core.report.report import build_report, write_missing
from ...core.report.sections.parity import layout_rows, parity_sentence, self_test_sentence
from ...core.run.control import AskStop, ask
from ...core.run.events import (
    AnalysisComputed,
    AnyEvent,
    CheckpointSaved,
    DeviceFound,
    EpochDone,
    Evaluated,
    EventReader,
    LeakageFound,
    Note,
    Paused,
    Progress,
    Resumed,
    RunFinished,
    RunStarted,
    ScalarsLogged,
    SplitPrepared,
    StageDone,
    StepDone,
    TrainingEnded,
    TrainingPlanned,
)
from ...core.run.history import STAGES, History
from ...core.run.runs import Run
from ...core.wording.names import name_decision, name_metric, positive_label_of
from ...core.wording.numbers import (
    DASH,
    format_count,
    format_difference,
    format_drift,
    format_estimate,
    format_seconds,
    format_shape,
    format_value,
)
from ...core.wording.numbers import format_difference_interval as format_ends
from ...core.wording.text import visible
from .show import format_rows, say

Emit = Callable[[str], None]
LOOK_SECONDS = 0.1  # between two looks at the events
LEAVE_SECONDS = 120.0  # a worker that has written its end may still write its report


class Follower:
    """Reads what a run writes and passes it on, line by line."""

    def __init__(self, run: Run, emit: Emit, progress: ProgressLines | None = None) -> None:
        self.run, self.history = run, History()
        self._reader = EventReader(run.events_path)
        self._emit, self._progress = emit, progress or ProgressLines()

    def skip_past(self) -> None:
        """Take in silently what was written before; a former end is not this worker's end."""
        for event in self._reader.read_all():
            self.history.add(event)
        self.history.finished = None

    def follow(self, alive: Callable[[], bool]) -> None:
        """Print everything until the run's end, or until its worker is gone."""
        while True:
            there = alive()  # before the read: what a dying worker wrote is still read
            if self._print_new():
                continue
            if self.history.finished or not there:
                return
            time.sleep(LOOK_SECONDS)

    def _print_new(self) -> bool:
        events = self._reader.read()
        self.history.unreadable_lines = self._reader.unreadable
        for event in events:
            self.history.add(event)
            for line in self._progress.lines(event, self.history):
                self._emit(line)
        return bool(events)


def follow_own(follower: Follower, process: subprocess.Popen[bytes]) -> bool:
    """Follow the worker we started. The first interrupt stops it resumably, the second leaves it.

    Returns whether it was interrupted.
    """
    interrupted = False
    with terminated_as_interrupted():
        while True:
            try:
                follower.follow(lambda: process.poll() is None)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    # Its end is written, its process may still write the report: the command must
                    # not return before.
                    process.wait(LEAVE_SECONDS)
                return interrupted
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                say("stopping: the state is saved first. Once more to leave the run to itself")
                _ask_to_stop(follower.run, process)


def _ask_to_stop(run: Run, process: subprocess.Popen[bytes]) -> None:
    try:
        for _ in ask(run, AskStop()):
            pass
    except RunError:  # it does not listen yet, or is gone already
        process.terminate()


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM counts as Ctrl-C: whoever ends a foreground run wants the device back."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def printer(*, to_stderr: bool) -> Emit:
    """Prints lines at once; a reader that has gone away does not end the run."""
    stream = sys.stderr if to_stderr else sys.stdout

    def emit(line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(line, file=stream, flush=True)

    return emit


INTERRUPTED = 130
OBJECTIVE_NOT_MET = 3
LOG_LINES = 12  # of a worker that died: a traceback's end
MODELS = ("majority", "mean", "probe", "base", "tuned")


def exit_code(history: History, report: Report, *, gate: bool) -> int:
    """As promised: 0 done, 1 failed, 2 bad input, 3 objective not met, 130 interrupted."""
    if history.finished is None:
        return 1
    if history.finished.status == "failed":
        return history.finished.exit_code or 1  # 0 would say that it went well
    if history.finished.status == "stopped":
        return INTERRUPTED
    return gate_code(report) if gate else 0


def gate_code(report: Report) -> int:
    verdict = report.get("verdict")
    return 0 if verdict and name_decision(verdict) == "ship" else OBJECTIVE_NOT_MET


def print_outcome(run: Run, history: History, emit: Callable[[str], None]) -> Report:
    """The last lines about a run: its metrics, its verdict, where the report is."""
    report = build_report(run, history)
    for line in format_results(history):
        emit(line)
    verdict = report.get("verdict")
    if verdict and history.finished and history.finished.status == "finished":
        emit(f"verdict: {verdict['decision']} (objective: {visible(verdict['objective'])})")
        for reason in verdict["reasons"]:
            emit(f"  {visible(reason)}")
    if problem := write_missing(run, history):
        emit(problem)
    written = run.path / "report.md"
    if written.exists():
        emit(f"report: {written}")
    return report


def format_results(history: History) -> list[str]:
    """A table of the judged split: every model, and the tuned one's paired difference."""
    split = judged_split(history)
    if split is None:
        return []
    results = history.results[split]
    models = [m for m in MODELS if m in results]
    against = reference_model(results)
    names = [
        name for name in results["tuned"].metrics if not repeats(name, results["tuned"].metrics)
    ]
    columns = [f"{split} ({results['tuned'].n:,} rows)", *models]
    columns += [f"{against} → tuned", "95 %"] if against else []
    positive, rows = positive_label_of(results.values()), []
    for name in names:
        row = [
            name_metric(name, positive),
            *(format_estimate(name, results[m].metrics.get(name)) for m in models),
        ]
        if against:
            c = find_comparison(history, split, name)
            row.append(format_difference(name, c.difference) if c else DASH)
            row.append(format_ends(name, c.low, c.high) if c else DASH)
        rows.append(row)
    return format_rows(columns, rows, words=columns[:1])


def describe_death(run: Run, history: History) -> list[str]:
    """What is known of a worker that is gone without a last word."""
    stage = history.current_stage
    what = f"the worker died at step {history.step:,}"
    what += f', in "{stage.name}"' if stage else ""
    lines = [f"{run.id}: {what}. `ftev-tui resume {run.id}` goes on from the last checkpoint"]
    try:
        # bytes: a log may have grown for days
        log = run.log_path.read_bytes()[-20_000:].decode(errors="replace").splitlines()
    except OSError:
        log = []
    if log:
        lines += [f"the end of {run.log_path}:", *(f"  {line}" for line in log[-LOG_LINES:])]
    return lines


NOT_PASSED = 1


def print_self_test(history: History, emit: Callable[[str], None]) -> int:
    """One table per model. Returns the exit code: 1 where scores depend on how rows are batched."""
    tested = [
        (split, model, result)
        for split in history.analyses
        for model, result in of_models(history.analyses, SelfTest, split).items()
    ]
    for split, model, result in tested:
        for line in _lines(split, model, result):
            emit(line)
    if not tested:
        emit("self-test: no row was scored, so nothing was tested")
    return 0 if tested and all(result.passed for *_, result in tested) else NOT_PASSED


def _lines(split: str, model: str, result: SelfTest) -> list[str]:
    columns = ["layout", "drift of a row's loss", "drift of a row's NLL", "changed predictions"]
    return [
        f"self-test: {self_test_sentence(model, split, result)}",
        *(f"  {line}" for line in format_rows(columns, layout_rows(result), words=columns[:1])),
        *(f"  {x.layout}: not tested, {x.reason}" for x in result.left_out),
        f"  nats; tolerance {format_drift(result.tolerance)} for a row's loss "
        f"({result.device}, {result.precision})",
    ]


LOGGED_SHOWN = 6  # figures of another tool in a line
EVERY_SECONDS = 5.0  # between two lines about steps or about one piece of work


class ProgressLines:
    """Turns each event into the lines it deserves. Time is the worker's, taken from the events."""

    def __init__(self, every: float = EVERY_SECONDS) -> None:
        self._every = every
        self._shown_at = -math.inf  # when progress was shown last

    def lines(self, event: AnyEvent, history: History) -> list[str]:
        """Lines for an event that the history holds already."""
        if isinstance(event, StepDone | ScalarsLogged | Progress):
            # By the events' time: a run that is read afterwards gives the same lines.
            if event.time - self._shown_at < self._every:
                return []
            self._shown_at = event.time
        describe = _LINES.get(type(event))
        return [visible(line) for line in describe(event, history)] if describe else []


def _of_start(event: RunStarted, history: History) -> list[str]:
    line = f"run {event.run}: {event.task}, worker {event.pid} on {event.host}"
    if not event.pid:
        line = f"run {event.run}: log of {event.origin}"
    return [
        line
        + (f", goes on from step {event.resumed_from_step:,}" if event.resumed_from_step else "")
    ]


def _of_device(event: DeviceFound, history: History) -> list[str]:
    verb = "training" if event.trains else "scored"
    return [f"device {event.device} ({event.name}), {verb} in {event.precision}"]


def _of_split(event: SplitPrepared, history: History) -> list[str]:
    line = f"  {event.split}: {format_shape(event.rows, event.columns)}"
    if event.tokens:
        line += f", {format_count(event.tokens, 'token')}"
    # Where every token is scored the second number would be the first again.
    if event.scored_tokens and event.scored_tokens != event.tokens:
        line += f" ({event.scored_tokens:,} scored)"
    for count, what in (
        (event.truncated_rows, "truncated"),
        (event.unscored_rows, "without scored tokens"),
        (event.skipped_rows, "left out as bad"),
        (sum(event.not_learned.values()), "left out: nothing to learn from"),
    ):
        line += f", {format_count(count, 'row')} {what}" if count else ""
    return [line]


def _of_leakage(event: LeakageFound, history: History) -> list[str]:
    if not was_compared(event.splits):
        return [f"  leakage: {NOT_COMPARED}"]
    if not (event.exact or event.near or event.ngram):
        return ["  leakage: no row repeats a row of an earlier split"]
    return [
        f"  leakage: {describe_leaked(event.leaked) or 'rows repeat a row of an earlier split'}: "
        f"{event.exact:,} exactly, "
        f"{event.near:,} nearly, {event.ngram:,} by 13 words in a row"
    ]


def _of_plan(event: TrainingPlanned, history: History) -> list[str]:
    return [
        f"  {format_count(event.max_steps, 'step')} over {_epochs(event.epochs)}, "
        f"{event.warmup_steps:,} of warm-up, {event.rows_per_step:.0f} rows per step, "
        f"{event.padding:.2f} padded tokens per real one"
    ]


def _epochs(number: float) -> str:
    return "1 epoch" if number == 1 else f"{number:g} epochs"


def _of_progress(event: Progress, history: History) -> list[str]:
    return [f"  {event.what}: {event.done:,} of {event.total:,}"]


def _of_step(event: StepDone, history: History) -> list[str]:
    loss = event.loss_sum / event.loss_count if event.loss_count else math.nan
    line = (
        f"  step {event.step:,} of {history.max_steps:,}, epoch {event.epoch:.2f}, "
        f"loss {loss:.3f}, {history.tokens_per_second():,.0f} tokens/s"
    )
    left = history.eta_seconds()
    return [line + (f", {format_seconds(left)} of steps left" if left is not None else "")]


def _of_logged(event: ScalarsLogged, history: History) -> list[str]:
    shown = list(event.values.items())[:LOGGED_SHOWN]
    figures = [f"{name.removeprefix('train/')} {value:.4g}" for name, value in shown]
    return [f"  step {event.step:,}: {', '.join(figures)}"]


def _of_evaluation(event: Evaluated, history: History) -> list[str]:
    if event.epoch < 0:  # a final score: the table at the end has it
        return []
    line = f"  {event.model} on {event.split} at step {event.step:,}:"
    if event.loss_count:
        line += f" loss {event.loss_sum / event.loss_count:.3f},"
    if event.count:
        line += f" {_accuracy(history)} {format_value('accuracy', event.correct / event.count)},"
    line += f" {format_count(event.rows, 'row')}"
    return [
        line + (f", {event.no_prediction:,} without a prediction" if event.no_prediction else "")
    ]


def _accuracy(history: History) -> str:
    return history.task_type.accuracy_title


def _of_epoch(event: EpochDone, history: History) -> list[str]:
    row = history.epochs[-1]
    line = f"epoch {row.epoch}: training loss {row.train_loss:.3f}"
    if math.isfinite(row.validation_loss):
        line += f", validation loss {row.validation_loss:.3f}"
    if math.isfinite(row.validation_accuracy):
        line += f", {_accuracy(history)} {format_value('accuracy', row.validation_accuracy)}"
    if math.isfinite(row.accuracy_change):
        line += f" ({format_difference('accuracy', row.accuracy_change)} since step 0)"
    return [f"{line}, {format_seconds(row.seconds)}: {observe_epoch(history, row)}"]


def _of_checkpoint(event: CheckpointSaved, history: History) -> list[str]:
    return [f"  checkpoint of step {event.step:,} saved{', the best so far' if event.best else ''}"]


def _of_end(event: TrainingEnded, history: History) -> list[str]:
    line = f"training ended at step {event.step:,}: {event.reason}"
    if reason := reason_kept(history):
        return [line, f"  {reason}"]
    return [
        line + (f"; the model of step {event.best_step:,} is kept" if event.best_step >= 0 else "")
    ]


def _of_analysis(event: AnalysisComputed, history: History) -> list[str]:
    if isinstance(event.result, SelfTest):
        return [f"  self-test: {self_test_sentence(event.model, event.split, event.result)}"]
    if isinstance(event.result, Parity):
        return [f"  deploy parity: {parity_sentence(event.split, event.result)}"]
    return []  # the report has the others


def _of_stage(event: StageDone, history: History) -> list[str]:
    line = f"{event.stage}/{len(STAGES)} {event.name}, {format_seconds(event.seconds)}"
    if event.rows_out >= 0:
        after = format_shape(event.rows_out, event.columns_out)
        before = format_shape(event.rows_in, event.columns_in)
        line += f", {after}" if before == after or event.rows_in < 0 else f", {before} → {after}"
    return [line + (f": {event.note}" if event.note else "")]


def _of_finish(event: RunFinished, history: History) -> list[str]:
    return [f"run {event.status}" + (f": {event.error}" if event.error else "")]


# Events without lines of their own are silent: a new kind needs no change here.
_LINES: dict[type, Callable[[Any, History], list[str]]] = {
    RunStarted: _of_start,
    DeviceFound: _of_device,
    SplitPrepared: _of_split,
    LeakageFound: _of_leakage,
    TrainingPlanned: _of_plan,
    Progress: _of_progress,
    StepDone: _of_step,
    ScalarsLogged: _of_logged,
    Evaluated: _of_evaluation,
    EpochDone: _of_epoch,
    CheckpointSaved: _of_checkpoint,
    TrainingEnded: _of_end,
    AnalysisComputed: _of_analysis,
    StageDone: _of_stage,
    Note: lambda e, h: [f"{e.level}: {e.text}"],
    Paused: lambda e, h: [f"paused at step {e.step:,}"],
    Resumed: lambda e, h: [f"going on from step {e.step:,}"],
    RunFinished: _of_finish,
}
