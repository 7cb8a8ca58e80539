"""One number has one interval, wherever it stands."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from ftev.core.analysis import analyse
from ftev.core.config.config import CostConfig, ObjectiveConfig
from ftev.core.metrics.evaluate import evaluate_classification
from scored_splits import evaluation
from stored_runs import LABELS, labelled


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("priced", [False, True])
def test_an_analysis_shows_the_interval_of_the_results(clustered: bool, priced: bool) -> None:
    """Also where so few rows are wrong that it is made in another way."""
    frame = labelled(90, skill=4.0, seed=3)
    if clustered:
        frame = frame.with_columns(cluster=pl.Series(np.arange(90) // 2))
    cost = ObjectiveConfig(cost=CostConfig(fp=1, fn=5)) if priced else None
    e = evaluation(tuned=frame, validation=labelled(300, 1.0, 4), labels=LABELS, objective=cost)
    results = evaluate_classification(frame, e.labels, e.positive).metrics
    found = {a.name: a.result for a in analyse(e)}
    shown = {name: getattr(found["calibration"], name) for name in ("brier", "loss", "ece")}
    shown |= found["thresholds"].at_half.metrics
    for name in ("brier", "loss", "ece", "precision", "recall", "f1"):
        interval = results[name].low, results[name].high
        assert (shown[name].low, shown[name].high) == interval, name
