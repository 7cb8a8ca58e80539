"""How the losses went: a chart, and one row per epoch with what was observed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...tasks import find_task
from ...wording.names import name_metric
from ...wording.numbers import (
    DASH,
    format_count,
    format_difference,
    format_seconds,
    format_shape,
    format_value,
)
from ..blocks import Block, Bullets, Chart, Heading, Line, Paragraph, Table, section
from ..document import EpochPart, Report

WHOLE = 1e-6  # epochs: less is rounding


@section(160, more=80)
def show_training(report: Report) -> list[Block]:
    rows = [_epoch_row(e) for e in report["epochs"]]
    chart = loss_chart(report)
    if not rows and chart is None:
        return []
    blocks: list[Block] = [Heading("Training")]
    if origin := report["run"].get("origin"):
        blocks.append(Paragraph(_describe_origin(origin)))
    if chart is not None:
        blocks.append(chart)
    if kept := describe_choice(report):
        blocks.append(Paragraph(kept))
    if rows:
        columns = ["epoch", "step", "training loss", "validation loss"]
        columns.append(find_task(report["run"]["task"]).accuracy_title)
        columns += ["change since step 0", "time", "observation"]
        blocks.append(Table(columns, rows, words=("observation",)))
    if logged := _logged_rows(report):
        columns = ["logged figure", "points", "first", "least", "greatest", "last", "at step"]
        blocks.append(Table(columns, logged))
    return blocks


def _describe_origin(origin: str) -> str:
    return (
        f"ftev did not train this model: the figures of training are those that {origin} logged. "
        "Losses are means, and over what they were averaged is not known."
    )


def _logged_rows(report: Report) -> list[list[str]]:
    """First, least, greatest and last value of every figure that another loop logged."""
    rows = []
    for name, series in report["series"].items() if "origin" in report["run"] else ():
        values = [v for v in series["value"] if math.isfinite(v)]
        if values:
            shown = (values[0], min(values), max(values), values[-1])
            at = f"{series['step'][-1]:,.0f}"
            rows.append([name, f"{len(values):,}", *(f"{v:.4g}" for v in shown), at])
    return rows


def describe_choice(report: Report) -> str:
    """Which evaluation chose the model that was kept; empty where none did."""
    kept = report["run"].get("kept")
    if not kept:
        return ""
    metric, epoch = kept["metric"], kept["epoch"]
    shown = f" ({format_value(metric, kept['value'])})" if "value" in kept else ""
    reason = kept.get("reason") or (
        f"The model of step {kept['step']:,} was kept: "
        f"best {name_metric(metric)} on validation{shown}."
    )
    if abs(epoch - round(epoch)) > WHOLE:
        reason += (
            f" That evaluation lies inside epoch {math.ceil(epoch)}: the table has no row of it."
        )
    return reason


def _epoch_row(e: EpochPart) -> list[str]:
    change = e.get("accuracy_change")
    return [
        str(e["epoch"]),
        f"{e['step']:,}",
        format_value("loss", e["train_loss"]),
        format_value("loss", e.get("validation_loss")),
        format_value("accuracy", e.get("validation_accuracy")),
        format_difference("accuracy", change) if change is not None else DASH,
        format_seconds(e["seconds"]),
        e["observation"],
    ]


def loss_chart(report: Report) -> Chart | None:
    """Training and validation loss by step, what guessing gives, and the step that was kept."""
    series = report["series"]
    lines = [
        Line(f"{split} loss", s["step"], s["value"])
        for split, name in (("training", "train/loss"), ("validation", "validation/loss"))
        if (s := series.get(name)) and any(map(math.isfinite, s["value"]))
    ]
    if not lines:
        return None
    last = max(x for line in lines for x in line.x)
    marks = _kept(report, lines)
    ends = [f"{line.name.capitalize()} {_ends(line)}." for line in lines]
    guess = report["references"].get("random_loss")
    if guess is not None:
        name = f"random guessing ({find_task(report['run']['task']).guess_formula})"
        lines.append(Line(name, (0.0, last), (guess, guess), dashed=True))
        ends.append(f"Random guessing has a loss of {guess:.3f}.")
    unit = "as logged" if "origin" in report["run"] else "nats"
    return Chart("Loss by step", "step", f"loss ({unit})", lines, " ".join(ends), marks)


def _ends(line: Line) -> str:
    points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
    (x0, y0), (x1, y1) = points[0], points[-1]
    if x0 == x1:
        return f"was {y0:.3f} at step {x0:,.0f}"
    return f"went from {y0:.3f} (step {x0:,.0f}) to {y1:.3f} (step {x1:,.0f})"


def _kept(report: Report, lines: Sequence[Line]) -> list[tuple[float, float, str]]:
    """The best checkpoint, on the validation curve; nothing where it was not measured there."""
    step = report["run"].get("best_step")
    measured = dict(zip(lines[-1].x, lines[-1].y, strict=True))
    if step is None or not math.isfinite(measured.get(step, math.nan)):
        return []
    return [(float(step), measured[step], "kept")]


@section(210, more=90)
def show_stages(report: Report) -> list[Block]:
    if not report["stages"]:
        return []
    rows = [
        [
            str(number),
            s["name"],
            s["note"],
            format_shape(s["rows_in"], s["columns_in"]),
            format_shape(s["rows_out"], s["columns_out"]),
            format_seconds(s["seconds"]),
        ]
        for number, s in enumerate(report["stages"], 1)
    ]
    columns = ["no.", "stage", "found", "rows × columns before", "after", "time"]
    return [Heading("Stages"), Table(columns, rows, words=("stage", "found"))]


@section(230, more=110)
def show_notes(report: Report) -> list[Block]:
    notes = report["notes"]
    if not notes:
        return []
    return [Heading("Notes of the run"), Bullets([f"{n['level']}: {n['text']}" for n in notes])]


@section(240, more=120)
def show_environment(report: Report) -> list[Block]:
    run = report["run"]
    sentences = []
    if device := run.get("device"):
        threads = f", {format_count(device['threads'], 'thread')}" if device["threads"] else ""
        name, precision = device["name"], device["precision"]
        verb = "scored" if run.get("tuned") else "training"
        several = f"{device['devices']} devices, the first " if "devices" in device else ""
        sentences.append(f"{several}{device['device']} ({name}), {verb} in {precision}{threads}.")
    if model := run.get("model"):
        trained = "" if run.get("tuned") else f", {model['trainable']:,} of them trained"
        sentences.append(f"{model['architecture']}, {model['parameters']:,} parameters{trained}.")
    if run.get("seed") is not None:
        sentences.append(f"Seed {run['seed']}.")
    if run.get("ftev_version"):
        packages = "".join(f", {name} {version}" for name, version in run["packages"].items())
        sentences.append(f"ftev {run['ftev_version']}{packages}.")
    if report.get("written_by"):
        sentences.append(f"Written by ftev {report['written_by']}.")
    if run["config_sha256"]:
        sentences.append(f"run.toml has sha256 {run['config_sha256'][:12]}.")
    if run.get("unreadable_lines"):
        sentences.append(
            f"{format_count(run['unreadable_lines'], 'line')} of events.jsonl could not be read."
        )
    return [Heading("Environment"), Paragraph(" ".join(sentences))] if sentences else []
