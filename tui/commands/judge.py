"""`ftev-tui judge FILE [FILE2]`: predictions of any models to a run with a verdict; no torch."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import Any

from ...core.compare.judge import judge_files
from ...core.config.objective import GuardrailConfig, ObjectiveConfig
from ...core.errors import ConfigError, Fault
from ...core.run.history import read_history
from ...core.run.runs import runs_folder
from .follow import gate_code, print_outcome
from .show import print_json, say


def run(options: argparse.Namespace) -> int:
    """3 with `--gate` unless the verdict is ship. Raises FtevError with all faults of the files."""
    objective, guardrails = _objective(options.objective)
    found = judge_files(
        options.files,
        runs_folder(options.runs_dir),
        task=options.task,
        name=options.name or "",
        objective=objective,
        guardrails=guardrails,
    )
    history = read_history(found)
    lines: list[str] = []
    report = print_outcome(found, history, lines.append)
    if options.json:
        print_json(report)
    else:
        print(f"run {found.id}: {history.task}, predictions of {', '.join(options.files)}")
        for note in history.notes:
            say(f"note: {note.text}")
        print("\n".join(lines))
    return gate_code(report) if options.gate else 0


def _objective(path: str | None) -> tuple[ObjectiveConfig | None, list[GuardrailConfig]]:
    """[objective] and [[guardrail]] of a file, or an objective's settings alone.

    Raises ConfigError with every fault.
    """
    if path is None:
        return None, []
    from ...core.config.config_file import check_config

    try:
        table: dict[str, Any] = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError(Fault(path, f"cannot be read: {error}")) from None
    whole = table if {"objective", "guardrail"} & table.keys() else {"objective": table}
    asked = {key: whole[key] for key in ("objective", "guardrail") if key in whole}
    metric = asked.get("objective", {}).get("metric")
    shell = {"model": {"base": "base", "tuned": "tuned"}, "data": {"test": "predictions"}}
    config = check_config({"task": _task_with(metric), **shell, **asked}, path, {})
    return config.objective, config.guardrail


def _task_with(metric: object) -> str:
    """A task that has the metric, so that the objective's own faults are those that are listed."""
    from ...core.tasks import NAMES, metrics_within

    return next((n for n in NAMES if metric in metrics_within(n)), NAMES[0])
