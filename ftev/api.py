"""What `ftev.open` gives: a run directory read from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from .core.judgement.verdict import Verdict
from .core.judgement.verdict import judge as judged
from .core.report.document import Report
from .core.report.formats import render_as
from .core.report.report import build_report
from .core.run import runs
from .core.run.event_lines import use_history
from .core.run.foreign.imported import find_run
from .core.run.history import read_history


class Run:
    """A run directory, live or ended, as it stood when it was opened."""

    def __init__(self, path: str | Path) -> None:
        """Raises FtevError where the run cannot be read."""
        self._run = runs.Run(Path(path).resolve())
        self._history = read_history(self._run)

    @property
    def id(self) -> str:
        return self._run.id

    @property
    def path(self) -> Path:
        return self._run.path

    @property
    def verdict(self) -> Verdict:
        """Decision, objective and reasons. Raises FtevError for a run without its run.toml."""
        config = self._run.config()
        return use_history(self._run, lambda history: judged(history, config), self._history)

    def metrics(self, split: str) -> dict[str, dict[str, Any]]:
        """By model and metric: value, low, high (95 %) and method, as `results` of report.json.

        Each in its metric's unit. Empty for a split that has not been evaluated.
        """
        results = self._history.results.get(split, {})
        return {model: msgspec.to_builtins(result.metrics) for model, result in results.items()}

    def report(self, format: str = "md") -> str:
        """The report as text: "md", "html" or "json". Raises ValueError for another format."""
        return render_as(format, self._document())

    def _document(self) -> Report:
        return build_report(self._run, self._history)


def judge(
    frame: Any,
    task: str | None = None,
    *,
    name: str = "predictions",
    runs_dir: str | Path | None = None,
    objective: dict[str, Any] | None = None,
) -> Run:
    """A run made from predictions: a Polars or pandas frame with the columns `id`, `truth`, `base`,
    `tuned` and what else `ftev-tui judge` reads.

    `objective`: as [objective] of a run.toml. `runs_dir`: where the run is written; default
    FTEV_RUNS, else ./runs. Raises FtevError with everything that is wrong.
    """
    import polars as pl

    from .core.compare.judge import judge as made
    from .core.compare.predictions import predictions_of
    from .core.config.objective import ObjectiveConfig

    table = frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame.to_dict("list"))
    asked = ObjectiveConfig(**objective) if objective else None
    folder = runs.runs_folder(None if runs_dir is None else str(runs_dir))
    found = made(predictions_of(table), folder, task=task, name=name, objective=asked)
    return Run(found.path)


def open(run: str | Path, runs_dir: str | Path | None = None) -> Run:
    """A run by its directory, its name or a unique prefix in `runs_dir`, or "latest"; also by the
    path of a log that another tool wrote, read as it stands now.

    `runs_dir`: default FTEV_RUNS, else ./runs. Raises FtevError where there is no such run.
    """
    folder = runs.runs_folder(None if runs_dir is None else str(runs_dir))
    return Run(find_run(str(run), folder).path)
