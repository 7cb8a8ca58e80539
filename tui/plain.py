"""A run in plain lines, for where there is no screen."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..core.judgement.observations import observe_epoch, reason_kept
from ..core.judgement.selection import NOT_COMPARED, describe_leaked, was_compared
from ..core.metrics.analyses import Parity, SelfTest
from ..core.report.sections.parity import parity_sentence, self_test_sentence
from ..core.run.events import (
    AnalysisComputed,
    AnyEvent,
    CheckpointSaved,
    DeviceFound,
    EpochDone,
    Evaluated,
    LeakageFound,
    Note,
    Paused,
    Progress,
    Resumed,
    RunFinished,
    RunStarted,
    SplitPrepared,
    StageDone,
    StepDone,
    TrainingEnded,
    TrainingPlanned,
)
from ..core.run.history import STAGES, History
from ..core.wording.numbers import (
    format_count,
    format_difference,
    format_seconds,
    format_shape,
    format_value,
)
from ..core.wording.text import visible

EVERY_SECONDS = 5.0  # between two lines about steps or about one piece of work


class ProgressLines:
    """Turns each event into the lines it deserves. Time is the worker's, taken from the events."""

    def __init__(self, every: float = EVERY_SECONDS) -> None:
        self._every = every
        self._shown_at = -math.inf  # when progress was shown last

    def lines(self, event: AnyEvent, history: History) -> list[str]:
        """Lines for an event that the history holds already."""
        if isinstance(event, StepDone | Progress):
            if event.time - self._shown_at < self._every:
                return []
            self._shown_at = event.time
        describe = _LINES.get(type(event))
        return [visible(line) for line in describe(event, history)] if describe else []


def _of_start(e: RunStarted, h: History) -> list[str]:
    line = f"run {e.run}: {e.task}, worker {e.pid} on {e.host}"
    return [line + (f", goes on from step {e.resumed_from_step:,}" if e.resumed_from_step else "")]


def _of_device(e: DeviceFound, h: History) -> list[str]:
    verb = "training" if e.trains else "scored"
    return [f"device {e.device} ({e.name}), {verb} in {e.precision}"]


def _of_split(e: SplitPrepared, h: History) -> list[str]:
    line = f"  {e.split}: {format_shape(e.rows, e.columns)}"
    if e.tokens:
        line += f", {format_count(e.tokens, 'token')}"
    if e.scored_tokens and e.scored_tokens != e.tokens:
        line += f" ({e.scored_tokens:,} scored)"
    for count, what in (
        (e.truncated_rows, "truncated"),
        (e.unscored_rows, "without scored tokens"),
        (e.skipped_rows, "left out as bad"),
    ):
        line += f", {format_count(count, 'row')} {what}" if count else ""
    return [line]


def _of_leakage(e: LeakageFound, h: History) -> list[str]:
    if not was_compared(e.splits):
        return [f"  leakage: {NOT_COMPARED}"]
    if not (e.exact or e.near or e.ngram):
        return ["  leakage: no row repeats a row of an earlier split"]
    return [
        f"  leakage: {describe_leaked(e.leaked) or 'rows repeat a row of an earlier split'}: "
        f"{e.exact:,} exactly, "
        f"{e.near:,} nearly, {e.ngram:,} by 13 words in a row"
    ]


def _of_plan(e: TrainingPlanned, h: History) -> list[str]:
    return [
        f"  {format_count(e.max_steps, 'step')} over {_epochs(e.epochs)}, {e.warmup_steps:,} of "
        f"warm-up, {e.rows_per_step:.0f} rows per step, {e.padding:.2f} padded tokens per real one"
    ]


def _epochs(number: float) -> str:
    return "1 epoch" if number == 1 else f"{number:g} epochs"


def _of_progress(e: Progress, h: History) -> list[str]:
    return [f"  {e.what}: {e.done:,} of {e.total:,}"]


def _of_step(e: StepDone, h: History) -> list[str]:
    loss = e.loss_sum / e.loss_count if e.loss_count else math.nan
    line = (
        f"  step {e.step:,} of {h.max_steps:,}, epoch {e.epoch:.2f}, loss {loss:.3f}, "
        f"{h.tokens_per_second():,.0f} tokens/s"
    )
    left = h.eta_seconds()
    return [line + (f", {format_seconds(left)} of steps left" if left is not None else "")]


def _of_evaluation(e: Evaluated, h: History) -> list[str]:
    if e.epoch < 0:  # a final score: the table at the end has it
        return []
    line = f"  {e.model} on {e.split} at step {e.step:,}:"
    if e.loss_count:
        line += f" loss {e.loss_sum / e.loss_count:.3f},"
    if e.count:
        line += f" {_accuracy(h)} {format_value('accuracy', e.correct / e.count)},"
    line += f" {format_count(e.rows, 'row')}"
    return [line + (f", {e.no_prediction:,} without a prediction" if e.no_prediction else "")]


def _accuracy(h: History) -> str:
    return h.task_type.accuracy_title


def _of_epoch(e: EpochDone, h: History) -> list[str]:
    row = h.epochs[-1]
    line = f"epoch {row.epoch}: training loss {row.train_loss:.3f}"
    if math.isfinite(row.validation_loss):
        line += f", validation loss {row.validation_loss:.3f}"
    if math.isfinite(row.validation_accuracy):
        line += f", {_accuracy(h)} {format_value('accuracy', row.validation_accuracy)}"
    if math.isfinite(row.accuracy_change):
        line += f" ({format_difference('accuracy', row.accuracy_change)} since step 0)"
    return [f"{line}, {format_seconds(row.seconds)}: {observe_epoch(h, row)}"]


def _of_checkpoint(e: CheckpointSaved, h: History) -> list[str]:
    return [f"  checkpoint of step {e.step:,} saved{', the best so far' if e.best else ''}"]


def _of_end(e: TrainingEnded, h: History) -> list[str]:
    line = f"training ended at step {e.step:,}: {e.reason}"
    if reason := reason_kept(h):
        return [line, f"  {reason}"]
    return [line + (f"; the model of step {e.best_step:,} is kept" if e.best_step >= 0 else "")]


def _of_analysis(e: AnalysisComputed, h: History) -> list[str]:
    if isinstance(e.result, SelfTest):
        return [f"  self-test: {self_test_sentence(e.model, e.split, e.result)}"]
    if isinstance(e.result, Parity):
        return [f"  deploy parity: {parity_sentence(e.split, e.result)}"]
    return []  # the report has the others


def _of_stage(e: StageDone, h: History) -> list[str]:
    line = f"{e.stage}/{len(STAGES)} {e.name}, {format_seconds(e.seconds)}"
    if e.rows_out >= 0:
        after = format_shape(e.rows_out, e.columns_out)
        before = format_shape(e.rows_in, e.columns_in)
        line += f", {after}" if before == after or e.rows_in < 0 else f", {before} → {after}"
    return [line + (f": {e.note}" if e.note else "")]


def _of_finish(e: RunFinished, h: History) -> list[str]:
    return [f"run {e.status}" + (f": {e.error}" if e.error else "")]


_LINES: dict[type, Callable[[Any, History], list[str]]] = {
    RunStarted: _of_start,
    DeviceFound: _of_device,
    SplitPrepared: _of_split,
    LeakageFound: _of_leakage,
    TrainingPlanned: _of_plan,
    Progress: _of_progress,
    StepDone: _of_step,
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
