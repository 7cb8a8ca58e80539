"""`ftev-tui quiz RUN`: three questions about a run's own numbers, and why the answers are right."""

from __future__ import annotations

import argparse
import sys

import msgspec

from ...core.report.quiz import Question, count_right, make_quiz, read_answers
from ...core.run.misfits import use_history
from ...core.run.runs import Run, open_run, runs_folder
from ...core.wording.text import visible
from .show import Document, columns, let_interrupt, paragraph, print_json, say


def run(options: argparse.Namespace) -> int:
    """Asks each question, unless `--answers` has its answer, and prints the score."""
    found = open_run(options.run, runs_folder(options.runs_dir))
    questions = _questions(found, options.seed)
    given = read_answers(options.answers, questions) if options.answers is not None else None
    if options.json:
        print_json(_document(found, questions, given))
        return 0
    answers = [_ask(i, q, given) for i, q in enumerate(questions)]
    right = count_right(questions, answers)
    print(f"score: {right} of {len(questions)}")
    return 0


def _questions(found: Run, seed: int) -> list[Question]:
    # without a config, whether to ship is not asked
    return use_history(found, lambda h: make_quiz(h, found.config_if_kept(), seed))


def _document(found: Run, questions: list[Question], given: list[str] | None) -> Document:
    document: Document = {"run": found.id, "questions": msgspec.to_builtins(questions)}
    if given is None:
        return document
    return document | {"answers": given, "score": count_right(questions, given)}


def _ask(number: int, q: Question, given: list[str] | None) -> str:
    """Put one question, take an answer and explain it; an empty answer where input ended."""
    for line in paragraph(f"{number + 1}. {visible(q.text)}", columns()):
        print(line)
    for letter, choice in q.choices.items():
        first, *rest = paragraph(visible(choice), columns() - 5)
        print(f"  {letter}  {first}")
        for line in rest:
            print(f"     {line}")
    answer = _read(q) if given is None else given[number]
    _mark(q, answer)
    return answer


def _read(q: Question) -> str:
    """The next line that is one of the letters; empty at the end of input."""
    let_interrupt()
    while True:
        if sys.stdin is not None and sys.stdin.isatty():
            print("answer: ", end="", flush=True)
        line = sys.stdin.readline() if sys.stdin is not None else ""
        answer = line.strip().lower()
        if not line or answer in q.choices:
            return answer
        say(f"answer with one of {', '.join(q.choices)}")


def _mark(q: Question, answer: str) -> None:
    verdict = "right" if answer == q.right else f"wrong: it is {q.right}" if answer else "no answer"
    if not answer:
        verdict += f": it is {q.right}"
    print(f"{answer + ': ' if answer else ''}{verdict}")
    for line in paragraph(visible(q.explanation), columns()):
        print(line)
    print("; ".join(f"`ftev-tui explain {term}`" for term in q.see))
    print()
