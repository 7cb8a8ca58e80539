"""Three questions about a run's own numbers, each with one true answer, and why it is true.

What the falling loss says, whether to ship, which pitfall is here. A run that lacks what one of
them needs gets another question. The same run and seed give the same quiz.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...config.config import RunConfig
from ...errors import ConfigError, Fault
from ...judgement.findings import Finding, find
from ...run.history import History
from .pitfalls import about_pitfalls
from .questions import LETTERS, SUBSTITUTES, Question, about_losses, about_shipping

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
