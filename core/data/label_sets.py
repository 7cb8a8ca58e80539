"""Rows with any number of labels each: columns of yes and no, a column of lists, or of texts.

Read, a row has `labels`, a list of text in the order of the labels; a row without any is right.
"""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Iterable, Mapping

import polars as pl

from .conversations import name_type
from .faults import MEND, Faults, show_value
from .joined import columns_in, is_marks
from .sources import Table

YES = frozenset({"1", "1.0", "true", "yes", "y", "t", "x"})
NO = frozenset({"0", "0.0", "false", "no", "n", "f"})
SEPARATORS = (",", ";", "|")
_SEEN = 200  # values of a column that are looked at
_LONGEST = 100_000  # characters of a list that is written as text
NO_LABEL = "(none)"  # what rows without a label are counted as
Labels = list[str] | None


def holds_lists(column: pl.Series) -> bool:
    """Whether values are lists of labels: as such, or as JSON or Python writes them in text."""
    if column.dtype == pl.List:
        inner = column.dtype.inner  # type: ignore[attr-defined]
        return bool(inner == pl.String or inner.is_integer() or inner == pl.Null)
    seen = [value for value in column.head(_SEEN).to_list() if value is not None]
    if column.dtype == pl.Object:
        return sum(map(_is_list, seen)) * 2 > len(seen)
    if column.dtype != pl.String or not seen:
        return False
    return all(_written_list(value) is not None for value in seen)


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(type(v) in (str, int, bool) for v in value)


def _written_list(text: str) -> list[object] | None:
    """`["a", "b"]` as JSON or Python writes it; None where a text is no such list."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")) or len(text) > _LONGEST:
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return found if _is_list(found) else None
    return None


def columns_of_marks(table: Table) -> list[str]:
    """The columns that hold nothing but yes and no, as far as one looks."""
    found = []
    for name, column in table.columns.items():
        seen = [value for value in column.head(_SEEN).to_list() if value is not None]
        texts = {str(value).strip().lower() for value in seen}
        if len(texts) == 2 and texts <= YES | NO and texts & YES and texts & NO:
            found.append(name)
    return found


def joined_labels(labels: Iterable[str]) -> tuple[str, str] | None:
    """A sign, and a label that may be several: no space follows the sign, as in "good,cheap"."""
    for label in labels:
        for sign in SEPARATORS:
            parts = label.split(sign)
            if len(parts) > 1 and all(p and p == p.strip() and " " not in p for p in parts):
                return sign, label
    return None


def looks_separated(counts: Mapping[str, int]) -> str:
    """The sign that may stand between several labels of one text; empty where none does.

    Only where its parts come again in other labels: "a,b" beside "a" or "b,c".
    """
    for sign in SEPARATORS:
        parts = {label: {p.strip() for p in label.split(sign)} for label in counts}
        if not any(len(p) > 1 for p in parts.values()):
            continue
        seen = Counter(part for own in parts.values() for part in own)
        if any(seen[part] > 1 for own in parts.values() if len(own) > 1 for part in own):
            return sign
    return ""


def read_label_sets(name: str, table: Table, separator: str | None, bad: Faults) -> pl.Series:
    """`labels` of each row, null where the row is bad, which becomes a fault with its line."""
    column = table.columns[name]
    if is_marks(name, table):
        found = _read_marks(column, columns_in(name), table, bad)
    elif holds_lists(column):
        found = _read_lists(column, name, table, bad)
    else:
        found = _read_separated(column, name, separator or ",", table, bad)
    return pl.Series("labels", found, dtype=pl.List(pl.String))


def _read_marks(
    column: pl.Series, labels: Iterable[str], table: Table, bad: Faults
) -> list[Labels]:
    """Columns of yes and no: each a label. `column` holds a row's values as texts, side by side."""
    found: list[Labels] = []
    for row, values in enumerate(column.to_list()):
        own: Labels = []
        for label, value in zip(labels, values, strict=True):
            text = "" if value is None else value.strip().lower()
            if text in YES and own is not None:
                own.append(label)
            elif text not in YES | NO:
                held = f"holds {show_value(value)}, not 0 or 1" if text else "is empty"
                what = f'column "{label}" {held}'
                kind = f"{label} is not 0 or 1"
                bad.add(kind, table.place(row), what, MEND)
                own = None
        found.append(own)
    return found


def _read_lists(column: pl.Series, name: str, table: Table, bad: Faults) -> list[Labels]:
    found: list[Labels] = []
    for row, value in enumerate(column.to_list()):
        read = _written_list(value) if isinstance(value, str) else value
        if read is None or not _is_list(read):
            held = "nothing" if value is None else f"{name_type(value)} ({show_value(value)})"
            what = f'column "{name}" holds {held}, not a list of labels'
            bad.add(f"no list of labels in {name}", table.place(row), what, MEND)
            found.append(None)
            continue
        found.append(_distinct(str(v).lower() if isinstance(v, bool) else str(v) for v in read))
    return found


def _read_separated(
    column: pl.Series, name: str, separator: str, table: Table, bad: Faults
) -> list[Labels]:
    """Texts such as "good,cheap"; an empty one, or a missing one, is a row without labels."""
    found: list[Labels] = []
    for row, value in enumerate(column.to_list()):
        if isinstance(value, str | int) or value is None:
            found.append(_distinct(str("" if value is None else value).split(separator)))
            continue
        what = f'column "{name}" holds {name_type(value)} ({show_value(value)}), not text'
        bad.add(f"labels are not text in {name}", table.place(row), what, MEND)
        found.append(None)
    return found


def _distinct(parts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def count_labels(frame: pl.DataFrame) -> dict[str, int]:
    """Rows of each label that occurs, by label."""
    named = frame["labels"].explode().drop_nulls()
    return dict(named.value_counts().sort("labels").iter_rows())


def in_label_order(frame: pl.DataFrame, labels: tuple[str, ...]) -> pl.DataFrame:
    """Each row's labels in the order of all."""
    place = {label: i for i, label in enumerate(labels)}
    ordered = [sorted(own, key=place.__getitem__) for own in frame["labels"].to_list()]
    return frame.with_columns(pl.Series("labels", ordered, dtype=pl.List(pl.String)))


def renamed_labels(frame: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """The frame with its labels called so; those without a name stay."""
    called = [[names.get(label, label) for label in own] for own in frame["labels"].to_list()]
    return frame.with_columns(pl.Series("labels", called, dtype=pl.List(pl.String)))


def labels_as_text(frame: pl.DataFrame) -> pl.Series | None:
    """What is true of each row as one text: its label, or its labels; None where it has neither."""
    if "label" in frame.columns:
        return frame["label"]
    return frame["labels"].list.join(", ").alias("label") if "labels" in frame.columns else None


def rarest_label(frame: pl.DataFrame) -> pl.Series:
    """Of each row the label that the fewest rows have: splits are stratified by it."""
    counts = count_labels(frame)
    rarest = [
        min(own, key=lambda label: (counts[label], label), default=NO_LABEL)
        for own in frame["labels"].to_list()
    ]
    return pl.Series("label", rarest, dtype=pl.String)


def describe_sets(frame: pl.DataFrame) -> str:
    """Labels per row, rows without any, and the pair that comes together most often; one line."""
    sizes = frame["labels"].list.len()
    together: Counter[tuple[str, str]] = Counter()
    for own in frame["labels"].to_list():
        together.update((a, b) for i, a in enumerate(own) for b in own[i + 1 :])
    line = (
        f"{int(sizes.sum()) / max(1, frame.height):.2f} labels per row; "
        f"{(sizes == 0).sum():,} of {frame.height:,} rows have none"
    )
    if together:
        [(pair, rows)] = together.most_common(1)
        shown = " and ".join(map(show_value, pair))
        line += f"; most often together: {shown} ({rows:,} rows)"
    return line


def separated_fault(name: str, sign: str, counts: Mapping[str, int]) -> tuple[str, str]:
    """What is asked where texts may hold one label or several."""
    example = max((label for label in counts if sign in label), key=lambda label: counts[label])
    what = (
        f'labels of column "{name}" hold "{sign}", such as {show_value(example)}: '
        "whether a row has one label or several is not certain"
    )
    return what, (
        f'Write label_separator = "{sign}" under [data] for several per row, or '
        'label_separator = "none" for one'
    )
