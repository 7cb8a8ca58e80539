"""What does the falling loss say: training against validation."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import msgspec

from ...config.config import RunConfig
from ...judgement.live import training_fell
from ...judgement.selection import find_comparison, judged_split, metric_value, reference_model
from ...judgement.verdict import judge
from ...metrics.results import Comparison
from ...run.history import Change, Epoch, History
from ...wording.numbers import (
    format_difference,
    format_difference_interval,
    format_estimate,
    format_value,
)

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
        f"after epoch {best.epoch}. {_noise(course)} What does that mean?"
    )
    kind = course.kind
    wrong = [TEXTS[other] for other in _others(kind)]
    return ask("loss", text, TEXTS[kind], [*wrong, ALONE], (_why(history, course), SEE[kind]), seed)


def _noise(course: Course) -> str:
    """What a change must exceed, so that the question can be answered from its own figures."""
    changes = f"Changes within ±{2 * course.in_last.standard_error:.3f} over the last epoch"
    if course.from_best and course.best is not course.epochs[-2]:
        changes += f" and ±{2 * course.from_best.standard_error:.3f} since the lowest"
    return f"{changes} are noise."


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
    text = {
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
    text += f" At the end validation loss less training loss is {gap:+.3f}."
    if history.best_step is not None:
        text += f" The checkpoint of step {history.best_step:,} was kept."
    return text


LETTERS = "abcdefgh"


class Question(msgspec.Struct, frozen=True):
    """`choices` by letter; `right` is the letter of the true one, all others are false here."""

    topic: str
    text: str
    choices: dict[str, str]
    right: str
    explanation: str
    see: list[str]  # terms of the glossary


def ask(
    topic: str,
    text: str,
    right: str,
    wrong: list[str],
    explanation: tuple[str, list[str]],
    seed: int,
) -> Question:
    """The choices in an order that the seed gives; `explanation` has a text and its terms."""
    choices = [right, *wrong]
    random.Random(f"{seed} {topic}").shuffle(choices)
    lettered = dict(zip(LETTERS, choices, strict=False))
    letter = next(name for name, choice in lettered.items() if choice == right)
    return Question(topic, text, lettered, letter, *explanation)


DECISIONS = {
    "ship": "Ship: every question is answered in favour, by whole intervals and not by points",
    "hold": "Hold: something is shown to be missed, whatever else looks good",
    "no evidence": "Neither yet: nothing is shown to be missed, but these rows cannot prove it",
}
POINT = "Ship: the point is better than what was there before, and that is enough"
ANY_DOUBT = "Hold: there is an interval at all, so nothing is certain enough"


def about_shipping(history: History, config: RunConfig | None, seed: int) -> Question | None:
    if config is None or judged_split(history) is None:
        return None
    verdict = judge(history, config)
    if verdict.preliminary:
        return None
    facts = ". ".join(_fact(reason) for reason in sorted(verdict.reasons))
    text = f"The objective: {verdict.objective}. {facts}. Would you ship this?"
    right = DECISIONS[verdict.decision]
    wrong = [choice for decision, choice in DECISIONS.items() if decision != verdict.decision]
    rule = ANY_DOUBT if verdict.decision == "ship" else POINT
    why = f"The verdict is {verdict.decision}. {'. '.join(verdict.reasons)}."
    see = ["verdict", "interval", "paired", "target"]
    return ask("ship", text, right, [*wrong, rule], (why, see), seed)


def _fact(reason: str) -> str:
    """A reason of the verdict without its conclusion, which follows the last colon."""
    return reason.rpartition(": ")[0] or reason


def about_changes(history: History, seed: int) -> Question | None:
    """Fixed and broken rows into a difference of accuracy."""
    split, c = _compared(history, "accuracy")
    if split is None or c is None or c.fixed is None or c.broke is None:
        return None
    fixed, broke, rows = c.fixed, c.broke, history.results[split]["tuned"].n
    if fixed == broke or not broke or not fixed:
        return None
    net = format_difference("accuracy", (fixed - broke) / rows)
    text = (
        f"On {rows:,} {split} rows the tuned model fixed {fixed:,} that {c.from_model} got wrong "
        f"and broke {broke:,} that it got right. What did accuracy do?"
    )
    wrong = [
        f"It changed by {format_difference('accuracy', fixed / rows)}: the fixed rows are the gain",
        f"It changed by {format_difference('accuracy', (fixed + broke) / rows)}: every changed row "
        "counts",
        "It cannot be computed without knowing how many rows both models get right",
    ]
    why = (
        f"({fixed:,} - {broke:,}) ÷ {rows:,} = {net}. Rows that both get right, or both wrong, "
        f"cancel. Paired 95 %: {format_difference_interval('accuracy', c.low, c.high)}."
    )
    see = ["fixed and broke", "McNemar", "paired"]
    return ask("changes", text, f"It changed by {net}: fixed less broken", wrong, (why, see), seed)


def about_guessing(history: History, seed: int) -> Question | None:
    """A loss beside that of random guessing."""
    split, guess = judged_split(history), history.random_loss
    if split is None or guess is None:
        return None
    loss = metric_value(history.results[split]["tuned"], "loss")
    estimate = history.results[split]["tuned"].metrics.get("loss")
    low, high = (estimate.low, estimate.high) if estimate else (math.nan, math.nan)
    if loss is None or not math.isfinite(loss) or not (high < guess or low > guess):
        return None
    things = "tokens" if history.task_type.writes else "labels"
    text = (
        f"The tuned model's loss on {split} is {loss:.3f} nats. Guessing {things} at random has "
        f"{guess:.3f}. What is true?"
    )
    better = f"It gives the truth {math.exp(guess - loss):,.1f} times the chance that guessing does"
    worse = "It is worse than guessing: it is often confidently wrong"
    unknown = "No conclusion: a loss has no reference points"
    ratio = format_value("accuracy", min(loss, guess) / max(loss, guess))
    share = f"It is right on {ratio} of the {things}: that is the ratio of the two"
    right, others = (better, [worse]) if loss < guess else (worse, [better])
    if loss >= guess:
        others = ["It is better than guessing: a higher loss means more information"]
    why = (
        f"Random guessing has ln of the number of {things}, {guess:.3f}. exp({guess:.3f} - "
        f"{loss:.3f}) = {math.exp(guess - loss):,.2f} is how much likelier the truth is under the "
        f"model, in the geometric mean over {things if things == 'tokens' else 'rows'}. "
        "A loss is no share of right answers."
    )
    return ask("guessing", text, right, [*others, unknown, share], (why, ["ln V", "loss"]), seed)


def about_interval(history: History, seed: int) -> Question | None:
    """What an interval says."""
    split = judged_split(history)
    if split is None:
        return None
    metric = "accuracy" if history.task_type.has_labels else "loss"
    tuned = history.results[split]["tuned"]
    estimate, rows = tuned.metrics.get(metric), tuned.n
    if estimate is None or math.isnan(estimate.low):
        return None
    low, high = (format_value(metric, end) for end in (estimate.low, estimate.high))
    text = (
        f"{metric} on {rows:,} {split} rows is {format_estimate(metric, estimate)}, with its 95 % "
        "interval. What does the interval cover?"
    )
    right = "The chance in which rows happened to be tested, and nothing else"
    wrong = [
        f"95 % of single rows: each has a {metric} between {low} and {high}",
        "What another training run with another seed would give",
        f"What users will see: {metric} in production lies between {low} and {high}",
    ]
    why = (
        f"With other rows of the same kind the {metric} would differ; {low} to {high} is how far. "
        f"Method: {estimate.method}. Another seed or other data are not in it."
    )
    return ask("interval", text, right, wrong, (why, ["interval", "bootstrap"]), seed)


def about_steps(history: History, seed: int) -> Question | None:
    """What step 0 is for, while there are no results yet."""
    series = [e for e in history.validation_series() if e.loss_count]
    if len(series) < 2:
        return None
    first, last = series[0], series[-1]
    if first.step != 0 or not all(math.isfinite(e.loss_sum) for e in (first, last)):
        return None
    start, now = first.loss_sum / first.loss_count, last.loss_sum / last.loss_count
    change = history.change(first.step, last.step)
    if change is None or change.level:
        return None
    text = (
        f"Validation loss was {start:.3f} at step 0 and is {now:.3f} at step {last.step:,}. "
        "What may be concluded?"
    )
    fell = now < start
    right = (
        f"On these validation rows the model {'gained' if fell else 'lost'} since training began"
    )
    wrong = [
        "The model is ready to ship: validation decides that",
        f"The model {'lost' if fell else 'gained'} on these rows: loss is better when it is higher",
        "Nothing: step 0 is not an evaluation of any model",
    ]
    why = (
        f"Lower is better. {now - start:+.3f} nats is the change on rows that were not trained on, "
        "more than noise. Validation also chooses the checkpoint, so it cannot be the last word."
    )
    return ask("steps", text, right, wrong, (why, ["step 0", "validation split", "loss"]), seed)


def _compared(history: History, metric: str) -> tuple[str | None, Comparison | None]:
    split = judged_split(history)
    if split is None or reference_model(history.results[split]) is None:
        return None, None
    return split, find_comparison(history, split, metric)


SUBSTITUTES = (about_changes, about_guessing, about_interval, about_steps)
