"""Which checkpoint of a run is the best so far, judged on the same validation rows.

The scored rows of each evaluation inside training are kept in the run directory: whether a loss has
changed, and whether one checkpoint is better than another, is answered by the same rows under both
(V10, V11). There is a file per evaluation: a resumed worker goes on from the files of the steps
that it does not take again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...config.config import EarlyStopping
from ...data.formats.parquet import UNREADABLE
from ...files.disk import make_folder, replacing
from ...metrics.metric import METRICS
from ...run.runs import Run
from ...tasks import Task

LEVEL = 0.05  # a p above it leaves two checkpoints indistinguishable
# What a file holds of a scored row. Probabilities take most of the room: they are kept only where
# the metric that chooses the checkpoint is computed from them.
COLUMNS = ("row_id", "label", "targets", "labels", "predicted", "nll", "tokens", "correct", "bytes")
NEWEST = 32  # evaluations kept of either kind, those at the end of an epoch and those between

Change = tuple[int, float, float]  # earlier step, difference of the losses, its standard error
PValue = Callable[[int, int], float]  # of two steps


@dataclass
class Best:
    """The evaluation whose checkpoint is kept, and how many there were since the reference moved.

    `top` is the best by the metric alone: no test separates the one that is kept from it.
    """

    value: float | None = None
    step: int = 0
    loss: float | None = None
    p: float | None = None  # of the difference between the two, where they are not one
    top_value: float | None = None
    top_step: int = 0
    top_loss: float | None = None
    reference: float | None = None  # moves only when the gain exceeds min_delta
    since: int = 0


def update_best(
    best: Best,
    value: float,
    step: int,
    metric: str,
    stop: EarlyStopping | None,
    loss: float = math.nan,
    p_value: PValue = lambda earlier, later: 0.0,
) -> bool:
    """Whether the checkpoint of this evaluation is needed: it is kept, or the best by the metric.

    NaN is never best. The reference of early stopping moves only when the gain exceeds min_delta
    (T2).
    """
    sign = 1.0 if METRICS[metric].direction == "higher" else -1.0
    needed = False
    if not math.isnan(value):
        new = Candidate(step, value, math.inf if math.isnan(loss) else loss)
        needed = _choose(best, new, sign, p_value)
    min_delta = stop.min_delta if stop else 0.0
    if not math.isnan(value) and (
        best.reference is None or sign * (value - best.reference) > min_delta
    ):
        best.reference, best.since = value, 0
    else:
        best.since += 1
    return needed


@dataclass(frozen=True)
class Candidate:
    """An evaluation that may choose the checkpoint."""

    step: int
    value: float
    loss: float


def _choose(best: Best, new: Candidate, sign: float, p_value: PValue) -> bool:
    """Keep, of those that no test separates from the best one, the one of the lowest loss.

    Each is held against the best by the metric and never against the one that is kept, or a chain
    of small losses would lead downhill. One that a test once separated from the best is out for
    good: its weights are gone, which bounds the checkpoints on disk.
    """
    known = {c.step: c for c in (*_candidates(best), new)}
    top = max(known.values(), key=lambda c: (sign * c.value, -c.loss))
    kept, p = top, None
    for candidate in known.values():
        if candidate.loss < kept.loss and candidate is not top:
            found = p_value(candidate.step, top.step)
            if found > LEVEL:
                kept, p = candidate, found
    best.value, best.step, best.loss, best.p = kept.value, kept.step, _finite(kept.loss), p
    best.top_value, best.top_step, best.top_loss = top.value, top.step, _finite(top.loss)
    return new in (top, kept)


def _candidates(best: Best) -> Iterator[Candidate]:
    """The one that was kept and the best by the metric, as far as there are any."""
    for step, value, loss in (
        (best.step, best.value, best.loss),
        (best.top_step, best.top_value, best.top_loss),
    ):
        if value is not None:
            yield Candidate(step, value, math.inf if loss is None else loss)


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None


def paired_p(
    rows: ValidationRows,
    task: Task,
    labels: tuple[tuple[str, ...], str | None],
    metric: str,
    earlier: int,
    later: int,
) -> float:
    """p of the metric's difference between two evaluations over the same validation rows (S2b).

    `labels`: all of them, and the positive one. 0, as if they differed, where that cannot be
    computed: then the metric alone decides.
    """
    a, b = rows.read(earlier), rows.read(later)
    if a is None or b is None:
        return 0.0
    pair = ("earlier", a), ("later", b)
    found = task.compare("validation", *pair, *labels, metrics=[metric])
    return next((c.p for c in found if not math.isnan(c.p)), 0.0)


def out_of_patience(best: Best, stop: EarlyStopping | None) -> bool:
    """Whether early stopping ends training: too many evaluations without a gain."""
    return stop is not None and best.since >= stop.patience


@dataclass(frozen=True)
class ValidationRows:
    """Files of scored rows by step."""

    folder: Path

    @classmethod
    def of(cls, run: Run) -> ValidationRows:
        return cls(run.path / "validation")

    def steps(self) -> list[int]:
        names = (p.stem.removeprefix("step_") for p in self.folder.glob("step_*.parquet"))
        return sorted(int(name) for name in names if name.isdecimal())

    def read(self, step: int) -> pl.DataFrame | None:
        try:
            return pl.read_parquet(self._path(step))
        except UNREADABLE:
            return None

    def keep(self, step: int, epoch: float, frame: pl.DataFrame, *, probabilities: bool) -> None:
        columns = [c for c in COLUMNS if c in frame.columns]
        columns += ["probabilities"] if probabilities and "probabilities" in frame.columns else []
        make_folder(self.folder)
        kept = frame.select(*columns, epoch=pl.lit(epoch))
        with replacing(self._path(step), int(kept.estimated_size())) as temporary:
            kept.write_parquet(temporary)

    def changes(self, step: int, frame: pl.DataFrame) -> list[Change]:
        """How the loss changed since each earlier evaluation that is kept, row by row."""
        found = []
        for earlier in self.steps():
            before = self.read(earlier) if earlier < step else None
            change = None if before is None else loss_change(before, frame)
            if change is not None:
                found.append((earlier, *change))
        return found

    def forget_after(self, step: int) -> None:
        """A resumed run makes the later ones again."""
        for later in self.steps():
            if later > step:
                self._path(later).unlink(missing_ok=True)

    def thin_out(self, spared: Collection[int]) -> None:
        """Keep step 0, those spared, the lowest loss and the newest of either kind."""
        steps = self.steps()
        if len(steps) <= 2 * NEWEST:
            return
        frames = {step: self.read(step) for step in steps}
        ends = [s for s, f in frames.items() if f is not None and _ends_epoch(f)]
        between = [s for s in steps if s not in ends]
        losses = {s: _loss(f) for s, f in frames.items() if f is not None}
        lowest = min(losses, key=lambda s: (math.isnan(losses[s]), losses[s]))
        kept = {0, lowest, *spared, *ends[-NEWEST:], *between[-NEWEST:]}
        for step in set(steps) - kept:
            self._path(step).unlink(missing_ok=True)

    def _path(self, step: int) -> Path:
        return self.folder / f"step_{step:06d}.parquet"


def loss_change(before: pl.DataFrame, after: pl.DataFrame) -> tuple[float, float] | None:
    """Σ ΔNLL ÷ Σ tokens over the same rows, and its paired standard error over rows.

    A row of a classifier counts as one token. The standard error is that of a ratio, by its
    linear terms ΔNLL - ratio × tokens. None where the rows are not the same, where fewer than two
    are scored, or where a loss is not finite.
    """
    if not before["row_id"].equals(after["row_id"], check_names=False):
        return None
    tokens = _tokens(after)
    scored = tokens > 0
    n, total = int(scored.sum()), float(tokens.sum())
    changed = (after["nll"].to_numpy() - before["nll"].to_numpy())[scored]
    if n < 2 or not np.isfinite(changed).all():
        return None
    ratio = math.fsum(changed.tolist()) / total
    spread = changed - ratio * tokens[scored]
    return ratio, math.sqrt(n / (n - 1) * float(np.square(spread).sum())) / total


def _tokens(frame: pl.DataFrame) -> NDArray[Any]:
    if "tokens" in frame.columns:
        return frame["tokens"].to_numpy()
    return np.ones(frame.height)


def _loss(frame: pl.DataFrame) -> float:
    total = float(_tokens(frame).sum())
    return math.fsum(frame["nll"].to_list()) / total if total else math.nan


def _ends_epoch(frame: pl.DataFrame) -> bool:
    epoch = frame["epoch"][0] if frame.height else 0.0
    return abs(epoch - round(epoch)) < 1e-9
