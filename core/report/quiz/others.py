"""Questions for runs that lack what one of the three needs."""

from __future__ import annotations

import math

from ...judgement.selection import find_comparison, judged_split, metric_value, reference_model
from ...metrics.results import Comparison
from ...run.history import History
from ...wording.numbers import (
    format_difference,
    format_difference_interval,
    format_estimate,
    format_value,
)
from .question import Question, ask


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
        "It cannot be told without knowing how many rows both models get right",
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
    things = "labels" if history.task_type.has_labels else "tokens"
    text = (
        f"The tuned model's loss on {split} is {loss:.3f} nats. Guessing {things} at random has "
        f"{guess:.3f}. What is true?"
    )
    better = f"It gives the truth {math.exp(guess - loss):,.1f} times the chance that guessing does"
    worse = "It is worse than guessing: it is often sure of what is wrong"
    unknown = "Nothing can be said: a loss has no reference points"
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
