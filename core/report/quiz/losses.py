"""What does the falling loss say: training against validation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...judgement.findings.course import training_fell
from ...run.history import Change, Epoch, History
from .question import Question, ask

TEXTS = {
    "overfits": "It learns its training rows by heart by now: on rows it was not trained on, the "
    "loss ends above its lowest by more than noise, and training loss fell since then",
    "learning": "It was still learning what carries over: in the last epoch alone the loss on rows "
    "it was not trained on fell by more than noise",
    "level": "It has got what these rows can show: on rows it was not trained on, the last epoch "
    "and the distance from the lowest loss are both within noise",
    "unstable": "Training is unsteady: the loss rose beyond noise both on the rows it was trained "
    "on and on the others",
}
ALONE = "The fall of the training loss by itself proves that the model became better on new rows"
SEE = {
    "overfits": ["overfitting", "early stopping", "checkpoint"],
    "learning": ["loss", "underfitting", "epoch"],
    "level": ["loss_plateau", "loss", "early stopping"],
    "unstable": ["loss_diverged", "learning rate"],
}


@dataclass(frozen=True)
class Course:
    """Both losses by epoch, each finite, and what the one rule of noise says of them (V10)."""

    epochs: list[Epoch]
    kind: str
    from_best: Change | None  # None where the last epoch has the lowest loss
    in_last: Change

    @property
    def best(self) -> Epoch:
        return min(self.epochs, key=lambda e: e.validation_loss)


def course_of(history: History) -> Course | None:
    """None for fewer than two epochs, a loss that is not finite, or changes that say two things."""
    epochs = list(history.epochs)
    finite = [math.isfinite(e.train_loss) and math.isfinite(e.validation_loss) for e in epochs]
    if len(epochs) < 2 or not all(finite):
        return None
    last, best = epochs[-1], min(epochs, key=lambda e: e.validation_loss)
    in_last = history.change(epochs[-2].step, last.step)
    from_best = history.change(best.step, last.step)
    if in_last is None or (from_best is None and best is not last):
        return None
    kind = _kind(history, best, in_last, from_best)
    return Course(epochs, kind, from_best, in_last) if kind else None


def _kind(history: History, best: Epoch, in_last: Change, from_best: Change | None) -> str:
    """Empty where no reading is the only true one."""
    risen = from_best is not None and not from_best.level
    fell_last = not in_last.level and in_last.difference < 0
    if not risen:
        return "learning" if fell_last else "level" if in_last.level else ""
    if fell_last:
        return ""
    train = training_fell(history, best.step)
    return "" if train is None else "overfits" if train else "unstable"


def about_losses(history: History, seed: int) -> Question | None:
    course = course_of(history)
    if course is None:
        return None
    first, last, best = course.epochs[0], course.epochs[-1], course.best
    text = (
        f"Over {len(course.epochs)} epochs training loss went from {first.train_loss:.3f} to "
        f"{last.train_loss:.3f}. Validation loss was {first.validation_loss:.3f} after the first "
        f"epoch, {course.epochs[-2].validation_loss:.3f} after the last but one and "
        f"{last.validation_loss:.3f} after the last; its lowest was {best.validation_loss:.3f}, "
        f"after epoch {best.epoch}. {_noise(course)} What does that say?"
    )
    kind = course.kind
    wrong = [TEXTS[other] for other in _others(kind)]
    return ask("loss", text, TEXTS[kind], [*wrong, ALONE], (_why(history, course), SEE[kind]), seed)


def _noise(course: Course) -> str:
    """What a change must exceed, so that the question can be answered from its own figures."""
    told = f"Changes within ±{2 * course.in_last.standard_error:.3f} over the last epoch"
    if course.from_best and course.best is not course.epochs[-2]:
        told += f" and ±{2 * course.from_best.standard_error:.3f} since the lowest"
    return f"{told} are noise."


def _others(kind: str) -> list[str]:
    """The two readings that are mistaken for the right one most easily."""
    others = {
        "overfits": ["learning", "level"],
        "learning": ["overfits", "level"],
        "level": ["overfits", "learning"],
        "unstable": ["overfits", "learning"],
    }
    return others[kind]


def _why(history: History, course: Course) -> str:
    last, best, before = course.epochs[-1], course.best, course.epochs[-2]
    change = last.validation_loss - best.validation_loss
    fall = before.validation_loss - last.validation_loss
    train = f"training loss went from {best.train_loss:.3f} to {last.train_loss:.3f}"
    told = {
        "overfits": f"Since epoch {best.epoch} validation loss rose by {change:.3f}, and {train}: "
        "what is learnt now holds for the training rows only.",
        "learning": f"Validation loss fell by {fall:.3f} in the last epoch, more than noise. These "
        "rows were not trained on, so the gain carries over, and another epoch may bring more.",
        "level": f"The last epoch changed validation loss by {-fall:+.3f}, and it ends "
        f"{change:.3f} above its lowest: both are noise, and more epochs would hardly help.",
        "unstable": f"Since epoch {best.epoch} validation loss rose by {change:.3f}, and {train}: "
        "lower the learning rate.",
    }[course.kind]
    gap = last.validation_loss - last.train_loss
    told += f" At the end validation loss less training loss is {gap:+.3f}."
    if history.best_step is not None:
        told += f" The checkpoint of step {history.best_step:,} was kept."
    return told
