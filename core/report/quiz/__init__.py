"""Three questions about a run's own numbers, each with one true answer, and why it is true.

What the falling loss says, whether to ship, which pitfall is here. A run that lacks what one of
them needs gets another question. The same run and seed give the same quiz.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

from ...config.config import RunConfig
from ...errors import ConfigError, Fault
from ...judgement.findings import Finding, find
from ...judgement.selection import NOT_COMPARED, judged_split, metric_value, was_compared
from ...metrics.results import ModelResult
from ...run.events import LeakageFound
from ...run.history import History
from ...wording.numbers import format_count, format_value
from ..glossary import explain, lookup
from .questions import LETTERS, SUBSTITUTES, Question, about_losses, about_shipping, ask, course_of

__all__ = ["COUNT", "LETTERS", "Question", "count_right", "make_quiz", "read_answers"]

COUNT = 3


def make_quiz(
    history: History,
    config: RunConfig | None,
    seed: int = 0,
    findings: Sequence[Finding] | None = None,
) -> list[Question]:
    """At most three questions. Raises ConfigError where the run has no numbers to ask about."""
    found = list(find(history, config) if findings is None else findings)
    asked = [
        about_losses(history, seed),
        about_shipping(history, config, seed),
        about_pitfalls(history, found, seed),
    ]
    questions = [q for q in asked if q]
    others = (make(history, seed) for make in SUBSTITUTES)
    while len(questions) < COUNT:
        other = next((q for q in others if q), None)
        if other is None:
            break
        questions.append(other)
    if not questions:
        raise ConfigError("this run has no numbers to ask about yet: train or evaluate first")
    return questions


def read_answers(text: str, questions: Sequence[Question]) -> list[str]:
    """`a,b,c`, one letter per question. Raises ConfigError with every fault."""
    answers = [part.strip().lower() for part in text.split(",")]
    faults = [
        Fault(
            "--answers", f"question {i} has no choice {answer!r}", f"There: {', '.join(q.choices)}"
        )
        for i, (answer, q) in enumerate(zip(answers, questions, strict=False), 1)
        if answer not in q.choices
    ]
    if len(answers) != len(questions):
        counts = f"{len(answers)} answers to {len(questions)} questions"
        faults.append(Fault("--answers", counts, "Give one letter per question, such as a,b,c"))
    if faults:
        raise ConfigError(*faults)
    return answers


def count_right(questions: Sequence[Question], answers: Sequence[str]) -> int:
    return sum(a == q.right for q, a in zip(questions, answers, strict=False))


NONE = "None: the numbers of this run show no pitfall"
FOUND = 0.5  # recall of every label from which nobody speaks of a paradox
EVEN = 2.0  # times the rows of the smallest label: up to that nobody speaks of imbalance
WRONG = 2  # pitfalls offered that this run does not have
POOL = (
    "leakage",
    "overfitting",
    "truncation",
    "no_test_set",
    "conflicting_labels",
    "class_imbalance",
    "accuracy_paradox",
    "nothing_to_score",
    "end_not_scored",
    "worse_than_guessing",
)
OF_LABELS = ("conflicting_labels", "class_imbalance", "accuracy_paradox")
OF_TOKENS = ("nothing_to_score", "end_not_scored", "worse_than_guessing")


def about_pitfalls(history: History, findings: list[Finding], seed: int) -> Question | None:
    """None where nothing was judged yet: a pitfall that is not found may still come."""
    split = judged_split(history)
    known = [f for f in findings if lookup(f.code)]
    if split is None or (findings and not known):
        return None
    found = {f.code for f in findings}
    absent = [c for c in POOL if c not in found and _is_clearly_absent(history, split, c)]
    wanted = WRONG + (not known)
    if len(absent) < wanted:
        return None
    wrong = [_name(code) for code in random.Random(f"{seed} pitfalls").sample(absent, wanted)]
    facts = [*_facts(history, split), *_measured(known[:1])]
    text = " ".join(facts) + " Which pitfall is here?"
    if known:
        explanation = (_why(known), list(dict.fromkeys(f.code for f in known))[:2])
        return ask("pitfall", text, _name(known[0].code), [*wrong, NONE], explanation, seed)
    why = "No rule fired: these counts and losses lie inside the limits of each of them."
    return ask("pitfall", text, NONE, wrong, (why, absent[:2]), seed)


def _is_clearly_absent(history: History, split: str, code: str) -> bool:
    """Whether nobody could say that it is here, a rule's limits aside."""
    task = history.task_type
    if (code in OF_TOKENS and not task.writes) or (code in OF_LABELS and not task.has_labels):
        return False
    if code == "overfitting":
        course = course_of(history)
        return course is not None and course.kind in ("learning", "level")
    if code == "truncation":
        return not any(s.truncated_rows for s in history.splits.values())
    if code == "accuracy_paradox":
        return _worst_recall(history.results[split]["tuned"]) >= FOUND
    if code == "class_imbalance":
        counts = _train_counts(history)
        return len(counts) > 1 and max(counts) <= EVEN * min(counts)
    if code == "worse_than_guessing":
        loss = history.results[split]["tuned"].metrics.get("loss")
        return loss is not None and loss.high < (history.random_loss or 0)
    return True


def _train_counts(history: History) -> list[int]:
    train = history.splits.get("train")
    return [n for n in train.labels.values() if n] if train else []


def _worst_recall(result: ModelResult) -> float:
    table = result.per_class or {}
    return min((row.recall for row in table.values() if row.support), default=0.0)


def _name(code: str) -> str:
    entry = explain(code)
    title, meaning = entry.title, entry.meaning.removesuffix(".")
    return f"{title[0].upper()}{title[1:]}: {meaning[0].lower()}{meaning[1:]}"


def _why(findings: list[Finding]) -> str:
    first = findings[0]
    more = ", ".join(dict.fromkeys(f.code for f in findings[1:] if f.code != first.code))
    sentences = [first.message, first.remedy, f"Found as well: {more}" if more else ""]
    return " ".join(f"{part.rstrip('.')}." for part in sentences if part)


def _facts(history: History, split: str) -> Iterator[str]:
    """The numbers that the rules look at, whether or not one of them fired."""
    result = history.results[split]["tuned"]
    yield f"Judged on {format_count(result.n, 'row')} of {split}."
    if history.leakage:
        yield from _shared_rows(history, history.leakage)
    yield from _label_facts(history, result)
    yield from _loss_facts(history, result)
    lossy = {
        name: s
        for name, s in history.splits.items()
        if s.truncated_rows or s.unscored_rows or s.rows_without_eos
    }
    if history.splits and not lossy:
        yield "No row of any split was cut, and each can be scored to its end."
    for name, s in lossy.items():
        yield (
            f"Of {s.rows:,} {name} rows {s.truncated_rows:,} were truncated, {s.unscored_rows:,} "
            f"have no scored tokens, {s.rows_without_eos:,} do not score their end."
        )


def _shared_rows(history: History, x: LeakageFound) -> Iterator[str]:
    if was_compared(x.splits or list(history.splits)):
        yield (
            f"Rows shared between splits: {x.exact:,} exactly, {x.near:,} nearly, {x.ngram:,} by "
            f"13 words in a row; {x.conflicting_labels:,} with two labels."
        )
    else:
        yield f"{NOT_COMPARED[0].upper()}{NOT_COMPARED[1:]}."


def _measured(findings: list[Finding]) -> Iterator[str]:
    """The evidence of a finding that no fact states: its numbers, without its name."""
    for f in findings:
        numbers = {
            name.replace("_", " "): value
            for name, value in f.evidence.items()
            if f.code not in POOL and isinstance(value, int | float) and math.isfinite(value)
        }
        if numbers:
            listed = ", ".join(f"{name} {value:,.4g}" for name, value in numbers.items())
            yield f"Measured as well: {listed}."


def _label_facts(history: History, result: ModelResult) -> Iterator[str]:
    counts = _train_counts(history)
    if len(counts) > 1:
        most, least = max(counts), min(counts)
        yield f"Train has {most:,} rows of its largest label, {least:,} of its smallest."
    table = {k: row for k, row in (result.per_class or {}).items() if row.support}
    if table:
        worst = min(table, key=lambda label: table[label].recall)
        share, rows = format_value("recall", table[worst].recall), table[worst].support
        accuracy = format_value("accuracy", metric_value(result, "accuracy"))
        yield f'Accuracy {accuracy}; found least: "{worst}", {share} of its {rows:,} rows.'


def _loss_facts(history: History, result: ModelResult) -> Iterator[str]:
    if course := course_of(history):
        best, last = course.best, course.epochs[-1]
        yield (
            f"Validation loss: lowest {best.validation_loss:.3f} (epoch {best.epoch}), at the end "
            f"{last.validation_loss:.3f}; training loss then {best.train_loss:.3f} and "
            f"{last.train_loss:.3f}."
        )
    loss = metric_value(result, "loss")
    if history.task_type.writes and loss is not None and history.random_loss is not None:
        yield f"Loss {loss:.3f}; random guessing {history.random_loss:.3f}."
