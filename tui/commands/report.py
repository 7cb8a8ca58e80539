"""`ftev-tui report RUN` (printed or written), `explain [TERM]` (what a term or a number means) and
`quiz RUN` (three questions about a run's own numbers, and why the answers are right)."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec

from ...core.errors import ConfigError, Fault
from ...core.report.document import Report
from ...core.report.formats import DEFAULT_FORMATS, publish_as
from ...core.report.glossary import KINDS, Entry, entries, explain, of_kind
from ...core.report.quiz import Question, count_right, make_quiz, read_answers
from ...core.report.report import (
    build_report,
    check_formats,
    render_markdown,
    write_missing,
    write_report,
)
from ...core.run.event_lines import use_history
from ...core.run.foreign.imported import find_run
from ...core.run.history import read_history
from ...core.run.runs import Run, runs_folder
from ...core.wording.text import visible
from .follow import gate_code
from .show import (
    Document,
    columns,
    is_terminal,
    labelled,
    let_interrupt,
    paragraph,
    print_json,
    say,
)


def run(options: argparse.Namespace) -> int:
    """Prints the report, or writes it in the formats given. 3 with `--gate` unless it says ship."""
    wanted = [name.strip() for name in (options.format or "").split(",") if name.strip()]
    check_formats(wanted)
    if options.out is not None and not options.out.strip():
        raise ConfigError(Fault("--out", "is empty", "Name a folder, or leave it out"))
    found = find_run(options.run, runs_folder(options.runs_dir))
    if options.explain:
        show_explained(found, options)
        return 0
    report = build_report(found)
    if problem := write_missing(found, read_history(found)):
        say(f"ftev: {problem}")
    if wanted or options.out:
        _write(found, report, wanted, options)
    if options.json:
        print_json(report)
    elif not (wanted or options.out):
        _print(use_history(found, lambda h: render_markdown(build_report(found, h))))
    return gate_code(report) if options.gate else 0


def _write(found: Run, report: Report, wanted: list[str], options: argparse.Namespace) -> None:
    out = Path(options.out) if options.out else None
    for path in write_report(found, wanted or DEFAULT_FORMATS, out):
        if options.json:
            say(f"written: {path}")
        else:
            print(path)
    for name in wanted:
        for line in publish_as(name, report, os.environ):
            print(line, file=sys.stderr if options.json else sys.stdout)


def _print(text: str) -> None:
    if not is_terminal():
        print(text, end="")
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text, hyperlinks=False))


def explain_term(options: argparse.Namespace) -> int:
    """Raises ConfigError for a term that the glossary lacks, with the nearest."""
    term = " ".join(options.term)
    if not term:
        _list(options.json)
        return 0
    found = explain(term)
    if options.json:
        print_json(msgspec.to_builtins(found))
    else:
        _show(found)
    return 0


def _list(as_json: bool) -> None:
    if as_json:
        wanted = ("name", "kind", "title", "meaning", "aliases")
        every = (msgspec.to_builtins(e) for e in entries())
        print_json([{key: e[key] for key in wanted} for e in every])
        return
    for kind, plural in KINDS.items():
        print(plural)
        print("\n".join(f"  {line}" for line in paragraph(_names(kind), columns() - 2)))
    print("`ftev-tui explain TERM` explains one of them")


def _names(kind: str) -> str:
    return ", ".join(entry.name for entry in of_kind(kind))  # type: ignore[arg-type]


def _show(entry: Entry) -> None:
    known = "" if entry.title == entry.name else f": {entry.title}"
    print(f"{entry.name}{known} ({entry.kind})")
    lines = [("meaning", entry.meaning), ("reading", entry.reading), ("trap", entry.trap)]
    for line in labelled([*lines, ("see also", ", ".join(entry.see))], columns()):
        print(line)


def show_explained(run: Run, options: argparse.Namespace) -> None:
    """How a metric of a run was made. Raises FtevError where the run lacks it."""
    # It brings the numbers library.
    from ...core.report.explained import explain_metric, explained_lines

    config = run.config_if_kept()  # without it, its terms are shown as unknown
    found = use_history(
        run, lambda h: explain_metric(h, config, options.explain, options.split, options.model)
    )
    if options.json:
        print_json(msgspec.to_builtins(found))
        return
    for i, block in enumerate(explained_lines(found)):
        if i:
            print()
        for line in labelled(block, columns()):
            print(line)


def quiz(options: argparse.Namespace) -> int:
    """Asks each question, unless `--answers` has its answer, and prints the score."""
    found = find_run(options.run, runs_folder(options.runs_dir))
    questions = _questions(found, options.seed)
    given = read_answers(options.answers, questions) if options.answers is not None else None
    if options.json:
        print_json(_quiz_document(found, questions, given))
        return 0
    answers = [_ask_question(i, q, given) for i, q in enumerate(questions)]
    right = count_right(questions, answers)
    print(f"score: {right} of {len(questions)}")
    return 0


def _questions(found: Run, seed: int) -> list[Question]:
    # without a config, whether to ship is not asked
    return use_history(found, lambda h: make_quiz(h, found.config_if_kept(), seed))


def _quiz_document(found: Run, questions: list[Question], given: list[str] | None) -> Document:
    document: Document = {"run": found.id, "questions": msgspec.to_builtins(questions)}
    if given is None:
        return document
    return document | {"answers": given, "score": count_right(questions, given)}


def _ask_question(number: int, question: Question, given: list[str] | None) -> str:
    """Put one question, take an answer and explain it; an empty answer where input ended."""
    for line in paragraph(f"{number + 1}. {visible(question.text)}", columns()):
        print(line)
    for letter, choice in question.choices.items():
        first, *rest = paragraph(visible(choice), columns() - 5)
        print(f"  {letter}  {first}")
        for line in rest:
            print(f"     {line}")
    answer = _read_answer(question) if given is None else given[number]
    _mark_answer(question, answer)
    return answer


def _read_answer(question: Question) -> str:
    """The next line that is one of the letters; empty at the end of input."""
    let_interrupt()
    while True:
        if sys.stdin is not None and sys.stdin.isatty():
            print("answer: ", end="", flush=True)
        line = sys.stdin.readline() if sys.stdin is not None else ""
        answer = line.strip().lower()
        if not line or answer in question.choices:
            return answer
        say(f"answer with one of {', '.join(question.choices)}")


def _mark_answer(question: Question, answer: str) -> None:
    verdict = (
        "right"
        if answer == question.right
        else f"wrong: it is {question.right}"
        if answer
        else "no answer"
    )
    if not answer:
        verdict += f": it is {question.right}"
    print(f"{answer + ': ' if answer else ''}{verdict}")
    for line in paragraph(visible(question.explanation), columns()):
        print(line)
    print("; ".join(f"`ftev-tui explain {term}`" for term in question.see))
    print()
