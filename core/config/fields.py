"""What a setting is: one field of a config class, with its type, rule, default and sentence.

The check, the form, `--set` and docs/settings.md all read settings from here, and so does a value
that somebody wrote as text.
"""

from __future__ import annotations

import ast
import inspect
import json
import math
import textwrap
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

from ..files.reading import decode_toml

MOST = 1e12  # of any number: what lies beyond is a slip, and too much for a float or an int64
BETWEEN = " | "  # between the items of a list that is written on one line
_NAMES: dict[object, str] = {
    str: "text",
    float: "a number",
    int: "a whole number",
    bool: "true or false",
}


@dataclass(frozen=True)
class Bounds:
    """What a number of a setting may be; NaN and infinities are refused in every case."""

    at_least: float = -MOST
    at_most: float = MOST
    above: float = -math.inf
    below: float = math.inf
    remedy: str = ""

    def fault(self, value: object) -> str:
        """What is wrong with a number; empty where nothing is, or where it is no number."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return ""
        if isinstance(value, float) and not math.isfinite(value):
            return f"must be a number, not {value}"
        inside = self.at_least <= value <= self.at_most and self.above < value < self.below
        if value > self.at_most == MOST and max(self.above, self.at_least) > -MOST:
            return f"must be {self} and at most {MOST:,.10g}"  # an end that else goes unsaid
        return "" if inside else f"must be {self}"

    def __str__(self) -> str:
        """`at least 1`, `above 0 and at most 1`"""
        return self._ends() or f"between {-MOST:,.10g} and {MOST:,.10g}"

    def _ends(self) -> str:
        ends = (
            ("at least", self.at_least),
            ("above", self.above),
            ("at most", self.at_most),
            ("below", self.below),
        )
        return " and ".join(f"{word} {end:,.10g}" for word, end in ends if abs(end) < MOST)


@dataclass(frozen=True)
class Rule:
    """What a value must be beyond its type. `fault`: what is wrong with it, or nothing."""

    fault: Callable[[object], str]
    remedy: str = ""


Count = Annotated[int, Bounds(at_least=1)]
CountOrNone = Annotated[int | None, Bounds(at_least=1)]
NoneOrMore = Annotated[int, Bounds(at_least=0, remedy="0 is none")]
Amount = Annotated[float, Bounds(at_least=0)]
Positive = Annotated[float, Bounds(above=0)]
Share = Annotated[float, Bounds(at_least=0, below=1)]
Target = Annotated[float | None, Bounds()]
Margin = Annotated[float | None, Bounds(above=0)]
TargetShare = Annotated[float | None, Bounds(above=0, at_most=1, remedy="0.9 means 90 %")]


@dataclass(frozen=True)
class Setting:
    """One field of a config class, as the check, the form and the reference page see it."""

    path: str  # "train.learning_rate"
    type: object
    default: object  # MISSING where a value must be given
    sentence: str
    rule: Bounds | Rule | None = None

    @property
    def required(self) -> bool:
        return self.default is MISSING

    @property
    def bounds(self) -> Bounds | None:
        """Of a number."""
        return self.rule if isinstance(self.rule, Bounds) else None

    @property
    def takes(self) -> str:
        """What it may be, in words: `a whole number, at least 1`."""
        ends = self.bounds._ends() if self.bounds else ""
        return ", ".join(part for part in (expected(self.type), ends) if part)


@cache
def sentences_of(cls: type) -> dict[str, str]:
    """The string beneath each field of a class, read from its source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for statement, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[statement.target.id] = str(after.value.value)
    return found


@cache  # two thirds of what it costs to read a config
def hints_of(cls: type) -> dict[str, object]:
    """The types of a class's fields, by name, without their rules."""
    return get_type_hints(cls)


@cache
def rules_of(cls: type) -> dict[str, Bounds | Rule]:
    """The rules of a class's fields, by name."""
    hints = get_type_hints(cls, include_extras=True).items()
    annotated = [(n, hint.__metadata__) for n, hint in hints if get_origin(hint) is Annotated]
    return {n: r for n, known in annotated for r in known if isinstance(r, Bounds | Rule)}


def section_type(hint: object) -> type | None:
    """The config class behind a field's type, if it is a table of settings."""
    if get_origin(hint) is list:
        return None
    return next((t for t in (hint, *get_args(hint)) if is_dataclass(t)), None)  # type: ignore[return-value]


def item_type(hint: object) -> type | None:
    """The config class behind a field's type, if it is a list of such tables."""
    items = get_args(hint) if get_origin(hint) is list else ()
    return next((t for t in items if isinstance(t, type) and is_dataclass(t)), None)


def settings(cls: type, prefix: str = "") -> list[Setting]:
    """Every setting below a config class, sections opened, in the order of the source."""
    out: list[Setting] = []
    for f in fields(cls):
        hint = hints_of(cls)[f.name]
        if section := section_type(hint):
            out += settings(section, f"{prefix}{f.name}.")
            continue
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        sentence, rule = sentences_of(cls)[f.name], rules_of(cls).get(f.name)
        out.append(Setting(prefix + f.name, hint, default, sentence, rule))
    return out


# Types in words


def members(hint: object) -> list[object]:
    """The types of a union, opened, without None."""
    if get_origin(hint) in (Union, UnionType):
        return [m for part in get_args(hint) for m in members(part)]
    return [] if hint is NoneType else [hint]


def choices(hint: object) -> list[object]:
    """The values of a setting that has a few of them; empty where it is written freely."""
    found: list[object] = []
    for member in members(hint):
        if get_origin(member) is Literal:
            found += get_args(member)
        elif member is bool:
            found += [True, False]
        else:
            return []
    return found


def expected(hint: object) -> str:
    """What a value must be, in words: "a number", "one of none, lora"."""
    if few := choices(hint):
        return "one of " + ", ".join(show_value(value) for value in few)
    wide: dict[object, str] = {dict: 'a table like { a = "b" }', list: "a list of text"}
    named = [
        _NAMES.get(m) or wide[get_origin(m)] for m in members(hint) if get_origin(m) is not Literal
    ]
    named += [f'"{v}"' for m in members(hint) if get_origin(m) is Literal for v in get_args(m)]
    return " or ".join(dict.fromkeys(named))


# Values and the text that stands for them


def read_value(hint: object, text: str) -> object:
    """What a person wrote, as a value of a setting's type; None where nothing is written.

    Text that fits no type comes back as it is: the check says what is wrong with it.
    """
    text = text.strip()
    if not text:
        return None
    kinds = members(hint)
    for value in choices(hint) or [
        v for m in kinds if get_origin(m) is Literal for v in get_args(m)
    ]:
        if text == show_value(value):
            return value
    if bool in kinds and text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                continue
    if text.startswith("{") and any(get_origin(kind) is dict for kind in kinds):
        return _read_table(text)
    if any(get_origin(kind) is list for kind in kinds):
        return _read_list(text, alone=str in kinds)
    return text


def _read_table(text: str) -> object:
    """A TOML table on one line; other text as it is."""
    try:
        return decode_toml(f"table = {text}")["table"]
    except ValueError:
        return text


def _read_list(text: str, alone: bool) -> object:
    """Items between bars, or a TOML array; `alone`: a single item is no list."""
    if text.startswith("["):
        try:
            found = decode_toml(f"items = {text}")["items"]
        except ValueError:
            found = None
        if isinstance(found, list):
            return found
    items = [item.strip() for item in text.split(BETWEEN.strip()) if item.strip()]
    return items[0] if alone and len(items) == 1 else items


def show_value(value: object) -> str:
    """A value as a person writes it on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        pairs = [_array([key])[1:-1] + f" = {_array([v])[1:-1]}" for key, v in value.items()]
        return "{ " + ", ".join(pairs) + " }"
    if not isinstance(value, list):
        return str(value)
    shown = BETWEEN.join(map(str, value))
    return shown if _read_list(shown, alone=False) == value else _array(value)


def _array(items: list[object]) -> str:
    """A TOML array on one line."""

    def quoted(item: object) -> str:  # JSON strings are TOML strings, but for DEL and surrogates
        if isinstance(item, dict):
            return "{ " + ", ".join(f"{quoted(k)} = {value(v)}" for k, v in item.items()) + " }"
        return json.dumps(str(item), ensure_ascii=False).replace("\x7f", "\\u007F")

    def value(item: object) -> str:
        return show_value(item) if isinstance(item, bool | int | float) else quoted(item)

    return "[" + ", ".join(map(quoted, items)) + "]"
