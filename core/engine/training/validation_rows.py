"""The validation rows of each evaluation inside training, kept in the run directory.

Whether a loss has changed, and whether one checkpoint is better than another, is asked of the same
rows under both (V10, V11). A file an evaluation: a resumed worker goes on from the files of the
steps that it does not take again.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...data.formats.tables import UNREADABLE
from ...files.disk import make_folder, replacing
from ...run.runs import Run

# What a file holds of a scored row. Probabilities take most of the room: they are kept only where
# the metric that chooses the checkpoint is computed from them.
COLUMNS = ("row_id", "label", "predicted", "nll", "tokens", "correct", "bytes")
NEWEST = 32  # evaluations kept of either kind, those at the end of an epoch and those between

Change = tuple[int, float, float]  # earlier step, difference of the losses, its standard error


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
