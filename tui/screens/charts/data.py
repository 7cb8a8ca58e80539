"""A run as charts need it: series over four x-axes, brought up to date in place."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import partial
from itertools import accumulate

from ....core.config.config import EarlyStopping, RunConfig
from ....core.judgement.live import evaluation_values
from ....core.metrics.metric import METRICS
from ....core.run.events import Evaluated, RunStarted
from ....core.run.history import History
from ....core.run.logged import VALIDATION_LOSS, is_of_training
from ....core.wording.names import short_name
from ....core.wording.text import visible
from ...drawing.plot import nice_step
from ...drawing.series import Chart, Pyramid, Series, rates

GIB = float(1 << 30)  # bytes
LONGEST_NAME = 32  # cells of a figure's name


class ChartData:
    """Every series of a run, appended to as the history grows; what nobody looks at is not made."""

    def __init__(self) -> None:
        self.history = History()
        self.best_metric = "loss"  # that chooses the checkpoint
        self.early_stopping: EarlyStopping | None = None
        self._begin(None)

    def take_rules(self, config: RunConfig) -> None:
        """What chooses the checkpoint and what ends the training. Its imports are heavy."""
        from ....core.judgement.observations import chosen_by

        self.best_metric = chosen_by(config)
        self.early_stopping = config.train.early_stopping

    def make_all(self) -> None:
        """Every chart, before anybody looks: in a thread this costs no key a wait."""
        for name in self.names:
            self.chart(name)

    def _begin(self, started: RunStarted | None) -> None:
        self._started = started
        self._charts: dict[str, Chart] = {}
        self._tokens: array[float] = array("d")
        self._seconds: array[float] = array("d")
        self._sampled_at: array[int] = array("q")  # index of the step before each sample
        self._samples_at: dict[str, array[float]] = {}  # by axis
        self._measured: dict[str, Pyramid] = {}
        self._measured_at: dict[str, array[float]] = {}  # by axis
        self.validation: list[Evaluated] = []
        self._drawn_of_loss = (False, False)
        self._logged_at: dict[tuple[str, str], array[float]] = {}  # by figure and axis
        self._taken_back = self._times_taken_back()
        self._evaluations = 0  # of the history when validation was brought up to date
        self.loss = Pyramid(self.history.steps.loss)

    def update(self, history: History) -> None:
        if history is not self.history or history.started is not self._started or self.is_stale:
            self.history = history
            self._begin(history.started)  # a resumed run makes some steps again
        self.loss.catch_up()
        self._update_validation()
        if self._of_loss() != self._drawn_of_loss:
            self._drawn_of_loss = self._of_loss()
            self._charts.pop("loss", None)
        for chart in self._charts.values():
            self._catch_up(chart)

    @property
    def is_stale(self) -> bool:
        """Whether steps were taken back that this data still counts with."""
        return (
            len(self.history.steps) < len(self.loss) or self._times_taken_back() != self._taken_back
        )

    def _of_loss(self) -> tuple[bool, bool]:
        """Whether a validation loss was measured, and whether another loop logged one."""
        return bool(self.validation), VALIDATION_LOSS in self.history.scalars.series

    def _times_taken_back(self) -> tuple[int, int]:
        """Points of another loop that were changed after they had been read."""
        return self.history.steps.filled, self.history.scalars.cuts

    def __len__(self) -> int:
        return len(self.loss)

    # Evaluations

    def _update_validation(self) -> None:
        if len(self.history.evaluations) == self._evaluations:
            return
        self._evaluations = len(self.history.evaluations)
        series, known = self.history.validation_series(), self.validation
        # A resumed run evaluates some steps again: points that were replaced are made again.
        if len(series) < len(known) or any(a is not b for a, b in zip(known, series, strict=False)):
            self._measured, self._measured_at, known = {}, {}, []
            for name in [n for n, c in self._charts.items() if c.points]:
                del self._charts[name]
        self.validation = series
        self._measure([evaluation_values(e, self.history) for e in series[len(known) :]])

    def _measure(self, found: list[dict[str, float]]) -> None:
        count = max((len(p) for p in self._measured.values()), default=0)
        for name in {"loss", *self._measured, *(name for values in found for name in values)}:
            if name not in self._measured:  # the first time that it is defined
                self._measured[name] = Pyramid(array("d", [math.nan]) * count)
            self._measured[name].extend([values.get(name, math.nan) for values in found])

    @property
    def validation_loss(self) -> Pyramid:
        return self._measured.get("loss") or Pyramid()

    def metrics(self) -> list[str]:
        """The metrics of evaluations besides the loss, the one that chooses first."""
        # The metric that chooses the checkpoint is the one to watch.
        order = list(evaluation_order(self.best_metric))
        return sorted(
            (n for n in self._measured if n != "loss"),
            key=lambda n: order.index(n) if n in order else len(order),
        )

    def logged(self) -> list[str]:
        """The figures that another loop logged, besides the losses."""
        return [name for name in self.history.scalars.series if name != VALIDATION_LOSS]

    # Charts

    @property
    def names(self) -> list[str]:
        """The charts that have a point to show, in the order that the keys go through."""
        steps, samples = self.history.steps, self.history.samples
        names = ["loss", *self.metrics()]
        names += self.logged()
        if len(steps):
            known: list[tuple[str, Sequence[float]]] = [
                ("learning_rate", steps.learning_rate),
                ("grad_norm", steps.grad_norm),
            ]
            known.append(("tokens_per_second", steps.tokens))
            # another loop may log none of them
            names += [n for n, values in known if not steps.as_logged or _has_any(values)]
        if len(steps) and len(samples):
            names += ["memory", "cpu"]
            device = (("device_memory", samples.device_memory), ("device_use", samples.device_use))
            names += [name for name, values in device if max(values) >= 0]
        return names

    def chart(self, name: str) -> Chart:
        """A chart by its name, made when it is first looked at."""
        if name not in self._charts:
            self._charts[name] = self._make(name)
        return self._charts[name]

    def _make(self, name: str) -> Chart:
        steps = self.history.steps
        if name == "loss":
            training = Series("training", "━", "train", self.xs, self.loss, noisy=True)
            validation = self._points("validation", self._measured.setdefault("loss", Pyramid()))
            measured, is_logged = self._of_loss()
            if not is_logged:
                return Chart(name, "loss", "nats", (training, validation))
            logged = self._logged(VALIDATION_LOSS, "validation")
            both = (validation, logged) if measured else (logged,)
            return Chart(name, "loss", "nats", (training, *both))
        if name in self.history.scalars.series:
            series = self._logged(name, visible(name.removeprefix("train/"), LONGEST_NAME))
            return Chart(name, series.name, "", (series,), name.endswith("loss"))
        if name in self._measured:
            known = METRICS.get(name)
            title = short_name(name, self.history.positive)
            points = self._points(title, self._measured[name])
            better = known is None or known.higher_is_better
            return Chart(name, points.name, known.unit if known else "", (points,), not better)
        if name == "learning_rate":
            return self._of_steps(name, "learning rate", "rate", Pyramid(steps.learning_rate))
        if name == "grad_norm":
            return self._of_steps(name, "gradient norm", "", Pyramid(steps.grad_norm))
        if name == "tokens_per_second":
            made = Pyramid(rates(steps.tokens, steps.seconds))
            return self._of_steps(name, "tokens per second", "count", made)
        return self._of_machine(name)

    def _points(self, name: str, values: Pyramid) -> Series:
        return Series(name, "●", "validation", self.validation_xs, values, "evaluations")

    def _of_steps(self, name: str, title: str, unit: str, values: Pyramid) -> Chart:
        noisy = name != "learning_rate"
        return Chart(
            name, title, unit, (Series(title, "━", "train", self.xs, values, noisy=noisy),)
        )

    def _logged(self, name: str, title: str) -> Series:
        """A figure of another loop; an evaluation's as points, for it was measured now and then."""
        values = Pyramid(self.history.scalars.series[name].value)
        xs = partial(self.logged_xs, name)
        if is_of_training(name):
            return Series(title, "━", "train", xs, values, "logged", noisy=True)
        return Series(title, "●", "validation", xs, values, "logged evaluations")

    def _of_machine(self, name: str) -> Chart:
        title, unit = {
            "memory": ("process memory", "GiB"),
            "cpu": ("processor cores in use", ""),
            "device_memory": ("device memory", "GiB"),
            "device_use": ("device in use", "share"),
        }[name]
        series = Series(title, "━", "base", self.sample_xs, Pyramid(), "samples")
        chart = Chart(name, title, unit, (series,))
        self._catch_up(chart)
        return chart

    def _catch_up(self, chart: Chart) -> None:
        steps, samples, series = self.history.steps, self.history.samples, chart.series[0]
        if chart.name == "tokens_per_second":
            start = len(series)
            series.values.extend(rates(steps.tokens[start:], steps.seconds[start:]))
        elif series.kind == "samples":
            scale = GIB if chart.unit == "GiB" else 1.0
            new = getattr(samples, chart.name)[len(series) :]
            series.values.extend(v / scale if v >= 0 else math.nan for v in new)
        elif series.kind == "steps":
            series.values.catch_up()
        for other in chart.series:
            if other.kind.startswith("logged"):
                other.values.catch_up()

    # Where points stand

    def xs(self, axis: str) -> Sequence[float]:
        """Where each step stands on an axis."""
        steps = self.history.steps
        if axis == "epoch":
            return steps.epoch
        if axis == "time":
            return self._time_axis()
        return self._token_axis() if axis == "tokens" else steps.step

    def grow_axes(self, most: int) -> int:
        """Extend the axes of time and tokens by so many steps; how much of them there is then."""
        return len(self._time_axis(most)) + len(self._token_axis(most))

    def _time_axis(self, most: int | None = None) -> array[float]:
        """Seconds since the first step. A clock that was set back must not fold the axis."""
        times, made = self.history.steps.time, self._seconds
        if len(made) < len(self):
            start = times[0]
            new = (t - start for t in times[len(made) : self._as_far_as(made, most)])
            made.extend(list(accumulate(new, max, initial=made[-1] if made else 0.0))[1:])
        return made

    def _token_axis(self, most: int | None = None) -> array[float]:
        made = self._tokens
        if len(made) < len(self):
            new = self.history.steps.tokens[len(made) : self._as_far_as(made, most)]
            made.extend(list(accumulate(new, initial=made[-1] if made else 0.0))[1:])
        return made

    def _as_far_as(self, made: array[float], most: int | None) -> int:
        return len(self) if most is None else min(len(self), len(made) + most)

    def read_until(self, index: int) -> tuple[float, float]:
        """Seconds since the first step and tokens read, at a step, without making an axis."""
        steps = self.history.steps
        if index < len(self._tokens):
            tokens = self._tokens[index]
        else:
            tokens = float(sum(steps.tokens[: index + 1]))
        return max(0.0, steps.time[index] - steps.time[0]), tokens

    def validation_xs(self, axis: str) -> Sequence[float]:
        made = self._measured_at.setdefault(axis, array("d"))
        for e in self.validation[len(made) :]:
            made.append(e.epoch if axis == "epoch" else self.x_at_step(e.step, axis))
        return made

    def logged_xs(self, name: str, axis: str) -> Sequence[float]:
        """Where the points of a figure that another loop logged stand."""
        steps = self.history.scalars.series[name].step
        if axis == "step":
            return steps
        made = self._logged_at.setdefault((name, axis), array("d"))
        made.extend([self.x_at_step(step, axis) for step in steps[len(made) :]])
        return made

    def sample_xs(self, axis: str) -> Sequence[float]:
        """A sample stands at the last step before it."""
        times, at = self.history.steps.time, self._sampled_at
        for time in self.history.samples.time[len(at) :]:
            at.append(max(0, bisect_left(times, time) - 1))
        made, xs = self._samples_at.setdefault(axis, array("d")), self.xs(axis)
        made.extend(xs[i] for i in at[len(made) :])
        return made

    def x_at_step(self, step: int, axis: str) -> float:
        """Where a step stands on an axis; step 0 is at its left end."""
        if axis == "step" or step <= 0:
            return float(max(0, step))
        index = min(bisect_left(self.history.steps.step, step), len(self) - 1)
        return self.xs(axis)[index] if index >= 0 else 0.0

    def full_range(self, axis: str) -> tuple[float, float]:
        """The whole planned axis where it is known, so that columns stay where they are."""
        plan, last = self.history.plan, self.xs(axis)[-1] if len(self) else 1.0
        # A fixed axis halves the traffic: old columns never move.
        if plan and not self.history.ended and axis in ("step", "epoch"):
            return 0.0, max(float(plan.max_steps if axis == "step" else plan.epochs), last, 1e-9)
        if self.history.ended or not plan or not len(self):
            return 0.0, max(last, 1e-9)
        expected = last * plan.max_steps / max(1, self.history.step)
        step = nice_step(max(expected, 1e-9), 4)
        return 0.0, math.ceil(max(expected, last) / step) * step

    def index_at(self, x: float, axis: str) -> int:
        """The step nearest to a place on an axis."""
        xs = self.xs(axis)
        right = min(bisect_left(xs, x), len(self) - 1)
        left = max(0, right - 1)
        return left if x - xs[left] <= xs[right] - x else right

    def place_at(self, series: Series, index: int) -> int | None:
        """Which point of a series stands at or before a step, by the index of that step."""
        if series.kind == "evaluations":
            return self.evaluation_before(self.history.steps.step[index])
        if series.kind == "samples":
            self.sample_xs("step")
            found = bisect_right(self._sampled_at, index) - 1
            return min(found, len(series) - 1) if found >= 0 else None
        if series.kind.startswith("logged"):
            found = bisect_right(series.xs("step"), self.history.steps.step[index]) - 1
            return min(found, len(series) - 1) if found >= 0 else None
        return index if index < len(series) else None

    def step_of_point(self, series: Series, place: int) -> int:
        """At which step a point of evaluations was measured."""
        if series.kind == "evaluations":
            return self.validation[place].step
        return int(series.xs("step")[place])

    def evaluation_before(self, step: int) -> int | None:
        """The place of the last evaluation at or before a step."""
        found = bisect_left(self.validation, step + 1, key=lambda e: e.step) - 1
        return found if found >= 0 else None


def _has_any(values: Sequence[float]) -> bool:
    return any(value > 0 for value in values)  # NaN is not


def evaluation_order(first: str) -> tuple[str, ...]:
    """Metrics in the order in which charts and tables of one evaluation have them."""
    drawn = [m for m in METRICS.values() if m.chart is not None]
    return (first, *(m.name for m in sorted(drawn, key=lambda m: m.chart or 0)))
