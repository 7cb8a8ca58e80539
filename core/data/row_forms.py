"""How files write rows for generation: an entry for each usual form, and nothing else knows them.

An entry says by which columns and values its form is recognised, and how a row becomes a prompt
and a completion, or messages. A new form is one more entry of `FORMS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import polars as pl

from .conversations import (
    MESSAGE,
    MORE_OF_A_MESSAGE,
    from_messages,
    from_sharegpt,
    in_turn,
    unread_keys,
)
from .faults import Faults
from .sources import Table

Row = dict[str, Any]
Becomes = Literal["messages", "prompt_completion", "preference", "preference_chats"]
MADE: Mapping[str, tuple[str, ...]] = {  # the roles that a row is made into
    "messages": ("messages",),
    "prompt_completion": ("prompt", "completion"),
    "preference": ("prompt", "completion", "rejected"),
    "preference_chats": ("messages", "rejected"),
}
Test = Callable[[object], bool]
_SEEN = 20  # values of a column that are looked at
CHATS = ("messages", "conversations", "conversation", "chat", "dialog", "dialogue", "turns")
SYSTEMS = ("system", "system_prompt")
KEYS = frozenset({*MESSAGE, *MORE_OF_A_MESSAGE, "function_call"})


@dataclass(frozen=True)
class LeftOut:
    """Why a row that is right is not learned from."""

    why: str


@dataclass(frozen=True)
class Wanted:
    """The column of one role: its usual names, in lower case, and what its values are."""

    names: tuple[str, ...]
    holds: Test
    optional: bool = False


@dataclass(frozen=True)
class RowForm:
    """One form of rows. `make` gets the values of a row by role, and gives those of `becomes`."""

    name: str
    words: str  # completes "every row is ..."
    becomes: Becomes
    wanted: Mapping[str, Wanted]
    make: Callable[[Row], Row | LeftOut] | None = None  # None: the columns are the roles
    repeats: tuple[str, ...] = ()  # columns that hold the same again, as one text
    keys: frozenset[str] = field(default=frozenset())  # of its messages, those that are read

    def find(self, table: Table, named: Mapping[str, str]) -> dict[str, str] | None:
        """Role to column; None where one is missing. What the config names needs no usual name."""
        lower = {name.lower(): name for name in table.columns}
        found: dict[str, str] = {}
        for role, wanted in self.wanted.items():
            names = [named[role]] if role in named else [lower.get(n, "") for n in wanted.names]
            column = next((n for n in names if n and _holds(table.columns[n], wanted.holds)), None)
            if column:
                found[role] = column
            elif not wanted.optional:
                return None
        return found if named.keys() <= found.keys() else None


def _holds(column: pl.Series, test: Test) -> bool:
    """Whether the first values of a column are what is looked for; one that has none may be."""
    values = [value for value in column.head(_SEEN).to_list() if value is not None]
    if not values and len(column) > _SEEN:
        values = column.drop_nulls().head(1).to_list() if column.dtype != pl.Object else []
    return any(map(test, values))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_truth(value: object) -> bool:
    return isinstance(value, bool)


def _begins_with(value: object, key: str) -> bool:
    if isinstance(value, str) and value.lstrip().startswith("["):
        return f'"{key}"' in value[:200]
    return (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict) and key in value[0]
    )


def _is_messages(value: object) -> bool:
    return _begins_with(value, "role")


def _is_sharegpt(value: object) -> bool:
    return _begins_with(value, "from")


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def _is_answers(value: object) -> bool:
    return isinstance(value, dict) and "text" in value


def _is_tools(value: object) -> bool:
    return isinstance(value, list | str)


def joined(*parts: object) -> object:
    """Texts with a blank line between them, empty ones left out; what is no text comes back."""
    if wrong := [part for part in parts if not isinstance(part, str | None)]:
        return wrong[0]
    return "\n\n".join(str(part) for part in parts if part and str(part).strip())


def _chat(read: Callable[[object], object]) -> Callable[[Row], Row]:
    def make(row: Row) -> Row:
        chat = read(row["messages"])
        system = row.get("system")
        if isinstance(chat, list) and isinstance(system, str) and system.strip():
            chat = [{"role": "system", "content": system}, *chat]
        return {"messages": chat}

    return make


def _prompt_and_completion_chats(row: Row) -> Row | LeftOut:
    """Only what completes is learned: answers in the prompt are context."""
    if row.get("rated") is False:
        return LeftOut(UNDESIRED)
    before, after = from_messages(row["prompt"]), from_messages(row["completion"])
    if isinstance(after, str):
        after = [{"role": "assistant", "content": after}]
    if not isinstance(before, list) or not isinstance(after, list):
        return {"messages": before if not isinstance(before, list) else after}
    context = [t | {"weight": 0} if isinstance(t, dict) else t for t in before]
    return {"messages": [*context, *after]}


def _desired(row: Row) -> Row | LeftOut:
    return LeftOut(UNDESIRED) if row.get("rated") is False else row


def _with_input(row: Row) -> Row:
    prompt = joined(row.get("system"), row["prompt"], row.get("input"))
    return {"prompt": prompt, "completion": row["completion"]}


def _with_context(row: Row) -> Row:
    return {"prompt": joined(row["context"], row["prompt"]), "completion": row["completion"]}


def _answered(row: Row) -> Row | LeftOut:
    """The first of the answers: the others are what other people wrote."""
    answers = row["completion"]
    texts = answers.get("text") if isinstance(answers, dict) else answers
    if isinstance(texts, list):
        if not texts:
            return LeftOut("the question has no answer in its context")
        texts = texts[0]
    return _with_context(row | {"completion": texts})


def _preferred_text(row: Row) -> Row | LeftOut:
    """Without a prompt of their own, both answers begin with it: it ends at white space."""
    prompt, chosen, rejected = row.get("prompt"), row["completion"], row["rejected"]
    if not isinstance(chosen, str) or not isinstance(rejected, str):
        return {"prompt": prompt or "", "completion": chosen, "rejected": rejected}
    if chosen == rejected:
        return LeftOut(NOT_DIFFERENT)
    if prompt is None:
        most, shared = min(len(chosen), len(rejected)), 0
        while shared < most and chosen[shared] == rejected[shared]:
            shared += 1
        while shared and not chosen[shared - 1].isspace():
            shared -= 1
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    return {"prompt": prompt, "completion": chosen, "rejected": rejected}


def _preferred_chat(row: Row) -> Row | LeftOut:
    """What both chats begin with, and a prompt before it, is context."""
    before = from_messages(row.get("prompt"))
    answers = [_as_answer(row[role]) for role in ("completion", "rejected")]
    for chat in answers:
        if not isinstance(chat, list):
            return {"messages": chat, "rejected": chat}
    chosen, rejected = answers
    if chosen == rejected:
        return LeftOut(NOT_DIFFERENT)
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    context = before if isinstance(before, list) and not shared else []
    context = [
        t | {"weight": 0} if isinstance(t, dict) else t for t in [*context, *chosen[:shared]]
    ]
    return {"messages": [*context, *chosen[shared:]], "rejected": [*context, *rejected[shared:]]}


def _as_answer(value: object) -> Any:
    return (
        [{"role": "assistant", "content": value}]
        if isinstance(value, str)
        else from_messages(value)
    )


NOT_DIFFERENT = "both answers are the same: there is nothing to prefer"
UNDESIRED = "label is false: such completions are not to be learned"
_TOOLS = Wanted(("tools",), _is_tools, optional=True)
_SYSTEM = Wanted(SYSTEMS, _is_text, optional=True)


def _text(*names: str, optional: bool = False) -> Wanted:
    return Wanted(names, _is_text, optional)


def _chats(
    name: str, words: str, holds: Test, read: Callable[[object], object], *keys: str
) -> RowForm:
    wanted = {"messages": Wanted(CHATS, holds), "tools": _TOOLS, "system": _SYSTEM}
    return RowForm(name, words, "messages", wanted, _chat(read), keys=frozenset(keys))


def _pair(prompt: str, completion: str) -> RowForm:
    wanted = {"prompt": _text(prompt), "completion": _text(completion)}
    return RowForm("pair", "a prompt and its completion", "prompt_completion", wanted)


def _preference(name: str, words: str, becomes: Becomes, **wanted: Wanted) -> RowForm:
    chats = becomes == "preference_chats"
    make = _preferred_chat if chats else _preferred_text
    return RowForm(name, words, becomes, wanted, make, keys=KEYS if chats else frozenset())


FORMS = (
    _chats("messages", "chats", _is_messages, from_messages, *KEYS),
    _chats(
        *("sharegpt", "chats (ShareGPT: from and value)", _is_sharegpt, from_sharegpt),
        *("from", "value", "weight"),
    ),
    _chats("in_turn", "chats (a list of texts, user and assistant in turn)", _is_texts, in_turn),
    RowForm(
        "chat_pair",
        "chats (the beginning as prompt, the end as completion)",
        "messages",
        {
            "prompt": Wanted(("prompt",), _is_messages),
            "completion": Wanted(("completion", "response"), lambda v: isinstance(v, list | str)),
            "tools": _TOOLS,
            "rated": Wanted(("label",), _is_truth, optional=True),
        },
        _prompt_and_completion_chats,
        keys=KEYS,
    ),
    RowForm(
        "rated_pair",
        "a prompt and its completion (KTO: those with label true)",
        "prompt_completion",
        {
            "prompt": _text("prompt"),
            "completion": _text("completion"),
            "rated": Wanted(("label",), _is_truth),
        },
        _desired,
    ),
    RowForm(
        "alpaca",
        "an instruction with its input, and the output (Alpaca)",
        "prompt_completion",
        {
            "prompt": _text("instruction"),
            "input": _text("input"),
            "completion": _text("output", "response"),
            "system": _SYSTEM,
        },
        _with_input,
        repeats=("text",),
    ),
    RowForm(
        "context",
        "a context with an instruction or question, and the answer (Dolly)",
        "prompt_completion",
        {
            "context": _text("context"),
            "prompt": _text("instruction", "question"),
            "completion": _text("response", "output", "answer", "completion"),
        },
        _with_context,
    ),
    RowForm(
        "answers",
        "a context with a question, and the first of its answers (SQuAD)",
        "prompt_completion",
        {
            "context": _text("context"),
            "prompt": _text("question"),
            "completion": Wanted(("answers",), _is_answers),
        },
        _answered,
    ),
    RowForm(
        "system_pair",
        "a system prompt with a question, and the response",
        "prompt_completion",
        {
            "system": replace(_SYSTEM, optional=False),
            "prompt": _text("question", "prompt", "instruction", "query"),
            "completion": _text("response", "completion", "output", "answer"),
        },
        _with_input,
    ),
    _preference(
        *("preference", "two answers to a prompt, one of them preferred", "preference"),
        prompt=_text("prompt", "question", "instruction", "query", "input", optional=True),
        completion=_text("chosen"),
        rejected=_text("rejected"),
    ),
    _preference(
        *("preferred_chats", "two chats, one of them preferred", "preference_chats"),
        prompt=Wanted(("prompt",), lambda v: isinstance(v, list | str), optional=True),
        completion=Wanted(("chosen",), _is_messages),
        rejected=Wanted(("rejected",), _is_messages),
        tools=_TOOLS,
    ),
    _preference(
        *("preferred_answers", "two answers to a chat, one of them preferred", "preference_chats"),
        prompt=Wanted(("prompt",), _is_messages),
        completion=_text("chosen"),
        rejected=_text("rejected"),
        tools=_TOOLS,
    ),
    _pair("prompt", "completion"),
    _pair("prompt", "response"),
    _pair("question", "answer"),
    _pair("question", "response"),
    _pair("query", "response"),
    _pair("query", "answer"),
    _pair("instruction", "output"),
    _pair("instruction", "response"),
    _pair("instruction", "completion"),
    _pair("input", "output"),
)
PAIRS = tuple(
    (form.wanted["prompt"].names[0], form.wanted["completion"].names[0])
    for form in FORMS
    if form.name == "pair"
)
NAMES = frozenset(
    name for form in FORMS for wanted in form.wanted.values() for name in wanted.names
)
_BY_NAME = {form.name: form for form in FORMS}


def find_row_forms(table: Table, named: Mapping[str, str]) -> list[tuple[RowForm, dict[str, str]]]:
    """Every form that a table may be in, with its columns; those that explain less are left out."""
    found = [(form, columns) for form in FORMS if (columns := form.find(table, named)) is not None]
    return [
        (form, columns)
        for form, columns in found
        if not any(set(columns.values()) < set(other.values()) for _, other in found)
    ]


def column_of(sources: Mapping[str, str], role: str) -> str:
    """The column that holds a role, or in which it ends: a chat may come in two. A prompt that two
    answers share stands in a column of its own.
    """
    if role == "prompt":
        return sources.get(role, role)
    return sources.get(role) or sources["completion"]


def words_of(name: str) -> str:
    """What the rows of a form are, in words; empty where there is no such form."""
    return _BY_NAME[name].words if name in _BY_NAME else ""


def make_rows(name: str, sources: Mapping[str, str], table: Table, left_out: Faults) -> Table:
    """The table with the columns of the roles made from what its form has; rows that are right and
    not to be learned are taken out, and counted in `left_out`.
    """
    form = _BY_NAME.get(name)
    if form is None or form.make is None:
        return table
    roles = {r: c for r, c in sources.items() if r in form.wanted and c in table.columns}
    columns = [table.columns[column].to_list() for column in roles.values()]
    made = [form.make(dict(zip(roles, row, strict=True))) for row in zip(*columns, strict=True)]
    for row, out in enumerate(made):
        if isinstance(out, LeftOut):
            left_out.add(out.why, table.place(row), out.why)
    kept = [row for row, out in enumerate(made) if not isinstance(out, LeftOut)]
    rows = [out for out in made if not isinstance(out, LeftOut)]
    table = table.take(kept)
    for role in MADE[form.becomes]:
        column = column_of(sources, role)
        table.columns[column] = _as_column(column, [row[role] for row in rows])
    return table


def _as_column(name: str, values: list[Any]) -> pl.Series:
    if all(isinstance(value, str | None) for value in values):
        return pl.Series(name, values, dtype=pl.String)
    return pl.Series(name, values, dtype=pl.Object)


def find_unread_keys(name: str, sources: Mapping[str, str], table: Table) -> tuple[str, ...]:
    """Keys of messages that nothing reads, in the order in which they are met."""
    form = _BY_NAME.get(name)
    if form is None or not form.keys:
        return ()
    found = dict[str, None]()
    for role in ("messages", "prompt", "completion"):
        if role in sources:
            chats = table.columns[sources[role]].to_list()
            found |= dict.fromkeys(unread_keys(chats, form.keys))
    return tuple(found)
