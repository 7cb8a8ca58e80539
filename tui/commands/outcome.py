"""What a run came to: its exit code, its last table, its verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...core.judgement.selection import find_comparison, judged_split, reference_model
from ...core.metrics.metric_table import METRICS
from ...core.report.report import build_report, write_missing
from ...core.run.history import History
from ...core.run.runs import Run
from ...core.wording.names import name_decision, name_metric, positive_label_of
from ...core.wording.numbers import DASH, format_difference, format_estimate
from ...core.wording.numbers import format_difference_interval as format_ends
from ...core.wording.text import visible
from .show import format_rows

INTERRUPTED = 130
OBJECTIVE_NOT_MET = 3
LOG_LINES = 12
MODELS = ("majority", "probe", "base", "tuned")


def exit_code(history: History, report: dict[str, Any], *, gate: bool) -> int:
    """As promised: 0 done, 1 failed, 2 bad input, 3 objective not met, 130 interrupted."""
    if history.finished is None:
        return 1
    if history.finished.status == "failed":
        return history.finished.exit_code or 1
    if history.finished.status == "stopped":
        return INTERRUPTED
    return gate_code(report) if gate else 0


def gate_code(report: dict[str, Any]) -> int:
    verdict = report.get("verdict")
    return 0 if verdict and name_decision(verdict) == "ship" else OBJECTIVE_NOT_MET


def tell_outcome(run: Run, history: History, emit: Callable[[str], None]) -> dict[str, Any]:
    """The last lines about a run: its metrics, its verdict, where the report is."""
    report = build_report(run, history)
    for line in format_results(history):
        emit(line)
    verdict = report.get("verdict")
    if verdict and history.finished and history.finished.status == "finished":
        emit(f"verdict: {verdict['decision']} (objective: {visible(verdict['objective'])})")
        for reason in verdict["reasons"]:
            emit(f"  {visible(reason)}")
    if told := write_missing(run, history):
        emit(told)
    written = run.path / "report.md"
    if written.exists():
        emit(f"report: {written}")
    return report


def format_results(history: History) -> list[str]:
    """A table of the judged split: every model, and the tuned one's paired difference."""
    split = judged_split(history)
    if split is None:
        return []
    results = history.results[split]
    models = [m for m in MODELS if m in results]
    against = reference_model(results)
    names = [name for name in results["tuned"].get("metrics", {}) if not _is_repeated(name)]
    columns = [f"{split} ({results['tuned'].get('n', 0):,} rows)", *models]
    columns += [f"{against} → tuned", "95 %"] if against else []
    positive, rows = positive_label_of(results.values()), []
    for name in names:
        row = [
            name_metric(name, positive),
            *(format_estimate(name, results[m]["metrics"].get(name)) for m in models),
        ]
        if against:
            c = find_comparison(history, split, name)
            row.append(format_difference(name, c["difference"]) if c else DASH)
            row.append(format_ends(name, c["low"], c["high"]) if c else DASH)
        rows.append(row)
    return format_rows(columns, rows, words=columns[:1])


def _is_repeated(metric: str) -> bool:
    """Equal to another metric by arithmetic, as micro_f1 is to accuracy."""
    return metric in METRICS and bool(METRICS[metric].same_as)


def describe_death(run: Run, history: History) -> list[str]:
    """What is known of a worker that is gone without a last word."""
    stage = history.current_stage
    told = f"the worker died at step {history.step:,}"
    told += f', in "{stage.name}"' if stage else ""
    lines = [f"{run.id}: {told}. `ftev-tui resume {run.id}` goes on from the last checkpoint"]
    try:
        log = run.log_path.read_bytes()[-20_000:].decode(errors="replace").splitlines()
    except OSError:
        log = []
    if log:
        lines += [f"the end of {run.log_path}:", *(f"  {line}" for line in log[-LOG_LINES:])]
    return lines
