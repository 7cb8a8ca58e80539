"""What does the falling loss say: training against validation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..history import Epoch, History
from .question import Question, ask

RISE = 0.02  # of a loss: smaller changes are called level
CLEAR = f"{RISE * 100:.0f} %"
TEXTS = {
    "overfits": "It learns its training rows by heart by now: on rows it was not trained on, the "
    f"loss ends more than {CLEAR} above its lowest, and training loss fell since then",
    "learning": "It was still learning what carries over: in the last epoch alone the loss on rows "
    f"it was not trained on fell by more than {CLEAR}",
    "level": "It has got what these rows can give: on rows it was not trained on, the loss ends "
    f"within {CLEAR} of its lowest, and the last epoch brought no more than {CLEAR}",
    "unstable": "Training is unsteady: the loss rose both on the rows it was trained on and on "
    "the others",
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
    """Both losses by epoch, each finite."""

    epochs: list[Epoch]

    @property
    def best(self) -> Epoch:
        return min(self.epochs, key=lambda e: e.validation_loss)

    @property
    def kind(self) -> str:
        last, best = self.epochs[-1], self.best
        if last.validation_loss > best.validation_loss * (1 + RISE):
            return "overfits" if last.train_loss < best.train_loss else "unstable"
        before = self.epochs[-2].validation_loss
        return "learning" if last.validation_loss < before * (1 - RISE) else "level"


def course_of(history: History) -> Course | None:
    """None for fewer than two epochs with both losses, or a loss that is not finite."""
    epochs = history.epochs
    finite = [math.isfinite(e.train_loss) and math.isfinite(e.validation_loss) for e in epochs]
    return Course(list(epochs)) if len(epochs) > 1 and all(finite) else None


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
        f"after epoch {best.epoch}. What does that say?"
    )
    kind = course.kind
    wrong = [TEXTS[other] for other in _others(kind)]
    return ask("loss", text, TEXTS[kind], [*wrong, ALONE], (_why(history, course), SEE[kind]), seed)


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
        "learning": f"Validation loss fell by {fall:.3f} in the last epoch. These rows were not "
        "trained on, so the gain is real, and another epoch may bring more.",
        "level": f"The last epoch changed validation loss by {-fall:+.3f}, and it ends "
        f"{change:.3f} above its lowest: more epochs would hardly help.",
        "unstable": f"Since epoch {best.epoch} validation loss rose by {change:.3f}, and {train}: "
        "lower the learning rate.",
    }[course.kind]
    gap = last.validation_loss - last.train_loss
    told += f" At the end validation loss less training loss is {gap:+.3f}."
    if history.best_step is not None:
        told += f" The checkpoint of step {history.best_step:,} was kept."
    return told
