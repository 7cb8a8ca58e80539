"""From a run to its comparison with another that is picked from a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.history import History
from ...core.reporting.text import visible
from ...core.run_facts import RunEntry
from ...core.run_notes import read_notes
from ...core.runs import Run
from .compare import CompareScreen
from .pick_run import PickRun

if TYPE_CHECKING:
    from ..app import FtevApp


def compare_with_another(app: FtevApp, run: Run, history: History) -> None:
    """Pick a run, then show both: the older one is the baseline."""
    own = history.started.name if history.started and history.started.name else run.id
    name = read_notes(run).name or own
    folder = run.path.parent

    def show(picked: RunEntry | None) -> None:
        if picked is None:
            return
        ours = history.created, run.id, (name, run)
        theirs = picked.facts.created, picked.run.id, (picked.name, picked.run)
        named = [pair for _, _, pair in sorted((ours, theirs), key=lambda side: side[:2])]
        app.push_screen(CompareScreen(named, folder, ascii_only=app.ascii_only))

    title = [("ftev  ", "muted"), (visible(name), "strong"), ("  compared with …", "muted")]
    app.push_screen(PickRun(title, folder, run, history.task), show)
