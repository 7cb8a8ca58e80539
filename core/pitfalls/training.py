"""What the losses of training and validation tell: too much, too little, or nothing learnt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ..history import History
from ..reporting.numbers import format_count
from .case import Case, Finding, Look

RISE = 0.02  # of the least validation loss: a smaller rise is not called overfitting
GAIN = 0.005  # of a loss: a smaller fall between evaluations is no gain
FALL = 0.02  # of a loss: so much a fall in the last epoch, and training was still under way
LEVEL_EVALUATIONS = 3  # without a gain after the best one, to speak of a plateau
WINDOWS = 500  # places at which a mean is taken
FEW_STEPS = 20  # fewer say nothing about a trend
CLIMB = 0.2  # of the lowest mean loss: more than noise, where it is also CERTAIN
CERTAIN = 4.0  # standard errors
NEAR_FLOOR = 0.95  # of the loss of knowing nothing: at or above, little was learnt


@dataclass(frozen=True)
class _Window:
    """Mean training loss over consecutive steps."""

    first: int  # place of its first step in the series
    last_step: int
    mean: float
    error: float  # standard error of the mean


def _windows(history: History) -> list[_Window]:
    """Means over a tenth of the steps, sliding; empty for few steps and losses not finite.

    The first and the last are at the ends of the series, at most `WINDOWS` more between them.
    """
    loss, step = history.steps.loss, history.steps.step
    n = len(loss)
    if n < FEW_STEPS or not all(map(math.isfinite, loss)):
        return []
    k = max(5, n // 10)
    sums = [0.0, *accumulate(loss)]
    squares = [0.0, *accumulate(x * x for x in loss)]
    found = []
    for i in [*range(0, n - k, max(1, (n - k) // WINDOWS)), n - k]:
        mean = (sums[i + k] - sums[i]) / k
        variance = max(0.0, (squares[i + k] - squares[i]) / k - mean * mean)
        found.append(_Window(i, step[i + k - 1], mean, math.sqrt(variance / (k - 1))))
    return found


def _rose(low: _Window, high: _Window) -> bool:
    """By more than a share of the loss, and by more than its noise."""
    error = math.hypot(low.error, high.error)
    rise = high.mean - low.mean
    return rise > CLIMB * low.mean and rise > CERTAIN * error


def _validation(history: History) -> list[tuple[int, float, float]]:
    """(step, epoch, loss) of each evaluation; empty where one is not finite."""
    series = [
        (e.step, e.epoch, e.loss_sum / e.loss_count)
        for e in history.validation_series()
        if e.loss_count
    ]
    return series if all(math.isfinite(loss) for _, _, loss in series) else []


def _overfitting(case: Case) -> Iterator[Finding]:
    history, series = case.history, _validation(case.history)
    if len(series) < 3:
        return
    best = min(range(len(series)), key=lambda i: series[i][2])
    step, epoch, least = series[best]
    rise = series[-1][2] - least
    if best == len(series) - 1 or rise <= RISE * least or not _train_loss_fell(history):
        return
    kept = history.best_step
    saved = kept is not None and kept <= step
    yield Finding(
        "overfitting",
        "info" if saved else "warning",
        f"overfitting since epoch {series[best + 1][1]:.3g}: validation loss rose from {least:.3f} "
        f"(epoch {epoch:.3g}, step {step:,}) to {series[-1][2]:.3f} while training loss fell"
        + _which_was_kept(history),
        {"step": step, "epoch": epoch, "rise": rise, "kept_step": kept},
        remedy="" if saved else "Fewer epochs, early stopping, or more data",
    )


def _which_was_kept(history: History) -> str:
    kept = history.best_step
    return "" if kept is None else f"; the checkpoint of step {kept:,} was kept"


def _train_loss_fell(history: History) -> bool:
    told = [e.train_loss for e in history.epochs if math.isfinite(e.train_loss)]
    return len(told) < 2 or told[-1] < told[0]


def _underfitting(case: Case) -> Iterator[Finding]:
    """Little learnt by the end, or ended while both losses still fell."""
    epochs = [e for e in case.history.epochs if math.isfinite(e.train_loss)]
    if case.history.ended is None or not epochs:
        return
    loss, floor = epochs[-1].train_loss, _floor(case)
    if floor and loss >= NEAR_FLOOR * floor[0] and not _hardly_moved(case.history):
        yield Finding(
            "underfitting",
            "warning",
            f"in its last epoch the training loss is {loss:.3f}, and {floor[1]} has "
            f"{floor[0]:.3f}: the model has learnt little",
            {"train_loss": loss, "floor": floor[0]},
            remedy="Train longer, raise train.learning_rate, or take a larger base",
        )
    elif len(epochs) > 1 and case.history.ended.reason == "completed":
        yield from _still_falling([e.train_loss for e in epochs], _validation(case.history))


def _still_falling(
    train: Sequence[float], validation: list[tuple[int, float, float]]
) -> Iterator[Finding]:
    if len(validation) < 2:
        return
    losses = [loss for _, _, loss in validation]
    fell_train, fell = 1 - train[-1] / train[-2], 1 - losses[-1] / losses[-2]
    if fell_train < FALL or fell < FALL or losses[-1] > min(losses):
        return
    yield Finding(
        "underfitting",
        "info",
        f"both losses were still falling when training ended: training loss by "
        f"{fell_train * 100:.0f} % in the last epoch (to {train[-1]:.3f}), validation loss by "
        f"{fell * 100:.0f} % since the evaluation before (to {losses[-1]:.3f})",
        {"train_fall": fell_train, "validation_fall": fell, "validation_loss": losses[-1]},
        remedy="Raise train.epochs: more is likely to be gained",
    )


def _floor(case: Case) -> tuple[float, str] | None:
    """The loss of knowing nothing of the input, in nats, and what has it."""
    if not case.is_classification:
        guess = case.history.random_loss
        return None if guess is None else (guess, "guessing tokens at random (ln V)")
    counts = case.train_labels()
    total = sum(counts.values())
    if len(counts) < 2:
        return None
    entropy = -sum(n / total * math.log(n / total) for n in counts.values())
    return entropy, "always answering with the labels' shares of train"


def _hardly_moved(history: History) -> bool:
    windows = _windows(history)
    if not windows:
        return False
    first, last = windows[0], windows[-1]
    return abs(first.mean - last.mean) < FALL * first.mean


def _nothing_learnt(case: Case) -> Iterator[Finding]:
    if case.history.ended is None or not _hardly_moved(case.history):
        return
    first, *_, last = _windows(case.history)
    peak = max(case.history.steps.learning_rate)
    yield Finding(
        "loss_never_fell",
        "warning",
        f"training loss was {first.mean:.3f} over the steps up to {first.last_step:,} and "
        f"{last.mean:.3f} over the last ones: training changed next to nothing",
        {"first": first.mean, "last": last.mean, "learning_rate": peak},
        remedy=f"Raise train.learning_rate (it was {peak:.3g} at its peak), and check the labels",
    )


def _plateau(case: Case) -> Iterator[Finding]:
    """No gain since an evaluation, and no rise either: that would be overfitting."""
    series = _validation(case.history)
    losses = [loss for _, _, loss in series]
    since = _level_since(losses)
    if since is None:
        return
    step, epoch, level = series[since]
    yield Finding(
        "loss_plateau",
        "info",
        f"validation loss no longer improves since epoch {epoch:.2g} (step {step:,}): {level:.3f} "
        f"then, {losses[-1]:.3f} at the end, {len(losses) - 1 - since:,} evaluations later",
        {"step": step, "epoch": epoch, "loss": level, "last": losses[-1]},
        remedy="Fewer epochs would have done; a gain takes other data, settings or another base",
    )


def _level_since(losses: Sequence[float]) -> int | None:
    """The first evaluation after step 0 that no later one leaves; None where that is a late one."""
    for i in range(1, len(losses) - LEVEL_EVALUATIONS):
        low, high = losses[i] * (1 - GAIN), losses[i] * (1 + RISE)
        if all(low <= later <= high for later in losses[i + 1 :]):
            return i
    return None


def _unsteady(case: Case) -> Iterator[Finding]:
    """Divergence, and a loss that rises from its first steps on."""
    windows = _windows(case.history)
    if not windows:
        return
    steps, low, last = len(case.history.steps), min(windows, key=lambda w: w.mean), windows[-1]
    early = [w for w in windows if w.first <= steps // 2]
    peak, rate = max(early, key=lambda w: w.mean), max(case.history.steps.learning_rate)
    from_start = low.first <= steps // 10
    if _rose(low, last) and not from_start:
        yield Finding(
            "loss_diverged",
            "warning",
            f"training loss fell to {low.mean:.3f} by step {low.last_step:,} and then rose to "
            f"{last.mean:.3f} at the end: training diverged" + _which_was_kept(case.history),
            {"lowest": low.mean, "step": low.last_step, "last": last.mean},
            remedy="Lower train.learning_rate, or stop earlier",
        )
    elif _rose(windows[0], peak):
        recovered = last.mean < windows[0].mean
        yield Finding(
            "learning_rate_too_high",
            "info" if recovered else "warning",
            f"training loss rose at once, from {windows[0].mean:.3f} over the steps up to "
            f"{windows[0].last_step:,} to {peak.mean:.3f} by step {peak.last_step:,}, "
            f"and ended at {last.mean:.3f}: a learning rate of {rate:.3g} is too high for a start",
            {"first": windows[0].mean, "peak": peak.mean, "last": last.mean, "learning_rate": rate},
            remedy="Lower train.learning_rate, or raise train.warmup_ratio",
        )


def _not_finite(case: Case) -> Iterator[Finding]:
    steps = case.history.steps
    if skipped := steps.skipped:
        yield Finding(
            "steps_skipped",
            "warning",
            f"{skipped:,} of {len(steps):,} steps made no update: gradient not finite",
            {"skipped": skipped, "steps": len(steps)},
            remedy="Lower train.learning_rate, or train in float32",
        )
    bad = [s for s, x in zip(steps.step, steps.loss, strict=True) if not math.isfinite(x)]
    if bad:
        yield Finding(
            "loss_not_finite",
            "error",
            f"training loss is not a finite number from step {bad[0]:,} on "
            f"({format_count(len(bad), 'step')})",
            {"first_step": bad[0], "steps": len(bad)},
            remedy="Lower train.learning_rate, or train in float32",
        )


LOOKS: tuple[Look, ...] = (
    _overfitting,
    _underfitting,
    _nothing_learnt,
    _plateau,
    _unsteady,
    _not_finite,
)
