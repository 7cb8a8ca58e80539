"""A run told in plain lines, for where there is no screen."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..core.judgement.kept import reason_kept
from ..core.judgement.leaked import NOT_COMPARED, tell_leaked, was_compared
from ..core.judgement.observations import observe_epoch
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


class Teller:
    """Turns each event into the lines it deserves. Time is the worker's, taken from the events."""

    def __init__(self, every: float = EVERY_SECONDS) -> None:
        self._every = every
        self._told = -math.inf  # when progress was told last

    def lines(self, event: AnyEvent, history: History) -> list[str]:
        """Lines for an event that the history holds already."""
        if isinstance(event, StepDone | Progress):
            if event.time - self._told < self._every:
                return []
            self._told = event.time
        tell = _TELLS.get(type(event))
        return [visible(line) for line in tell(event, history)] if tell else []


def _tell_start(e: RunStarted, h: History) -> list[str]:
    told = f"run {e.run}: {e.task}, worker {e.pid} on {e.host}"
    return [told + (f", goes on from step {e.resumed_from_step:,}" if e.resumed_from_step else "")]


def _tell_device(e: DeviceFound, h: History) -> list[str]:
    verb = "training" if e.trains else "scored"
    return [f"device {e.device} ({e.name}), {verb} in {e.precision}"]


def _tell_split(e: SplitPrepared, h: History) -> list[str]:
    told = f"  {e.split}: {format_shape(e.rows, e.columns)}"
    if e.tokens:
        told += f", {format_count(e.tokens, 'token')}"
    if e.scored_tokens and e.scored_tokens != e.tokens:
        told += f" ({e.scored_tokens:,} scored)"
    for count, what in (
        (e.truncated_rows, "cut"),
        (e.unscored_rows, "with nothing to score"),
        (e.skipped_rows, "left out as bad"),
    ):
        told += f", {format_count(count, 'row')} {what}" if count else ""
    return [told]


def _tell_leakage(e: LeakageFound, h: History) -> list[str]:
    if not was_compared(e.splits):
        return [f"  leakage: {NOT_COMPARED}"]
    if not (e.exact or e.near or e.ngram):
        return ["  leakage: no row repeats a row of an earlier split"]
    return [
        f"  leakage: {tell_leaked(e.leaked) or 'rows repeat a row of an earlier split'}: "
        f"{e.exact:,} exactly, "
        f"{e.near:,} nearly, {e.ngram:,} by 13 words in a row"
    ]


def _tell_plan(e: TrainingPlanned, h: History) -> list[str]:
    return [
        f"  {format_count(e.max_steps, 'step')} over {_epochs(e.epochs)}, {e.warmup_steps:,} of "
        f"warm-up, {e.rows_per_step:.0f} rows a step, {e.padding:.2f} padded tokens a real one"
    ]


def _epochs(number: float) -> str:
    return "1 epoch" if number == 1 else f"{number:g} epochs"


def _tell_progress(e: Progress, h: History) -> list[str]:
    return [f"  {e.what}: {e.done:,} of {e.total:,}"]


def _tell_step(e: StepDone, h: History) -> list[str]:
    loss = e.loss_sum / e.loss_count if e.loss_count else math.nan
    told = (
        f"  step {e.step:,} of {h.max_steps:,}, epoch {e.epoch:.2f}, loss {loss:.3f}, "
        f"{h.tokens_per_second():,.0f} tokens/s"
    )
    left = h.eta_seconds()
    return [told + (f", {format_seconds(left)} of steps left" if left is not None else "")]


def _tell_evaluation(e: Evaluated, h: History) -> list[str]:
    if e.epoch < 0:  # a final score: the table at the end tells it
        return []
    told = f"  {e.model} on {e.split} at step {e.step:,}:"
    if e.loss_count:
        told += f" loss {e.loss_sum / e.loss_count:.3f},"
    if e.count:
        told += f" {_accuracy(h)} {format_value('accuracy', e.correct / e.count)},"
    told += f" {format_count(e.rows, 'row')}"
    return [told + (f", {e.no_prediction:,} without a prediction" if e.no_prediction else "")]


def _accuracy(h: History) -> str:
    return h.task_type.accuracy_title


def _tell_epoch(e: EpochDone, h: History) -> list[str]:
    row = h.epochs[-1]
    told = f"epoch {row.epoch}: training loss {row.train_loss:.3f}"
    if math.isfinite(row.validation_loss):
        told += f", validation loss {row.validation_loss:.3f}"
    if math.isfinite(row.validation_accuracy):
        told += f", {_accuracy(h)} {format_value('accuracy', row.validation_accuracy)}"
    if math.isfinite(row.accuracy_change):
        told += f" ({format_difference('accuracy', row.accuracy_change)} since step 0)"
    return [f"{told}, {format_seconds(row.seconds)}: {observe_epoch(h, row)}"]


def _tell_checkpoint(e: CheckpointSaved, h: History) -> list[str]:
    return [f"  checkpoint of step {e.step:,} saved{', the best so far' if e.best else ''}"]


def _tell_end(e: TrainingEnded, h: History) -> list[str]:
    told = f"training ended at step {e.step:,}: {e.reason}"
    if reason := reason_kept(h):
        return [told, f"  {reason}"]
    return [told + (f"; the model of step {e.best_step:,} is kept" if e.best_step >= 0 else "")]


def _tell_analysis(e: AnalysisComputed, h: History) -> list[str]:
    if e.name == "self_test":
        return [f"  self-test: {self_test_sentence(e.model, e.split, e.result)}"]
    if e.name == "parity":
        return [f"  deploy parity: {parity_sentence(e.split, e.result)}"]
    return []  # the report tells the others


def _tell_stage(e: StageDone, h: History) -> list[str]:
    told = f"{e.stage}/{len(STAGES)} {e.name}, {format_seconds(e.seconds)}"
    if e.rows_out >= 0:
        after = format_shape(e.rows_out, e.columns_out)
        before = format_shape(e.rows_in, e.columns_in)
        told += f", {after}" if before == after or e.rows_in < 0 else f", {before} → {after}"
    return [told + (f": {e.note}" if e.note else "")]


def _tell_finish(e: RunFinished, h: History) -> list[str]:
    return [f"run {e.status}" + (f": {e.error}" if e.error else "")]


_TELLS: dict[type, Callable[[Any, History], list[str]]] = {
    RunStarted: _tell_start,
    DeviceFound: _tell_device,
    SplitPrepared: _tell_split,
    LeakageFound: _tell_leakage,
    TrainingPlanned: _tell_plan,
    Progress: _tell_progress,
    StepDone: _tell_step,
    Evaluated: _tell_evaluation,
    EpochDone: _tell_epoch,
    CheckpointSaved: _tell_checkpoint,
    TrainingEnded: _tell_end,
    AnalysisComputed: _tell_analysis,
    StageDone: _tell_stage,
    Note: lambda e, h: [f"{e.level}: {e.text}"],
    Paused: lambda e, h: [f"paused at step {e.step:,}"],
    Resumed: lambda e, h: [f"going on from step {e.step:,}"],
    RunFinished: _tell_finish,
}
