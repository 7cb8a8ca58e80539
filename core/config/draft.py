"""A run before it is one: the settings that somebody gave so far, and every fault of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import ConfigError, Fault
from ..files.reading import decode_toml, read_toml
from .config import RunConfig, Setting, section_type, settings, to_dict

SOURCE = "form"
BETWEEN = " | "  # between the items of a list that is written on one line
FOR_LOOKING = {"task": "classification", "model.base": "not chosen yet"}


@dataclass(frozen=True)
class Draft:
    """What was given: a value as TOML has it for each dotted path. The rest is default."""

    given: Mapping[str, Any] = field(default_factory=dict)
    folder: str = "."  # where relative paths start

    def with_value(self, path: str, value: Any) -> Draft:
        """The draft with one more value; None takes it back to its default."""
        given = {p: v for p, v in self.given.items() if p != path}
        if value is not None:
            given[path] = value
        return replace(self, given=given)

    def table(self) -> dict[str, Any]:
        """Nested tables, in the order of the settings."""
        nested: dict[str, Any] = {}
        for setting in form_settings():
            if setting.path not in self.given:
                continue
            *sections, name = setting.path.split(".")
            table = nested
            for section in sections:
                table = table.setdefault(section, {})
            table[name] = self.given[setting.path]
        return nested


@dataclass(frozen=True)
class FieldFault:
    """A fault, and the setting it belongs to; empty where it belongs to none."""

    path: str
    fault: Fault


@dataclass(frozen=True)
class CheckedDraft:
    """The run that a draft stands for, or every fault that is in the way."""

    config: RunConfig | None
    faults: tuple[FieldFault, ...] = ()


@cache
def form_settings() -> tuple[Setting, ...]:
    """The settings that a person gives: all but the folder, which ftev writes."""
    return tuple(s for s in settings() if s.path != "folder")


@cache
def optional_sections(cls: type = RunConfig, prefix: str = "") -> tuple[str, ...]:
    """Sections that are off until one of their settings is given, as `train.early_stopping`."""
    hints, found = get_type_hints(cls), []
    for f in fields(cls):
        if section := section_type(hints[f.name]):
            found += [prefix + f.name] if f.default is None else []
            found += optional_sections(section, f"{prefix}{f.name}.")
    return tuple(found)


def section_that_is_off(path: str, given: Mapping[str, Any]) -> str:
    """The optional section around a setting where nothing of it is given; else empty."""
    for section in optional_sections():
        if path.startswith(section + ".") and not any(p.startswith(section + ".") for p in given):
            return section
    return ""


def check_draft(draft: Draft) -> CheckedDraft:
    """The config of a draft, or every fault, each with the setting it belongs to."""
    config, faults = _check_in_rounds(draft)
    return CheckedDraft(None if faults else config, faults)


def without_faults(draft: Draft) -> RunConfig | None:
    """The draft with its faulty values left out, so that its data can be looked at anyway."""
    return _check_in_rounds(draft)[0]


def _check_in_rounds(draft: Draft) -> tuple[RunConfig | None, tuple[FieldFault, ...]]:
    """Checked again without what was wrong: contradictions show among right types only."""
    from .config_file import check_config

    faults: dict[str, list[FieldFault]] = {}
    for _ in range(4):
        try:
            config = check_config(draft.table() | {"folder": draft.folder}, SOURCE)
            return config, tuple(f for found in faults.values() for f in found)
        except ConfigError as error:
            placed = [_place(fault, draft) for fault in error.faults]
        for path in {f.path for f in placed}:
            faults.setdefault(path, [f for f in placed if f.path == path])
            draft = draft.with_value(path, FOR_LOOKING.get(path))
    return None, tuple(f for found in faults.values() for f in found)


def _place(fault: Fault, draft: Draft) -> FieldFault:
    path = fault.where.removeprefix(SOURCE).strip()
    known = {s.path: s for s in form_settings()}
    if "does not fit" in fault.what and path in known:
        value = draft.given.get(path)
        what = f"{value!r} is not {expected(known[path].type)}"
        fault = replace(fault, what=what)
    whole = path.partition("[")[0]
    if whole != path and whole in known:  # a table of a list: the form has the list
        return FieldFault(whole, replace(fault, what=f"{path} {fault.what}"))
    return FieldFault(path if path in known else "", fault)


def read_draft(table: dict[str, Any], folder: str) -> tuple[Draft, list[str]]:
    """Nested tables to a draft, and the names of what is no setting. Types are checked later."""
    known = {s.path for s in form_settings()}
    given: dict[str, Any] = {}
    unknown: list[str] = []

    def walk(inner: dict[str, Any], prefix: str) -> None:
        for key, value in inner.items():
            path = prefix + key
            if path in known:
                given[path] = value
            elif isinstance(value, dict) and any(p.startswith(path + ".") for p in known):
                walk(value, path + ".")
                if path in optional_sections() and not value:  # on, with its defaults
                    given.update({s.path: s.default for s in _settings_of(path)})
            elif path != "folder":
                unknown.append(path)

    walk(table, "")
    return Draft(given, str(table.get("folder", folder))), unknown


def load_draft(path: Path) -> tuple[Draft, list[str]]:
    """A run.toml as a draft, faults and all. Raises ConfigError where it cannot be read."""
    return read_draft(read_toml(path)[0], str(path.parent.resolve()))


def draft_of(config: RunConfig) -> Draft:
    """A draft that stands for a config: what differs from the defaults."""
    from .config_file import default_name

    whole, _ = read_draft(to_dict(config), config.folder)
    defaults = {s.path: s.default for s in form_settings()}
    kept = {
        path: value
        for path, value in whole.given.items()
        if any(path.startswith(section + ".") for section in optional_sections())
        or not _same(value, defaults[path])
    }
    if kept.get("name") == default_name(config):
        del kept["name"]
    return Draft(kept, config.folder)


def _same(value: Any, default: Any) -> bool:
    """Whether a value is the default; `eval_every` means steps as 1 and epochs as 1.0."""
    return default is not MISSING and type(value) is type(default) and value == default


def _settings_of(section: str) -> list[Setting]:
    return [s for s in form_settings() if s.path.startswith(section + ".")]


def write_draft(draft: Draft, path: Path) -> None:
    """A run.toml with what was given. Raises OSError where it cannot be written."""
    path.write_text(draft_toml(draft, path.parent), encoding="utf-8")


def draft_toml(draft: Draft, place: Path) -> str:
    """The TOML of a draft, to stand in a folder `place`: other paths start from its own folder."""
    import tomli_w

    table = draft.table()
    if Path(draft.folder).resolve() != place.resolve():
        first = {k: v for k, v in table.items() if not isinstance(v, dict)}
        table = {**first, "folder": str(Path(draft.folder).resolve()), **table}
    text: str = tomli_w.dumps(table)
    return text


# Values and the text that stands for them


def members(hint: Any) -> list[Any]:
    """The types of a union, opened, without None."""
    if get_origin(hint) in (Union, UnionType):
        return [m for part in get_args(hint) for m in members(part)]
    return [] if hint is NoneType else [hint]


def choices(hint: Any) -> list[Any]:
    """The values of a setting that has a few of them; empty where it is written freely."""
    found: list[Any] = []
    for member in members(hint):
        if get_origin(member) is Literal:
            found += get_args(member)
        elif member is bool:
            found += [True, False]
        else:
            return []
    return found


def expected(hint: Any) -> str:
    """What a value must be, in words: "a number", "one of none, lora"."""
    if few := choices(hint):
        return "one of " + ", ".join(show_value(value) for value in few)
    names = {str: "text", float: "a number", int: "a whole number", bool: "true or false"}
    wide = {dict: 'a table like { a = "b" }'}
    told = [
        names.get(m, wide.get(get_origin(m) or m, "a list"))
        for m in members(hint)
        if get_origin(m) is not Literal
    ]
    told += [f'"{v}"' for m in members(hint) if get_origin(m) is Literal for v in get_args(m)]
    return " or ".join(dict.fromkeys(told))


def read_value(hint: Any, text: str) -> Any:
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
    if any(get_origin(kind) is dict for kind in kinds):
        return _read_table(text)
    if any(get_origin(kind) is list for kind in kinds):
        return _read_list(text, alone=str in kinds)
    return text


def _read_table(text: str) -> Any:
    """A TOML table on one line; other text as it is."""
    try:
        return decode_toml(f"table = {text}")["table"]
    except ValueError:
        return text


def _read_list(text: str, alone: bool) -> Any:
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


def show_value(value: Any) -> str:
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


def _array(items: list[Any]) -> str:
    """A TOML array on one line."""
    import json

    def quoted(item: Any) -> str:  # a JSON string is a TOML string, but for DEL and surrogate pairs
        if isinstance(item, dict):
            return "{ " + ", ".join(f"{quoted(k)} = {value(v)}" for k, v in item.items()) + " }"
        return json.dumps(str(item), ensure_ascii=False).replace("\x7f", "\\u007F")

    def value(item: Any) -> str:
        return show_value(item) if isinstance(item, bool | int | float) else quoted(item)

    return "[" + ", ".join(map(quoted, items)) + "]"
