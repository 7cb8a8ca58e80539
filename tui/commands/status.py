"""`ftev-tui status RUN`: where a run stands."""

from __future__ import annotations

import argparse

from ...core.catalog.summary import Status, describe_status, format_headline
from ...core.run.runs import open_run, runs_folder
from ...core.wording.names import name_metric
from ...core.wording.numbers import DASH, format_seconds, format_value
from ..drawing.format import format_bytes
from .show import print_json, print_table


def run(options: argparse.Namespace) -> int:
    """Raises RunError where the run cannot be read."""
    status = describe_status(open_run(options.run, runs_folder(options.runs_dir)))
    if options.json:
        print_json(status)
    else:
        print_table(("", "where it stands"), status_rows(status), words=("", "where it stands"))
    return 0


def status_rows(status: Status) -> list[list[str]]:
    """A status as rows of a name and a value."""
    rows = [
        ["run", status["id"]],
        ["name", status["name"]],
        ["task", status["task"]],
        ["status", status["status"]],
        ["started", status["created"] or DASH],
    ]
    if activity := status["activity"]:
        ended = status["status"] in ("stopped", "failed", "died")
        rows.append(["ended while" if ended else "now", activity])
    if status["max_steps"]:
        rows.append(["step", f"{status['step']:,} of {status['max_steps']:,}"])
        rows.append(["epoch", f"{status['epoch']:.2f} of {status['epochs']:g}"])
    if status["eta_seconds"] is not None and status["status"] == "running":
        left = (
            f"{format_seconds(status['eta_seconds'])}, {status['tokens_per_second']:,.0f} tokens/s"
        )
        rows.append(["steps left", left])
    took = status["estimate"] or {}
    for name, what, as_words in (
        ("seconds", "training took", format_seconds),
        ("memory", "training memory", format_bytes),
    ):
        if name in took:
            expected = as_words(took[f"estimated_{name}"])
            rows.append([what, f"{as_words(took[name])}, estimated {expected}"])
    rows.append(["headline", format_headline(status["headline"])])
    for key, value in status["metrics"].items():
        split, _, metric = key.partition("/")
        shown = f"{format_value(metric, value)} (step {status['metric_steps'][key]:,})"
        rows.append([f"{split} {name_metric(metric, status['positive'])}", shown])
    if worker := status["worker"]:
        there = "alive" if worker["alive"] else "gone"
        rows.append(["worker", f"{worker['pid']} on {worker['host']}, {there}"])
        if held := status["worker_memory"]:
            rows[-1][1] += f", holds {format_bytes(held)}"
        if worker["alive"] and status["status"] in ("finished", "stopped", "failed"):
            rows.append(
                ["", f"it answers prompts; `ftev-tui stop {status['id']}` frees its memory"]
            )
    if status["error"]:
        rows.append(["error", status["error"]])
    return rows
