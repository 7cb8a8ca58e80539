"""What the worker noted, and what it ran on."""

from __future__ import annotations

from ...wording.numbers import format_count
from ..blocks import Block, Bullets, Heading, Paragraph, section
from ..document import Report


@section(230, more=110)
def show_notes(report: Report) -> list[Block]:
    notes = report["notes"]
    if not notes:
        return []
    return [Heading("Notes of the run"), Bullets([f"{n['level']}: {n['text']}" for n in notes])]


@section(240, more=120)
def show_environment(report: Report) -> list[Block]:
    run = report["run"]
    told = []
    if device := run.get("device"):
        threads = f", {format_count(device['threads'], 'thread')}" if device["threads"] else ""
        name, precision = device["name"], device["precision"]
        verb = "scored" if run.get("tuned") else "training"
        several = f"{device['devices']} devices, the first " if "devices" in device else ""
        told.append(f"{several}{device['device']} ({name}), {verb} in {precision}{threads}.")
    if model := run.get("model"):
        trained = "" if run.get("tuned") else f", {model['trainable']:,} of them trained"
        told.append(f"{model['architecture']}, {model['parameters']:,} parameters{trained}.")
    if run.get("seed") is not None:
        told.append(f"Seed {run['seed']}.")
    if run.get("ftev_version"):
        packages = "".join(f", {name} {version}" for name, version in run["packages"].items())
        told.append(f"ftev {run['ftev_version']}{packages}.")
    if report.get("written_by"):
        told.append(f"Written by ftev {report['written_by']}.")
    if run["config_sha256"]:
        told.append(f"run.toml has sha256 {run['config_sha256'][:12]}.")
    if run.get("unreadable_lines"):
        told.append(
            f"{format_count(run['unreadable_lines'], 'line')} of events.jsonl could not be read."
        )
    return [Heading("Environment"), Paragraph(" ".join(told))] if told else []
