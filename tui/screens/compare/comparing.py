"""From a run to its comparison with another that is picked from a list."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ....core.catalog.notes import read_notes
from ....core.catalog.run_facts import RunEntry
from ....core.run.history import History
from ....core.run.runs import Run
from ....core.wording.text import visible
from ..home.run_list import PickRun
from .compare import CompareScreen
from .compare_memory import runs_of

if TYPE_CHECKING:
    from ...app.app import FtevApp


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
        app.push_screen(CompareScreen(named, folder, run.path, ascii_only=app.ascii_only))

    title = [("ftev  ", "muted"), (visible(name), "strong"), ("  compared with …", "muted")]
    app.push_screen(PickRun(title, folder, run, history.task), show)


def compare_again(app: FtevApp, folder: Path, of: Path | None = None) -> None:
    """The runs that were compared when the screen was left; at least two must be there."""
    memory = app.memory_of(of or folder).screens.get(CompareScreen.REMEMBERED_AS, {})
    named = runs_of(memory, folder)
    if len(named) > 1:
        app.push_screen(CompareScreen(named, folder, of, ascii_only=app.ascii_only))
