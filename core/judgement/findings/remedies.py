"""What to do next, as fits the run: how it was trained decides which advice makes sense."""

from __future__ import annotations

import math

from .case import Case
from .course import Training, training


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
