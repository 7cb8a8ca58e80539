"""The metrics report of a run: one document, `ftev.report/1`, and the files made from it.

Everything comes from run.toml and events.jsonl, so a report can be made again at any time. A run
that is still going, failed or was stopped gives a smaller report.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .config import RunConfig
from .errors import ConfigError, Fault, FtevError, RunError
from .events import spell_numbers
from .findings import find
from .history import History, read_history
from .reporting.parts import (
    describe_answers,
    describe_data,
    describe_epochs,
    describe_finding,
    describe_references,
    describe_run,
    describe_series,
    describe_stages,
    describe_texts,
)
from .reporting.summary import headline
from .runs import Run
from .verdict import judge

SCHEMA = "ftev.report/1"
# JSON leaves these as they are; a terminal may obey them.
_CONTROL = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}
LATER = ("csv", "card")  # promised formats that are not written yet


def build_report(run: Run, history: History | None = None) -> dict[str, Any]:
    """The document of report.json. NaN and infinities are floats here, strings in the file."""
    history = history or read_history(run)
    config = _config(run)
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "run": describe_run(run, history, config),
        "data": describe_data(history),
        "stages": describe_stages(history),
        "epochs": describe_epochs(history),
        "series": describe_series(history),
        "references": describe_references(history),
        "headline": _headline(run, history),
        "results": history.results,
        "comparisons": history.comparisons,
        "analyses": history.analyses,
        "texts": describe_texts(history),
        "answers": describe_answers(history),
        "findings": [describe_finding(f) for f in find(history, config)],
        "notes": [{"level": n.level, "text": n.text} for n in history.notes],
    }
    if (run.path / "reviews.jsonl").exists():
        from .review_summary import describe_reviews

        report["reviews"] = describe_reviews(run)
    if config is not None:
        verdict = judge(history, config)
        report["verdict"] = {
            "decision": verdict.decision,
            "objective": verdict.objective,
            "reasons": verdict.reasons,
            "evidence": verdict.evidence,
        }
    return report


def write_report(
    run: Run, formats: Sequence[str] = ("md", "json"), out: Path | None = None
) -> list[Path]:
    """Write report.md, report.json into `out`, by default the run's folder; each file whole.

    Raises ConfigError for a format that is not known, RunError where it cannot be written.
    """
    writers = check_formats(formats)
    report, folder = build_report(run), out or run.path
    written = []
    for name in formats:
        path = folder / f"report.{name}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_whole(path, writers[name](report))
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror}. Choose --out") from None
        written.append(path)
    return written


def check_formats(formats: Sequence[str]) -> dict[str, Callable[[dict[str, Any]], str]]:
    """The writer of each format. Raises ConfigError for those that there is none for."""
    faults = []
    for name in formats:
        if name in LATER:
            faults.append(Fault("--format", f"{name} is not written yet", "Ask for md or json"))
        elif name not in _WRITERS:
            faults.append(Fault("--format", f"there is no format {name!r}", "Known: md, json"))
    if faults:
        raise ConfigError(*faults)
    return _WRITERS


def render_json(report: dict[str, Any]) -> str:
    encoded = msgspec.json.encode(spell_numbers(report))
    text = msgspec.json.format(encoded, indent=2).decode() + "\n"
    return text.translate(_CONTROL)


def render_markdown(report: dict[str, Any]) -> str:
    from .reporting.markdown import render

    return render(report)


def render_html(report: dict[str, Any]) -> str:
    from .reporting.html import render  # jinja2 is paid only by those who ask for HTML

    return render(report)


_WRITERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "md": render_markdown,
    "html": render_html,
    "json": render_json,
}


def _headline(run: Run, history: History) -> dict[str, Any] | None:
    told = headline(run, history)
    return told.to_dict() if told else None


def _write_whole(path: Path, text: str) -> None:
    """Write beside the file and rename: a reader never sees half a report."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _config(run: Run) -> RunConfig | None:
    """The run's configuration; None where a copy lost it."""
    try:
        return run.config()
    except FtevError:
        return None
