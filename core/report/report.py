"""The metrics report of a run: one document, `ftev.report/1`, and the files made from it.

Everything comes from run.toml and events.jsonl, so a report can be made again at any time. A run
that is still going, failed or was stopped gives a smaller report.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from ... import __version__
from ..catalog.summary import headline
from ..errors import ConfigError, Fault, FtevError
from ..files.disk import replacing, writing
from ..judgement.findings import find
from ..judgement.selection import config_of
from ..judgement.verdict import judge
from ..run.event_lines import use_history
from ..run.history import History
from ..run.runs import Run
from .document import HeadlinePart, Report
from .formats import DEFAULT_FORMATS, FORMATS, Content, File, files_as, render_as
from .parts import (
    describe_answers,
    describe_comparisons,
    describe_data,
    describe_epochs,
    describe_finding,
    describe_references,
    describe_run,
    describe_series,
    describe_stages,
    describe_texts,
)

SCHEMA = "ftev.report/1"
CHOOSE = "choose --out"


def build_report(run: Run, history: History | None = None) -> Report:
    """The document of report.json. NaN and infinities are floats here, strings in the file.

    Raises RunError where the events cannot be read, or do not fit together.
    """
    return use_history(run, lambda h: _build(run, h), history)


def _build(run: Run, history: History) -> Report:
    config = config_of(run)
    report: Report = {
        "schema": SCHEMA,
        "written_by": version(),
        "run": describe_run(run, history, config),
        "data": describe_data(history),
        "stages": describe_stages(history),
        "epochs": describe_epochs(history),
        "series": describe_series(history),
        "references": describe_references(history),
        "headline": _headline(run, history),
        "results": history.results,
        "comparisons": describe_comparisons(history),
        "analyses": history.analyses,
        "texts": describe_texts(history),
        "answers": describe_answers(history),
        "findings": [describe_finding(f) for f in find(history, config)],
        "notes": [{"level": n.level, "text": n.text} for n in history.notes],
    }
    if (run.path / "reviews.jsonl").exists():
        from .review.summary import describe_reviews

        if (reviews := describe_reviews(run)) is not None:
            report["reviews"] = reviews
    if config is not None:
        verdict = judge(history, config)
        report["verdict"] = verdict.to_dict()
    return report


def version() -> str:
    """The version of ftev at work: a report that another wrote may judge and word otherwise."""
    return __version__


def write_report(
    run: Run,
    formats: Sequence[str] = DEFAULT_FORMATS,
    out: Path | None = None,
    history: History | None = None,
) -> list[Path]:
    """Write the files of each format into `out`, by default the run's folder; each file whole.

    `history`: what the run is known to be; None reads it. Without `out` the card goes beside the
    tuned model. Raises ConfigError for a format that is not known, RunError where a file cannot be
    written.
    """
    check_formats(formats)
    files = use_history(run, lambda h: _files_of(run, _build(run, h), formats, out), history)
    for folder in {path.parent for path, _ in files} - {run.path}:
        with writing(folder, way_on=CHOOSE):
            folder.mkdir(parents=out is not None, exist_ok=True)
    return [_write_whole(path, content) for path, content in files]


def write_missing(run: Run, history: History) -> str:
    """Write what a finished run lacks of its report: its worker was killed over it, or had no room.

    Returns a line about it, also where it could not be written; empty where nothing is missing.
    """
    if history.finished is None or history.finished.status != "finished":
        return ""
    missing = [n for n in DEFAULT_FORMATS if not (run.path / f"report.{n}").exists()]
    if not missing:
        return ""
    names = ", ".join(f"report.{name}" for name in missing)
    try:
        write_report(run, missing, history=history)
    except FtevError as error:
        return f"{names} of {run.id} {'is' if len(missing) == 1 else 'are'} missing: {error}"
    return f"{names} of {run.id} {'was' if len(missing) == 1 else 'were'} missing: written now"


def _files_of(run: Run, report: Report, formats: Sequence[str], out: Path | None) -> list[File]:
    return [file for name in formats for file in files_as(name, run, report, out)]


def check_formats(formats: Sequence[str]) -> None:
    """Raises ConfigError for every format that there is none of."""
    known = ", ".join(FORMATS)
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        faults = (
            Fault("--format", f"there is no format {n!r}", f"Known: {known}") for n in unknown
        )
        raise ConfigError(*faults)


def render_json(report: Report) -> str:
    return render_as("json", report)


def render_markdown(report: Report) -> str:
    return render_as("md", report)


def render_html(report: Report) -> str:
    return render_as("html", report)


def _headline(run: Run, history: History) -> HeadlinePart | None:
    found = headline(run, history)
    return cast("HeadlinePart", found.to_dict()) if found else None


def _write_whole(path: Path, content: Content) -> Path:
    """A reader never sees half a report."""
    text = b"" if callable(content) else content.encode()
    with replacing(path, len(text), CHOOSE) as temporary, temporary.open("wb") as file:
        if callable(content):
            content(file)
        else:
            file.write(text)
    return path
