"""A run in a few words: what `list` and `status` show, and the headline that stands for a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from ..errors import FtevError
from ..judgement.live import activity, evaluation_values, live_figure
from ..judgement.selection import (
    clean,
    config_of,
    judged_split,
    metric_value,
    primary_metric,
    reference_model,
)
from ..metrics.analyses import Thresholds
from ..metrics.results import ModelResult
from ..run.estimate import compare_with_estimate
from ..run.event_lines import use_history
from ..run.history import NOT_LOGGED, History
from ..run.runs import Run
from ..wording.names import name_metric
from ..wording.numbers import COST, format_time, format_value
from .listed import Summary, annotate

if TYPE_CHECKING:
    from ..config.config import RunConfig


@dataclass(frozen=True)
class Headline:
    """The one figure of a run: its primary metric from the reference to the tuned model."""

    metric: str
    split: str
    value: float
    reference: float | None = None
    reference_model: str | None = None
    clean_value: float | None = None  # on the rows that repeat nothing of an earlier split
    positive: str | None = None  # the label of precision, recall and F1
    step: int | None = None  # of the evaluation, while a run trains
    price: str = ""  # of a threshold that the objective chose, in words

    @property
    def text(self) -> str:
        """`accuracy probe 80.0 % → 90.0 % (test)`; a reference without a name is the base."""
        value = format_value(self.metric, self.value)
        if self.reference is not None:
            known = self.reference_model or "base"
            named = "" if known == "base" else f"{known} "
            value = f"{named}{format_value(self.metric, self.reference)} → {value}"
        where = self.split if self.step is None else f"{self.split}, step {self.step:,}"
        if self.clean_value is not None:
            where += f"; {format_value(self.metric, self.clean_value)} on clean rows"
        if self.price:
            where += f"; {self.price}"
        return f"{name_metric(self.metric, self.positive)} {value} ({where})"

    def to_dict(self) -> dict[str, object]:
        """As it stands in `list --json`."""
        return {
            "metric": self.metric,
            "split": self.split,
            "from": self.reference,
            "from_model": self.reference_model,
            "to": self.value,
            "to_on_clean_rows": self.clean_value,
            "text": self.text,
            **({} if self.step is None else {"step": self.step}),
        }


def headline(run: Run, history: History, config: RunConfig | None = None) -> Headline | None:
    """The primary metric of the results, else of the last evaluation on validation.

    `config` is the run's, where it was read already: a list of a thousand runs reads it once.
    """
    metric, split = primary_metric(run, history, config), judged_split(history)
    if split is not None:
        results = history.results[split]
        value = metric_value(results["tuned"], metric)
        if value is not None:
            against = reference_model(results)
            before = metric_value(results.get(against or ""), metric)
            others = history.result(clean(split))
            known = against if before is not None else None
            price = describe_price(results["tuned"])
            figure = Headline(
                metric,
                split,
                value,
                before,
                known,
                metric_value(others, metric),
                results["tuned"].positive,
                price=price,
            )
            return _of_cost(history, config or config_of(run), figure)
    return live_headline(history, metric)


def describe_price(result: ModelResult) -> str:
    """What a threshold that the objective chose costs in rows falsely called positive (V13)."""
    chosen, positive, confusion = result.threshold, result.positive, result.confusion
    if chosen is None or confusion is None or positive not in confusion.labels:
        return ""
    code = confusion.labels.index(positive)
    false = sum(row[code] for i, row in enumerate(confusion.counts) if i != code)
    return f"at {chosen:.3g}, {1000 * false / max(1, result.n):.3g} false positives per 1,000 rows"


def _of_cost(history: History, config: RunConfig | None, figure: Headline) -> Headline:
    """The cost per row, where the objective has prices and names no metric."""
    if config is None or config.objective.metric or config.objective.cost is None:
        return figure
    found = history.analysis(Thresholds, figure.split, "tuned")
    if found is None or not found.in_use or found.at_threshold is None:
        return figure
    if (cost := found.at_threshold.metrics.get(COST)) is None:
        return figure
    rival = next((r for r in found.against or [] if r.model), None)
    before, model = (rival.other, rival.model) if rival else (None, None)
    return Headline(COST, figure.split, cost.value, before, model, price=figure.price)


def live_headline(history: History, metric: str) -> Headline | None:
    """Of a run without results; never against a head that was initialised at random."""
    found = live_figure(history, metric)
    if found is None:
        return None
    return Headline(
        found.metric,
        "validation",
        found.value,
        found.reference,
        found.reference_model,
        positive=history.positive,
        step=found.step,
    )


def run_status(run: Run, history: History) -> str:
    """starting, running, paused, finished, stopped, failed or died."""
    alive = run.worker_alive()
    status = history.status(alive)
    if status == "starting" and not alive and run.worker() is not None:
        return "died"  # its worker was there, and is gone before its first fact
    return status


class WorkerState(TypedDict):
    """The worker of a run, as it was or is."""

    pid: int
    host: str
    alive: bool


class Status(Summary):
    """The document of `status --json`."""

    path: str
    stage: str | None
    activity: str | None
    origin: str  # who trains: "ftev", "transformers", …
    epoch: float
    epochs: float | None
    eta_seconds: float | None
    tokens_per_second: float | None
    training_seconds: float
    metrics: dict[str, float]  # by split/metric
    positive: str | None
    metric_steps: dict[str, int]
    estimate: dict[str, float] | None
    worker: WorkerState | None
    error: str | None


def summarize(run: Run, history: History | None = None) -> Summary:
    """One entry of `list --json`. Raises RunError where its facts cannot be read or do not fit."""
    return use_history(run, lambda h: _summarize(run, h), history)


def _summarize(run: Run, history: History) -> Summary:
    figure = headline(run, history)
    entry: Summary = {
        "id": run.id,
        "name": _name(run, history),
        "task": history.task or _from_config(run, "task"),
        "status": run_status(run, history),
        "created": format_time(history.created or _created(run)),
        "step": history.step,
        "max_steps": history.max_steps,
        "headline": figure.to_dict() if figure else None,
        "shown_name": "",
        "tags": [],
        "note": "",
        "worker_memory": None,
    }
    return annotate(run, entry)


def describe_status(run: Run, history: History | None = None) -> Status:
    """The document of `status --json`. Raises RunError as `summarize` does."""
    return use_history(run, lambda h: _describe_status(run, h), history)


def _describe_status(run: Run, history: History) -> Status:
    worker, stage = run.worker(), history.current_stage
    summary, figures = _summarize(run, history), last_figures(history)
    trains = summary["status"] == "running" and not history.ended
    return {
        **summary,
        "path": str(run.path.resolve()),
        "stage": stage.name if stage else None,
        "activity": activity(history, stage) if stage else None,
        "origin": history.origin,
        "epoch": history.epoch,
        "epochs": history.plan.epochs if history.plan else None,
        "eta_seconds": history.eta_seconds() if trains else None,
        "tokens_per_second": history.tokens_per_second() if trains else None,
        "training_seconds": history.training_seconds,
        "metrics": {f.name: f.value for f in figures},
        "positive": history.positive,
        "metric_steps": {f.name: f.step for f in figures},
        "estimate": compare_with_estimate(run, history) if history.ended else None,
        "worker": {"pid": worker.pid, "host": worker.host, "alive": run.worker_alive()}
        if worker
        else None,
        "error": history.finished.error or None if history.finished else None,
    }


@dataclass(frozen=True)
class Figure:
    """A metric of the tuned model with the step that it was measured at."""

    name: str  # split/metric
    value: float
    step: int


def last_figures(history: History) -> list[Figure]:
    """The newest figures of each split; those of one split are all of one step."""
    figures: list[Figure] = []
    steps = history.steps
    at = next((i for i in reversed(range(len(steps))) if steps.loss_count[i] != NOT_LOGGED), None)
    if at is not None:
        figures.append(Figure("train/loss", steps.loss[at], steps.step[at]))
    for split in ("validation", "test"):
        figures += _figures_of(history, split)
    known = {figure.name for figure in figures}
    logged = history.scalars.newest()
    return figures + [Figure(n, value, step) for n, step, value in logged if n not in known]


def _figures_of(history: History, split: str) -> list[Figure]:
    """The results, which are of the checkpoint that was kept, else the last evaluation."""
    result = history.result(split)
    if result is not None:
        step = history.step if history.best_step is None else history.best_step
        values = {name: e.value for name, e in result.metrics.items()}
    else:
        e = history.evaluation(split, "tuned")
        if e is None:
            return []
        step, values = e.step, evaluation_values(e, history)
    return [Figure(f"{split}/{name}", value, step) for name, value in values.items()]


def _name(run: Run, history: History) -> str:
    return history.started.name if history.started else _from_config(run, "name") or run.id


def _from_config(run: Run, field: str) -> str:
    try:
        return str(getattr(run.config(), field))
    except FtevError:
        return ""


def _created(run: Run) -> float:
    try:
        return (run.path / "run.toml").stat().st_mtime
    except OSError:
        return 0.0
