"""The panes of the compare screen, where they stand, and the threads that read what they show."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from msgspec.structs import replace
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message

from ....core.compare.compared import ComparedRuns
from ....core.errors import FtevError
from ....core.run.history import read_history
from ....core.run.runs import Run
from ....core.wording.text import visible
from ...app.background import Post, in_thread
from ...app.keys import OVERLAY_KEYS, to_bindings
from ...drawing.axes import plot_width
from ...drawing.format import wrap
from ...drawing.lines import Line, following
from ...drawing.plot import ASCII, BRAILLE
from ...widgets.framed import Outcome
from ...widgets.pane import NumberedPane, PaneDesk
from ...widgets.plot_pane import PlotPane, is_finite
from .tables import HANDS, SHOWN, Curve, OverlayView, metric_lines, overlay_lines, setting_lines

Settings = dict[str, list[object]]  # a value per run, by setting
WIDE, TALL = 140, 30  # cells of the desk from which on all three are seen at once


class OverlayPane(PlotPane):
    """The losses of all runs in one chart."""

    NUMBER, NAME = 1, "Loss"
    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(OVERLAY_KEYS)]

    def __init__(self, *, ascii_only: bool = False) -> None:
        super().__init__()
        self.view: OverlayView = OverlayView(marker=ASCII if ascii_only else BRAILLE)
        self.curves: list[Curve] = []
        self.failed: list[str] = []

    def show_curves(self, curves: list[Curve], failed: list[str]) -> None:
        self.curves, self.failed = curves, failed
        self.show()

    def draw(self, width: int, height: int) -> list[Line]:
        faults: list[Line] = [[(visible(why), "bad")] for why in self.failed]
        if not self.curves:
            return faults or [[("reading the runs …", "muted")]]
        return [*faults, *overlay_lines(self.curves, self.view, width, height - len(faults))]

    def recall(self, memory: object) -> None:
        """It has its curves already: a place is one on their axis."""
        if not isinstance(memory, dict):
            return
        view = self.view
        view.recall(memory)
        left, right = view.full_range(self.curves)
        if view.window is not None and not left <= view.window[0] < view.window[1] <= right:
            view.window = None  # the runs may have other lengths now
        if (shown := memory.get("shown")) in SHOWN:
            view.shown = str(shown)
        cursor = memory.get("cursor")
        if isinstance(cursor, int | float) and is_finite(cursor):
            view.cursor = min(max(left, cursor), right)

    def action_cursor(self, cells: int) -> None:
        self.view.move_cursor(self.curves, cells, plot_width(self.content_size.width))
        self.show()

    def action_zoom(self, direction: int) -> None:
        self.view.zoom(self.curves, 0.5 if direction > 0 else 2.0)
        self.show()

    def action_axis(self) -> None:
        self.view.cursor = None  # a place on the axis before
        super().action_axis()

    def action_lines(self) -> None:
        self.view.shown = following(SHOWN, self.view.shown)
        self.show()


class PairedPane(NumberedPane):
    """The metrics of the runs, with their paired differences."""

    NUMBER, NAME = 2, "Metrics"

    def __init__(self) -> None:
        super().__init__()
        self.comparison: ComparedRuns | None = None
        self.refused: list[str] = []

    def show_comparison(self, comparison: ComparedRuns) -> None:
        self.comparison = comparison
        self.show()

    def show_refused(self, reasons: list[str]) -> None:
        self.refused = reasons
        self.show()

    def lines(self, width: int, height: int) -> list[Line]:
        if self.comparison is not None:
            return metric_lines(self.comparison, width)
        if not self.refused:
            return [[("comparing row by row …", "muted")]]
        reasons = [part for reason in self.refused for part in wrap(visible(reason), width)]
        head = "These runs cannot be compared:"
        return [[(head, "strong")], [], *([(part, "")] for part in reasons)]


class SettingsPane(NumberedPane):
    """The settings in which the runs differ, a column per run."""

    NUMBER, NAME = 3, "Settings that differ"

    def __init__(self) -> None:
        super().__init__()
        self.config: Settings | None = None
        self.names: Sequence[str] = ()

    def show_config(self, config: Settings, names: Sequence[str]) -> None:
        self.config, self.names = config, names
        self.show()

    @property
    def keeps_head(self) -> int:
        return 1 if self.config else 0

    def lines(self, width: int, height: int) -> list[Line]:
        if self.config is None:
            return [[("comparing the settings …", "muted")]]
        return setting_lines(self.config, self.names, width)


class CompareDesk(PaneDesk):
    """All three panes where there is room, else one of them like a tab."""

    def __init__(self, *panes: NumberedPane) -> None:
        super().__init__(*panes, id="compare-desk", shown=2)

    def regions(self, size: Size) -> dict[int, Region]:
        return place_panes(size.width, size.height, self.shown, zoomed=self.zoomed)

    def sharing(self, size: Size) -> Collection[int]:
        return self.panes if len(self.regions(size)) == 1 and not self.zoomed else ()


def place_panes(width: int, height: int, shown: int, *, zoomed: bool) -> dict[int, Region]:
    """The region of each visible pane: the chart above the settings, the metrics beside them."""
    if zoomed or width < WIDE or height < TALL:
        return {shown: Region(0, 0, width, height)}
    left = width * 11 // 20
    # Figures get the whole height: a table per run; settings are few.
    upper = height * 3 // 5
    return {
        1: Region(0, 0, left, upper),
        3: Region(0, upper, left, height - upper),
        2: Region(left, 0, width - left, height),
    }


Named = tuple[str, Run]  # the name to show, and the run


@dataclass
class CurvesRead(Message):
    """The losses of every run; `failed` says which could not be read, and why."""

    curves: list[Curve]
    failed: list[str]


@dataclass
class RunsCompared(Message):
    """The document of `compare --json`, with the names that are shown."""

    comparison: ComparedRuns


@dataclass
class ComparisonRefused(Message):
    """Why the runs cannot be compared, and in what settings they differ."""

    reasons: list[str]
    config: Settings


def start_comparing(named: Sequence[Named], post: Post) -> None:
    """Read and compare in a thread: `CurvesRead`, then `RunsCompared` or `ComparisonRefused`."""
    in_thread(lambda: _compare(named, post))


def _compare(named: Sequence[Named], post: Post) -> None:
    curves, failed = [], []
    # More runs than HANDS could not be distinguished.
    for (name, run), hand in zip(named, HANDS, strict=False):
        try:
            curves.append(Curve(name, hand, read_history(run)))
        except FtevError as error:
            failed.append(str(error))
    # Before the rows are compared: that brings the numbers library and takes seconds.
    post(CurvesRead(curves, failed))
    from ....core.compare.compare import compare_runs

    try:
        found = compare_runs([run for _, run in named])
    except FtevError as error:
        shown = {run.id: name for name, run in named}
        faults = [_renamed(str(fault), shown) for fault in error.faults] or [str(error)]
        # What cannot be compared row by row can still be compared by its settings.
        post(ComparisonRefused(faults, _settings_that_differ(named)))
        return
    post(RunsCompared(_with_names(found, [name for name, _ in named])))


def _settings_that_differ(named: Sequence[Named]) -> Settings:
    from ....core.catalog.run_facts import read_settings

    tables = [read_settings(run) for _, run in named]
    names = dict.fromkeys(name for table in tables for name in table)
    rows = {name: [table.get(name) for table in tables] for name in names}
    return {
        name: row
        for name, row in rows.items()
        # Where a run stands and what it is called differs in every pair.
        if name not in ("name", "folder") and any(value != row[0] for value in row)
    }


def _with_names(found: ComparedRuns, names: Sequence[str]) -> ComparedRuns:
    """The document with the names people gave the runs, where these distinguish them."""
    ids = [r["name"] for r in found["runs"]]
    shown = dict(zip(ids, names if len(set(names)) == len(names) else ids, strict=True))
    return {
        **found,
        "baseline": shown[found["baseline"]],
        "runs": [{**r, "name": shown[r["name"]]} for r in found["runs"]],
        "comparisons": [
            replace(c, from_model=shown[c.from_model], to_model=shown[c.to_model])
            for c in found["comparisons"]
        ],
        "unpaired": [
            {"run": shown[u["run"]], "reason": _renamed(u["reason"], shown)}
            for u in found["unpaired"]
        ],
        "notes": [_renamed(note, shown) for note in found["notes"]],
    }


def _renamed(text: str, shown: Mapping[str, str]) -> str:
    # Longest first: one run's id may be the start of another's.
    for run_id in sorted(shown, key=len, reverse=True):
        text = text.replace(run_id, shown[run_id])
    return text


def write_comparison(comparison: ComparedRuns, path: Path, post: Post) -> None:
    """As Markdown, in a thread; `Outcome` says where it is."""
    in_thread(lambda: _write(comparison, path, post))


def _write(comparison: ComparedRuns, path: Path, post: Post) -> None:
    from ....core.compare.compared import comparison_blocks
    from ....core.files.disk import write_whole
    from ....core.report.formats.md import render_blocks

    try:
        write_whole(path, render_blocks(comparison_blocks(comparison)).encode())
        post(Outcome(f"written: {path}"))
    except FtevError as error:
        post(Outcome(str(error), failed=True))
