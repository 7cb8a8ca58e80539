"""The evaluation screen: the verdict, and behind it every number of a split, with its evidence."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from textual import events, on
from textual.binding import BindingType

from ....core.config.config import RunConfig
from ....core.metrics.analyses import Thresholds
from ....core.report.document import Report
from ....core.run.history import History
from ....core.run.runs import Run
from ....core.tasks import find_task
from ....core.wording.text import visible
from ...app.background import RECEIPTS, make_screen, preload
from ...app.keys import APP_KEYS, EVALUATION_KEYS, Key, to_bindings
from ...app.memory import Plain
from ...drawing.lines import following
from ...widgets.framed import ReadingScreen
from ...widgets.pane import Pane
from ..examples.example_rows import ExamplesRead, read_examples
from ..prompt.asking import write_report
from ..run.metric_rows import MetricTable, metric_tables
from ..run.status import title_right
from .evidence import FindingsSection, FlipSection, SlicesSection
from .labels import CalibrationSection, LabelsSection
from .metrics import MetricsSection, receipt_row
from .reading import (
    MODEL_WORDS,
    EvaluationRead,
    ReadingFailed,
    describe_split,
    narrowed,
    ordered_splits,
    read_evaluation,
    references_of,
)
from .sections import (
    READING,
    ListSection,
    OpenReceipt,
    OpenRow,
    OpenRows,
    Section,
    SectionPane,
    Shown,
    VerdictPane,
    answers_section,
    label_calibration_section,
    label_sets_section,
    more_section,
    texts_section,
)
from .thresholds import PanelRead, read_panel

FLIPS, CALIBRATION = 3, 4
ACROSS = ("left", "right")
MOVING = ("up", "down", "pageup", "pagedown", "home", "end", "enter")
NOTHING = (
    "No results yet: they are computed when training has ended. Until then the metrics pane of "
    "the run shows validation."
)


class EvaluationScreen(ReadingScreen):
    """The report of a run, one split and one reference at a time, in seven sections."""

    KEYS, NAME = EVALUATION_KEYS, "Evaluation"
    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(EVALUATION_KEYS)]
    REMEMBERED_AS: ClassVar[str] = "evaluation"

    def __init__(self, run: Run, history: History | None = None) -> None:
        """`history`: of a run that has ended, where it is read already."""
        super().__init__()
        self._panel_waits = False  # the rows are there, the threshold panel is not
        self.run_shown = run
        self.history = history
        self.config: RunConfig | None = None
        self.report: Report | None = None
        self.split = self.reference = ""
        self.verdict, self.pane = VerdictPane(id="verdict"), SectionPane()

    def panes(self) -> Iterable[Pane]:
        return (self.verdict, self.pane)

    def on_mount(self) -> None:
        self.show_title(visible(self.run_shown.id), "evaluation", [])
        read_evaluation(self.run_shown, self.history, self.post_message)

    def on_resize(self, event: events.Resize) -> None:
        self._size_verdict()

    def _size_verdict(self) -> None:
        size = self.app.size
        self.verdict.styles.height = self.verdict.needed(size.width - 4, size.height)
        self.verdict.show()

    @on(EvaluationRead)
    def show_evaluation(self, message: EvaluationRead) -> None:
        preload(RECEIPTS)
        self.report, self.history, self.config = message.report, message.history, message.config
        verdict = message.report.get("verdict")
        splits = ordered_splits(message.report)
        if not splits:
            self.pane.state, self.verdict.state = NOTHING, "No verdict yet."
        elif verdict:
            self.verdict.decision, self.verdict.objective = (
                verdict["decision"],
                verdict["objective"],
            )
            self.verdict.reasons = tuple(verdict["reasons"])
            self.verdict.preliminary = verdict.get("preliminary", "")
        else:
            self.verdict.state = "No objective was declared before this run."
        self._size_verdict()
        if not splits:
            self.pane.show()
            self.go_on()
            return
        task = find_task(message.report["run"]["task"])
        labels: Section = texts_section()
        fourth: Section = answers_section()
        if task.has_labels:
            labels, fourth = LabelsSection(), CalibrationSection()
        elif task.gives_sets:
            labels, fourth = label_sets_section(), label_calibration_section()
        self.pane.sections = [
            MetricsSection(),
            labels,
            FlipSection(),
            fourth,
            SlicesSection(),
            FindingsSection(),
            more_section(),
        ]
        self.app.recall(self)
        if self.pane.shown is None:
            self._choose(splits[0], "")
        self.go_on()

    # What it remembers

    @property
    def remembered_of(self) -> Path:
        return self.run_shown.path

    def memory(self) -> Plain:
        if self.pane.shown is None:
            return {}
        return {
            "split": self.split,
            "reference": self.reference,
            "section": self.pane.at,
            "places": [section.memory() for section in self.pane.sections],
        }

    def recall(self, memory: Plain) -> None:
        assert self.report is not None
        splits = ordered_splits(self.report)
        # A file on disk: what it names may have gone since, or never have been.
        if memory.get("split") in splits:
            self._choose(str(memory["split"]), str(memory.get("reference")))
        else:
            self._choose(splits[0], "")
        places = memory.get("places")
        for section, place in zip(
            self.pane.sections, places if isinstance(places, list) else [], strict=False
        ):
            section.recall(place)
        at = memory.get("section")
        if type(at) is int and 0 <= at < len(self.pane.sections):
            self.pane.at = at
        self._keep_in_bounds()
        self._show()

    def _keep_in_bounds(self) -> None:
        """Cursors stay within lists that became shorter; rows are counted once they are read."""
        assert self.pane.shown is not None
        for section in self.pane.sections:
            counted = section is not self.flips or self.flips.examples is not None
            if isinstance(section, ListSection) and counted:
                section.move(self.pane.shown, 0, 0)

    @on(ReadingFailed)
    def show_failure(self, message: ReadingFailed) -> None:
        # One text for the fault, in the larger pane.
        self.pane.state, self.verdict.state = message.text, ""
        self.verdict.show()
        self.pane.show()
        self.go_on()

    @property
    def flips(self) -> FlipSection:
        found = self.pane.sections[FLIPS - 1]
        assert isinstance(found, FlipSection)
        return found

    def _choose(self, split: str, reference: str) -> None:
        """Show a split against a reference; without one, that which counts first."""
        assert self.history is not None
        assert self.report is not None
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
        self.flips.examples, self.flips.failed = None, ""
        read_examples(self.run_shown, self.history, split, self.reference, self.post_message)
        against = MODEL_WORDS.get(self.reference, "")
        about = f"{describe_split(self.report, split)}" + (
            f" · against {against}" if against else ""
        )
        run = self.report["run"]
        status = title_right(run["status"])
        self.show_title(visible(run["name"]), f"evaluation · {about}", status)
        self._show()

    def _primary(self) -> str:
        from ....core.judgement.selection import primary_metric

        assert self.history is not None
        return primary_metric(self.run_shown, self.history)

    @on(ExamplesRead)
    def show_examples(self, message: ExamplesRead) -> None:
        # Somebody went on to another split while these rows were read.
        if (message.split, message.reference) != (self.split, self.reference):
            return
        examples = message.examples
        if examples is None:
            self.flips.failed = message.failed
            self.pane.show()
            self.go_on()
            return
        self.flips.examples = examples
        self.flips.kind = min(self.flips.kind, max(0, len(examples.kinds) - 1))
        self._keep_in_bounds()
        calibration = self.pane.sections[CALIBRATION - 1]
        if isinstance(calibration, CalibrationSection):
            self._read_panel(calibration, examples.frames.get("tuned"))
        self.pane.show()
        self.go_on()

    def _read_panel(self, section: CalibrationSection, frame: Any) -> None:
        """The threshold panel in a thread: numpy is imported there."""
        shown = self.pane.shown
        found = shown.analysis(Thresholds) if shown else None
        if found is None or frame is None or section.panel_split == self.split:
            return
        labels = self.history.labels if self.history else []
        self._panel_waits = True
        read_panel(frame, labels, found, self.split, self.post_message)

    @on(PanelRead)
    def show_panel(self, message: PanelRead) -> None:
        section = self.pane.sections[CALIBRATION - 1]
        if isinstance(section, CalibrationSection) and message.split == self.split:
            section.panel, section.panel_split = message.panel, message.split
            self.pane.show()
        self._panel_waits = False
        self.go_on()

    def reads_before(self, key: str) -> bool:
        """Every key waits for the report; what moves among flips or a threshold, for their rows."""
        if not self.pane.sections:
            return self.pane.state == READING
        reads_rows = self.flips.examples is None and not self.flips.failed
        if isinstance(self.pane.section, CalibrationSection):
            return key in ACROSS and (reads_rows or self._panel_waits)
        return self.pane.section is self.flips and key in MOVING and reads_rows

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
            examples = self.flips.examples
            if examples is None or kind < len(examples.kinds):
                self.flips.choose(kind)
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
        splits = ordered_splits(self.report) if self.report else []
        if len(splits) < 2:
            self.key_line.show_notice("No other split was evaluated.")
            return
        self._choose(following(splits, self.split), self.reference)

    def action_next_reference(self) -> None:
        known = references_of(self.report, self.split) if self.report else []
        if len(known) < 2:
            self.key_line.show_notice("There is no other model to compare with on this split.")
            return
        self._choose(self.split, following(known, self.reference))

    def action_open(self) -> None:
        """What is behind the line under the cursor: a receipt, rows, or one row."""
        section, shown = self.pane.section, self.pane.shown
        if section is None or shown is None:
            return
        match section.opened(shown):
            case OpenReceipt(index):
                self._open_receipt(index)
            case OpenRows() as rows:
                self._open_rows(rows)
            case OpenRow(index):
                self._open_row(index)
            case None:
                self.key_line.show_notice("There is nothing behind this line.")

    def _open_receipt(self, index: int) -> None:
        # It brings the numbers library, which takes longer to load than this screen.
        from ..run.receipt import Receipt

        section, shown = self.pane.section, self.pane.shown
        assert isinstance(section, MetricsSection)
        assert shown is not None
        row = receipt_row(section.rows(shown)[index], self.reference)
        self.app.push_screen(Receipt(shown.table, row, shown.history, self.config))

    def _open_rows(self, rows: OpenRows) -> None:
        if self.history is None or not self.split:
            return
        opened = make_screen(
            "examples",
            self.run_shown,
            self.history,
            rows.split or self.split,
            self.reference,
            query=rows.query,
            only=rows.only,
            about=rows.about,
        )
        self.app.push_screen(opened)

    def _open_row(self, index: int) -> None:
        section = self.flips
        if section.examples is not None:
            places = section.places()
            self.app.push_screen(
                make_screen(
                    "row", self.run_shown, section.examples, places, index, section, self.history
                )
            )

    def action_rows(self) -> None:
        self._open_rows(OpenRows())

    def action_export(self) -> None:
        self.key_line.show_notice("writing the report …", "muted")
        write_report(self.run_shown, self.post_message)

    def on_screen_resume(self) -> None:
        self.pane.show()

    def explained_term(self) -> str | None:
        section, shown = self.pane.section, self.pane.shown
        return section.term(shown) if section and shown else None

    def help_sections(self) -> list[tuple[str, tuple[Key, ...]]]:
        return [("Evaluation", EVALUATION_KEYS), ("Everywhere", APP_KEYS)]
