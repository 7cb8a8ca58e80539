"""The rows of a table in their roles, checked one by one: wrong types, missing and empty values."""

from __future__ import annotations

import hashlib
from typing import Any

import polars as pl

from ..metrics.answer_text import normalise_text
from .columns import Columns, as_text
from .faults import LONGEST, MEND, Faults, show_value
from .sources import Table

CHARACTERS = "characters"  # column of the length of the whole input, beside its stored beginning
SLICE = "slice:"  # before the name of a carried column: a file may call one "text" or "line"
CHAT_ROLES = ("system", "developer", "user", "assistant", "tool")
MESSAGE: dict[str, type[pl.DataType]] = {"role": pl.String, "content": pl.String}
MORE_OF_A_MESSAGE: dict[str, type[pl.DataType]] = {  # kept where some message has it
    "reasoning_content": pl.String,  # rendered by templates that know it
    "weight": pl.Float64,  # 0: context, not scored
}
_NAMES = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list"}


def select_rows(
    table: Table, columns: Columns, bad: Faults, slices: tuple[str, ...] = ()
) -> pl.DataFrame:
    """The good rows: row_id, line, a column for each role, `slice:NAME` for each slice, content.

    A bad row becomes a fault with its file and line, and is left out.
    """
    values = {role: _read_role(role, columns.sources[role], table, bad) for role in columns.roles}
    frame = pl.DataFrame({"row_id": table.row_id, "line": table.line, **values})
    if (group := columns.sources.get("group")) and group in table.columns:
        frame = frame.with_columns(as_text(table.columns[group]).alias("group"))
    carried = [_as_slice(table.columns[n]).alias(SLICE + n) for n in slices if n in table.columns]
    return with_content(frame.with_columns(carried).drop_nulls(list(values)))


def with_content(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with `content`: a hash of each row's normalised input (UInt64)."""
    return frame.with_columns(content_hash(normalise(input_of(frame))))


def check_labels(
    frame: pl.DataFrame, labels: tuple[str, ...], table: Table, bad: Faults
) -> pl.DataFrame:
    """The rows whose label is one of `labels`; the others become faults."""
    known = frame["label"].is_in(labels)
    if known.all():
        return frame
    strange = frame.filter(~known)
    row_of = dict(zip(table.row_id, range(len(table.row_id)), strict=True))
    places = [row_of[row] for row in strange["row_id"]]
    remedy = "Known labels: " + ", ".join(show_value(label) for label in labels[:20])
    remedy += " …" if len(labels) > 20 else ""
    for place, label in zip(places, strange["label"], strict=True):
        what = f"label {show_value(label)} is unknown to the training data"
        bad.add_each(what, [place], table.place, (what, remedy))
    return frame.filter(known)


def _read_role(role: str, name: str, table: Table, bad: Faults) -> pl.Series:
    """The values of a role, null where a row is bad."""
    column = table.columns[name]
    if role == "messages":
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
    good = [None if row in faults else chat for row, chat in enumerate(raw)]
    turns = [turn for chat in good for turn in chat or ()]
    more = {k: t for k, t in MORE_OF_A_MESSAGE.items() if any(u.get(k) is not None for u in turns)}
    known = MESSAGE | more
    chats = [chat and [{key: turn.get(key) for key in known} for turn in chat] for chat in good]
    return pl.Series("messages", chats, dtype=pl.List(pl.Struct(known)), strict=False)


def find_unread_keys(table: Table, columns: Columns) -> tuple[str, ...]:
    """Keys of messages that nothing reads, in the order in which they are met."""
    if columns.form != "messages":
        return ()
    chats = table.columns[columns.sources["messages"]].to_list()
    turns = (turn for chat in chats if isinstance(chat, list) for turn in chat)
    found = {key: None for turn in turns if isinstance(turn, dict) for key in turn if turn[key]}
    return tuple(key for key in found if key not in MESSAGE | MORE_OF_A_MESSAGE)


def find_chat_fault(chat: object) -> str:
    """What is wrong with a chat; empty if nothing is."""
    if not isinstance(chat, list):
        return f"holds {name_type(chat)}, not a list of messages"
    if not chat:
        return "the chat is empty"
    for number, turn in enumerate(chat, 1):
        if not isinstance(turn, dict) or not {"role", "content"} <= turn.keys():
            return f"message {number} has no role and content"
        if turn["role"] not in CHAT_ROLES:
            return f"message {number} has the unknown role {show_value(turn['role'])}"
        if not isinstance(turn["content"], str):
            return f"the content of message {number} is {name_type(turn['content'])}, not text"
        if len(turn["content"]) > LONGEST:
            return f"message {number} is longer than {LONGEST:,} characters"
        if turn["role"] == "assistant" and not turn["content"].strip():
            return f"message {number}, of the assistant, is empty"
        if fault := _find_extra_fault(turn, number):
            return fault
    answers = [turn for turn in chat if turn["role"] == "assistant"]
    if not answers:
        return "no message is of the assistant: there is nothing to learn"
    if all(turn.get("weight") == 0 for turn in answers):
        return "every message of the assistant has weight 0: there is nothing to learn"
    return ""


def _find_extra_fault(turn: dict[str, Any], number: int) -> str:
    """What is wrong with the keys that a message may have beside role and content."""
    weight, reasoning = turn.get("weight"), turn.get("reasoning_content")
    if weight not in (None, 0, 1):
        return f"message {number} has weight {show_value(weight)}, which is neither 0 nor 1"
    if not isinstance(reasoning, str | None):
        return f"the reasoning_content of message {number} is {name_type(reasoning)}, not text"
    return ""


def name_type(value: object) -> str:
    """What a value is, in words."""
    return "nothing" if value is None else _NAMES.get(type(value), "an object")


def _as_slice(column: pl.Series) -> pl.Series:
    """Numbers stay numbers: a slice of them may be a range."""
    return column if column.dtype.is_numeric() else as_text(column)


CONTENT_BYTES = 8
# What str.split() takes for white space, save a single space, which stays as it is.
_SPACES = r"[\t-\r\x1c-\x1f ]{2,}|[\t-\r\x1c-\x1f]"


def input_of(frame: pl.DataFrame) -> pl.Series:
    """The input of each row: its text, its prompt, or its chat before the last answer."""
    if "messages" in frame.columns:
        chats = [chat_input(chat) for chat in frame["messages"].to_list()]
        return pl.Series("input", chats, dtype=pl.String)
    return frame["prompt" if "prompt" in frame.columns else "text"].alias("input")


def chat_input(chat: list[dict[str, Any]]) -> str:
    """The turns before the last answer that counts; all of them where nothing comes before it."""
    answers = (i for i, t in enumerate(chat) if t["role"] == "assistant" and t.get("weight") != 0)
    last = max(answers, default=0)
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in chat[: last or len(chat)])


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
