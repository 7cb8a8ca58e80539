"""The compare screen: runs over one another, what differs between them, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.widget import Widget

from ....core.catalog.notes import read_notes
from ....core.catalog.run_facts import RunEntry
from ....core.compare.compared import ComparedRuns
from ....core.run.history import History
from ....core.run.runs import Run
from ....core.wording.text import visible
from ...app.keys import APP_KEYS, COMPARE_KEYS, OVERLAY_KEYS, Key, to_bindings
from ...app.memory import Plain
from ...drawing.format import name_runs, with_minus, wrap
from ...drawing.lines import Line
from ...widgets.framed import FramedScreen, ScreenHost
from ...widgets.pane import Pane
from ..home.run_list import PickRun
from .panes import (
    CompareDesk,
    ComparisonRefused,
    CurvesRead,
    OverlayPane,
    PairedPane,
    RunsCompared,
    SettingsPane,
    start_comparing,
    write_comparison,
)
from .tables import MOST_RUNS

SENTENCE_LINES = 3


class Sentence(Pane):
    """The outcome in a sentence, above the numbers."""

    def __init__(self) -> None:
        super().__init__(id="sentence")
        self.text, self.role = "comparing row by row …", "muted"

    def show_text(self, text: str, role: str) -> None:
        self.text, self.role = with_minus(visible(text)), role
        self.show()

    def draw(self, width: int, height: int) -> list[Line]:
        return [[(part, self.role)] for part in wrap(self.text, width)][:height]


class CompareScreen(FramedScreen[None]):
    """`named` are the runs with the names to show; the first is the baseline."""

    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(COMPARE_KEYS)]
    REMEMBERED_AS: ClassVar[str] = "compare"

    def __init__(
        self,
        named: Sequence[tuple[str, Run]],
        folder: Path,
        of: Path | None = None,
        *,
        ascii_only: bool = False,
    ) -> None:
        """`of`: the run over whose screen this one lies; else it is the home of the folder."""
        super().__init__((*COMPARE_KEYS, *APP_KEYS))
        self.left_out = len(named) - MOST_RUNS
        self.named, self.folder = name_runs(named[:MOST_RUNS]), folder
        self.remembered_of = of or folder
        self._left: Plain = {}  # what is remembered and waits for its data
        self.comparison: ComparedRuns | None = None
        self.sentence = Sentence()
        self.chart = OverlayPane(ascii_only=ascii_only)
        self.metrics, self.settings = PairedPane(), SettingsPane()
        self.desk = CompareDesk(self.chart, self.metrics, self.settings)

    def panes(self) -> Iterable[Widget]:
        return self.sentence, self.desk

    def on_mount(self) -> None:
        self.sentence.styles.height = SENTENCE_LINES
        names = ", ".join(visible(name) for name, _ in self.named)
        count = f"{len(self.named)} runs"
        if self.left_out > 0:
            count += f", {self.left_out} more left out"
        self.title_line.show_ends(
            [("ftev  ", "muted"), ("compare", "strong"), (f"  {names}", "muted")],
            [(count, "muted")],
        )
        self.app.recall(self)
        start_comparing(self.named, self.post_message)

    # What it remembers

    def memory(self) -> Plain:
        if self._left:  # not yet as it was left
            return self._left
        return {
            **self.desk.memory(),
            "runs": [[name, run.path.name] for name, run in self.named],
            "focus": self.pane_in_view if self.focused is not None else 0,
            "view": self.chart.view.memory(),
        }

    def recall(self, memory: Plain) -> None:
        """Of the same runs alone."""
        if runs_of(memory, self.folder) != self.named:
            return
        self._left = memory
        self.desk.recall(memory)
        focus = memory.get("focus")
        if type(focus) is int and focus in self.desk.panes:
            self.set_focus(self.desk.panes[focus], scroll_visible=False)

    def _recall_scrolled(self) -> None:
        scrolled, self._left = self._left.get("scrolled"), {}
        self.desk.recall_scrolled(scrolled)

    def on_resize(self, event: events.Resize) -> None:
        self._arrange()

    def _arrange(self) -> None:
        size = self.app.size
        self.desk.arrange_for(size.with_height(max(0, size.height - SENTENCE_LINES - 2)))
        self.call_after_refresh(self._show_panes)

    def _show_panes(self) -> None:
        for pane in (self.chart, self.metrics, self.settings):
            pane.show()

    # What the threads post

    @on(CurvesRead)
    def show_curves(self, message: CurvesRead) -> None:
        self.chart.curves = message.curves
        self.chart.recall(self._left.get("view"))
        self.chart.show_curves(message.curves, message.failed)

    @on(RunsCompared)
    def show_comparison(self, message: RunsCompared) -> None:
        from ....core.compare.compared import describe_outcome

        self.comparison = found = message.comparison
        self._recall_scrolled()
        self.sentence.show_text(describe_outcome(found), "strong")
        self.metrics.show_comparison(found)
        self.settings.show_config(found["config"], [r["name"] for r in found["runs"]])

    @on(ComparisonRefused)
    def show_refusal(self, message: ComparisonRefused) -> None:
        self._recall_scrolled()
        self.sentence.show_text("These runs cannot be compared; pane 2 says why.", "warn")
        self.metrics.show_refused(message.reasons)
        self.settings.show_config(message.config, [name for name, _ in self.named])

    # Panes

    @property
    def pane_in_view(self) -> int:
        for number, pane in self.desk.panes.items():
            if pane is self.focused:
                return number
        return self.desk.shown

    def action_go_to_pane(self, number: int) -> None:
        self.desk.shown = number
        self._arrange()
        self.desk.panes[number].focus(scroll_visible=False)

    def action_next_pane(self, direction: int) -> None:
        if self.focused is None:
            self.action_go_to_pane(self.desk.shown)
            return
        self.action_go_to_pane((self.pane_in_view - 1 + direction) % len(self.desk.panes) + 1)

    def action_open(self) -> None:
        self.desk.zoomed = not self.desk.zoomed
        self.action_go_to_pane(self.pane_in_view)

    def action_out(self) -> None:
        """Out of the innermost thing: the chart's cursor, a zoomed pane, this screen."""
        if self.focused is self.chart and self.chart.drop_cursor():
            return
        if self.desk.zoomed:
            self.desk.zoomed = False
            self._arrange()
        else:
            self.dismiss(None)

    def action_export(self) -> None:
        if self.comparison is None:
            self.key_line.show_notice("There is no comparison to write yet.", "warn")
            return
        ids = [run.id for _, run in self.named]
        name = "compare_" + "_vs_".join(ids)
        write_comparison(self.comparison, self.folder / f"{name[:200]}.md", self.post_message)

    def help_sections(self) -> list[tuple[str, tuple[Key, ...]]]:
        return [
            ("Compared runs", COMPARE_KEYS),
            ("On the chart", OVERLAY_KEYS),
            ("Everywhere", APP_KEYS),
        ]


def runs_of(memory: Plain, folder: Path) -> list[tuple[str, Run]]:
    """With the names to show, the baseline first; those alone whose folder is there."""
    stored = memory.get("runs")
    pairs = [p for p in stored if _is_pair(p)] if isinstance(stored, list) else []
    found = [(name, Run(folder / run_id)) for name, run_id in pairs]
    return [(name, run) for name, run in found if run.path.is_dir()]


def _is_pair(pair: object) -> bool:
    """A name and the name of a folder: what leads out of the folder of runs is none."""
    if not isinstance(pair, list) or len(pair) != 2 or not all(type(part) is str for part in pair):
        return False
    return bool(pair[1]) and "\0" not in pair[1] and Path(pair[1]).name == pair[1]


def compare_with_another(app: ScreenHost, run: Run, history: History) -> None:
    """Pick a run, then show both: the older one is the baseline."""
    own = history.started.name if history.started and history.started.name else run.id
    name = read_notes(run).name or own
    folder = run.folder

    def show(picked: RunEntry | None) -> None:
        if picked is None:
            return
        ours = history.created, run.id, (name, run)
        theirs = picked.facts.created, picked.run.id, (picked.name, picked.run)
        named = [pair for _, _, pair in sorted((ours, theirs), key=lambda side: side[:2])]
        app.push_screen(CompareScreen(named, folder, run.path, ascii_only=app.ascii_only))

    title = [("ftev  ", "muted"), (visible(name), "strong"), ("  compared with …", "muted")]
    app.push_screen(PickRun(title, folder, run, history.task), show)


def compare_again(app: ScreenHost, folder: Path, of: Path | None = None) -> None:
    """The runs that were compared when the screen was left; at least two must be there."""
    memory = app.memory_of(of or folder).screens.get(CompareScreen.REMEMBERED_AS, {})
    named = runs_of(memory, folder)
    if len(named) > 1:
        app.push_screen(CompareScreen(named, folder, of, ascii_only=app.ascii_only))
