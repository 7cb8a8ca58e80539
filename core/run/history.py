"""Events folded into what a screen or a report shows.

Everything here can be rebuilt from events.jsonl at any time; live, finished, crashed, copied and
sample runs go through the same fold. Imports stay light: a screen folds before its first paint.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

from msgspec.structs import replace

from ..metrics.analyses import NAMES
from ..metrics.results import Comparison, ModelResult, Record
from ..tasks import Task, find_task
from .events import (
    AnalysisComputed,
    AnyEvent,
    CheckpointChosen,
    CheckpointSaved,
    ColumnsFound,
    ComparisonsComputed,
    DeviceFound,
    EpochDone,
    Evaluated,
    EventReader,
    LabelsFixed,
    LeakageFound,
    ModelLoaded,
    ModelsCompared,
    Note,
    Paused,
    PredictionsStored,
    Progress,
    PromptAnswered,
    ResultsComputed,
    Resumed,
    RunFinished,
    RunStarted,
    ScalarsLogged,
    SplitPrepared,
    StageDone,
    StageStarted,
    StepDone,
    SystemSampled,
    TextScored,
    TrainingEnded,
    TrainingPlanned,
)
from .logged import (
    GRAD_NORM,
    LAST_STEP,
    LEARNING_RATE,
    LOSS,
    TOKENS,
    Scalars,
    is_of_training,
    value_of,
)
from .runs import Run

Found = TypeVar("Found", bound=Record)
STAGES = (
    "base model loaded",
    "training data prepared",
    "fine-tuned",
    "evaluation data prepared",
    "evaluated",
)
LAST_TIME = 253_402_214_400.0  # the last day of the year 9999: dates end there
NOISE_ERRORS = 2.0  # standard errors within which a change of a loss is noise
RATE_WINDOW = 30  # steps over which speed is averaged
# In place of a count of what a loss was summed over, where another loop logged it
AS_LOGGED, NOT_LOGGED = -1, -2


@dataclass
class Stage:
    number: int
    name: str
    state: str = "waiting"  # "running", "done"
    started: float = 0.0
    done: StageDone | None = None


@dataclass
class Steps:
    """The training series, one entry per optimizer step; of another loop, one each time it logged.

    There `loss_count` is AS_LOGGED (or NOT_LOGGED) and `loss_sum` NaN: nothing is summed from it.
    """

    # 8 bytes per number, where a list of floats has 32
    step: array[int] = field(default_factory=lambda: array("q"))
    epoch: array[float] = field(default_factory=lambda: array("d"))
    time: array[float] = field(default_factory=lambda: array("d"))
    loss: array[float] = field(default_factory=lambda: array("d"))
    loss_sum: array[float] = field(default_factory=lambda: array("d"))
    loss_count: array[int] = field(default_factory=lambda: array("q"))
    learning_rate: array[float] = field(default_factory=lambda: array("d"))
    grad_norm: array[float] = field(default_factory=lambda: array("d"))
    tokens: array[int] = field(default_factory=lambda: array("q"))
    seconds: array[float] = field(default_factory=lambda: array("d"))
    skipped_steps: array[int] = field(default_factory=lambda: array("q"))

    tokens_read: int = 0  # of another loop's, as far as it logged them
    filled: int = 0  # times that a step got a figure later: who draws starts anew

    @property
    def skipped(self) -> int:
        return len(self.skipped_steps)

    @property
    def as_logged(self) -> bool:
        """Whether its losses are means that another loop logged."""
        return bool(self.loss_count) and self.loss_count[-1] < 0

    def lost(self) -> list[int]:
        """Steps whose loss was not finite; not those at which none was logged."""
        if math.isfinite(sum(self.loss)):
            return []
        pairs = zip(self.step, self.loss, self.loss_count, strict=True)
        return [s for s, x, n in pairs if not math.isfinite(x) and n != NOT_LOGGED]

    @property
    def peak_rate(self) -> float:
        """The highest learning rate; NaN where none is known."""
        return max((rate for rate in self.learning_rate if not math.isnan(rate)), default=math.nan)

    def log(self, e: ScalarsLogged, since: float) -> None:
        """Take up what another loop logged; `since`: when the step before was logged.

        OverflowError: a number of more than 64 bits.
        """
        if self.step and e.step <= self.step[-1]:
            if e.step == self.step[-1]:
                self._fill(e)
            return
        read = value_of(e, TOKENS)
        tokens = int(read - self.tokens_read) if read - self.tokens_read > 0 else 0
        epoch = e.epoch if e.epoch >= 0 else (self.epoch[-1] if self.epoch else 0.0)
        self.tokens.append(tokens)
        self.tokens_read += tokens
        for name, value in (
            ("step", e.step),
            ("epoch", epoch),
            ("time", e.time),
            ("loss", value_of(e, LOSS)),
            ("loss_sum", math.nan),
            ("loss_count", AS_LOGGED if LOSS in e.values else NOT_LOGGED),
            ("learning_rate", value_of(e, LEARNING_RATE)),
            ("grad_norm", value_of(e, GRAD_NORM)),
            ("seconds", max(0.0, e.time - since) if since else 0.0),
        ):
            getattr(self, name).append(value)

    def _fill(self, e: ScalarsLogged) -> None:
        """What the last step lacks: a loop may log its figures one after the other."""
        columns = (
            (self.loss, LOSS),
            (self.learning_rate, LEARNING_RATE),
            (self.grad_norm, GRAD_NORM),
        )
        for column, name in columns:
            if math.isnan(column[-1]) and name in e.values:
                column[-1] = e.values[name]
                self.filled += 1
        if LOSS in e.values and self.loss_count[-1] == NOT_LOGGED:
            self.loss_count[-1] = AS_LOGGED

    def extend(self, events: Sequence[StepDone]) -> None:
        """Take up steps, all or none. OverflowError: a number of more than 64 bits."""
        whole = {
            "step": [e.step for e in events],
            "loss_count": [e.loss_count for e in events],
            "tokens": [e.tokens for e in events],
            "skipped_steps": [e.step for e in events if e.skipped],
        }
        real = {
            "epoch": [e.epoch for e in events],
            "time": [e.time for e in events],
            "loss": [e.loss_sum / e.loss_count if e.loss_count else math.nan for e in events],
            "loss_sum": [e.loss_sum for e in events],
            "learning_rate": [e.learning_rate for e in events],
            "grad_norm": [e.grad_norm for e in events],
            "seconds": [e.seconds for e in events],
        }
        columns = {name: array("q", values) for name, values in whole.items()}
        for name, column in columns.items():
            getattr(self, name).extend(column)
        for name, values in real.items():
            getattr(self, name).fromlist(values)  # half the time of extend

    def cut_after(self, step: int) -> None:
        """Forget steps past `step`: a resumed run makes them again."""
        keep = bisect_right(self.step, step)
        for name in ("step", "epoch", "time", "loss", "loss_sum", "loss_count"):
            del getattr(self, name)[keep:]
        for name in ("learning_rate", "grad_norm", "tokens", "seconds"):
            del getattr(self, name)[keep:]
        del self.skipped_steps[bisect_right(self.skipped_steps, step) :]
        self.tokens_read = sum(self.tokens) if self.as_logged else 0

    def mean_loss(self, after: float, to: float) -> float:
        """Loss over the epochs in (after, to]: one division of sums (L1)."""
        # the end of an epoch is a quotient of steps: its last digit may lie on either side
        i, j = bisect_right(self.epoch, after + 1e-9), bisect_right(self.epoch, to + 1e-9)
        count = sum(self.loss_count[i:j])
        return sum(self.loss_sum[i:j]) / count if count > 0 else math.nan

    def __len__(self) -> int:
        return len(self.step)


@dataclass
class Samples:
    """Memory and load of the machine, one entry per sample; -1 where there is no device."""

    time: array[float] = field(default_factory=lambda: array("d"))
    memory: array[float] = field(default_factory=lambda: array("d"))  # bytes of the worker
    cpu: array[float] = field(default_factory=lambda: array("d"))  # cores in use
    peak_memory: array[float] = field(default_factory=lambda: array("d"))  # since the last sample
    device_memory: array[float] = field(default_factory=lambda: array("d"))  # bytes
    device_use: array[float] = field(default_factory=lambda: array("d"))  # share

    def append(self, e: SystemSampled) -> None:
        for name in ("time", "memory", "cpu", "peak_memory", "device_memory", "device_use"):
            getattr(self, name).append(getattr(e, name))

    def cut_after(self, time: float) -> None:
        keep = bisect_right(self.time, time)
        for name in ("time", "memory", "cpu", "peak_memory", "device_memory", "device_use"):
            del getattr(self, name)[keep:]

    def __len__(self) -> int:
        return len(self.time)


@dataclass
class Epoch:
    """One row of the training trace."""

    epoch: int
    step: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    accuracy_change: float  # against step 0
    seconds: float


@dataclass(frozen=True)
class Change:
    """How the validation loss changed between two evaluations, over the same rows under both."""

    difference: float  # later - earlier, nats per row or token
    standard_error: float

    @property
    def level(self) -> bool:
        """Whether it is noise: nothing else decides that (V10)."""
        return abs(self.difference) <= NOISE_ERRORS * self.standard_error


@dataclass
class History:
    """Everything a run has recorded so far."""

    started: RunStarted | None = None
    finished: RunFinished | None = None
    device: DeviceFound | None = None
    model: ModelLoaded | None = None
    plan: TrainingPlanned | None = None
    ended: TrainingEnded | None = None
    leakage: LeakageFound | None = None
    models_compared: ModelsCompared | None = None
    columns: ColumnsFound | None = None
    labels: list[str] = field(default_factory=list)
    positive: str | None = None
    created: float = 0.0
    last_time: float = 0.0
    paused: bool = False
    stages: list[Stage] = field(
        default_factory=lambda: [Stage(n, name) for n, name in enumerate(STAGES, 1)]
    )
    splits: dict[str, SplitPrepared] = field(default_factory=dict)
    steps: Steps = field(default_factory=Steps)
    scalars: Scalars = field(default_factory=Scalars)
    evaluations: list[Evaluated] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    checkpoints: list[CheckpointSaved] = field(default_factory=list)
    choices: list[CheckpointChosen] = field(default_factory=list)  # the last one holds
    best_step: int | None = None
    prompts: list[PromptAnswered] = field(default_factory=list)
    texts: list[TextScored] = field(default_factory=list)
    results: dict[str, dict[str, ModelResult]] = field(default_factory=dict)  # by split and model
    comparisons: list[Comparison] = field(default_factory=list)
    # by split, name of the analysis and model
    analyses: dict[str, dict[str, dict[str, Record]]] = field(default_factory=dict)
    stored: dict[str, PredictionsStored] = field(default_factory=dict)  # by path
    notes: list[Note] = field(default_factory=list)
    progress: Progress | None = None
    system: SystemSampled | None = None
    samples: Samples = field(default_factory=Samples)
    unreadable_lines: int = 0
    version: int = 0  # grows with every event: a screen draws when it has changed

    @property
    def task(self) -> str:
        """What the model is to do: of rows with a form of their own, more than run.toml says."""
        if self.started is None:
            return ""
        form = self.columns.form if self.columns else ""
        return find_task(self.started.task, form).name or self.started.task

    @property
    def origin(self) -> str:
        """Who trains, or whose log it is: "ftev", "transformers", "wandb", …"""
        return self.started.origin if self.started else "ftev"

    @property
    def is_log(self) -> bool:
        """Whether it was read from a log, which names no process."""
        return self.started is not None and not self.started.pid

    @property
    def task_type(self) -> Task:
        return find_task(self.task)

    @property
    def trains(self) -> bool:
        """False once it is known that two given models are evaluated as they are."""
        return self.device is None or self.device.trains

    @property
    def step(self) -> int:
        return self.steps.step[-1] if len(self.steps) else 0

    @property
    def epoch(self) -> float:
        return self.steps.epoch[-1] if len(self.steps) else 0.0

    @property
    def max_steps(self) -> int:
        return self.plan.max_steps if self.plan else 0

    @property
    def current_stage(self) -> Stage | None:
        return next((s for s in self.stages if s.state == "running"), None)

    @property
    def random_loss(self) -> float | None:
        """ln V (generation) or ln C (classification): what random guessing gives (L7)."""
        vocabulary = self.model.vocab_size if self.model else 0
        return self.task_type.guessing_loss(len(self.labels), vocabulary)

    @property
    def training_seconds(self) -> float:
        """Time that the steps took, over all workers of the run: no pauses, no evaluations."""
        return math.fsum(self.steps.seconds)

    def tokens_per_second(self) -> float:
        """Real tokens per second over the last steps, pauses and evaluations left out; 0 where no
        step is being taken."""
        if self.paused or self.finished:
            return 0.0
        seconds = sum(self.steps.seconds[-RATE_WINDOW:])
        return sum(self.steps.tokens[-RATE_WINDOW:]) / seconds if seconds > 0 else 0.0

    def eta_seconds(self) -> float | None:
        """Until the last step at the pace of the last ones, evaluations left out; None where no
        step is being taken."""
        if not self.plan or not len(self.steps) or self.ended or self.paused or self.finished:
            return None
        recent = self.steps.seconds[-RATE_WINDOW:]
        # another loop logs now and then: an entry stands for all steps since the one before
        before = self.steps.step[-len(recent) - 1] if len(self.steps) > len(recent) else 0
        taken = self.step - before if self.steps.as_logged else len(recent)
        return max(0, self.max_steps - self.step) * sum(recent) / max(1, taken)

    def status(self, alive: bool) -> str:
        """starting, running, paused, finished, stopped, failed or died; quiet: another tool's log
        that is not written to, whose process is not known."""
        if self.finished:
            return self.finished.status
        if not alive and self.is_log:
            return "quiet"
        if not alive:
            return "died" if self.started else "starting"
        return "paused" if self.paused else "running"

    def changed_data(self, hashes: Mapping[str, str]) -> list[str]:
        """The splits that the run read from files other than those of these sha256.

        What either side does not name is not compared: a run names a split once it is prepared.
        """
        return [
            name
            for name, was in self.splits.items()
            if was.sha256 and hashes.get(name, was.sha256) != was.sha256
        ]

    def result(self, split: str | None, model: str | None = "tuned") -> ModelResult | None:
        """The final result of a model on a split; None where there is none."""
        return self.results.get(split or "", {}).get(model or "")

    def analysis(self, kind: type[Found], split: str | None, model: str = "") -> Found | None:
        """What an analysis found on a split, of one model or (empty) of several; None where it
        was not made."""
        found = self.analyses.get(split or "", {}).get(NAMES[kind], {}).get(model)
        return found if isinstance(found, kind) else None

    def evaluation(self, split: str, model: str, step: int | None = None) -> Evaluated | None:
        """The last evaluation of a model on a split, or the one at a step."""
        for e in reversed(self.evaluations):
            if e.split == split and e.model == model and (step is None or e.step == step):
                return e
        return None

    def validation_series(self) -> list[Evaluated]:
        """The tuned model on validation, from step 0 on, in order of steps."""
        at: dict[int, Evaluated] = {}
        for e in self.evaluations:
            if e.split == "validation" and e.model == "tuned":
                at.setdefault(e.step, e)
        return [at[s] for s in sorted(at)]

    def change(self, earlier_step: int, later_step: int) -> Change | None:
        """How the validation loss changed between two steps (V10).

        None where it was not measured row by row: in runs of older versions, between evaluations
        too far apart to be kept, or where a loss is not finite.
        """
        later = next((e for e in self.validation_series() if e.step == later_step), None)
        for step, difference, error in later.changes if later else []:
            if step == earlier_step:
                return Change(difference, error)
        return None

    def read(self, reader: EventReader) -> bool:
        """Fold what is new in one bounded go; True when there was something."""
        before = reader.unreadable
        events = reader.read()
        self.unreadable_lines += reader.unreadable - before
        self.add_all(events)
        return bool(events)

    def add_all(self, events: Iterable[AnyEvent]) -> None:
        """Fold events; steps with what stands among them at once: that takes a quarter of the time.

        Measurements do not look at steps, so they may be folded after the steps that follow them.
        """
        events = list(events)
        steps = [e for e in events if type(e) is StepDone]
        if len(steps) == len(events) > 0 and self._add_steps(steps):
            return
        for measured, group in groupby(events, lambda e: type(e) in _MEASURED):
            batch = list(group)
            steps = [e for e in batch if type(e) is StepDone] if measured else []
            if not steps or not self._add_steps(steps):
                steps = []
            for event in batch:
                if not steps or type(event) is not StepDone:
                    self.add(event)
            if steps:
                self.last_time = (
                    steps[-1].time if batch[-1] is steps[-1] else 0.0
                ) or self.last_time

    def _add_steps(self, steps: Sequence[StepDone]) -> bool:
        """Whether all of them could be folded; where not, nothing was."""
        times = [e.time for e in steps]
        if not (math.isfinite(sum(times)) and min(times) >= 0 and max(times) < LAST_TIME):
            return False
        try:
            self.steps.extend(steps)
        except OverflowError:
            return False
        self.version += len(steps)
        self.progress = None  # what was under way before these steps is over
        self.last_time = next((t for t in reversed(times) if t), self.last_time)
        return True

    def _add_step(self, e: StepDone) -> None:
        self.steps.extend([e])
        self.progress = None

    def _add_scalars(self, e: ScalarsLogged) -> None:
        if any(is_of_training(name) for name in e.values):
            started = self.plan or self.started
            since = self.steps.time[-1] if len(self.steps) else started.time if started else 0.0
            self.steps.log(e, since)
        self.scalars.add(e)
        self.progress = None

    def add(self, event: AnyEvent) -> None:
        """Fold one event. One that cannot be counts as an unreadable line, and changes nothing."""
        self.version += 1
        possible = _POSSIBLE.get(type(event))
        if not 0 <= event.time < LAST_TIME or (possible is not None and not possible(event)):
            self.unreadable_lines += 1
            return
        fold = _FOLDS.get(type(event))
        try:
            if fold is not None:
                fold(self, event)
        except OverflowError:  # a number of more than 64 bits
            self.unreadable_lines += 1
            return
        self.last_time = event.time or self.last_time

    def _add_start(self, e: RunStarted) -> None:
        self.created = self.created or e.time
        self.started, self.finished, self.ended, self.paused = e, None, None, False
        self.progress = None
        for stage in self.stages:
            stage.state, stage.started, stage.done = "waiting", 0.0, None
        self._forget_after(e.resumed_from_step)

    def _forget_after(self, cut: int) -> None:
        """What this worker makes again: all after the step that it goes on from, or everything.

        What was asked by a person stays: nobody asks it again.
        """
        self.evaluations = [x for x in self.evaluations if x.step <= cut and _in_training(x)]
        self.checkpoints = [x for x in self.checkpoints if x.step <= cut]
        self.choices = [x for x in self.choices if x.at <= cut]
        until = self._time_of(cut)
        if not cut:
            self.evaluations = []
        self.steps.cut_after(cut)
        self.scalars.cut_after(cut)
        self.samples.cut_after(until)
        self.epochs = [x for x in self.epochs if x.step <= cut]
        self.prompts = [x for x in self.prompts if not x.probe or 0 < cut >= x.step]
        self.notes = [x for x in self.notes if x.time <= until]
        self.best_step = self._last_choice()
        self.texts = []
        self.results, self.comparisons, self.analyses, self.stored = {}, [], {}, {}

    def _time_of(self, cut: int) -> float:
        """When the last of what stays was written."""
        if not cut:
            return 0.0
        steps = self.steps.time[: bisect_right(self.steps.step, cut)]
        others = [x.time for x in (*self.evaluations, *self.checkpoints)]
        return max([*steps[-1:], *others], default=math.inf)

    def _last_choice(self) -> int | None:
        if self.choices:
            return self.choices[-1].step
        return next((c.step for c in reversed(self.checkpoints) if c.best), None)

    def _add_finish(self, e: RunFinished) -> None:
        self.finished, self.progress = e, None

    def _add_stage_start(self, e: StageStarted) -> None:
        stage = self.stages[e.stage - 1]
        stage.state, stage.started = "running", e.time
        self.progress = None

    def _add_stage_done(self, e: StageDone) -> None:
        stage = self.stages[e.stage - 1]
        stage.state, stage.done = "done", e
        self.progress = None

    def _add_labels(self, e: LabelsFixed) -> None:
        self.labels, self.positive = e.labels, e.positive

    def _add_epoch(self, e: EpochDone) -> None:
        at_end = self.evaluation("validation", "tuned", e.step)
        start = self.evaluation("validation", "tuned", 0)
        accuracy = _ratio(at_end.correct, at_end.count) if at_end else math.nan
        self.epochs.append(
            Epoch(
                epoch=e.epoch,
                step=e.step,
                train_loss=self.steps.mean_loss(e.epoch - 1, e.epoch),
                validation_loss=_ratio(at_end.loss_sum, at_end.loss_count) if at_end else math.nan,
                validation_accuracy=accuracy,
                accuracy_change=accuracy - _ratio(start.correct, start.count)
                if start
                else math.nan,
                seconds=e.seconds,
            )
        )

    def _add_checkpoint(self, e: CheckpointSaved) -> None:
        """A repeated checkpoint keeps the longest time recorded for it."""
        before = next((c for c in self.checkpoints if c.step == e.step), e)
        self.checkpoints = [c for c in self.checkpoints if c.step != e.step]
        self.checkpoints.append(replace(e, seconds=max(before.seconds, e.seconds)))
        if e.best:
            self.best_step = e.step

    def _add_choice(self, e: CheckpointChosen) -> None:
        self.choices = [c for c in self.choices if c.at != e.at] + [e]
        self.best_step = e.step

    def _add_prompt(self, e: PromptAnswered) -> None:
        if e.probe:
            asked = e.prompt, e.step
            self.prompts = [p for p in self.prompts if not p.probe or (p.prompt, p.step) != asked]
        self.prompts.append(e)

    def _add_note(self, e: Note) -> None:
        self.notes = [n for n in self.notes if (n.level, n.text) != (e.level, e.text)] + [e]

    def _add_end(self, e: TrainingEnded) -> None:
        self.ended, self.best_step = e, e.best_step

    def _add_results(self, e: ResultsComputed) -> None:
        self.results.setdefault(e.split, {})[e.model] = e.result

    def _add_analysis(self, e: AnalysisComputed) -> None:
        self.analyses.setdefault(e.split, {}).setdefault(e.name, {})[e.model] = e.result

    def _add_system(self, e: SystemSampled) -> None:
        self.system = e
        self.samples.append(e)

    def _add_text(self, e: TextScored) -> None:
        self.texts = [t for t in self.texts if (t.source, t.model) != (e.source, e.model)] + [e]


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan


def _set(name: str, value: Any = None) -> Any:
    return lambda history, event: setattr(history, name, event if value is None else value)


_FOLDS: dict[type, Any] = {
    RunStarted: History._add_start,
    RunFinished: History._add_finish,
    DeviceFound: _set("device"),
    StageStarted: History._add_stage_start,
    StageDone: History._add_stage_done,
    Progress: _set("progress"),
    ModelLoaded: _set("model"),
    SplitPrepared: lambda h, e: h.splits.__setitem__(e.split, e),
    ColumnsFound: _set("columns"),
    LabelsFixed: History._add_labels,
    LeakageFound: _set("leakage"),
    ModelsCompared: _set("models_compared"),
    TrainingPlanned: _set("plan"),
    StepDone: lambda h, e: h._add_step(e),
    ScalarsLogged: History._add_scalars,
    Evaluated: lambda h, e: h.evaluations.append(e),
    EpochDone: History._add_epoch,
    CheckpointSaved: History._add_checkpoint,
    CheckpointChosen: History._add_choice,
    TrainingEnded: History._add_end,
    Paused: lambda h, e: setattr(h, "paused", True),
    Resumed: lambda h, e: setattr(h, "paused", False),
    SystemSampled: History._add_system,
    PromptAnswered: History._add_prompt,
    TextScored: History._add_text,
    PredictionsStored: lambda h, e: h.stored.__setitem__(e.path, e),
    ResultsComputed: History._add_results,
    ComparisonsComputed: lambda h, e: h.comparisons.extend(e.comparisons),
    AnalysisComputed: History._add_analysis,
    Note: History._add_note,
}


def _in_training(e: Evaluated) -> bool:
    """Not of the last stage, which every worker that comes to it makes anew."""
    return e.epoch >= 0 and e.split != "test"


def _is_stage(e: StageStarted | StageDone) -> bool:
    return 1 <= e.stage <= len(STAGES)


def _is_result(e: ResultsComputed) -> bool:
    """Of a split and a model that name a file."""
    return not {"/", "\0"} & {*e.split, *e.model}


_MEASURED = {StepDone, Evaluated, SystemSampled}

# Checks of values that types allow and no run can record; steps and samples are not checked.
_POSSIBLE: dict[type, Any] = {
    StageStarted: _is_stage,
    StageDone: _is_stage,
    ResultsComputed: _is_result,
    LabelsFixed: lambda e: bool(e.labels),
    ScalarsLogged: lambda e: 0 <= e.step <= LAST_STEP and bool(e.values),
}


def fold(events: Iterable[AnyEvent]) -> History:
    history = History()
    history.add_all(events)
    return history


def read_history(run: Run) -> History:
    """The whole history of a run as its file stands now."""
    reader = EventReader(run.events_path)
    history = fold(reader.read_all())
    history.unreadable_lines += reader.unreadable
    return history
