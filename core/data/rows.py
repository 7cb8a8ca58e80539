"""The rows of a table in their roles, checked one by one: wrong types, missing and empty values."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import polars as pl

from ..metrics.answer_text import normalise_text
from .columns import Columns
from .conversations import (
    NOT_LEARNED,
    answers_of,
    as_series,
    chat_input,
    find_chat_fault,
    has_nothing_to_learn,
    name_type,
)
from .faults import LONGEST, MEND, Faults, show_value
from .joined import as_text
from .label_sets import in_label_order, read_label_sets
from .row_forms import make_rows
from .sources import Table
from .targets import read_targets

CHARACTERS = "characters"  # column of the length of the whole input, beside its stored beginning
SLICE = "slice:"  # before the name of a carried column: a file may call one "text" or "line"


def select_rows(
    table: Table,
    columns: Columns,
    bad: Faults,
    left_out: Faults,
    slices: tuple[str, ...] = (),
    system: str | None = None,
    separator: str | None = None,
) -> pl.DataFrame:
    """The good rows: row_id, line, a column for each role, `slice:NAME` for each slice, content.

    A bad row becomes a fault with its file and line, and is left out. A right one from which
    nothing is to be learned is left out too, and stands in `left_out`. `system`: what a chat that
    has no system message begins with. `separator`: what stands between the labels of a text.
    """
    table = make_rows(columns.written, columns.sources, table, left_out)
    read = {role: columns.column_of(role) for role in columns.roles}
    truth = read.pop("label") if columns.form in ("text_labels", "text_numbers") else ""
    values = {role: _read_role(role, name, table, bad) for role, name in read.items()}
    if columns.form == "text_labels":
        values["labels"] = read_label_sets(truth, table, separator, bad)
    elif truth:
        values["targets"] = read_targets(truth, table, bad)
    if "messages" in values:
        for role in [role for role in ("messages", "rejected") if role in values]:
            chats = _learnable(values[role].to_list(), table, left_out)
            chats = [chat and _with_system(chat, system) for chat in chats]
            values[role] = as_series(chats).alias(role)
        values["file"] = pl.Series(table.file.replace_strict(dict(enumerate(table.files))))
    frame = pl.DataFrame({"row_id": table.row_id, "line": table.line, **values})
    if (group := columns.sources.get("group")) and group in table.columns:
        frame = frame.with_columns(as_text(table.columns[group]).alias("group"))
    carried = [_as_slice(table.columns[n]).alias(SLICE + n) for n in slices if n in table.columns]
    needed = [role for role in values if role not in ("tools", "file")]
    return with_content(frame.with_columns(carried).drop_nulls(needed))


def separate_turns(frame: pl.DataFrame) -> pl.DataFrame:
    """A row for each answer of each chat that counts: what came before it is its context.

    Rows are numbered anew. Those of one chat are a group (S9), unless there are groups already.
    """
    places: list[int] = []
    chats: list[list[dict[str, Any]] | None] = []
    for place, chat in enumerate(frame["messages"].to_list()):
        for k in answers_of(chat):
            places.append(place)
            chats.append([m | {"weight": 0.0} for m in chat[:k]] + [chat[k]])
    rows = frame[places]
    if "group" not in frame.columns:
        chat_of = pl.format("{}:{}", "file", "line").alias("group")
        rows = rows.with_columns(chat_of)
    numbers = pl.Series("row_id", range(rows.height), dtype=pl.Int64)
    return with_content(rows.with_columns(numbers, as_series(chats)))


def with_content(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with `content`: a hash of each row's normalised input (UInt64)."""
    return frame.with_columns(content_hash(normalise(input_of(frame))))


def check_labels(
    frame: pl.DataFrame, labels: tuple[str, ...], table: Table, bad: Faults
) -> pl.DataFrame:
    """The rows whose label is one of `labels`; the others become faults."""
    sets = "labels" in frame.columns
    if sets:
        unknown = frame["labels"].list.set_difference(list(labels))
        known = unknown.list.len() == 0
    else:
        known = frame["label"].is_in(labels)
    if known.all():
        return in_label_order(frame, labels) if sets else frame
    strange = frame.filter(~known)
    row_of = dict(zip(table.row_id, range(len(table.row_id)), strict=True))
    places = [row_of[row] for row in strange["row_id"]]
    remedy = "Known labels: " + ", ".join(show_value(label) for label in labels[:20])
    remedy += " …" if len(labels) > 20 else ""
    named = unknown.filter(~known).list.first() if sets else strange["label"]
    for place, label in zip(places, named, strict=True):
        what = f"label {show_value(label)} is unknown to the training data"
        bad.add_each(what, [place], table.place, (what, remedy))
    return in_label_order(frame.filter(known), labels) if sets else frame.filter(known)


def _read_role(role: str, name: str, table: Table, bad: Faults) -> pl.Series:
    """The values of a role, null where a row is bad."""
    if role == "tools":
        return _read_tools(table.columns.get(name), len(table.row_id))
    column = table.columns[name]
    if role == "messages" or (role == "rejected" and column.dtype != pl.String):
        return _read_messages(column, name, table, bad)
    values = _texts(role, column, name, table, bad)
    if role == "label":
        values = values.str.strip_chars()
    empty = (values.str.strip_chars().str.len_bytes() == 0).fill_null(False)
    if empty.any():
        _report(empty, f"{role} is empty", name, table, bad)
        values = values.set(empty, None)
    long = (values.str.len_bytes() > LONGEST).fill_null(False)
    if long.any() and not table.documents:
        _report(long, f"{role} is longer than {LONGEST:,} bytes", name, table, bad)
        values = values.set(long, None)
    nul = values.str.contains("\0", literal=True).fill_null(False)
    if nul.any():
        _report(nul, f"{role} holds a NUL character", name, table, bad)
        values = values.set(nul, None)
    return values.alias(role)


def _texts(role: str, column: pl.Series, name: str, table: Table, bad: Faults) -> pl.Series:
    """A column as text; a label may be a number or a boolean too (`labels` has the rule)."""
    accepted = (str, int, bool, float) if role == "label" else (str,)
    plain = column.dtype.is_numeric() or column.dtype == pl.Boolean
    if column.dtype in (pl.String, pl.Categorical, pl.Enum) or (role == "label" and plain):
        if column.dtype.is_float():
            column = column.fill_nan(None)
        missing, values = column.is_null(), column.cast(pl.String)
    else:
        raw = column.to_list()
        right = pl.Series([isinstance(value, accepted) for value in raw], dtype=pl.Boolean)
        missing = pl.Series([value is None for value in raw], dtype=pl.Boolean)
        _report(~(right | missing), f"{role} is not text", name, table, bad)
        texts = [_label_text(v) if isinstance(v, accepted) else None for v in raw]
        values = pl.Series(name, texts, dtype=pl.String)
    _report(missing, f"{role} is missing", name, table, bad)
    return values


def _label_text(value: object) -> str:
    """`true` and `false` as Polars and JSON write them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _report(mask: pl.Series, kind: str, name: str, table: Table, bad: Faults) -> None:
    def describe(row: int) -> tuple[str, str]:
        shown = f'{kind} in column "{name}"'
        if kind.endswith("not text"):
            value = table.columns[name][row]
            shown = f'column "{name}" holds {name_type(value)} ({show_value(value)}), not text'
        return shown, MEND

    bad.add_each(f"{kind} in {name}", mask.arg_true().to_list(), table.place, describe)


def _read_messages(column: pl.Series, name: str, table: Table, bad: Faults) -> pl.Series:
    raw = column.to_list()
    faults = {row: what for row, chat in enumerate(raw) if (what := find_chat_fault(chat))}
    for row, what in faults.items():
        bad.add(f"{name}: {what}", table.place(row), f'column "{name}": {what}', MEND)
    return as_series([None if row in faults else chat for row, chat in enumerate(raw)])


def _learnable(chats: list[Any], table: Table, left_out: Faults) -> list[Any]:
    """Chats without those in which each answer is context."""
    out = {row for row, chat in enumerate(chats) if chat and has_nothing_to_learn(chat)}
    for row in sorted(out):
        left_out.add(NOT_LEARNED, table.place(row), NOT_LEARNED)
    return [None if row in out else chat for row, chat in enumerate(chats)]


def _with_system(chat: list[Any], system: str | None) -> list[Any]:
    given = any(turn["role"] in ("system", "developer") for turn in chat)
    return chat if given or not system else [{"role": "system", "content": system}, *chat]


def _read_tools(column: pl.Series | None, height: int) -> pl.Series:
    """What tools a chat may call, as JSON; null where it has none."""
    values = [None] * height if column is None else column.to_list()
    texts = [v if isinstance(v, str) else json.dumps(v) if v else None for v in values]
    return pl.Series("tools", texts, dtype=pl.String)


def _as_slice(column: pl.Series) -> pl.Series:
    """Numbers stay numbers: a slice of them may be a range."""
    return column if column.dtype.is_numeric() else as_text(column)


CONTENT_BYTES = 8
# What str.split() takes for white space, save a single space, which stays as it is.
_SPACES = r"[\t-\r\x1c-\x1f ]{2,}|[\t-\r\x1c-\x1f]"


def input_of(frame: pl.DataFrame) -> pl.Series:
    """The input of each row: its text or texts, its prompt, or its chat before the last answer."""
    if "messages" in frame.columns:
        chats = [chat_input(chat) for chat in frame["messages"].to_list()]
        return pl.Series("input", chats, dtype=pl.String)
    if "text_pair" in frame.columns:
        return pl.Series("input", frame["text"] + "\n" + frame["text_pair"])
    return frame["prompt" if "prompt" in frame.columns else "text"].alias("input")


def normalise(texts: pl.Series) -> pl.Series:
    """`normalise_text` of each; ASCII rows, where NFKC changes nothing, go vectorised."""
    out = texts.str.to_lowercase().str.replace_all(_SPACES, " ").str.strip_chars(" ")
    others = (texts.str.len_bytes() != texts.str.len_chars()).arg_true()
    if len(others):
        out = out.scatter(others, [normalise_text(text) for text in texts.gather(others)])
    return out.alias("input")


def content_hash(normalised: pl.Series) -> pl.Series:
    """A 64-bit hash of each text, as UInt64, the same everywhere and always."""
    digests = [
        hashlib.blake2b(text.encode(), digest_size=CONTENT_BYTES).digest() for text in normalised
    ]
    numbers = [int.from_bytes(digest, "big") for digest in digests]
    return pl.Series("content", numbers, dtype=pl.UInt64)
