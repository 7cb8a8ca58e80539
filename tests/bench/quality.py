"""Whether two ways of training end equally good: paired differences on rows that neither saw.

Each side is trained once with every seed. A difference is the mean over the seeds; its interval is
the percentile bootstrap over the rows, one resample for both sides and all seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from ftev.core.metrics.bootstrap import (
    DRAWS,
    Resampling,
    RowScores,
    bootstrap_cells,
    bootstrap_rows,
    interval_of,
    values_of,
)
from ftev.core.metrics.counts import Draws, joint_cells
from ftev.core.metrics.metric import METRICS
from ftev.core.metrics.probabilities import ProbabilityScores
from ftev.core.metrics.rows import check_same_rows, read_classification, read_text

Frames = Sequence[pl.DataFrame]  # scored rows, one frame a seed
NAMES = ("the peer", "ftev")
INTERVAL = f"95 % intervals by the paired bootstrap over the rows, {DRAWS:,} draws"


@dataclass(frozen=True)
class Gap:
    """How far a metric of the second side stands above the first's."""

    value: float
    low: float
    high: float
    seeds: list[float]  # of each seed alone
    higher_is_better: bool

    @property
    def equal(self) -> bool:
        return not (self.low > 0 or self.high < 0)  # no interval: no row differs

    @property
    def behind(self) -> bool:
        return not self.equal and (self.value < 0) == self.higher_is_better

    def __str__(self) -> str:
        return f"{self.value:+.4f} ({self.low:+.4f} to {self.high:+.4f})"


def text_gaps(before: Frames, after: Frames, metrics: Sequence[str] = ("loss",)) -> dict[str, Gap]:
    """Frames as `score_tokens` gives them, of the same rows and tokens."""
    pairs = [(read_text(a), read_text(b)) for a, b in zip(before, after, strict=True)]
    for pair in pairs:
        check_same_rows(*pair, NAMES)
        assert np.array_equal(pair[0].tokens, pair[1].tokens)
    return _row_gaps(pairs, metrics)


def label_gaps(
    before: Frames, after: Frames, labels: Sequence[str], positive: str | None
) -> dict[str, Gap]:
    """Accuracy, F1 (of the positive label, else macro) and loss of frames of labelled rows."""
    pairs = [
        tuple(read_classification(frame, labels) for frame in pair)
        for pair in zip(before, after, strict=True)
    ]
    for a, b in pairs:
        check_same_rows(a, b, NAMES)
    truth, code = pairs[0][0].truth, None if positive is None else list(labels).index(positive)
    cells = joint_cells(truth, tuple(r.predicted for pair in pairs for r in pair), len(labels))

    def gaps(counts: np.ndarray) -> list[Draws]:
        found = [cells.sums(i).metrics(counts, code) for i in range(2 * len(pairs))]
        return [
            {name: after[name] - before[name] for name in ("accuracy", f1_of(positive))}
            for before, after in zip(found[::2], found[1::2], strict=True)
        ]

    def mean(counts: np.ndarray) -> Draws:
        found = gaps(counts)
        return {name: np.mean([gap[name] for gap in found], axis=0) for name in found[0]}

    observed = gaps(cells.counts[None, :].astype(np.float64))
    draws = bootstrap_cells(cells.counts, mean, Resampling())
    found = {
        name: _gap(name, [float(gap[name][0]) for gap in observed], drawn, len(truth))
        for name, drawn in draws.items()
    }
    scores = [
        tuple(ProbabilityScores(truth, r.probabilities, code) for r in pair) for pair in pairs
    ]
    return found | _row_gaps(scores, ("loss",))


def f1_of(positive: str | None) -> str:
    return "macro_f1" if positive is None else "f1"


def _row_gaps(
    pairs: Sequence[tuple[RowScores, RowScores]], metrics: Sequence[str]
) -> dict[str, Gap]:
    """Sides whose metrics are sums over rows."""
    values = [(values_of(a), values_of(b)) for a, b in pairs]
    draws, _ = bootstrap_rows([side for pair in pairs for side in pair], Resampling())
    found = {}
    for name in metrics:
        apart = [after[name] - before[name] for before, after in values]
        drawn = [b[name] - a[name] for a, b in zip(draws[::2], draws[1::2], strict=True)]
        found[name] = _gap(name, apart, np.mean(drawn, axis=0), pairs[0][0].n)
    return found


def _gap(name: str, seeds: list[float], draws: np.ndarray, rows: int) -> Gap:
    (low, high), _ = interval_of(draws, rows, "")
    return Gap(float(np.mean(seeds)), low, high, seeds, METRICS[name].higher_is_better)
