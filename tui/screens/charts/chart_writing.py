"""`w` on a chart: files written in a thread, and where they are told in the line of keys."""

from __future__ import annotations

from pathlib import Path

from ....core.errors import FtevError
from ....core.run.history import read_history
from ....core.run.runs import Run
from ....core.wording.text import visible
from ...app.threads import Post, in_thread
from ..prompt.asking import RequestTold
from .chart_data import ChartData
from .chart_view import View


def write_charts(run: Run, shown: ChartData, view: View, names: list[str], post: Post) -> None:
    """From a history of its own, read in the thread: the one on the screen goes on growing."""
    data = ChartData()
    data.best_metric, data.early_stopping = shown.best_metric, shown.early_stopping

    def write() -> None:
        post(written(run, data, view, names))

    in_thread(write)


def written(run: Run, data: ChartData, view: View, names: list[str]) -> RequestTold:
    from .chart_files import write_chart

    try:
        data.update(read_history(run))
        known = [name for name in names if name in data.names] or ["loss"]
        table, drawing = write_chart(run, data, view, known)
    except FtevError as error:
        return RequestTold(str(error), failed=True)
    place = _within(table.parent, run)
    return RequestTold(f"written: {visible(f'{table.name}, {drawing.name} in {place}')}")


def _within(folder: Path, run: Run) -> str:
    return f"{folder.name}/ of the run" if folder.parent == run.path else str(folder)
