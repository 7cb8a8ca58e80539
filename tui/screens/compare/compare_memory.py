"""What the compare screen remembers: its runs, as far as they are still there, and its chart."""

from __future__ import annotations

from pathlib import Path

from ....core.run.runs import Run
from ...app.memory import Plain
from ...widgets.plot_pane import is_finite
from .compare_panes import OverlayPane
from .overlay import SHOWN


def runs_of(memory: Plain, folder: Path) -> list[tuple[str, Run]]:
    """With the names to show, the baseline first; those alone whose folder is there."""
    told = memory.get("runs")
    pairs = [p for p in told if _is_pair(p)] if isinstance(told, list) else []
    found = [(name, Run(folder / run_id)) for name, run_id in pairs]
    return [(name, run) for name, run in found if run.path.is_dir()]


def _is_pair(told: object) -> bool:
    """A name and the name of a folder: what leads out of the folder of runs is none."""
    if not isinstance(told, list) or len(told) != 2 or not all(type(part) is str for part in told):
        return False
    return bool(told[1]) and "\0" not in told[1] and Path(told[1]).name == told[1]


def overlay_memory(pane: OverlayPane) -> Plain:
    return pane.view.memory()


def recall_overlay(pane: OverlayPane, told: object) -> None:
    """`pane` has its curves already: a place is one on their axis."""
    if not isinstance(told, dict):
        return
    view = pane.view
    view.recall(told)
    left, right = view.full_range(pane.curves)
    if view.window is not None and not left <= view.window[0] < view.window[1] <= right:
        view.window = None
    if (shown := told.get("shown")) in SHOWN:
        view.shown = str(shown)
    cursor = told.get("cursor")
    if isinstance(cursor, int | float) and is_finite(cursor):
        view.cursor = min(max(left, cursor), right)
