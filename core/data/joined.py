"""Columns that a config makes of others: joined by a template, or called otherwise in a split."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from .sources import Table

_FIELD = re.compile(r"\{([^{}]+)\}")
_SEEN = 200  # values of a column that are looked at
_LEAST_LENGTH = 8  # characters of a text on average: titles are short


def columns_in(name: str) -> tuple[str, ...]:
    """The columns that a template joins: `title` and `body` of "{title}\\n{body}"; those of labels
    that stand side by side; else none."""
    return _marks(name) or tuple(dict.fromkeys(_FIELD.findall(name)))


def marks_name(columns: Sequence[str]) -> str:
    """What the column is called in which several of yes and no stand side by side."""
    return json.dumps([*columns], ensure_ascii=False)


def _marks(name: str) -> tuple[str, ...]:
    """The columns of such a name; else none."""
    try:
        found = json.loads(name) if name.startswith('["') else None
    except ValueError:
        return ()
    return tuple(map(str, found)) if isinstance(found, list) else ()


def is_marks(name: str, table: Table) -> bool:
    """Whether a name stands for several columns of yes and no; one that is there is that column."""
    return name in table.made and bool(_marks(name))


def opened(names: Iterable[str]) -> list[str]:
    """The columns that these names stand for, those of a template in its place."""
    return [column for name in names for column in columns_in(name) or (name,)]


def is_template(name: str, table: Table) -> bool:
    """Whether a name joins columns; one that a column really has is that column."""
    return name not in table.columns and bool(columns_in(name))


def with_joined(table: Table, names: Iterable[str]) -> Table:
    """The table with a column more, called by the template, for each whose columns are there.

    A missing part is empty; a row in which every part is missing or blank has no value.
    """
    for name in names:
        if is_template(name, table) and set(columns_in(name)) <= table.columns.keys():
            made = _side_by_side(name, table) if _marks(name) else _join(name, table)
            columns = {**table.columns, name: made}
            table = replace(table, columns=columns, made=(*table.made, name))
    return table


def as_text(column: pl.Series) -> pl.Series:
    """Each value as text, of whatever type; null where there is none."""
    try:
        if column.dtype != pl.Object and not column.dtype.is_nested():
            return column.cast(pl.String)
    except pl.exceptions.PolarsError:  # durations, bytes that are no UTF-8
        pass
    texts = [None if value is None else str(value) for value in column.to_list()]
    return pl.Series(column.name, texts, dtype=pl.String)


def _side_by_side(name: str, table: Table) -> pl.Series:
    """A list of texts per row, null where a value is missing."""
    texts = [as_text(table.columns[part]).to_list() for part in columns_in(name)]
    return pl.Series(
        name, [list(own) for own in zip(*texts, strict=True)], dtype=pl.List(pl.String)
    )


def _join(template: str, table: Table) -> pl.Series:
    parts = columns_in(template)
    texts = {p: as_text(table.columns[p]).fill_null("").to_list() for p in parts}
    pieces = _FIELD.split(template)  # text, name, text, name, …, text
    values = []
    for row in range(len(table.row_id)):
        own = {part: texts[part][row] for part in parts}
        filled = "".join(own[piece] if i % 2 else piece for i, piece in enumerate(pieces))
        values.append(filled if any(text.strip() for text in own.values()) else None)
    return pl.Series(template, values, dtype=pl.String)


def renamed(table: Table, names: Mapping[str, str]) -> Table:
    """The table with its columns called as elsewhere; `names`: there to here."""
    columns = {n: c for n, c in table.columns.items() if n not in (*names, *names.values())}
    columns |= {there: table.columns[here].alias(there) for there, here in names.items()}
    return replace(table, columns=columns)


def suggest_template(text: str, unread: Iterable[str], table: Table) -> str:
    """The text's column joined with those beside it that hold text too; empty where none does."""
    beside = [name for name in unread if _holds_text(table.columns[name])]
    if not beside or columns_in(text):
        return ""
    return r"\n".join(f"{{{name}}}" for name in table.columns if name in (*beside, text))


def _holds_text(column: pl.Series) -> bool:
    """Several words in most rows, and mostly something else in each."""
    if column.dtype != pl.String or not (seen := column.drop_nulls().head(_SEEN)).len():
        return False
    spaced, length = seen.str.contains(r"\S \S").mean(), seen.str.len_chars().mean()
    different = seen.n_unique() >= len(seen) / 2
    return different and _of(spaced) > 1 / 2 and _of(length) >= _LEAST_LENGTH


def _of(mean: object) -> float:
    return mean if isinstance(mean, float) else 0.0
