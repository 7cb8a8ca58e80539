"""`ftev-tui status RUN`: where a run stands."""

from __future__ import annotations

import argparse
from typing import Any

from ...core.catalog.summary import describe_status, format_headline
from ...core.run.runs import open_run, runs_folder
from ...core.wording.names import name_metric
from ...core.wording.numbers import DASH, format_seconds, format_value
from ..drawing.format import format_bytes
from .show import print_json, print_table


def run(options: argparse.Namespace) -> int:
    told = describe_status(open_run(options.run, runs_folder(options.runs_dir)))
    if options.json:
        print_json(told)
    else:
        print_table(("", "where it stands"), status_rows(told), words=("", "where it stands"))
    return 0


def status_rows(told: dict[str, Any]) -> list[list[str]]:
    rows = [
        ["run", told["id"]],
        ["name", told["name"]],
        ["task", told["task"]],
        ["status", told["status"]],
        ["started", told["created"] or DASH],
    ]
    if told.get("activity"):
        ended = told["status"] in ("stopped", "failed", "died")
        rows.append(["ended while" if ended else "now", told["activity"]])
    if told["max_steps"]:
        rows.append(["step", f"{told['step']:,} of {told['max_steps']:,}"])
        rows.append(["epoch", f"{told['epoch']:.2f} of {told['epochs']:g}"])
    if told["eta_seconds"] is not None and told["status"] == "running":
        left = f"{format_seconds(told['eta_seconds'])}, {told['tokens_per_second']:,.0f} tokens/s"
        rows.append(["steps left", left])
    took = told["estimate"] or {}
    for name, what, as_words in (
        ("seconds", "training took", format_seconds),
        ("memory", "training memory", format_bytes),
    ):
        if name in took:
            expected = as_words(took[f"estimated_{name}"])
            rows.append([what, f"{as_words(took[name])}, estimated {expected}"])
    rows.append(["headline", format_headline(told["headline"])])
    for key, value in told["metrics"].items():
        split, _, metric = key.partition("/")
        shown = f"{format_value(metric, value)} (step {told['metric_steps'][key]:,})"
        rows.append([f"{split} {name_metric(metric, told['positive'])}", shown])
    if worker := told["worker"]:
        there = "alive" if worker["alive"] else "gone"
        rows.append(["worker", f"{worker['pid']} on {worker['host']}, {there}"])
        if held := told["worker_memory"]:
            rows[-1][1] += f", holds {format_bytes(held)}"
        if worker["alive"] and told["status"] in ("finished", "stopped", "failed"):
            rows.append(["", f"it answers prompts; `ftev-tui stop {told['id']}` frees its memory"])
    if told["error"]:
        rows.append(["error", told["error"]])
    return rows
