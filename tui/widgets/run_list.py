"""The list of runs on the home screen."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len

from ...core.reporting.text import visible
from ...core.runs import Run
from .format import fit, fit_right, format_age, format_count, sparkline
from .pane import Pane
from .spans import GAP, Line
from .status import STATUS_MARKS

SPARK_WIDTH = 12
TASK_WIDTH, STATUS_WIDTH, STEP_WIDTH, AGE_WIDTH = 14, 10, 13, 8
LIVE = ("running", "paused", "starting")


@dataclass(frozen=True)
class RunSummary:
    """A run as the list shows it."""

    run: Run
    name: str
    task: str
    status: str
    step: int
    max_steps: int
    headline: str
    created: float
    losses: tuple[float, ...] = ()


class RunList(Pane):
    def __init__(self) -> None:
        super().__init__(id="runs")
        self.runs: list[RunSummary] = []
        self.now = 0.0
        self.complete = False
        self.cursor = 0
        self._top = 0

    @property
    def chosen(self) -> RunSummary | None:
        return self.runs[self.cursor] if self.cursor < len(self.runs) else None

    def show_runs(self, runs: list[RunSummary], now: float, complete: bool) -> None:
        """The cursor stays on its run, wherever that stands now."""
        chosen = self.chosen
        self.runs, self.now, self.complete = runs, now, complete
        if chosen is not None and self.cursor:
            ids = [r.run.id for r in runs]
            self.cursor = ids.index(chosen.run.id) if chosen.run.id in ids else 0
        self.show()

    def move(self, count: int) -> None:
        self.cursor = min(max(0, self.cursor + count), max(0, len(self.runs) - 1))
        self.show()

    def draw(self, width: int, height: int) -> list[Line]:
        if not self.runs:
            return empty_lines(self.complete)
        room = max(1, height - 1)
        self._top = min(max(self._top, self.cursor - room + 1), self.cursor)
        seen = self.runs[self._top : self._top + room]
        widths = list_widths(self.runs, width)
        lines = [header_line(widths)]
        for index, run in enumerate(seen, self._top):
            lines.append(run_line(run, widths, self.now, index == self.cursor))
        return lines


def empty_lines(complete: bool) -> list[Line]:
    if not complete:
        return [[("looking for runs …", "muted")]]
    return [
        [],
        [("No runs here yet.", "strong")],
        [],
        [
            ("ftev-tui demo", "accent"),
            ("             trains a tiny model that ships with ftev", "muted"),
        ],
        [("ftev-tui train run.toml", "accent"), ("   trains yours", "muted")],
    ]


@dataclass(frozen=True)
class Widths:
    """Cells of the columns that depend on the terminal; 0 where a column gives way."""

    name: int
    task: int
    spark: int
    headline: int


def list_widths(runs: list[RunSummary], width: int) -> Widths:
    task, spark = TASK_WIDTH * (width >= 96), SPARK_WIDTH * (width >= 110)
    fixed = 2 + STATUS_WIDTH + STEP_WIDTH + AGE_WIDTH + 4 * len(GAP)
    fixed += sum(column + len(GAP) for column in (task, spark) if column)
    room = width - fixed
    longest = max((cell_len(visible(run.name)) for run in runs), default=0)
    name = max(8, min(longest, 40, room * 2 // 5))
    return Widths(name, task, spark, max(0, room - name))


def header_line(widths: Widths) -> Line:
    parts = [fit("  run", widths.name + 2)]
    if widths.task:
        parts.append(fit("task", widths.task))
    parts += [fit("status", STATUS_WIDTH), fit_right("step", STEP_WIDTH)]
    if widths.spark:
        parts.append(fit("loss", widths.spark))
    parts += [fit("headline", widths.headline), fit_right("age", AGE_WIDTH)]
    return [(GAP.join(parts), "muted")]


def run_line(run: RunSummary, widths: Widths, now: float, chosen: bool) -> Line:
    mark, role = STATUS_MARKS.get(run.status, ("·", "muted"))
    line: Line = [
        ("▸ " if chosen else "  ", "accent"),
        (fit(visible(run.name), widths.name) + GAP, "strong" if chosen else ""),
    ]
    if widths.task:
        line.append((fit(visible(run.task), widths.task) + GAP, "muted"))
    line.append((fit(f"{mark} {run.status}", STATUS_WIDTH) + GAP, role))
    line.append((fit_right(_steps(run), STEP_WIDTH) + GAP, ""))
    if widths.spark:
        course = sparkline(list(run.losses), widths.spark)
        line.append((fit(course, widths.spark) + GAP, "train"))
    line.append((fit(visible(run.headline), widths.headline) + GAP, ""))
    line.append((fit_right(format_age(now - run.created), AGE_WIDTH), "muted"))
    return line


def _steps(run: RunSummary) -> str:
    if run.status in LIVE and run.max_steps:
        return f"{format_count(run.step)} of {format_count(run.max_steps)}"
    return format_count(run.step) if run.step else ""
