"""The evaluation screen: the verdict, and behind it every number of a split, with its evidence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from textual import events, on
from textual.binding import BindingType

from ...core.config import RunConfig
from ...core.history import History
from ...core.reporting.text import visible
from ...core.runs import Run
from ..ahead import RECEIPTS, import_ahead
from ..widgets.asking import RequestTold, write_report
from ..widgets.calibration_section import CalibrationSection
from ..widgets.evaluation_metrics import receipt_row
from ..widgets.evaluation_panes import SectionPane, VerdictPane
from ..widgets.evaluation_read import (
    MODEL_WORDS,
    EvaluationRead,
    ReadingFailed,
    narrowed,
    read_evaluation,
    references_of,
    splits_of,
    tell_split,
)
from ..widgets.example_rows import ExamplesRead, read_examples
from ..widgets.flip_section import FlipSection
from ..widgets.labels_section import LabelsSection
from ..widgets.metric_rows import MetricTable, metric_tables
from ..widgets.metrics_section import MetricsSection
from ..widgets.pane import Pane
from ..widgets.report_sections import answers_section, more_section, texts_section
from ..widgets.sections import (
    FindingsSection,
    OpenReceipt,
    OpenRow,
    OpenRows,
    Shown,
    SlicesSection,
)
from ..widgets.thresholds import PanelRead, read_panel
from .keys import APP_KEYS, EVALUATION_KEYS, Key, to_bindings
from .reading import ReadingScreen

FLIPS, CALIBRATION = 3, 4
NOTHING = (
    "Nothing is evaluated yet. Results are computed when training has ended; until then the "
    "metrics pane of the run shows what validation says."
)


class EvaluationScreen(ReadingScreen):
    KEYS, NAME = EVALUATION_KEYS, "Evaluation"
    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(EVALUATION_KEYS)]

    def __init__(self, run: Run, history: History | None = None) -> None:
        """`history`: of a run that has ended, where it is read already."""
        super().__init__()
        self.run_shown = run
        self.history = history
        self.config: RunConfig | None = None
        self.report: dict[str, object] = {}
        self.split = self.reference = ""
        self.verdict, self.pane = VerdictPane(id="verdict"), SectionPane()

    def panes(self) -> Iterable[Pane]:
        return (self.verdict, self.pane)

    def on_mount(self) -> None:
        self.show_title(visible(self.run_shown.id), "evaluation", [])
        read_evaluation(self.run_shown, self.history, self.post_message)

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self._size_verdict()

    def _size_verdict(self) -> None:
        size = self.app.size
        self.verdict.styles.height = self.verdict.needed(size.width - 4, size.height)
        self.verdict.show()

    @on(EvaluationRead)
    def show_evaluation(self, message: EvaluationRead) -> None:
        import_ahead(RECEIPTS)
        self.report, self.history, self.config = message.report, message.history, message.config
        told = message.report.get("verdict")
        splits = splits_of(message.report)
        if not splits:
            self.pane.state, self.verdict.state = NOTHING, "No verdict yet."
        elif told:
            self.verdict.decision, self.verdict.objective = told["decision"], told["objective"]
            self.verdict.reasons = tuple(told["reasons"])
        else:
            self.verdict.state = "No objective was declared before this run."
        self._size_verdict()
        if not splits:
            self.pane.show()
            return
        generates = message.report["run"]["task"] == "generation"
        self.pane.sections = [
            MetricsSection(),
            texts_section() if generates else LabelsSection(),
            FlipSection(),
            answers_section() if generates else CalibrationSection(),
            SlicesSection(),
            FindingsSection(),
            more_section(),
        ]
        self._choose(splits[0], "")

    @on(ReadingFailed)
    def show_failure(self, message: ReadingFailed) -> None:
        if self.pane.shown is None:
            self.pane.state, self.verdict.state = message.text, ""
        else:
            self._flips.failed = message.text
        self.verdict.show()
        self.pane.show()

    @property
    def _flips(self) -> FlipSection:
        found = self.pane.sections[FLIPS - 1]
        assert isinstance(found, FlipSection)
        return found

    def _choose(self, split: str, reference: str) -> None:
        """Show a split against a reference; without one, that which counts first."""
        assert self.history is not None
        known = references_of(self.report, split)
        self.split = split
        self.reference = reference if reference in known else next(iter(known), "")
        primary = self._primary()
        tables = metric_tables(self.history, primary)
        table = next((t for t in tables if t.split == split), MetricTable(split, 0, ()))
        self.pane.shown = Shown(
            self.report,
            narrowed(self.report, split, self.reference),
            self.history,
            split,
            self.reference,
            table,
            self.app.ascii_only,
        )
        self._flips.examples, self._flips.failed = None, ""
        read_examples(self.run_shown, self.history, split, self.reference, self.post_message)
        against = MODEL_WORDS.get(self.reference, "")
        about = f"{tell_split(self.report, split)}" + (f" · against {against}" if against else "")
        run = self.report["run"]
        assert isinstance(run, dict)
        status = [(f"{visible(run['status'])}", "muted")]
        self.show_title(visible(run["name"]), f"evaluation · {about}", status)
        self._show()

    def _primary(self) -> str:
        from ...core.reporting.summary import primary_metric

        assert self.history is not None
        return primary_metric(self.run_shown, self.history)

    @on(ExamplesRead)
    def show_examples(self, message: ExamplesRead) -> None:
        e = message.examples
        if e.split != self.split:
            return
        self._flips.examples = e
        calibration = self.pane.sections[CALIBRATION - 1]
        if isinstance(calibration, CalibrationSection):
            self._read_panel(calibration, e.frames.get("tuned"))
        self.pane.show()

    def _read_panel(self, section: CalibrationSection, frame: Any) -> None:
        """The threshold panel in a thread: numpy is imported there."""
        shown = self.pane.shown
        analyses = shown.part["analyses"].get(self.split, {}) if shown else {}
        told = analyses.get("thresholds", {}).get("tuned")
        if told is None or frame is None or section.panel_split == self.split:
            return
        labels = self.history.labels if self.history else []
        read_panel(frame, labels, told, self.split, self.post_message)

    @on(PanelRead)
    def show_panel(self, message: PanelRead) -> None:
        section = self.pane.sections[CALIBRATION - 1]
        if isinstance(section, CalibrationSection) and message.split == self.split:
            section.panel, section.panel_split = message.panel, message.split
            self.pane.show()

    def _show(self) -> None:
        self.pane.show_tabs()
        self.pane.show()

    # Keys

    def action_go_to(self, number: int) -> None:
        if self.pane.sections:
            self.pane.at = number - 1
            self._show()

    def action_next_section(self, count: int) -> None:
        if self.pane.sections:
            self.action_go_to((self.pane.at + count) % len(self.pane.sections) + 1)

    def action_move(self, across: int, down: int) -> None:
        if self.pane.shown is not None and self.pane.section is not None:
            self.pane.section.move(self.pane.shown, across, down)
            self.pane.show()

    def action_flips(self, kind: int) -> None:
        if self.pane.sections:
            e = self._flips.examples
            if e is None or kind < len(e.kinds):
                self._flips.choose(kind)
                self.action_go_to(FLIPS)

    def action_next_view(self) -> None:
        if isinstance(self.pane.section, LabelsSection) and self.pane.shown is not None:
            self.pane.section.next_view(self.pane.shown)
            self.pane.show()

    def action_reset(self) -> None:
        if isinstance(self.pane.section, CalibrationSection):
            self.pane.section.reset()
            self.pane.show()

    def action_next_split(self) -> None:
        splits = splits_of(self.report) if self.report else []
        if len(splits) < 2:
            self.key_line.show_notice("No other split was evaluated.")
            return
        self._choose(splits[(splits.index(self.split) + 1) % len(splits)], self.reference)

    def action_next_reference(self) -> None:
        known = references_of(self.report, self.split) if self.report else []
        if len(known) < 2:
            self.key_line.show_notice("There is no other model to compare with on this split.")
            return
        self._choose(self.split, known[(known.index(self.reference) + 1) % len(known)])

    def action_open(self) -> None:
        if self.pane.shown is None or self.pane.section is None:
            return
        match self.pane.section.opened(self.pane.shown):
            case OpenReceipt(index):
                self._open_receipt(index)
            case OpenRows(query, only, split, about):
                self._open_examples(query, only, split, about)
            case OpenRow(index):
                self._open_row(index)
            case None:
                self.key_line.show_notice("There is nothing behind this line.")

    def _open_receipt(self, index: int) -> None:
        from .receipt import Receipt

        section, shown = self.pane.section, self.pane.shown
        assert isinstance(section, MetricsSection)
        assert shown is not None
        row = receipt_row(section.rows(shown)[index], self.reference)
        self.app.push_screen(Receipt(shown.table, row, shown.history, self.config))

    def _open_examples(
        self, query: str = "", only: tuple[int, ...] = (), split: str = "", about: str = ""
    ) -> None:
        from .examples import ExamplesScreen

        if self.history is None or not self.split:
            return
        screen = ExamplesScreen(
            self.run_shown,
            self.history,
            split or self.split,
            self.reference,
            query=query,
            only=only,
            about=about,
        )
        self.app.push_screen(screen)

    def _open_row(self, index: int) -> None:
        from .row import RowScreen

        section = self._flips
        if section.examples is not None:
            places = section.places()
            screen = RowScreen(
                self.run_shown, section.examples, places, index, section, self.history
            )
            self.app.push_screen(screen)

    def action_rows(self) -> None:
        self._open_examples()

    def action_export(self) -> None:
        self.key_line.show_notice("writing the report …", "muted")
        write_report(self.run_shown, self.post_message)

    @on(RequestTold)
    def show_outcome(self, message: RequestTold) -> None:
        self.key_line.show_notice(message.text, "bad" if message.failed else "good")

    def on_screen_resume(self) -> None:
        self.pane.show()

    def explained_term(self) -> str | None:
        section, shown = self.pane.section, self.pane.shown
        return section.term(shown) if section and shown else None

    def help_sections(self) -> list[tuple[str, tuple[Key, ...]]]:
        return [("Evaluation", EVALUATION_KEYS), ("Everywhere", APP_KEYS)]
