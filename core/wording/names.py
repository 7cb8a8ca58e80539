"""What rows, metrics, models and decisions are called on screens and in reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..metrics.metric import METRICS, names_positive
from ..metrics.results import ModelResult


class Named(Protocol):
    """What is known of a split's rows: a `SplitPrepared`, say."""

    @property
    def source(self) -> str: ...
    @property
    def line_offset(self) -> int: ...


@dataclass(frozen=True)
class KnownRows:
    """The same from a report."""

    source: str
    line_offset: int


def rows_of_report(data: Mapping[str, Any]) -> dict[str, KnownRows]:
    """What "data" of a report knows of the rows of its splits."""
    return {
        name: KnownRows(s.get("source", ""), s.get("line_offset", 0))
        for name, s in data.items()
        if "rows" in s
    }


def name_row(splits: Mapping[str, Named], split: str, row: int) -> str:
    """`line 13 of test.csv`, else `test row 12 (counted from 0)`."""
    return name_rows(splits, [(split, row)])


def name_rows(splits: Mapping[str, Named], rows: Sequence[tuple[str, int]], most: int = 5) -> str:
    """`lines 13 and 20 of test.csv, train row 4 (counted from 0) and 3 more`.

    `rows`: pairs of split and row id, of which the first `most` are named.
    """
    of_split: dict[str, list[int]] = {}
    for split, row in rows[:most]:
        of_split.setdefault(split, []).append(row)
    names = [_name_of(splits.get(split), split, ids) for split, ids in of_split.items()]
    if (rest := len(rows) - most) > 0:
        names.append(f"{rest:,} more")
    return _listed(names)


def _name_of(known: Named | None, split: str, ids: list[int]) -> str:
    by_line = known is not None and known.line_offset
    offset = known.line_offset if known is not None else 0
    numbers = _listed([str(row + offset) for row in ids])
    s = "s" if len(ids) > 1 else ""
    if by_line and known is not None:
        return f"line{s} {numbers} of {known.source}"
    return f"{split} row{s} {numbers} (counted from 0)"


def _listed(words: Sequence[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


MODELS = {
    "base": "the base",
    "probe": "the linear probe",
    "majority": "the majority",
    "mean": "the mean",
}


def name_metric(metric: str, positive: str | None = None) -> str:
    """`macro F1`, `recall of "fraud"`: metrics of one label name it wherever it is known."""
    name = METRICS[metric].label if metric in METRICS else metric
    return f'{name} of "{positive}"' if positive and names_positive(metric) else name


def short_name(metric: str, positive: str | None = None) -> str:
    """For narrow columns; metrics of one label name it all the same."""
    if positive and names_positive(metric):
        return name_metric(metric, positive)
    return METRICS[metric].short if metric in METRICS else metric.replace("_", " ")


def name_decision(verdict: Mapping[str, object]) -> str:
    """`ship`, or `preliminary: ship` where the run has not ended (V9)."""
    decision = str(verdict["decision"])
    return f"preliminary: {decision}" if verdict.get("preliminary") else decision


def name_class(metrics: Iterable[str], positive: str | None) -> str:
    """`precision, recall and F1 of "fraud"`, for a narrow table that has some of these."""
    if not positive or not any(map(names_positive, metrics)):
        return ""
    return f'precision, recall and F1 of "{positive}"'


def title_metric(metric: str, positive: str | None = None) -> str:
    """The title in full, as beside a formula: `precision of "fraud"`."""
    if metric not in METRICS:
        return metric
    title = METRICS[metric].title
    if not positive or not names_positive(metric):
        return title
    of = f' of "{positive}"'
    named = title.replace(" of the positive label", of)
    return named if named != title else title + of


def positive_label_of(results: Iterable[ModelResult]) -> str | None:
    """The positive label of a binary task, by the first result that names one."""
    return next((r.positive for r in results if r.positive), None)
