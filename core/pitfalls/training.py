"""What the losses of training and validation tell: too much, too little, or nothing learnt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..history import History
from ..reporting.numbers import format_count
from .case import Case, Finding, Look
from .course import (
    diverged,
    ended_near_floor,
    hardly_moved,
    rose,
    training,
    training_fell,
    unit,
    windows,
)
from .remedies import learn_more, steadier

RISE = 0.02  # of the least validation loss: a smaller rise is not called overfitting
GAIN = 0.005  # of a loss: a smaller fall between evaluations is no gain
FALL = 0.02  # of a loss: so much a fall in the last epoch, and training was still under way
LITTLE_LEFT = 0.02  # of the loss of knowing nothing: from there no fall can be asked for
LEVEL_EVALUATIONS = 3  # without a gain after the best one, to speak of a plateau


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
    if best == len(series) - 1 or rise <= RISE * least or not training_fell(history, step):
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


def _underfitting(case: Case) -> Iterator[Finding]:
    """Little learnt by the end, or ended while both losses still fell."""
    history = case.history
    epochs = [e for e in history.epochs if math.isfinite(e.train_loss)]
    if history.ended is None or not epochs or training(case).diverged:
        return
    near = ended_near_floor(case)
    if near and not hardly_moved(history):
        loss, least, what = near
        yield Finding(
            "underfitting",
            "warning",
            f"in its last epoch the training loss is {loss:.3f}, and {what} has {least:.3f}: the "
            "model has learnt little",
            {"train_loss": loss, "floor": least},
            remedy=learn_more(case, "", "or take a larger base"),
        )
    elif len(epochs) > 1 and history.ended.reason == "completed":
        yield from _still_falling([e.train_loss for e in epochs], _validation(history))


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


def _nothing_learnt(case: Case) -> Iterator[Finding]:
    history = case.history
    if history.ended is None or not hardly_moved(history):
        return
    first, *_, last = windows(history)
    if first.mean < LITTLE_LEFT * unit(case):
        return
    yield Finding(
        "loss_never_fell",
        "warning",
        f"training loss was {first.mean:.3f} over the steps up to {first.last_step:,} and "
        f"{last.mean:.3f} over the last ones: training changed next to nothing",
        {"first": first.mean, "last": last.mean, "learning_rate": max(history.steps.learning_rate)},
        remedy=learn_more(case, "", "and check that the labels follow from the texts"),
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
    found = windows(case.history)
    if not found:
        return
    if gone := diverged(case):
        low, last = gone
        yield Finding(
            "loss_diverged",
            "warning",
            f"training loss rose from {low.mean:.3f} (step {low.last_step:,}) to {last.mean:.3f} "
            "at the end: training diverged" + _which_was_kept(case.history),
            {"lowest": low.mean, "step": low.last_step, "last": last.mean, "floor": unit(case)},
            remedy=steadier(case),
        )
        return
    steps, first, last = len(case.history.steps), found[0], found[-1]
    peak = max((w for w in found if w.first <= steps // 2), key=lambda w: w.mean)
    if rose(case, first, peak):
        recovered, rate = last.mean < first.mean, max(case.history.steps.learning_rate)
        yield Finding(
            "learning_rate_too_high",
            "info" if recovered else "warning",
            f"training loss rose at once, from {first.mean:.3f} over the steps up to "
            f"{first.last_step:,} to {peak.mean:.3f} by step {peak.last_step:,}, "
            f"and ended at {last.mean:.3f}: a learning rate of {rate:.3g} is too high for a start",
            {"first": first.mean, "peak": peak.mean, "last": last.mean, "learning_rate": rate},
            remedy=steadier(case),
        )


def _not_finite(case: Case) -> Iterator[Finding]:
    steps = case.history.steps
    if skipped := steps.skipped:
        yield Finding(
            "steps_skipped",
            "warning",
            f"{skipped:,} of {len(steps):,} steps made no update: gradient not finite",
            {"skipped": skipped, "steps": len(steps)},
            remedy=f"{steadier(case)}, or train in float32",
        )
    bad = [s for s, x in zip(steps.step, steps.loss, strict=True) if not math.isfinite(x)]
    if bad:
        yield Finding(
            "loss_not_finite",
            "error" if _is_spoilt(case.history, bad[0]) else "warning",
            f"training loss is not a finite number from step {bad[0]:,} on "
            f"({format_count(len(bad), 'step')}){_which_was_kept(case.history)}",
            {"first_step": bad[0], "steps": len(bad), "kept_step": case.history.best_step},
            remedy=f"{steadier(case)}, or train in float32",
        )


def _is_spoilt(history: History, first_bad: int) -> bool:
    """Whether the weights that are kept are from after the loss was lost for good."""
    if math.isfinite(history.steps.loss[-1]):
        return False
    kept = history.best_step
    return kept is None or kept >= first_bad


LOOKS: tuple[Look, ...] = (
    _overfitting,
    _underfitting,
    _nothing_learnt,
    _plateau,
    _unsteady,
    _not_finite,
)
