"""The report for a GitHub workflow: a step summary, annotations, and outputs of the step.

The summary is what decides and no more: a step may write 1 MiB, and a longer one is lost whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...files.disk import writing
from ...judgement.verdict import VerdictPart
from ...run.runs import Run
from ...wording.text import visible
from ..blocks import Block, Heading
from ..document import Report
from ..sections.metrics import show_differences
from ..sections.verdict import headline_figures, show_findings, show_guardrails, show_verdict
from . import File
from .md import render_blocks

MOST = 1 << 20  # bytes of a step's summary
LISTED = 10  # annotations of one kind that a step shows
SUMMARY, OUTPUT = "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"
LEVELS = {"error": "error", "warning": "warning", "info": "notice"}


def files(run: Run, report: Report, out: Path | None) -> Iterator[File]:
    yield (out or run.path) / "report.github.md", render(report)


def render(report: Report) -> str:
    """The first parts of the report that fit, in its order."""
    parts = (show_verdict, show_findings, show_guardrails, show_differences)
    blocks: list[Block] = [Heading(report["run"]["name"], 1)]
    for show in parts:
        blocks += show(report)
    while len((text := render_blocks(blocks)).encode()) > MOST and len(blocks) > 1:
        blocks = blocks[: len(blocks) // 2]
    return text


def publish(report: Report, environment: Mapping[str, str]) -> list[str]:
    """Append to the summary and the outputs of the step whose environment this is; returns the
    annotations, which a workflow reads from what is printed. Raises RunError.
    """
    for name, text in ((SUMMARY, render(report)), (OUTPUT, _outputs(report))):
        if path := environment.get(name):
            with writing(Path(path)), Path(path).open("a", encoding="utf-8") as file:
                file.write(text)
    return list(_annotations(report))


def _annotations(report: Report) -> Iterator[str]:
    name = report["run"]["name"]
    if verdict := report.get("verdict"):
        level = "notice" if _ships(verdict) else "error"
        yield _annotation(level, f"{name}: {verdict['decision']}", "; ".join(verdict["reasons"]))
    left = dict.fromkeys(LEVELS.values(), LISTED - 1)
    for finding in report["findings"]:
        level = LEVELS[finding["severity"]]
        if left[level] > 0:
            left[level] -= 1
            text = " ".join(filter(None, (finding["message"] + ".", finding["remedy"])))
            yield _annotation(level, finding["code"], text)


def _annotation(level: str, title: str, text: str) -> str:
    """One line, with what would end or split it escaped as GitHub reads it."""
    title = _escape(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={title}::{_escape(text)}"


def _escape(text: str) -> str:
    return visible(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _outputs(report: Report) -> str:
    """`verdict`, `ship`, and of the primary metric its value, difference and ends of the interval:
    whatever a later step of the workflow may ask."""
    found: dict[str, object] = {}
    if verdict := report.get("verdict"):
        found = {"verdict": verdict["decision"], "ship": str(_ships(verdict)).lower()}
    headline = report["headline"]
    if headline is not None and headline_figures(report):
        wanted = (headline["split"], headline["metric"], headline["from_model"], "tuned")
        result = report["results"][headline["split"]]["tuned"]
        found |= {"metric": headline["metric"], "split": headline["split"]}
        if (estimate := result.metrics.get(headline["metric"])) is not None:
            found["value"] = estimate.value
        for c in report["comparisons"]:
            if c.key == wanted:
                found |= {"difference": c.difference, "low": c.low, "high": c.high}
    lines = (
        f"{name}={visible(str(value))}\n"
        for name, value in found.items()
        if not isinstance(value, float) or math.isfinite(value)
    )
    return "".join(lines)


def _ships(verdict: VerdictPart) -> bool:
    return verdict["decision"] == "ship" and not verdict.get("preliminary")
