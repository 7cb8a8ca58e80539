"""TOML to RunConfig and back: read, overridden, checked once with every fault, then trusted."""

from __future__ import annotations

import difflib
import re
from dataclasses import MISSING, fields, replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from ..errors import ConfigError, Fault
from ..files.reading import BROKEN, decode_toml, read_adapter, read_toml
from .config import DataConfig, RunConfig, to_dict
from .fields import expected, hints_of, item_type, rules_of, section_type, settings

MOST_NAMED = 3  # entries of a list in a remedy
# tomllib gives no lines; these find those of keys and tables as people write them, to point at one.
_TABLE = re.compile(r"^\s*\[\s*([\w.\-\"' ]+?)\s*\]")
_ITEM = re.compile(r"^\s*\[\[\s*([\w.\-\"' ]+?)\s*\]\]")
_KEY = re.compile(r"^\s*([\w.\-\"']+)\s*=")


def load_config(path: Path, overrides: list[str] | None = None) -> RunConfig:
    """Read and check a run.toml. Raises ConfigError with every fault, each with its line."""
    table, lines = read_table(path, overrides)
    return check_config(table, path.name, lines)


def read_table(
    path: Path, overrides: list[str] | None = None
) -> tuple[dict[str, object], dict[str, int]]:
    """The tables of a TOML file, overridden, and the line of each key. Raises ConfigError."""
    table, text = read_toml(path)
    lines = key_lines(text)
    apply_overrides(table, overrides or [], lines)
    table.setdefault("folder", str(path.parent.resolve()))
    return table, lines


def check_config(
    table: dict[str, object], source: str = "config", lines: dict[str, int] | None = None
) -> RunConfig:
    """Nested tables to a RunConfig. Raises ConfigError with every fault at once."""
    faults: list[Fault] = []
    values = checked(RunConfig, table, "", faults)
    # of a setting with a fault the default stands in: what follows from it would mislead
    wrong = {f.setting for f in faults}
    try:
        config, found = train_on(RunConfig(**values), table["model"])
    except TypeError:  # what must be given is not, and is a fault already
        raise ConfigError(*placed(faults, source, lines or {})) from None
    faults += [f for f in (*found, *config.faults()) if f.setting not in wrong]
    if faults:
        raise ConfigError(*placed(faults, source, lines or {}))
    config = replace(config, data=_without_empty_shares(config.data))
    return config if config.name else replace(config, name=default_name(config))


def placed(faults: list[Fault], source: str, lines: dict[str, int]) -> list[Fault]:
    """The faults, each at the place where its setting was given."""
    return [replace(f, where=place_of(f.setting, source, lines)) for f in faults]


def place_of(key: str, source: str, lines: dict[str, int]) -> str:
    """Where a setting was given: file and line, else the table above it, else the flag."""
    known = next((lines[k] for k in _ancestors(key) if k in lines), None)
    if known is None:
        return f"{source} {key}"
    return f"--set {key}" if known == 0 else f"{source}:{known} {key}"


def _without_empty_shares(data: DataConfig) -> DataConfig:
    """A share of 0 is no split."""
    return replace(data, validation=data.validation or None, test=data.test or None)


def default_name(config: RunConfig) -> str:
    """`minilm_banking77` from the model's and the data's names."""
    source = config.data.train or config.data.test or "run"
    first = source[0] if isinstance(source, list) else str(source)
    parts = (Path(config.model.base).name, Path(first).stem)
    return re.sub(r"[^\w.-]+", "-", "_".join(parts)).strip("-_") or "run"


def dump_config(config: RunConfig) -> str:
    """The complete, resolved configuration as TOML."""
    import tomli_w

    text: str = tomli_w.dumps(to_dict(config))
    return text


def key_lines(text: str) -> dict[str, int]:
    """The line (from 1) on which each dotted key or table of a TOML text stands.

    Tables of a list are counted from 0: `guardrail[0].metric`.
    """
    found: dict[str, int] = {}
    prefix = ""
    for number, line in enumerate(text.splitlines(), 1):
        if item := _ITEM.match(line):
            name = item[1].replace('"', "").replace(" ", "")
            place = next(i for i in count() if f"{name}[{i}]" not in found)
            found.setdefault(name, number)
            found[f"{name}[{place}]"] = number
            prefix = f"{name}[{place}]."
        elif table := _TABLE.match(line):
            prefix = table[1].replace('"', "").replace(" ", "") + "."
            found.setdefault(prefix[:-1], number)
        elif key := _KEY.match(line):
            found.setdefault(prefix + key[1].strip("\"'"), number)
    return found


def _ancestors(key: str) -> list[str]:
    parts = key.split(".")
    above = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return [*above, key.partition("[")[0]]  # of a list on one line


_WRONG = object()  # in place of a value that has a fault


def checked(
    cls: type, table: dict[str, object], prefix: str, faults: list[Fault]
) -> dict[str, Any]:
    """Values of one class, each converted to its type; what does not fit becomes a fault."""
    values: dict[str, Any] = {}  # each of its field's type: that was checked
    known = {f.name: f.default is f.default_factory is MISSING for f in fields(cls)}
    for key in table:
        if key not in known:
            faults.append(Fault.of(prefix + key, "unknown setting", _nearest(key, prefix, cls)))
    for name, required in known.items():
        section = section_type(hints_of(cls)[name])
        if name in table or (required and section):
            value = _convert(cls, name, table.get(name, {}), prefix + name, faults)
            if value is not _WRONG:
                values[name] = value
        elif required:
            remedy = rules_of(cls)[name].remedy if name in rules_of(cls) else ""
            faults.append(Fault("", "must be given", remedy, prefix + name, missing=True))
    return values


def _convert(cls: type, name: str, value: object, key: str, faults: list[Fault]) -> object:
    """The value of one field, or _WRONG and its faults added to the others."""
    hint, rule = hints_of(cls)[name], rules_of(cls).get(name)
    if section := section_type(hint):
        return _read_section(section, value, key, faults)
    if item := item_type(hint):
        return _read_tables(item, value, key, faults)
    try:
        converted = msgspec.convert(value, hint)
    except BROKEN:
        faults.append(Fault.of(key, f"{value!r} is not {expected(hint)}"))
        return _WRONG
    if rule and (wrong := rule.fault(converted)):
        faults.append(Fault.of(key, wrong, rule.remedy))
        return _WRONG
    return converted


def _read_section(cls: type, table: object, key: str, faults: list[Fault]) -> object:
    if not isinstance(table, dict):
        faults.append(Fault.of(key, f"must be a table, not {table!r}"))
        return _WRONG
    values = checked(cls, table, f"{key}.", faults)
    try:
        return cls(**values)
    except TypeError:  # what must be given is not, and is a fault already
        return _WRONG


def _read_tables(cls: type, value: object, key: str, faults: list[Fault]) -> list[object]:
    """A list of tables, `[[guardrail]]`; those with a fault are left out."""
    if not isinstance(value, list):
        faults.append(Fault.of(key, f"must be a list of tables, not {value!r}"))
        return []
    found = []
    for i, table in enumerate(value):
        before = len(faults)
        read = _read_section(cls, table, f"{key}[{i}]", faults)
        if len(faults) == before:
            found.append(read)
    return found


def train_on(config: RunConfig, given: object) -> tuple[RunConfig, list[Fault]]:
    """The config of a run whose base is an adapter: training goes on with that adapter's settings.

    `given`: the table [model] as it was written, which must not ask for others.
    """
    adapter = read_adapter(config.model.base) if config.trains else None
    if adapter is None:
        return config, []
    given = given if isinstance(given, dict) else {}
    found: list[Fault] = []
    if not adapter.is_lora:
        kind = str(adapter.config.get("peft_type"))
        what = f"holds an adapter of the kind {kind}"
        found.append(Fault.of("model.base", what, "Only LoRA is trained"))
    if given.get("adapter", "lora") != "lora":
        remedy = 'Write "lora"; to train every weight, merge the adapter into its base first'
        found.append(Fault.of("model.adapter", "must be lora: the base is an adapter", remedy))
    settings, lora = adapter.settings(), given.get("lora")
    lora = lora if isinstance(lora, dict) else {}
    for name, value in settings.items():
        asked = lora.get(name, value)
        if asked != value and asked not in ("auto", "all-linear"):
            what = f"is {asked}, and the adapter that is trained on has {value}"
            remedy = "Leave it out, or name the adapter's base"
            found.append(Fault.of(f"model.lora.{name}", what, remedy))
    model = replace(config.model, adapter="lora", lora=replace(config.model.lora, **settings))
    return replace(config, model=model), found


@cache
def _paths(cls: type) -> list[str]:
    return [s.path for s in settings(cls)]


def _nearest(key: str, prefix: str, cls: type) -> str:
    known, local = _paths(RunConfig), _paths(cls)
    if close := difflib.get_close_matches(key, local, 1):
        return f"Did you mean {prefix}{close[0]}?"
    last = {p.rsplit(".", 1)[-1]: p for p in known}
    if close := difflib.get_close_matches(key, list(last), 1):
        return f"Did you mean {last[close[0]]}?"
    return "Known here: " + ", ".join(sorted({p.split(".")[0] for p in local}))


def apply_overrides(table: dict[str, object], overrides: list[str], lines: dict[str, int]) -> None:
    """Set each `section.name=value`, TOML or a bare word, in nested tables; its line becomes 0.

    Tables of a list are counted from 0: `guardrail.0.no_worse_by`.
    """
    faults = []
    for text in overrides:
        key, equals, raw = (part.strip() for part in text.partition("="))
        if not equals or not key:
            faults.append(Fault(f"--set {text}", "must have the form section.name=value"))
            continue
        try:
            value = decode_toml(f"value = {raw}")["value"]
        except ValueError:
            value = raw  # a bare word is a string
        try:
            lines[_set(table, key, value)] = 0
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(*faults)


def _set(table: dict[str, object], key: str, value: object) -> str:
    """Set a dotted key, and return it as `key_lines` has it. Raises ConfigError where a part of it
    is in the way because it is no table."""
    inner: Any = table  # tables and lists in turn, each looked at before it is entered
    place = ""
    *sections, name = re.sub(r"\[(\d+)\]", r".\1", key).split(".")
    for section in sections:
        at, place = _find_part(inner, section, place, key)
        if isinstance(inner, dict):
            is_list = item_type(hints_of(RunConfig).get(place)) is not None
            inner.setdefault(at, [] if is_list else {})
        inner = inner[at]
    at, place = _find_part(inner, name, place, key)
    inner[at] = value
    return place


def _find_part(inner: object, part: str, place: str, key: str) -> tuple[object, str]:
    """The name or number of a part of a dotted key in what is at a place, and its own place."""
    if isinstance(inner, dict):
        return part, f"{place}.{part}" if place else part
    if not isinstance(inner, list):
        raise ConfigError(Fault(f"--set {key}", f"{place} is not a table"))
    if part.isdecimal() and int(part) < len(inner):
        return int(part), f"{place}[{int(part)}]"
    if not inner:
        what, remedy = "has no entry yet", f"Write [[{place}]] into the file"
    else:
        what = f"is a list of {len(inner):,}, counted from 0"
        known = [f"{place}.{i}" for i in range(min(len(inner), MOST_NAMED))]
        remedy = f"Write {', '.join(known)}{' …' if len(inner) > MOST_NAMED else ''}"
    raise ConfigError(Fault(f"--set {key}", f"{place} {what}", remedy))
