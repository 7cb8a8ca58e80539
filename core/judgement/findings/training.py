"""What the losses of training and validation show: too much, too little, or nothing learnt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

from ...run.history import NOISE_ERRORS, History
from ...wording.numbers import format_count
from ..live import between, fell, hardly_moved, training_fell, windows
from .case import Case, Finding, pitfall
from .course import (
    diverged,
    ended_near_floor,
    learn_more,
    rose,
    steadier,
    training,
    unit,
)

LITTLE_LEFT = 0.02  # of the loss of knowing nothing: from there no fall can be asked for
LEVEL_AFTER = 3  # evaluations that are level with an earlier one, to speak of a plateau
FALSE_RISE = 0.01  # chance that the lowest of many equal evaluations lies this far below the last


@dataclass(frozen=True)
class Point:
    """The tuned model on validation at one step."""

    step: int
    epoch: float
    loss: float


def _validation(history: History) -> list[Point]:
    """Empty where a loss is not finite."""
    series = [
        Point(e.step, e.epoch, e.loss_sum / e.loss_count)
        for e in history.validation_series()
        if e.loss_count
    ]
    return series if all(math.isfinite(p.loss) for p in series) else []


@pitfall(
    "overfitting",
    see=("loss", "early stopping", "checkpoint", "ece", "underfitting"),
    aliases=("overfit",),
)
def _overfitting(case: Case) -> Iterator[Finding]:
    """Validation loss rises from some epoch on while training loss keeps falling.

    From there the model learns the training rows by heart instead of what they have in common. The
    finding says since which epoch, by how much, and which checkpoint was kept: if that one is from
    before the rise, no harm is done. Otherwise train for fewer epochs, stop early, or get more
    data.

    Trap: Accuracy may keep rising while loss rises, because few but very sure mistakes grow costly:
    then calibration suffers first.
    """
    # Validation loss at the end is shown above its lowest, since when training loss fell.
    history, series = case.history, _validation(case.history)
    if len(series) < 3:
        return
    best, last = min(series, key=lambda p: p.loss), series[-1]
    change = history.change(best.step, last.step)
    if change is None or change.difference <= _clear_rise(len(series)) * change.standard_error:
        return
    if not training_fell(history, best.step):
        return
    kept = history.best_step
    saved = kept is not None and kept <= best.step
    since = _risen_since(history, series, best)
    yield Finding(
        "overfitting",
        "info" if saved else "warning",
        f"overfitting since epoch {since.epoch:.3g}: validation loss rose from {best.loss:.3f} "
        f"(epoch {best.epoch:.3g}, step {best.step:,}) to {last.loss:.3f} while training loss fell"
        + _which_was_kept(history),
        {"step": best.step, "epoch": best.epoch, "rise": change.difference, "kept_step": kept}
        | {"standard_error": change.standard_error},
        remedy="" if saved else "Fewer epochs, early stopping, or more data",
    )


def _clear_rise(evaluations: int) -> float:
    """Standard errors beyond which the lowest of so many is no accident (Bonferroni)."""
    return max(NOISE_ERRORS, NormalDist().inv_cdf(1 - FALSE_RISE / max(1, evaluations - 1)))


def _risen_since(history: History, series: list[Point], best: Point) -> Point:
    """The first evaluation after the lowest from which none is level with it again."""
    since = series[-1]
    for point in reversed(series[series.index(best) + 1 :]):
        change = history.change(best.step, point.step)
        if change is None or change.level:
            break
        since = point
    return since


def _which_was_kept(history: History) -> str:
    kept = history.best_step
    return "" if kept is None else f"; the checkpoint of step {kept:,} was kept"


@pitfall(
    "underfitting",
    see=("loss", "overfitting", "learning rate", "loss_never_fell"),
    aliases=("underfit",),
)
def _underfitting(case: Case) -> Iterator[Finding]:
    """The model has learnt little, or was stopped while both losses were still falling.

    Either the training loss ends about where knowing nothing of the input would put it, or the last
    epoch still brought a clear gain on validation. More epochs or a higher learning rate are cheap
    to try; if nothing moves, the base is too small or the labels do not follow from the text.

    Trap: A poor score on test is no proof of it: if training loss is low, the trouble is
    overfitting or different data, and training longer makes it worse.
    """
    # Little learnt by the end, or ended while both losses still fell.
    history = case.history
    epochs = [e for e in history.epochs if math.isfinite(e.train_loss)]
    if history.ended is None or not epochs or training(case).diverged:
        return
    weighted = case.config is not None and case.config.train.class_weights is not None
    near = None if weighted else ended_near_floor(case)  # another loss than that of the floor
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
        yield from _still_falling(history)


def _still_falling(history: History) -> Iterator[Finding]:
    series, ends = _validation(history), [-1, *(e.step for e in history.epochs)]
    if len(series) < 2 or len(ends) < 3:
        return
    before, last = series[-2:]
    change = history.change(before.step, last.step)
    train = [between(history, *pair) for pair in pairwise(ends)][-2:]
    if change is None or change.level or change.difference > 0 or not fell(*train):
        return
    assert train[0] is not None  # it fell from somewhere
    assert train[1] is not None
    if last.loss > min(p.loss for p in series):
        return
    yield Finding(
        "underfitting",
        "info",
        f"both losses were still falling when training ended: training loss from "
        f"{train[0].mean:.3f} to {train[1].mean:.3f} in the last epoch, validation loss from "
        f"{before.loss:.3f} to {last.loss:.3f} since the evaluation before",
        {"train_fall": train[0].mean - train[1].mean, "validation_fall": -change.difference}
        | {"standard_error": change.standard_error, "validation_loss": last.loss},
        remedy="Raise train.epochs: more is likely to be gained",
    )


@pitfall(
    "loss_never_fell",
    title="training loss never fell",
    see=("ln V", "learning rate", "underfitting", "masking"),
)
def _nothing_learnt(case: Case) -> Iterator[Finding]:
    """Training loss at the end is what it was at the beginning.

    Nothing was learnt. Usual causes in order: the learning rate is far too low, the layers that
    should train are frozen, labels are shuffled against texts, or the scored tokens are masked
    away. Overfit ten rows on purpose: if even that fails, something is broken.

    Trap: A classifier at 0.693 nats looks like a small loss; with two labels it is ln 2, which is
    coin tossing.
    """
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
        {"first": first.mean, "last": last.mean, "learning_rate": history.steps.peak_rate},
        remedy=learn_more(case, "", "and check that the labels follow from the texts"),
    )


@pitfall(
    "loss_plateau",
    title="loss no longer improves",
    see=("early stopping", "overfitting", "learning rate", "epoch"),
    aliases=("plateau",),
)
def _plateau(case: Case) -> Iterator[Finding]:
    """Validation loss has been level for the last evaluations.

    What these data and settings can give has been reached; the steps after that only cost time.
    Harmless when the level is good. Shorten the run, or change something else: more or cleaner
    rows, another base, a different learning rate.

    Trap: A plateau of the loss early in warm-up, or between two drops of the learning rate, is a
    pause and not the end.
    """
    # What was gained was gained early: every later evaluation is level with an earlier one.
    series = _validation(case.history)
    since = _level_since(case.history, series)
    if since is None:
        return
    point, last = series[since], series[-1]
    yield Finding(
        "loss_plateau",
        "info",
        f"validation loss is level since epoch {point.epoch:.2g} (step {point.step:,}): "
        f"{point.loss:.3f} then, {last.loss:.3f} at the end, {len(series) - 1 - since:,} "
        "evaluations later; what lies between is noise",
        {"step": point.step, "epoch": point.epoch, "loss": point.loss, "last": last.loss},
        remedy="Fewer epochs would have done; a gain takes other data, settings or another base",
    )


def _level_since(history: History, series: Sequence[Point]) -> int | None:
    """The first evaluation that gained on step 0 and that no later one leaves; else None."""
    for i in range(1, len(series) - LEVEL_AFTER):
        gained = history.change(series[0].step, series[i].step)
        if gained is None or gained.level or gained.difference > 0:
            continue
        later = [history.change(series[i].step, p.step) for p in series[i + 1 :]]
        known = [change for change in later if change is not None]
        if len(known) >= LEVEL_AFTER and later[-1] and all(change.level for change in known):
            return i
    return None


@pitfall(
    "loss_diverged",
    title="training diverged",
    see=("learning rate", "gradient norm", "loss_not_finite", "learning_rate_too_high"),
    aliases=("diverging", "divergence"),
)
@pitfall(
    "learning_rate_too_high",
    title="learning rate too high at the start",
    see=("learning rate", "warm-up", "forgetting", "loss_diverged"),
    words="""
    Training loss rose at once instead of falling.

    The first updates were so large that they undid part of what the base knew. If the loss later
    fell below its beginning, the run recovered and the finding is only a hint; if not, start again
    with a third of the rate or a longer warm-up. Fine-tuning usually wants 1e-5 to 5e-5, adapters
    ten times that.

    Trap: The run may end well in its own metric and have paid with what the base could do
    elsewhere: see forgetting.
    """,
)
def _unsteady(case: Case) -> Iterator[Finding]:
    """Training loss rose for good: beyond its noise, and by more than a trifle of what guessing
    gives.

    Updates have become larger than the region in which they make sense; the weights wander off. The
    kept checkpoint may be from before. Lower the learning rate, lengthen warm-up, keep gradient
    clipping on; in low precision look at the gradient norm as well.

    Trap: A single spike that recovers is not divergence: look at the mean of many steps, not at the
    worst one.
    """
    # Divergence, and a loss that rises from its first steps on.
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
        recovered, rate = last.mean < first.mean, case.history.steps.peak_rate
        yield Finding(
            "learning_rate_too_high",
            "info" if recovered else "warning",
            f"training loss rose at once, from {first.mean:.3f} over the steps up to "
            f"{first.last_step:,} to {peak.mean:.3f} by step {peak.last_step:,}, "
            f"and ended at {last.mean:.3f}: a learning rate of {rate:.3g} is too high for a start",
            {"first": first.mean, "peak": peak.mean, "last": last.mean, "learning_rate": rate},
            remedy=steadier(case),
        )


@pitfall(
    "steps_skipped",
    title="steps skipped",
    see=("gradient norm", "loss_not_finite", "dtype"),
)
@pitfall(
    "loss_not_finite",
    title="loss not finite",
    see=("steps_skipped", "loss_diverged", "dtype", "gradient norm"),
    aliases=("nan loss", "loss is nan"),
    words="""
    The training loss became infinite or not a number at some step.

    From that step on the figure says nothing, and if an update was made the weights are spoilt. It
    is shown as what it is and never left out of a mean. The first such step is named: take a
    checkpoint from before it, lower the learning rate, train in float32, and look at the rows of
    that step.

    Trap: Tools that drop such values from the average show a healthy curve for a dead run.
    """,
)
def _not_finite(case: Case) -> Iterator[Finding]:
    """Some optimizer steps made no update because the gradient was infinite or not a number.

    A few at the start of a half-precision run are ordinary. Many, or clusters late in training,
    mean that numbers overflow: lower the learning rate or train in float32. The schedule went on
    all the same, so a run with many skips had less training than its steps say.

    Trap: The loss curve hides them: it is drawn for the forward pass, which was fine.
    """
    steps = case.history.steps
    if skipped := steps.skipped:
        yield Finding(
            "steps_skipped",
            "warning",
            f"{skipped:,} of {len(steps):,} steps made no update: gradient not finite",
            {"skipped": skipped, "steps": len(steps)},
            remedy=f"{steadier(case)}, or train in float32",
        )
    if bad := steps.lost():
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
    if history.steps.lost()[-1] < history.step:
        return False
    kept = history.best_step
    return kept is None or kept >= first_bad
