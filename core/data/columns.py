"""Which column of a source is the text, which the label: found only where there is no doubt."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import polars as pl

from ..config.config import DataConfig
from ..tasks import find_task
from .faults import Faults, show_value
from .formats import Reading
from .joined import as_text, is_marks, marks_name, opened, renamed
from .label_sets import columns_of_marks, holds_lists, looks_separated, separated_fault
from .labels import describe_scale, is_scale, sort_labels
from .row_forms import MADE, NAMES, PAIRS, Becomes, column_of, find_row_forms
from .sources import Table
from .targets import TARGET_NAMES, has_fractions, may_be_numbers

Form = Literal["text_label", "text_labels", "text_numbers", "text", Becomes]
TEXT_NAMES = (
    *("text", "sentence", "review", "review_text", "message", "sms", "body", "content", "comment"),
    *("tweet", "utterance", "query", "question", "document", "headline", "input"),
)
LABEL_NAMES = (
    *("label", "labels", "category", "sentiment", "class", "intent", "target", "topic", "emotion"),
    *("tag", "y", "gold_label", "is_duplicate"),
)
TEXT_PAIRS = (
    ("text", "text_pair"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("sentence1", "sentence2"),
    ("sentence_a", "sentence_b"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("query", "passage"),
    ("query", "document"),
    ("question", "passage"),
    ("question", "sentence"),
    ("claim", "evidence"),
)
KNOWN_NAMES = frozenset(
    [*TEXT_NAMES, *LABEL_NAMES, *NAMES, *(name for pair in TEXT_PAIRS for name in pair)]
)
ROLES = ("text", "text_pair", "label", "prompt", "completion", "messages", "group")
NOT_NEEDED = ("group", "tools", "system", "rated")  # a split may lack them
_SHOWN_LABEL = 64  # characters; a longer value is no label
_SHOWN_COLUMNS = 50
_SAMPLES = 3  # values of each column in a question


@dataclass(frozen=True)
class Columns:
    """Which source column plays which role."""

    form: Form
    sources: dict[str, str]  # role -> source column; "group" too where there is one
    written: str = ""  # how the files write such rows: an entry of `row_forms.FORMS`

    @property
    def roles(self) -> tuple[str, ...]:
        """What a row consists of, without the group and what goes into a prompt or a chat."""
        if self.form in MADE and self.form != "prompt_completion":
            return (*MADE[self.form], *(["tools"] if "tools" in self.sources else []))
        return tuple(role for role in self.sources if role in ROLES and role != "group")

    def column_of(self, role: str) -> str:
        """The column that holds a role, or in which it ends: a chat may come in two."""
        return column_of(self.sources, role)

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns without which a row cannot be made."""
        return tuple(c for role, c in self.sources.items() if role not in NOT_NEEDED)


def named_columns(data: DataConfig) -> dict[str, str]:
    """The roles whose column the config names."""
    given = {role: name for role in ROLES if (name := getattr(data, role))}
    return {role: name if isinstance(name, str) else _one_of(name) for role, name in given.items()}


def _one_of(names: list[str]) -> str:
    """Of several columns of 0 and 1 the column that they make together."""
    return names[0] if len(names) == 1 else marks_name(names)


def reading_of(data: DataConfig, task: str, slices: Iterable[str]) -> Reading:
    """How the files of a config are read. `slices`: columns that must be there too."""
    named = frozenset(opened((*named_columns(data).values(), *slices)))
    header = None if data.header == "auto" else bool(data.header)
    return Reading(task, data.format, header, named, KNOWN_NAMES, data.encoding, data.separator)


def of_split(data: DataConfig, split: str) -> DataConfig:
    """The config as a split of it has its columns."""
    own = (data.columns or {}).get(split, {})
    return replace(data, **own)  # type: ignore[arg-type]


def as_called_elsewhere(
    data: DataConfig, task: str, split: str, table: Table, columns: Columns
) -> Table:
    """The table of a split with its columns called as in the first source.

    By `data.columns`, else by the usual names of what is missing.
    """
    own = {r: n for r, n in (data.columns or {}).get(split, {}).items() if r in columns.sources}
    missing = [r for r, n in columns.sources.items() if n not in table.columns and r not in own]
    if missing and not own:
        named = dict.fromkeys(role for role in missing if role in ROLES)
        unnamed = replace(data, **named)  # type: ignore[arg-type]
        found = find_columns(unnamed, task, table, Faults())
        sources = found.sources if found and found.form == columns.form else {}
        own = {r: sources[r] for r in missing if r in sources and _is_usual(r, sources[r])}
    names = {columns.sources[r]: n for r, n in own.items() if n in table.columns}
    names = {there: here for there, here in names.items() if there != here}
    if not names:
        return table
    called = ", ".join(
        f"{show_value(here)} for {show_value(there)}" for there, here in names.items()
    )
    note = f"{table.files[0]}: columns taken: {called}"
    return replace(renamed(table, names), notes=(*table.notes, note))


def check_slices(slices: Mapping[str, str], table: Table, fatal: Faults) -> None:
    """A fault for each column of `evaluate.slices` or a guardrail that the source does not have."""
    for name, setting in slices.items():
        if name not in table.columns:
            what = f"has no column {show_value(name)} (evaluate.slices, or a guardrail)"
            remedy = _nearest_column(name, table)
            fatal.about(setting).add("slices", table.files[0], what, remedy)


def _nearest_column(name: str, table: Table) -> str:
    near = [show_value(n)[1:-1] for n in difflib.get_close_matches(name, table.columns, 1)]
    return (f'Did you mean "{near[0]}"? ' if near else "") + list_columns(table)


def find_columns(data: DataConfig, task: str, table: Table, fatal: Faults) -> Columns | None:
    """The columns of a source; None, with questions in `fatal`, where there is doubt."""
    named = named_columns(data)
    before = fatal.total
    for role, name in named.items():
        for column in [] if name in table.columns else opened([name]):
            if column not in table.columns:
                setting = f"data.{role}"
                what = f'has no column "{column}" ({setting})'
                remedy = _nearest_column(column, table)
                fatal.about(setting).add("columns", table.files[0], what, remedy)
    if fatal.total > before:
        return None
    known = find_task(task)
    if known.writes:
        return _find_generation(named, table, fatal)
    numbers = "text_numbers" in known.forms
    found = _find_labelled(named, table, fatal, numbers=numbers)
    return found if numbers or not found else _with_label_sets(found, data, table, fatal)


def _with_label_sets(
    columns: Columns, data: DataConfig, table: Table, fatal: Faults
) -> Columns | None:
    """The columns of rows with several labels each, where that is what they are."""
    name = columns.sources["label"]
    column, asked = table.columns[name], data.label_separator
    if is_marks(name, table) or holds_lists(column) or asked not in (None, "none"):
        return replace(columns, form="text_labels")
    if asked is None and data.labels is None and column.dtype == pl.String:
        counts = Counter(column.drop_nulls().to_list())
        if sign := looks_separated(counts):
            what = separated_fault(name, sign, counts)
            fatal.about("data.label_separator").add("columns", table.files[0], *what)
            return None
    return columns


def list_columns(table: Table) -> str:
    """The names of a table's columns as one sentence, the first 50 of them."""
    names = [show_value(name)[1:-1] for name in islice(table.columns, _SHOWN_COLUMNS)]
    return "Its columns are: " + ", ".join([*names, *_unlisted(table)])


def _unlisted(table: Table) -> list[str]:
    """How many columns are not named; nothing where all are."""
    more = len(table.columns) - _SHOWN_COLUMNS
    return [f"… and {more:,} more"] if more > 0 else []


def _find_labelled(
    named: dict[str, str], table: Table, fatal: Faults, *, numbers: bool
) -> Columns | None:
    if table.documents:
        what = "is plain text without labels"
        fatal.add("columns", table.files[0], what, "This task needs a text and a label column")
        return None
    named = named | _text_pair(named, table)
    foreign = [role for role in named if role in ("prompt", "completion", "messages")]
    for role in foreign:
        what = "is for generation"
        fatal.about(f"data.{role}").add("columns", f"data.{role}", what)
    roles: dict[str, str] = {}
    for role in ("text", "label"):
        taken = {named[r] for r in named if r != role}
        find = _only_numbers if numbers and role == "label" else _only_candidate
        if column := named.get(role) or find(role, table, taken):
            roles[role] = column
        elif role == "label" and not numbers and (scale := _scale(table, taken)):
            fatal.about("data.label").add("columns", table.files[0], *scale)
        else:
            _ask(role, table, fatal)
    if "label" in roles and roles["label"] == roles.get("text"):
        what = f'the column "{roles["text"]}" cannot be both text and label'
        fatal.about("data.label").add("columns", table.files[0], what)
        return None
    if len(roles) < 2 or foreign:
        return None
    pair, label = _only(named, "text_pair"), roles.pop("label")
    form: Form = "text_numbers" if numbers else "text_label"
    return Columns(form, roles | pair | {"label": label} | _only(named, "group"))


def _text_pair(named: dict[str, str], table: Table) -> dict[str, str]:
    """The two texts of a pair by their usual names; nothing where one is named, or in doubt."""
    lower = _by_lower_name(table)
    if {"text", "text_pair"} & named.keys() or ("text" in lower and "text_pair" not in lower):
        return {}
    found = [
        (lower[a], lower[b])
        for a, b in TEXT_PAIRS
        if all(n in lower and _may_be_text(table.columns[lower[n]]) for n in (a, b))
    ]
    return dict(zip(("text", "text_pair"), found[0], strict=True)) if len(found) == 1 else {}


def _find_generation(named: dict[str, str], table: Table, fatal: Faults) -> Columns | None:
    if "label" in named:
        what = "is for classification; this task is generation"
        fatal.about("data.label").add("columns", "data.label", what)
        return None
    asked = {role: name for role, name in named.items() if role != "group"}
    forms = _named_forms(asked, table) if asked else _possible_forms(table)
    if len(forms) == 1 and (columns := _complete(forms[0], table)):
        return Columns(columns.form, columns.sources | _only(named, "group"), columns.written)
    if len(forms) > 1 and asked:
        what = "text, prompt + completion and messages exclude each other"
        fatal.about(f"data.{next(iter(named))}").add("columns", table.files[0], what)
        return None
    _ask("prompt and completion, messages, or text", table, fatal)
    return None


def _named_forms(named: dict[str, str], table: Table) -> list[Columns]:
    forms = []
    if "messages" in named:
        found = find_row_forms(table, {"messages": named["messages"]})
        written = [Columns("messages", sources, form.name) for form, sources in found]
        forms += written or [Columns("messages", {"messages": named["messages"]}, "messages")]
    if pair := {role: name for role, name in named.items() if role in ("prompt", "completion")}:
        answers = find_row_forms(table, pair) if named.keys() == {"prompt"} else []
        preferred = [Columns(f.becomes, s, f.name) for f, s in answers if "rejected" in s]
        forms += preferred or [Columns("prompt_completion", pair)]
    if "text" in named:
        forms.append(Columns("text", {"text": named["text"]}))
    return forms


def _complete(columns: Columns, table: Table) -> Columns | None:
    """With the other half of a pair of which the config names one; a pair may be of chats."""
    if columns.form != "prompt_completion" or columns.written:
        return columns
    if len(columns.sources) == 1:
        [(role, name)] = columns.sources.items()
        here = 0 if role == "prompt" else 1
        lower = _by_lower_name(table)
        others = {
            lower[pair[1 - here]]
            for pair in PAIRS
            if pair[here] == name.lower() and pair[1 - here] in lower
        }
        if len(others) != 1:
            return None
        pair = (name, others.pop()) if role == "prompt" else (others.pop(), name)
        columns = Columns(columns.form, dict(zip(("prompt", "completion"), pair, strict=True)))
    found = find_row_forms(table, columns.sources)
    chats = [
        Columns("messages", sources, f.name) for f, sources in found if f.becomes == "messages"
    ]
    return chats[0] if len(chats) == 1 else columns


def _possible_forms(table: Table) -> list[Columns]:
    """Every reading that the names allow; if none, the only text column there is."""
    lower = _by_lower_name(table)
    found = find_row_forms(table, {})
    forms = [Columns(form.becomes, sources, form.name) for form, sources in found]
    repeated = {name for form, _ in found for name in form.repeats}
    if "text" in lower and "text" not in repeated:
        forms.append(Columns("text", {"text": lower["text"]}))
    if not forms and "messages" in lower:
        forms = [Columns("messages", {"messages": lower["messages"]}, "messages")]
    if not forms and (text := _only_candidate("text", table, set())):
        strings = [name for name, column in table.columns.items() if _may_be_text(column)]
        forms = [Columns("text", {"text": text})] if strings == [text] else []
    return forms


def _only_candidate(role: str, table: Table, taken: set[str]) -> str | None:
    """The column of a role: by its very name, by the only usual name, else by its contents."""
    free = {name: column for name, column in table.columns.items() if name not in taken}
    may_be = _may_be_text if role == "text" else _may_be_label
    by_name = {name.lower(): name for name, column in free.items() if may_be(column)}
    if role == "label":
        by_name |= {name.lower(): name for name, column in free.items() if holds_lists(column)}
    if role in by_name:
        return by_name[role]
    usual = TEXT_NAMES if role == "text" else LABEL_NAMES
    candidates = [by_name[name] for name in usual if name in by_name]
    if not candidates:
        looks_like = _looks_like_text if role == "text" else _looks_like_label
        candidates = [name for name, column in free.items() if looks_like(column)]
    return candidates[0] if len(candidates) == 1 else None


def _only_numbers(role: str, table: Table, taken: set[str]) -> str | None:
    """The column of a number to predict: by its usual name, else the only one with fractions."""
    free = {n: c for n, c in table.columns.items() if n not in taken and may_be_numbers(c)}
    by_name = {name.lower(): name for name in free}
    usual = [by_name[name] for name in TARGET_NAMES if name in by_name]
    if role in by_name or len(usual) == 1:
        return by_name.get(role, usual[0] if usual else "")
    fractions = [name for name, column in free.items() if has_fractions(column)]
    return fractions[0] if not usual and len(fractions) == 1 else None


def _may_be_text(column: pl.Series) -> bool:
    if column.dtype == pl.Object:
        return any(isinstance(value, str) for value in column)
    return column.dtype in (pl.String, pl.Categorical, pl.Enum)


def _may_be_label(column: pl.Series) -> bool:
    """Not a list, and not something else in each row."""
    if column.dtype == pl.Object:
        return _may_be_text(column)
    if not (_may_be_text(column) or column.dtype.is_numeric() or column.dtype == pl.Boolean):
        return False
    return len(column) < 20 or column.n_unique() <= len(column) / 2


def _looks_like_text(column: pl.Series) -> bool:
    """Long, with spaces, and mostly something else in each row."""
    if column.dtype != pl.String or not (filled := column.drop_nulls()).len():
        return False
    length, spaced = filled.str.len_chars().mean(), filled.str.contains(" ").mean()
    assert isinstance(length, float)
    assert isinstance(spaced, float)
    return length >= 20 and spaced > 0.5 and filled.n_unique() >= len(filled) / 2


def _looks_like_label(column: pl.Series) -> bool:
    """Short values, each of which comes again and again."""
    if column.dtype == pl.Object or not _may_be_label(column) or not len(column):
        return False
    values = column.drop_nulls().cast(pl.String).unique()
    return (
        2 <= len(values) <= max(2, len(column) / 5)
        and bool((values.str.len_chars() <= _SHOWN_LABEL).all())
        and not values.str.contains("\n").any()
    )


def _scale(table: Table, taken: set[str]) -> tuple[str, str] | None:
    """What to say where a column with the name of a label holds numbers on a scale."""
    for name, column in table.columns.items():
        if name in taken or name.lower() not in LABEL_NAMES:
            continue
        values = Counter(as_text(column).drop_nulls().str.strip_chars().to_list())
        if is_scale(values):
            what, remedy = describe_scale(sort_labels(values))
            return what, f'{remedy}, with label = "{name}"'
    return None


def _by_lower_name(table: Table) -> dict[str, str]:
    return {name.lower(): name for name in table.columns}


def _only(named: dict[str, str], role: str) -> dict[str, str]:
    return {role: named[role]} if role in named else {}


def _ask(role: str, table: Table, fatal: Faults) -> None:
    """The question that a person answers in the config, with what there is to choose from."""
    shown = {show_value(n)[1:-1]: c for n, c in islice(table.columns.items(), _SHOWN_COLUMNS)}
    width = max(map(len, shown), default=0)
    lines = [f"{name:<{width}}  {_samples(column)}" for name, column in shown.items()]
    listing = "".join(f"\n    {line}" for line in [*lines, *_unlisted(table)])
    first = role.split()[0]
    example = f'{role} = "…"' if role in ROLES else 'prompt = "…" and completion = "…"'
    if role == "label" and len(marks := columns_of_marks(table)) > 1:
        some = ", ".join(f'"{show_value(name)[1:-1]}"' for name in marks[:_SAMPLES])
        more = ", …" if len(marks) > _SAMPLES else ""
        example += f" (or label = [{some}{more}], several per row)"
    what = f"which column is the {role} is not certain" if first == role else f"has no sure {role}"
    remedy = f"Write {example} under [data]; columns:{listing}"
    fatal.about(f"data.{first}").add("columns", table.files[0], what, remedy)


def _samples(column: pl.Series) -> str:
    values = column.drop_nulls() if column.dtype != pl.Object else column
    shown = [value for value in values.head(50).to_list() if value is not None]
    return ", ".join(show_value(value) for value in list(dict.fromkeys(map(str, shown)))[:_SAMPLES])


_USUAL = {"text": TEXT_NAMES, "label": LABEL_NAMES, "text_pair": [b for _, b in TEXT_PAIRS]}


def _is_usual(role: str, name: str) -> bool:
    """Whether a column's name alone says its role."""
    usual = {n for pair in PAIRS for n in pair} if role in ("prompt", "completion") else set()
    return name.lower() in usual | {role, *_USUAL.get(role, ())}


def why_column(role: str, name: str, named: dict[str, str]) -> str:
    """By what a column was found: it was named, by its name, or by its contents."""
    if named.get(role) == name:
        return "as you chose"
    if name.lower() == role:
        return "by its name"
    if name.lower() in _USUAL.get(role, NAMES):
        return f"a usual name of {'an' if role[0] in 'aeiou' else 'a'} {role}"
    if role == "label":
        return "by its contents: short values that come again and again"
    return "by its contents: long, and something else in each row"
