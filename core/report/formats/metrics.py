"""The report as one flat JSON object of numbers and words: what DVC, CML and a script compare."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ...run.runs import Run
from ..document import Report
from . import File
from .json import render as render_json

Value = float | int | str | bool


def files(run: Run, report: Report, out: Path | None) -> Iterator[File]:
    """`metrics.json`, the name that others look for."""
    yield (out or run.path) / "metrics.json", render(report)


def render(report: Report) -> str:
    """Keys by `/`; what is no number is absent, as JSON has no NaN."""
    found = dict(_values(report))
    finite = {k: v for k, v in found.items() if not isinstance(v, float) or math.isfinite(v)}
    return render_json(msgspec.to_builtins(finite))


def _values(report: Report) -> Iterator[tuple[str, Value]]:
    if verdict := report.get("verdict"):
        yield "verdict", verdict["decision"]
        yield "ship", verdict["decision"] == "ship" and not verdict.get("preliminary")
    for split, models in report["results"].items():
        for model, result in models.items():
            yield f"{split}/{model}/rows", result.n
            for name, estimate in result.metrics.items():
                where = f"{split}/{model}/{name}"
                yield where, estimate.value
                yield f"{where}/low", estimate.low
                yield f"{where}/high", estimate.high
    for c in report["comparisons"]:
        where = f"{c.split}/{c.from_model}_to_{c.to_model}/{c.metric}"
        yield f"{where}/difference", c.difference
        yield f"{where}/low", c.low
        yield f"{where}/high", c.high
        yield f"{where}/p", c.adjusted_p
    for severity in ("error", "warning"):
        count = sum(finding["severity"] == severity for finding in report["findings"])
        yield f"findings/{severity}", count
