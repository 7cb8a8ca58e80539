"""How training went, and what a remedy can advise after it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..live import FEW_STEPS, Window, hardly_moved, windows
from .case import Case

CLIMB = 0.2  # of the lowest mean loss
LEAST_RISE = 0.02  # of the loss of knowing nothing: a smaller rise is none, however sure
GROSS = 2.0  # times that loss: so large a rise needs no test
CERTAIN = 4.0  # standard errors
NEAR_FLOOR = 0.95  # of the loss of knowing nothing: at or above, little was learnt


def floor(case: Case) -> tuple[float, str] | None:
    """The loss of knowing nothing of the input, in nats, and what has it."""
    if case.task.writes:
        guess = case.history.random_loss
        return None if guess is None else (guess, "guessing tokens at random (ln V)")
    counts = case.train_labels()
    total = sum(counts.values())
    if case.task.gives_sets:
        return _floor_of_sets(case, counts)
    if len(counts) < 2:
        return None
    # what a constant answer of the labels' shares costs per row: their entropy, in nats
    entropy = -sum(n / total * math.log(n / total) for n in counts.values())
    return entropy, "always answering with the labels' shares of train"


def _floor_of_sets(case: Case, counts: Mapping[str, int]) -> tuple[float, str] | None:
    """Where rows have several labels: the mean over the labels of the entropy of their shares."""
    train, labels = case.history.splits.get("train"), case.history.labels
    if train is None or not train.rows or not labels:
        return None
    shares = [counts.get(label, 0) / train.rows for label in labels]
    nats = [-sum(p * math.log(p) for p in (x, 1 - x) if p > 0) for x in shares]
    return sum(nats) / len(nats), "always answering with the labels' shares of train"


def unit(case: Case) -> float:
    """What a rise is measured by, besides the loss itself: the loss of knowing nothing, in nats."""
    known = floor(case)
    guess = known[0] if known else case.history.random_loss
    return guess or 1.0


def rose(case: Case, low: Window, high: Window) -> bool:
    """By more than a share of the loss, by more than a share of the floor, and beyond noise."""
    rise, known = high.mean - low.mean, unit(case)
    if rise <= CLIMB * low.mean or rise <= LEAST_RISE * known:
        return False
    return rise > CERTAIN * math.hypot(low.error, high.error) or rise > GROSS * known


def diverged(case: Case) -> tuple[Window, Window] | None:
    """The lowest mean of the training loss and the last one, where it rose between them for good.

    A loss that only rose from its start and came to rest where knowing nothing would put it is not
    meant: that is a rate too high for a start.
    """
    found = windows(case.history)
    if not found:
        return None
    low, last = min(found, key=lambda w: w.mean), found[-1]
    if not rose(case, low, last):
        return None
    # the lowest mean is that of the first tenth: nothing had been learnt that could be lost
    from_start = low.first <= len(case.history.steps) // 10
    gross = last.mean - low.mean > GROSS * unit(case)
    return (low, last) if gross or not from_start else None


def ended_near_floor(case: Case) -> tuple[float, float, str] | None:
    """Training loss of the last epoch, that of knowing nothing and its name, where near."""
    losses = [e.train_loss for e in case.history.epochs if math.isfinite(e.train_loss)]
    known = floor(case)
    if not losses or known is None or losses[-1] < NEAR_FLOOR * known[0]:
        return None
    return losses[-1], *known


def learnt_nothing(case: Case) -> bool:
    """It hardly moved, or ended where knowing nothing of the input would."""
    return hardly_moved(case.history) or ended_near_floor(case) is not None


@dataclass(frozen=True)
class Training:
    """What a remedy must know of a run before it advises anything."""

    trains: bool
    adapter: bool
    diverged: bool
    learnt: bool
    steps: int
    rate: float  # at its peak; NaN where no step was made


def training(case: Case) -> Training:
    """How the run was trained, and with what success."""
    history = case.history
    steps, lost = len(history.steps), history.steps.lost()
    gone = diverged(case) is not None or lost[-1:] == [history.step]
    return Training(
        trains=case.trains,
        adapter=case.adapter,
        diverged=gone,
        learnt=steps >= FEW_STEPS and not learnt_nothing(case),
        steps=steps,
        rate=history.steps.peak_rate,
    )


def learn_more(case: Case, otherwise: str, also: str = "") -> str:
    """For a model that knows too little; `otherwise` where nothing was trained."""
    run = training(case)
    if not run.trains:
        return otherwise
    if run.diverged:
        return _gentler(run)
    return f"Raise train.learning_rate{_was(run)} or train.epochs" + (f", {also}" if also else "")


def learn_less(case: Case, otherwise: str) -> str:
    """For a model that was changed too much."""
    run = training(case)
    if not run.trains:
        return otherwise
    adapter = "" if run.adapter else ", or train a low-rank adapter (model.adapter)"
    return f"Lower train.learning_rate{_was(run)} or train.epochs{adapter}"


def steadier(case: Case) -> str:
    """For training that ran out of control."""
    return _gentler(training(case))


def for_label(case: Case, label: str, metric: str) -> str:
    """For one label that the model fails to find."""
    run = training(case)
    judge = f'Judge by {metric} of "{label}" or macro F1'
    if not run.trains:
        return f"{judge}; choose its threshold on validation, or take another model"
    if run.diverged:
        return f"{judge}; {_lowered(_gentler(run))}"
    if not run.learnt:
        return f"{judge}; raise train.learning_rate{_was(run)} or train.epochs first"
    return f"{judge}; choose a threshold on validation, or give the label more rows of train"


def _gentler(run: Training) -> str:
    return f"Lower train.learning_rate{_was(run)}, or raise train.warmup_ratio"


def _was(run: Training) -> str:
    return "" if math.isnan(run.rate) else f" (it was {run.rate:.3g} at its peak)"


def _lowered(text: str) -> str:
    return text[0].lower() + text[1:]
