"""`ftev-tui report RUN`: the metrics report, printed or written."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.errors import ConfigError, Fault
from ...core.report.formats import DEFAULT_FORMATS
from ...core.report.report import (
    build_report,
    check_formats,
    render_markdown,
    write_missing,
    write_report,
)
from ...core.run.history import read_history
from ...core.run.misfits import use_history
from ...core.run.runs import Run, open_run, runs_folder
from .explain import show_explained
from .follow import gate_code
from .show import is_terminal, print_json, say


def run(options: argparse.Namespace) -> int:
    """Prints the report, or writes it in the formats given. 3 with `--gate` unless it says ship."""
    wanted = [name.strip() for name in (options.format or "").split(",") if name.strip()]
    check_formats(wanted)
    if options.out is not None and not options.out.strip():
        raise ConfigError(Fault("--out", "is empty", "Name a folder, or leave it out"))
    found = open_run(options.run, runs_folder(options.runs_dir))
    if options.explain:
        show_explained(found, options)
        return 0
    report = build_report(found)
    if problem := write_missing(found, read_history(found)):
        say(f"ftev: {problem}")
    if wanted or options.out:
        _write(found, wanted, options)
    if options.json:
        print_json(report)
    elif not (wanted or options.out):
        _print(use_history(found, lambda h: render_markdown(build_report(found, h))))
    return gate_code(report) if options.gate else 0


def _write(found: Run, wanted: list[str], options: argparse.Namespace) -> None:
    out = Path(options.out) if options.out else None
    for path in write_report(found, wanted or DEFAULT_FORMATS, out):
        if options.json:
            say(f"written: {path}")
        else:
            print(path)


def _print(text: str) -> None:
    if not is_terminal():
        print(text, end="")
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text, hyperlinks=False))
