"""The quiz asks about this run: one choice is true of it, the others are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import story
from ftev.core.config.config import RunConfig
from ftev.core.errors import ConfigError
from ftev.core.judgement.findings import Finding, find
from ftev.core.judgement.verdict import judge
from ftev.core.metrics.results import Estimate
from ftev.core.report.glossary import explain, lookup
from ftev.core.report.quiz import (
    COUNT,
    NONE,
    Question,
    about_pitfalls,
    count_right,
    make_quiz,
    read_answers,
)
from ftev.core.report.quiz.questions import (
    ALONE,
    DECISIONS,
    SUBSTITUTES,
    TEXTS,
    about_changes,
    about_guessing,
    about_losses,
    about_shipping,
    course_of,
)
from ftev.core.run.events import (
    AnyEvent,
    Evaluated,
    LeakageFound,
    ResultsComputed,
    RunFinished,
    SplitPrepared,
    StepDone,
)
from ftev.core.run.history import History, fold, read_history
from ftev.core.run.runs import Run
from msgspec.structs import replace

SAMPLES = Path(__file__).parents[1] / "sample_runs"
TRAIN = (0.7, 0.5, 0.3)  # by epoch
RISING = (0.70, 0.50, 0.40, 0.45)
FALLING = (0.70, 0.50, 0.40, 0.30)
LEVEL = (0.70, 0.50, 0.40, 0.399)


def history_of(
    losses: tuple[float, ...] = RISING, train: tuple[float, float, float] = TRAIN
) -> History:
    """The story with other losses: validation from step 0 on, training by epoch."""
    events: list[AnyEvent] = []
    for e in story.whole():
        if isinstance(e, Evaluated) and e.split == "validation":
            upto = losses[: e.step // story.STEPS_PER_EPOCH + 1]
            changes = story.changes(upto)
            e = replace(e, loss_sum=upto[-1] * e.loss_count, changes=changes)
        elif isinstance(e, StepDone):
            epoch = (e.step - 1) // story.STEPS_PER_EPOCH
            e = replace(e, loss_sum=train[epoch] * e.loss_count)
        events.append(e)
    return fold(events)


def without(*kinds: type) -> History:
    return fold(e for e in story.whole() if not isinstance(e, kinds))


def right_text(q: Question | None) -> str:
    assert q is not None
    return q.choices[q.right]


def check(q: Question) -> None:
    """One right letter, choices that differ, an explanation, terms that exist."""
    assert q.right in q.choices
    assert list(q.choices) == list("abcdefgh"[: len(q.choices)])
    assert len(set(q.choices.values())) == len(q.choices) >= 3
    assert q.text.endswith("?")
    assert len(q.explanation) > 40
    assert q.see
    assert all(lookup(term) for term in q.see)


@pytest.mark.parametrize("task", ["classification", "generation"])
@pytest.mark.parametrize("seed", range(5))
def test_a_sample_run_gets_three_questions(task: str, seed: int) -> None:
    run = Run(SAMPLES / task)
    history = read_history(run)
    questions = make_quiz(history, run.config(), seed)
    assert len(questions) == COUNT
    assert {"ship", "pitfall"} <= {q.topic for q in questions}
    for q in questions:
        check(q)
    assert questions == make_quiz(history, run.config(), seed)


def test_seeds_move_the_right_answer() -> None:
    run = Run(SAMPLES / "classification")
    history, config = read_history(run), run.config()
    letters = {tuple(q.right for q in make_quiz(history, config, seed)) for seed in range(8)}
    assert len(letters) > 2


@pytest.mark.parametrize(
    ("losses", "train", "kind"),
    [
        (RISING, TRAIN, "overfits"),
        (FALLING, TRAIN, "learning"),
        (LEVEL, TRAIN, "level"),
        (RISING, (0.5, 0.4, 0.9), "unstable"),
    ],
)
def test_the_right_reading_of_the_losses_is_the_only_true_one(
    losses: tuple[float, ...], train: tuple[float, float, float], kind: str
) -> None:
    history = history_of(losses, train)
    q = about_losses(history, 0)
    assert q is not None
    check(q)
    assert right_text(q) == TEXTS[kind]
    course = course_of(history)
    assert course is not None
    first, before, last = (e.validation_loss for e in history.epochs)
    best, at_best = course.best.validation_loss, course.best.train_loss
    train_fell = history.epochs[-1].train_loss < at_best
    noise = 2 * story.STANDARD_ERROR
    true = {
        TEXTS["overfits"]: last > best + noise and train_fell,
        TEXTS["unstable"]: last > best + noise and not train_fell,
        TEXTS["learning"]: last < before - noise,
        TEXTS["level"]: before - noise <= last <= best + noise,
        ALONE: False,
    }
    assert [true[choice] for choice in q.choices.values()].count(True) == 1
    assert true[right_text(q)]
    assert f"{last:.3f}" in q.text
    assert f"{first:.3f}" in q.text


def test_losses_that_can_be_read_in_two_ways_are_not_asked_about() -> None:
    up_and_down = history_of((0.70, 0.30, 0.50, 0.40))  # above its lowest, and falling again
    assert about_losses(up_and_down, 0) is None
    level_train = history_of(RISING, (0.5, 0.5, 0.5))
    assert about_losses(level_train, 0) is None


def test_V10_a_run_without_row_by_row_changes_is_not_asked_about_noise() -> None:
    old = fold(replace(e, changes=[]) if isinstance(e, Evaluated) else e for e in story.whole())
    assert about_losses(old, 0) is None
    assert "loss" not in [q.topic for q in make_quiz(old, story.config())]


@pytest.mark.parametrize(
    ("target", "decision"), [(0.8, "ship"), (0.99, "hold"), (0.9, "no evidence")]
)
def test_whether_to_ship_is_what_the_verdict_says(target: float, decision: str) -> None:
    config = story.config(metric="accuracy", at_least=target)
    history = history_of()
    verdict = judge(history, config)
    assert verdict.decision == decision
    q = about_shipping(history, config, 3)
    assert q is not None
    check(q)
    assert right_text(q) == DECISIONS[verdict.decision]
    assert all(reason in q.explanation for reason in verdict.reasons)
    for conclusion in ("the whole interval", ": better", "more rows are needed"):
        assert conclusion not in q.text
    assert "90.0 %" in q.text


def leaking() -> History:
    events: list[Any] = [
        replace(e, exact=3, leaked={"test": 3}) if isinstance(e, LeakageFound) else e
        for e in story.whole()
    ]
    return fold(events)


def test_the_pitfall_is_the_gravest_finding_and_the_others_are_not_there() -> None:
    history = leaking()
    found = find(history)
    assert found[0].code == "leakage"
    for seed in range(10):
        q = about_pitfalls(history, found, seed)
        assert q is not None
        check(q)
        title = explain("leakage").title
        assert right_text(q).casefold().startswith(title)
        assert found[0].message in q.explanation
        codes = {f.code for f in found}
        for choice in q.choices.values():
            if choice not in (right_text(q), NONE):
                entry = lookup(choice.partition(":")[0])
                assert entry is not None
                assert entry.name not in codes


def test_the_evidence_of_the_pitfall_is_told_before_it_is_asked() -> None:
    found = [
        Finding("poorly_calibrated", "warning", "off by 9.4 %", {"ece": 0.0937, "null": 0.0458}),
        Finding("label_errors", "info", "8 suspect"),
        Finding("label_errors", "info", "5 suspect"),
    ]
    q = about_pitfalls(read_history(Run(SAMPLES / "classification")), found, 0)
    assert q is not None
    assert "Measured as well: ece 0.0937, null 0.0458." in q.text
    assert "calibrated" not in q.text
    assert right_text(q).startswith("Poorly calibrated")
    assert q.explanation.endswith("Found as well: label_errors.")
    assert q.see == ["poorly_calibrated", "label_errors"]


def test_a_run_without_findings_has_none() -> None:
    run = Run(SAMPLES / "classification")
    history = read_history(run)
    q = about_pitfalls(history, [], 0)
    assert right_text(q) == NONE
    assert q is not None
    assert "leakage" not in q.see or "Rows shared" in q.text


def test_a_pitfall_that_could_be_argued_is_not_offered() -> None:
    """One row cut is below the limit of the finding; a reader might still call it truncation."""
    cut = fold(
        replace(e, truncated_rows=1) if isinstance(e, SplitPrepared) else e for e in story.whole()
    )
    for seed in range(20):
        q = about_pitfalls(cut, [], seed)
        assert q is not None
        assert not any(c.startswith("Rows cut") for c in q.choices.values())
        assert not any(c.startswith("Overfitting") for c in q.choices.values())  # it does overfit


def with_loss(loss: float, half: float) -> History:
    history = history_of()
    estimate = Estimate(loss, loss - half, loss + half, "bootstrap")
    for model, r in history.results["test"].items():
        metrics = r.metrics | {"loss": estimate}
        history.results["test"][model] = replace(r, loss=loss, metrics=metrics)
    return history


def test_every_substitute_is_true_of_the_story() -> None:
    history = with_loss(0.4, 0.1)
    for make in SUBSTITUTES:
        q = make(history, 1)
        assert q is not None
        check(q)
    changes = about_changes(history, 0)
    assert "+14.5 points" in right_text(changes)  # (41 - 12) of 200
    guessing = about_guessing(history, 0)
    assert "1.3 times" in right_text(guessing)  # exp(ln 2 - 0.4)


def test_a_loss_above_guessing_is_called_so() -> None:
    q = about_guessing(with_loss(0.9, 0.1), 0)
    assert right_text(q).startswith("It is worse than guessing")
    assert not any("times the chance" in c for c in (q.choices.values() if q else ()))


def test_a_loss_that_may_be_that_of_guessing_is_not_asked_about() -> None:
    assert about_guessing(with_loss(0.65, 0.1), 0) is None  # ln 2 is 0.693


def test_a_run_that_lacks_epochs_gets_another_question() -> None:
    history = fold(
        e for e in story.whole() if type(e).__name__ not in ("EpochDone", "StepDone", "Evaluated")
    )
    questions = make_quiz(history, story.config())
    assert [q.topic for q in questions] == ["ship", "pitfall", "changes"]


def test_a_run_that_lost_its_configuration_is_not_asked_whether_to_ship() -> None:
    questions = make_quiz(history_of(), None)
    assert len(questions) == COUNT
    assert "ship" not in [q.topic for q in questions]


def test_a_run_without_results_is_asked_about_its_losses_alone() -> None:
    history = without(ResultsComputed, RunFinished)
    assert [q.topic for q in make_quiz(history, story.config())] == ["loss", "steps"]


def test_a_run_without_numbers_is_refused() -> None:
    config: RunConfig = story.config()
    with pytest.raises(ConfigError, match="no numbers to ask about"):
        make_quiz(fold(story.beginning()[:5]), config)


def test_answers_are_checked_all_at_once() -> None:
    questions = make_quiz(history_of(), story.config())
    right = ",".join(q.right.upper() for q in questions)
    assert count_right(questions, read_answers(right, questions)) == 3
    with pytest.raises(ConfigError) as caught:
        read_answers("z,q", questions)
    assert len(caught.value.faults) == 3
