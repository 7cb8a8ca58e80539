"""What a run left behind, a check of one thing in it, and whether two results say the same."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

import numpy as np
import polars as pl

from ...analysis.thresholds import AT_HALF
from ...data.data import Dataset
from ...data.leakage import find_leakage
from ...errors import FtevError
from ...metrics.counts import IntArray
from ...metrics.label_sets.rows import cross_entropy, read_label_sets
from ...metrics.results import ModelResult
from ...run.history import History
from ...run.runs import Run

Frames = dict[str, pl.DataFrame]

UNCHECKED = "–"
CLEAN = "_clean"
BROKEN = (FtevError, pl.exceptions.PolarsError)  # what rows raise that were changed
LISTED = 20  # disagreements of one document that are shown
LONGEST = 200  # characters of a value that are shown


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `ok` is None where it could not be checked; `message` says why.

    `numbers` were compared, of which `differing` are not the same; `unchecked` could not be.
    """

    what: str
    stored: str
    again: str
    ok: bool | None
    message: str = ""
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
    of: object = None,
    unchecked: int = 0,
) -> Check:
    """A check that holds where nothing disagrees, else with the places and both numbers.

    `of` is the stored document that was compared; `unchecked` of its numbers were not.
    """
    numbers = count_numbers(of) - unchecked
    if not found:
        return Check(what, shown, again or shown, True, "", numbers, unchecked=unchecked)
    message = "; ".join(
        f"{d.place}: {_brief(d.stored)} stored, {_brief(d.again)} computed" for d in found[:LISTED]
    )
    more = f"; {len(found) - LISTED:,} more" if len(found) > LISTED else ""
    message = f"{where}: {message}{more}"
    differing = min(numbers, sum(max(1, count_numbers(d.stored)) for d in found))
    return Check(what, shown, again or "another", False, message, numbers, differing, unchecked)


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


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


NEAR = 1e-9  # of a probability or a loss: they were stored as they were computed
SHOWN = 5


@dataclass(frozen=True)
class Contradiction:
    """Rows that cannot be as they were stored, and why."""

    rows: list[int]  # ids, in order
    what: str

    def __str__(self) -> str:
        ids = ", ".join(map(str, self.rows[:SHOWN])) + (", …" if len(self.rows) > SHOWN else "")
        noun = "row" if len(self.rows) == 1 else "rows"
        return f"{noun} {ids}: {self.what}"


def contradictions_within(frame: pl.DataFrame, labels: Sequence[str]) -> Iterator[Contradiction]:
    """What the columns of one file say against each other."""
    if "labels" in frame.columns:
        yield from _against_sets(frame, labels)
    elif "probabilities" in frame.columns:
        yield from _against_probabilities(frame, labels)
    if "tokens" in frame.columns:
        possible = pl.col("correct").is_between(0, pl.col("tokens")) & (pl.col("tokens") >= 0)
        yield from _rows(frame, ~possible, "more tokens are right than were scored")
        spoilt = (pl.col("tokens") == 0) & (pl.col("nll") != 0)
        yield from _rows(frame, spoilt, "a loss without a scored token")
    if "end_nll" in frame.columns:
        more = pl.col("end_nll") > pl.col("nll") * (1 + NEAR) + NEAR
        yield from _rows(frame, more, "the end token costs more than the whole row")


def _against_probabilities(frame: pl.DataFrame, labels: Sequence[str]) -> Iterator[Contradiction]:
    """The prediction is the likeliest label, and the loss that of the true one."""
    known = pl.col("probabilities").list
    codes = {label: i for i, label in enumerate(labels)}
    own = AT_HALF if AT_HALF in frame.columns else "predicted"
    places = [
        pl.col(column).replace_strict(codes, default=None, return_dtype=pl.Int64)
        for column in ("label", own)
    ]
    truth, chosen = (known.get(place, null_on_oob=True) for place in places)
    unlike = chosen < known.max() - NEAR
    spoilt = known.eval(~pl.element().is_finite()).list.any()
    lacks = pl.col("predicted").is_null() & ~spoilt
    yield from _rows(frame, lacks, "no prediction, and every probability is a number")
    yield from _rows(frame, unlike, "the prediction is not the label of the highest probability")
    if "threshold" in frame.columns:
        yield from _against_threshold(frame, labels)
    if "nll" in frame.columns:
        off = (pl.col("nll") + truth.log()).abs() > NEAR * (1 + pl.col("nll").abs())
        defined = (truth > 1e-300) & pl.col("nll").is_finite()
        yield from _rows(frame, defined & off, "the loss is not that of the true label")


def _against_sets(frame: pl.DataFrame, labels: Sequence[str]) -> Iterator[Contradiction]:
    """Each of several labels is given exactly where its probability reaches its threshold, and the
    loss is the mean cost of all labels."""
    rows = read_label_sets(frame, labels)
    ids = rows.row_id
    if rows.scores is None or rows.nll is None:
        return
    finite = np.logical_and.reduce(np.isfinite(rows.scores), axis=1)
    yield from _of(ids[rows.answered != finite], "no prediction, and its probabilities have one")
    own = frame.sort("row_id")
    limits = own["thresholds"].to_list() if "thresholds" in own.columns else 0.5
    given = rows.scores >= np.asarray(limits)
    off = finite & (given != rows.predicted).any(axis=1)
    yield from _of(ids[off], "the labels given are not those of the thresholds")
    costs = cross_entropy(rows.truth, rows.scores)
    near = np.abs(rows.nll - costs) <= 1e-6 * (1 + np.abs(rows.nll))  # 1 - p loses digits
    off = finite & np.isfinite(costs) & ~near
    yield from _of(ids[off], "the loss is not that of the true labels")


def _of(ids: IntArray, what: str) -> Iterator[Contradiction]:
    if len(ids):
        yield Contradiction(ids.tolist(), what)


def _against_threshold(frame: pl.DataFrame, labels: Sequence[str]) -> Iterator[Contradiction]:
    """One of the two labels is predicted exactly where its probability reaches the threshold."""

    def wrong(code: int) -> pl.Expr:
        reached = pl.col("probabilities").list.get(code) >= pl.col("threshold")
        return (pl.col("predicted") == labels[code]) != reached

    positive = min(range(len(labels)), key=lambda code: frame.filter(wrong(code)).height)
    yield from _rows(frame, wrong(positive), "the prediction is not that of the threshold")


def contradictions_between(
    frame: pl.DataFrame, other: pl.DataFrame, said: str
) -> Iterator[Contradiction]:
    """Where the label or the content of a row is not that of the other frame, named by `said`."""
    names = ("label", "labels", "content")
    shared = [c for c in names if c in frame.columns and c in other.columns]
    if "labels" in shared:  # a given model has them in its own order
        in_order = pl.col("labels").list.sort()
        frame, other = frame.with_columns(in_order), other.with_columns(in_order)
    pair = frame.join(other.select("row_id", *shared), on="row_id", how="left", suffix="_other")
    missing = frame.join(other, on="row_id", how="anti")
    if missing.height:
        yield Contradiction(missing["row_id"].to_list(), f"not among the rows of {said}")
    pair = pair.join(missing.select("row_id"), on="row_id", how="anti")
    for column in shared:
        differs = ~pl.col(column).eq_missing(pl.col(f"{column}_other"))
        what = "the content hash" if column == "content" else "the true label"
        yield from _rows(pair, differs, f"{what} is not that of {said}")


def differing_predictions(frame: pl.DataFrame, expected: pl.DataFrame) -> list[int]:
    """Ids of the rows whose prediction is not the expected one."""
    pair = frame.join(expected.select("row_id", want="predicted"), on="row_id", how="left")
    return pair.filter(~pl.col("predicted").eq_missing(pl.col("want")))["row_id"].to_list()


def _rows(frame: pl.DataFrame, wrong: pl.Expr, what: str) -> Iterator[Contradiction]:
    found = frame.filter(wrong.fill_null(False))
    if found.height:
        yield Contradiction(found["row_id"].to_list(), what)


RELATIVE, ABSOLUTE = 1e-12, 1e-12  # thousands of roundings of a double; no digit that is shown
_SPELLED = ("NaN", "Infinity", "-Infinity")
ABSENT = "absent"
# What identifies a record of a list, so that one more moves none of the others.
IDENTITIES = (
    ("split", "metric", "from", "to"),
    ("by", "value", "column"),
    ("code",),
    ("row_id",),
    ("epoch",),
)
NUMBER = re.compile(r"[+\-−]?\d[\d,]*(?:\.\d+)?(?:e[+\-]?\d+)?")
PROSE = frozenset(
    ["message", "remedy", "objective", "reasons", "observation", "text", "note", "method", "caveat"]
)


@dataclass(frozen=True)
class Disagreement:
    """One place where two documents differ: `metrics.accuracy.value`."""

    place: str
    stored: object
    again: object

    @property
    def is_absence(self) -> bool:
        return ABSENT in (self.stored, self.again)

    @property
    def is_wording(self) -> bool:
        """A sentence in other words; the same words with other numbers are another number."""
        if not (isinstance(self.stored, str) and isinstance(self.again, str)):
            return False
        last = re.sub(r"\[\d+\]$", "", self.place).rpartition(".")[2]
        return last in PROSE and skeleton(self.stored) != skeleton(self.again)


def find_disagreements(stored: object, again: object, place: str = "") -> Iterator[Disagreement]:
    """Every place where two plain documents (of JSON) differ; a key that one lacks is absent."""
    if isinstance(stored, Mapping) and isinstance(again, Mapping):
        for key in [*stored, *(k for k in again if k not in stored)]:
            inside = f"{place}.{key}" if place else str(key)
            pair = stored.get(key, ABSENT), again.get(key, ABSENT)
            yield from find_disagreements(*pair, inside)
    elif _is_list(stored) and _is_list(again) and (pairs := _paired(stored, again)) is not None:
        for i, (a, b) in enumerate(pairs):
            yield from find_disagreements(a, b, f"{place}[{i}]")
    elif not is_same(stored, again):
        yield Disagreement(place, stored, again)


def _paired(
    stored: Sequence[object], again: Sequence[object]
) -> list[tuple[object, object]] | None:
    """Records by what they are of, else by place; None for other lists of different lengths."""
    keys = _identities(stored), _identities(again)
    if keys[0] is not None and keys[1] is not None:
        others = dict(zip(keys[1], again, strict=True))
        pairs = [(a, others.pop(k, ABSENT)) for k, a in zip(keys[0], stored, strict=True)]
        return [*pairs, *((ABSENT, b) for b in others.values())]
    return list(zip(stored, again, strict=True)) if len(stored) == len(again) else None


def _identities(records: Sequence[object]) -> list[tuple[object, ...]] | None:
    """What each record is of, and which of several of that; None where records do not say."""
    known = [r for r in records if isinstance(r, Mapping)]
    if len(known) < len(records):
        return None
    for names in IDENTITIES:
        if all(names[0] in r for r in known):
            found = [tuple(str(r.get(name)) for name in names) for r in known]
            return [(*key, found[:i].count(key)) for i, key in enumerate(found)]
    return None


def is_same(a: object, b: object) -> bool:
    """Numbers may differ in their last bits: machines add in other orders."""
    if is_number(a) and is_number(b):
        x, y = float(a), float(b)
        both_nan = math.isnan(x) and math.isnan(y)
        return both_nan or math.isclose(x, y, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return bool(a == b)


def skeleton(text: str) -> str:
    """A sentence without its numbers."""
    return NUMBER.sub("#", text)


def count_numbers(document: object) -> int:
    """The numbers of a plain document, those in its sentences too."""
    if isinstance(document, Mapping):
        return sum(count_numbers(value) for value in document.values())
    if _is_list(document):
        return sum(count_numbers(value) for value in document)
    if is_number(document):
        return 1
    return len(NUMBER.findall(document)) if isinstance(document, str) else 0


def is_number(value: object) -> TypeGuard[float | str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number or (isinstance(value, str) and value in _SPELLED)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str)
