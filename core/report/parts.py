"""The sections of a report, each from the History of its run."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import cast

import msgspec

from ..catalog.summary import run_status
from ..config.config import RunConfig
from ..judgement.findings import Finding
from ..judgement.observations import describe_kept, observe_epoch
from ..metrics.metric import adds_up
from ..metrics.results import Comparison
from ..run.events import SplitPrepared, TextScored
from ..run.history import History
from ..run.runs import Run
from ..wording.numbers import format_time
from .document import (
    AnswerPart,
    DevicePart,
    EpochPart,
    FindingPart,
    LeakagePart,
    RunPart,
    SplitPart,
    StagePart,
    TextPart,
)

LISTED_PAIRS = 200
CURVE_POINTS = 100  # of the training loss: a chart resolves no more


def describe_run(run: Run, history: History, config: RunConfig | None) -> RunPart:
    started, device, model = history.started, history.device, history.model
    part: RunPart = {
        "id": run.id,
        "name": started.name if started else config.name if config else run.id,
        "task": history.task or (config.task if config else ""),
        "status": run_status(run, history),
        "created": format_time(history.created),
        "finished": format_time(history.finished.time) if history.finished else None,
        "ftev_version": started.ftev_version if started else None,
        "packages": device.packages if device else {},
        "device": None,
        "config_sha256": _sha256_of_config(run),
        "base": config.model.base if config else None,
        "tuned": config.model.tuned if config else None,
        "adapter": config.model.adapter if config else None,
        "seed": config.train.seed if config else None,
        "steps": history.step,
        "max_steps": history.max_steps,
        "best_step": history.best_step,
        "training_seconds": history.training_seconds,
        "ended": history.ended.reason if history.ended else None,
        "error": history.finished.error or None if history.finished else None,
        "unreadable_lines": history.unreadable_lines,
    }
    if kept := describe_kept(history, config):
        part["kept"] = kept
    if history.origin != "ftev":
        part["origin"] = history.origin
    if history.columns:
        part["form"] = history.columns.form
    if device:
        described: DevicePart = {
            "device": device.device,
            "name": device.name,
            "precision": device.precision,
            "threads": device.threads,
        }
        if device.devices > 1:
            described["devices"] = device.devices
        part["device"] = described
    if model:
        part["model"] = {
            "name": model.name,
            "architecture": model.architecture,
            "parameters": model.parameters,
            "trainable": model.trainable,
            "max_length": model.max_length,
            "prefix": model.prefix,
            "new_head": model.new_head,
        }
        if model.local is not None:
            part["model"]["local"] = model.local
        if model.replaced_labels:
            part["model"]["replaced_labels"] = model.replaced_labels
    return part


def _sha256_of_config(run: Run) -> str | None:
    try:
        return hashlib.sha256((run.path / "run.toml").read_bytes()).hexdigest()
    except OSError:
        return None


def describe_data(history: History) -> dict[str, SplitPart | LeakagePart]:
    data: dict[str, SplitPart | LeakagePart] = {
        name: describe_split(s) for name, s in history.splits.items()
    }
    if history.leakage:
        found = history.leakage
        data["leakage"] = {
            "exact": found.exact,
            "near": found.near,
            "ngram": found.ngram,
            "conflicting_labels": found.conflicting_labels,
            "leaked": found.leaked,
            "splits": found.splits or list(history.splits),
            "pairs": [list(pair) for pair in found.pairs[:LISTED_PAIRS]],
            "pairs_found": found.pairs_found,
            "groups": found.groups,
            "group_rows": found.group_rows,
            "same": [list(pair) for pair in found.same],
            "note": found.note,
        }
    return data


def describe_split(s: SplitPrepared) -> SplitPart:
    part = {
        "rows": s.rows,
        "columns": s.columns,
        "sha256": s.sha256,
        "labels": s.labels,
        "source": s.source,
    }
    counts = {
        name: getattr(s, name)
        for name in (
            "tokens",
            "scored_tokens",
            "masked_tokens",
            "truncated_rows",
            "truncated_tokens",
            "unscored_rows",
            "skipped_rows",
            "rows_without_eos",
            "distinct_rows",
            "line_offset",
        )
    }
    return cast("SplitPart", part | {name: n for name, n in counts.items() if n})


def describe_stages(history: History) -> list[StagePart]:
    """The stages that are done, with their shapes; -1 where a side has no rows or columns."""
    return [
        {
            "name": s.done.name,
            "seconds": s.done.seconds,
            "rows_in": s.done.rows_in,
            "columns_in": s.done.columns_in,
            "rows_out": s.done.rows_out,
            "columns_out": s.done.columns_out,
            "note": s.done.note,
        }
        for s in history.stages
        if s.done
    ]


def describe_epochs(history: History) -> list[EpochPart]:
    """A row per epoch; what was not measured is absent."""
    rows = []
    for e in history.epochs:
        row: dict[str, object] = {"epoch": e.epoch, "step": e.step, "train_loss": e.train_loss}
        measured = history.evaluation("validation", "tuned", e.step)
        if measured:
            row |= {
                "validation_loss": e.validation_loss,
                "validation_accuracy": e.validation_accuracy,
            }
        if measured and not math.isnan(e.accuracy_change):
            row["accuracy_change"] = e.accuracy_change
        row |= {"seconds": e.seconds, "observation": observe_epoch(history, e)}
        rows.append(cast("EpochPart", row))
    return rows


def describe_series(history: History) -> dict[str, dict[str, list[float]]]:
    """Losses by step. Training loss in at most `CURVE_POINTS` groups of steps, each named by its
    last step and one division of sums (L1).

    Of another loop every figure as it was logged: at most as many points, evenly spaced.
    """
    steps = history.steps
    if steps.as_logged or history.scalars.series:
        named = (
            {"train/loss": (steps.step, steps.loss)} if any(map(math.isfinite, steps.loss)) else {}
        )
        named |= {name: (s.step, s.value) for name, s in history.scalars.series.items()}
        return {name: _thinned(*points) for name, points in named.items()}
    size = max(1, math.ceil(len(steps) / CURVE_POINTS))
    groups = [slice(i, i + size) for i in range(0, len(steps), size)]
    counted = [(g, sum(steps.loss_count[g])) for g in groups]
    curves: dict[str, dict[str, list[float]]] = {
        "train/loss": {
            "step": [steps.step[g][-1] for g in groups],
            "value": [sum(steps.loss_sum[g]) / n if n else math.nan for g, n in counted],
        }
    }
    measured = [e for e in history.validation_series() if e.loss_count]
    curves["validation/loss"] = {
        "step": [e.step for e in measured],
        "value": [e.loss_sum / e.loss_count for e in measured],
    }
    return {name: series for name, series in curves.items() if series["step"]}


def _thinned(steps: Sequence[int], values: Sequence[float]) -> dict[str, list[float]]:
    """Points as they were logged, the last one always: a mean of means would be no figure."""
    size = max(1, math.ceil(len(steps) / CURVE_POINTS))
    places = range((len(steps) - 1) % size, len(steps), size)
    return {"step": [steps[i] for i in places], "value": [values[i] for i in places]}


def describe_comparisons(history: History) -> list[Comparison]:
    """As they were written down; in older runs other metrics carry the rows fixed and broken."""
    return [
        c if adds_up(c.metric) else msgspec.structs.replace(c, fixed=None, broke=None)
        for c in history.comparisons
    ]


def describe_references(history: History) -> dict[str, float]:
    """What losses stand beside: random guessing, and the model before the first step (L7)."""
    references = {}
    if history.random_loss is not None:
        references["random_loss"] = history.random_loss
    start = history.evaluation("validation", "tuned", 0)
    if start and start.loss_count:
        references["start_loss"] = start.loss_sum / start.loss_count
    if start and start.count:
        references["start_accuracy"] = start.correct / start.count
    return references


def describe_texts(history: History) -> list[TextPart]:
    """Held-out texts under each model."""
    return [_describe_text(t) for t in history.texts]


def _describe_text(t: TextScored) -> TextPart:
    return {
        "source": t.source,
        "model": t.model,
        "scored_tokens": t.tokens,
        "bytes": t.bytes,
        "total_log_likelihood": t.log_likelihood,
        "average_log_likelihood": t.log_likelihood / t.tokens if t.tokens else math.nan,
        "bits_per_byte": -t.log_likelihood / (math.log(2) * t.bytes) if t.bytes else math.nan,
        "prefix": t.prefix,
        "window": t.window,
        "stride": t.stride,
    }


def describe_answers(history: History) -> list[AnswerPart]:
    """The configured prompts as they were answered last."""
    last = {p.prompt: p for p in history.prompts if p.probe}
    return [
        cast(
            "AnswerPart",
            {
                k: v
                for k, v in msgspec.structs.asdict(p).items()
                if k not in ("time", "probe") and v
            },
        )
        for p in last.values()
    ]


def describe_finding(f: Finding) -> FindingPart:
    part: FindingPart = {
        "code": f.code,
        "severity": f.severity,
        "message": f.message,
        "evidence": f.evidence,
        "rows": f.rows,
        "remedy": f.remedy,
    }
    if f.counted:
        part["counted"] = f.counted
    return part
