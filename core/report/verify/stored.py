"""What a run left behind, and a check of one thing in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ...data.data import Dataset
from ...data.leakage import find_leakage
from ...errors import FtevError
from ...metrics.results import ModelResult
from ...run.history import History
from ...run.runs import Run
from .agreement import Disagreement, count_numbers

Frames = dict[str, pl.DataFrame]

UNCHECKED = "–"
CLEAN = "_clean"
BROKEN = (FtevError, pl.exceptions.PolarsError)  # what rows raise that were changed
LISTED = 20  # disagreements of one document that are shown
LONGEST = 200  # characters of a value that are shown


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `ok` is None where it could not be checked; `told` says why.

    `numbers` were compared, of which `differing` are not the same; `unchecked` could not be.
    """

    what: str
    stored: str
    again: str
    ok: bool | None
    told: str = ""
    numbers: int = 0
    differing: int = 0
    unchecked: int = 0


@dataclass
class StoredRun:
    """What a run left behind, as far as it could be read."""

    run: Run
    history: History
    frames: dict[str, Frames] = field(default_factory=dict)  # by split and model
    measured: dict[str, dict[str, ModelResult]] = field(default_factory=dict)  # the same
    dataset: Dataset | None = None

    @property
    def labels(self) -> Sequence[str]:
        """In the order of the stored probabilities: that of the model which was scored."""
        for models in self.history.results.values():
            confusion = models["tuned"].confusion if "tuned" in models else None
            order = confusion.labels if confusion else []
            if sorted(order) == sorted(self.history.labels):
                return list(order)
        return self.history.labels


def agreed(
    what: str,
    shown: str,
    found: list[Disagreement],
    where: str,
    again: str | None = None,
    *,
    of: Any = None,
    unchecked: int = 0,
) -> Check:
    """A check that holds where nothing disagrees, else with the places and both numbers.

    `of` is the stored document that was compared; `unchecked` of its numbers were not.
    """
    numbers = count_numbers(of) - unchecked
    if not found:
        return Check(what, shown, again or shown, True, "", numbers, unchecked=unchecked)
    told = "; ".join(
        f"{d.place}: {_brief(d.stored)} stored, {_brief(d.again)} computed" for d in found[:LISTED]
    )
    more = f"; {len(found) - LISTED:,} more" if len(found) > LISTED else ""
    told = f"{where}: {told}{more}"
    differing = min(numbers, sum(max(1, count_numbers(d.stored)) for d in found))
    return Check(what, shown, again or "another", False, told, numbers, differing, unchecked)


def _brief(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= LONGEST else f"{told[:LONGEST]} …"


def cannot(what: str, files: str, error: Exception) -> Check:
    """A check that fails because stored rows no longer allow the computation."""
    first = str(error).splitlines()[0]
    return Check(what, "as written", "cannot be computed", False, f"{files}: {first}")


def suspects(stored: StoredRun, split: str, models: Iterable[str]) -> str:
    """The files of these models that lost or gained rows, else all of them."""
    whole = split.removesuffix(CLEAN)
    names = {model: f"predictions/{whole}.{model}.parquet" for model in models}
    changed = []
    for model, name in names.items():
        result = stored.history.result(whole, model)
        frame = stored.frames.get(whole, {}).get(model)
        written = result.n + len(result.unscored) if result else 0
        if frame is not None and result and frame.height != written:
            changed.append(f"{name} ({frame.height:,} rows of {written:,})")
    return ", ".join(changed or names.values())


def rows_behind(stored: StoredRun, split: str, model: str) -> pl.DataFrame | None:
    whole = split.removesuffix(CLEAN)
    frame = stored.frames.get(whole, {}).get(model)
    if frame is None or whole == split:
        return frame
    leaked = leaked_rows(stored, whole)
    return None if leaked is None else frame.filter(~pl.col("row_id").is_in(list(leaked)))


def leaked_rows(stored: StoredRun, split: str) -> set[int] | None:
    """Rows that repeat one of an earlier split: those listed, if that is all, else found again."""
    found = stored.history.leakage
    if found is None:
        return None
    listed = {j for a, _, b, j, *_ in found.pairs if b == split and a != split}
    if len(listed) == found.leaked.get(split, 0):
        return listed
    if stored.dataset is None:
        return None
    near = stored.run.config().data.near_duplicates
    return set(find_leakage(stored.dataset.splits, near=near).leaked_rows(split))
