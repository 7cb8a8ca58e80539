"""What `enter` opens from a section of the evaluation: a receipt, rows, or one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .evaluation_metrics import receipt_row
from .metrics_section import MetricsSection
from .sections import OpenReceipt, OpenRow, OpenRows

if TYPE_CHECKING:
    from .evaluation import EvaluationScreen


def open_what_is_behind(screen: EvaluationScreen) -> bool:
    """False where nothing is behind the line under the cursor."""
    section, shown = screen.pane.section, screen.pane.shown
    if section is None or shown is None:
        return True
    match section.opened(shown):
        case OpenReceipt(index):
            _open_receipt(screen, index)
        case OpenRows() as rows:
            open_examples(screen, rows)
        case OpenRow(index):
            _open_row(screen, index)
        case None:
            return False
    return True


def _open_receipt(screen: EvaluationScreen, index: int) -> None:
    from ..run.receipt import Receipt

    section, shown = screen.pane.section, screen.pane.shown
    assert isinstance(section, MetricsSection)
    assert shown is not None
    row = receipt_row(section.rows(shown)[index], screen.reference)
    screen.app.push_screen(Receipt(shown.table, row, shown.history, screen.config))


def open_examples(screen: EvaluationScreen, rows: OpenRows) -> None:
    from ..examples.examples import ExamplesScreen

    if screen.history is None or not screen.split:
        return
    opened = ExamplesScreen(
        screen.run_shown,
        screen.history,
        rows.split or screen.split,
        screen.reference,
        query=rows.query,
        only=rows.only,
        about=rows.about,
    )
    screen.app.push_screen(opened)


def _open_row(screen: EvaluationScreen, index: int) -> None:
    from ..examples.row import RowScreen

    section = screen.flips
    if section.examples is not None:
        places = section.places()
        screen.app.push_screen(
            RowScreen(screen.run_shown, section.examples, places, index, section, screen.history)
        )
