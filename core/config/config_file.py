"""TOML to RunConfig and back: read, overridden, checked once with every fault, then trusted."""

from __future__ import annotations

import difflib
import re
from contextlib import suppress
from dataclasses import MISSING, fields, replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from ..errors import ConfigError, Fault
from ..files.reading import BROKEN, decode_toml, read_toml
from .adapter_files import train_on
from .config import DataConfig, RunConfig, bounds_of, item_type, section_type, settings, to_dict

MOST_NAMED = 3  # entries of a list in a remedy
_TABLE = re.compile(r"^\s*\[\s*([\w.\-\"' ]+?)\s*\]")
_ITEM = re.compile(r"^\s*\[\[\s*([\w.\-\"' ]+?)\s*\]\]")
_KEY = re.compile(r"^\s*([\w.\-\"']+)\s*=")


def load_config(path: Path, overrides: list[str] | None = None) -> RunConfig:
    """Read and check a run.toml. Raises ConfigError with every fault, each with its line."""
    table, lines = read_table(path, overrides)
    return check_config(table, path.name, lines)


def read_table(
    path: Path, overrides: list[str] | None = None
) -> tuple[dict[str, Any], dict[str, int]]:
    """The tables of a TOML file, overridden, and the line of each key. Raises ConfigError."""
    table, text = read_toml(path)
    lines = key_lines(text)
    apply_overrides(table, overrides or [], lines)
    table.setdefault("folder", str(path.parent.resolve()))
    return table, lines


def check_config(
    table: dict[str, Any], source: str = "config", lines: dict[str, int] | None = None
) -> RunConfig:
    """Nested tables to a RunConfig. Raises ConfigError with every fault at once."""
    faults: list[Fault] = []

    def where(key: str) -> str:
        return place_of(key, source, lines or {})

    values = checked(RunConfig, table, "", faults, where)
    wrong = {f.where for f in faults}
    try:
        config, found = train_on(RunConfig(**values), table["model"])
    except TypeError:  # what must be given is not: that was told
        raise ConfigError(*faults) from None
    found += _contradictions(config)
    told = [Fault(where(key), what, remedy) for key, what, remedy in found]
    faults += [fault for fault in told if fault.where not in wrong]
    if faults:
        raise ConfigError(*faults)
    config = replace(config, data=_without_empty_shares(config.data))
    return config if config.name else replace(config, name=default_name(config))


def place_of(key: str, source: str, lines: dict[str, int]) -> str:
    """Where a setting was given: file and line, else the table above it, else the flag."""
    known = next((lines[k] for k in _ancestors(key) if k in lines), None)
    if known is None:
        return f"{source} {key}"
    return f"--set {key}" if known == 0 else f"{source}:{known} {key}"


def _without_empty_shares(data: DataConfig) -> DataConfig:
    """A share of 0 is no split."""
    empty: dict[str, Any] = {n: None for n in ("validation", "test") if getattr(data, n) == 0}
    return replace(data, **empty)


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


_hints = cache(get_type_hints)  # two thirds of what it costs to read a config


def checked(cls: type, table: Any, prefix: str, faults: list[Fault], where: Any) -> dict[str, Any]:
    """Values of one class, each converted to its type; what does not fit becomes a fault."""
    hints: dict[str, Any] = _hints(cls)
    values: dict[str, Any] = {}
    names = [f.name for f in fields(cls)]
    required = [f.name for f in fields(cls) if f.default is f.default_factory is MISSING]
    for key in table:
        if key not in names:
            faults.append(Fault(where(prefix + key), "unknown setting", _nearest(key, prefix, cls)))
    for name in names:
        key, hint = prefix + name, hints[name]
        if name not in table:
            if name in required and not section_type(hint):
                faults.append(Fault(where(key), "must be given", _REQUIRED.get(key, "")))
            continue
        value = table[name]
        if section := section_type(hint):
            if not isinstance(value, dict):
                faults.append(Fault(where(key), f"must be a table, not {value!r}"))
                continue
            inner = checked(section, value, key + ".", faults, where)
            with suppress(TypeError):  # what must be given is not: that was told
                values[name] = section(**inner)
            continue
        if item := item_type(hint):
            values[name] = _tables(item, value, key, faults, where)
            continue
        try:
            converted = msgspec.convert(value, hint)
        except BROKEN as error:
            faults.append(Fault(where(key), f"{value!r} does not fit: {error}"))
            continue
        if wrong := _out_of_bounds(cls, name, converted):
            faults.append(Fault(where(key), wrong, bounds_of(cls)[name].remedy))
        else:
            values[name] = converted
    if cls is RunConfig and "model" not in table:
        faults.append(Fault(where("model.base"), "must be given", _REQUIRED["model.base"]))
    return values


def _tables(cls: type, value: Any, key: str, faults: list[Fault], where: Any) -> list[Any]:
    """A list of tables, `[[guardrail]]`; those with a fault are left out."""
    if not isinstance(value, list):
        faults.append(Fault(where(key), f"must be a list of tables, not {value!r}"))
        return []
    found = []
    for i, table in enumerate(value):
        place = f"{key}[{i}]"
        if not isinstance(table, dict):
            faults.append(Fault(where(place), f"must be a table, not {table!r}"))
            continue
        before = len(faults)
        inner = checked(cls, table, f"{place}.", faults, where)
        if len(faults) == before:
            found.append(cls(**inner))
    return found


def _out_of_bounds(cls: type, name: str, value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    bounds = bounds_of(cls).get(name) if is_number else None
    return bounds.fault(value) if bounds else ""


_REQUIRED = {
    "task": 'Write task = "classification" or task = "generation"',
    "model.base": "Write [model] base = a hub id or a local folder",
}


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


def apply_overrides(table: dict[str, Any], overrides: list[str], lines: dict[str, int]) -> None:
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


def _set(table: dict[str, Any], key: str, value: Any) -> str:
    """Set a dotted key, and return it as `key_lines` has it. Raises ConfigError where a part of it
    is in the way because it is no table."""
    inner: Any = table
    place = ""
    *sections, name = re.sub(r"\[(\d+)\]", r".\1", key).split(".")
    for section in sections:
        at, place = _find_part(inner, section, place, key)
        if isinstance(inner, dict):
            is_list = item_type(_hints(RunConfig).get(place)) is not None
            inner.setdefault(at, [] if is_list else {})
        inner = inner[at]
    at, place = _find_part(inner, name, place, key)
    inner[at] = value
    return place


def _find_part(inner: Any, part: str, place: str, key: str) -> tuple[Any, str]:
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


def _is_encoding(name: str) -> bool:
    """Whether bytes can be read as text by that name."""
    try:
        b"a".decode(name if name != "auto" else "utf-8", errors="replace")
    except (LookupError, ValueError):
        return False
    return True


def _contradictions(c: RunConfig) -> list[tuple[str, str, str]]:
    """Settings that are each of the right type but cannot be meant."""
    from ..metrics.metric_table import REFERENCE_METRICS
    from .decision import (
        guardrail_contradictions,
        objective_contradictions,
        threshold_contradictions,
    )

    t, out = c.train, []

    def fault(bad: bool, key: str, what: str, remedy: str = "") -> None:
        if bad:
            out.append((key, what, remedy))

    fault(not c.model.base.strip(), "model.base", "is empty", _REQUIRED["model.base"])
    fault(
        c.trains and not c.data.train, "data.train", "must be given", "Name the file to learn from"
    )
    fault(
        not c.trains and not (c.data.test or c.data.train),
        "data.test",
        "must be given",
        "Name the file to evaluate on",
    )
    shares = 0.0
    for key in ("validation", "test"):
        share = getattr(c.data, key)
        if isinstance(share, float):
            shares += share
    fault(
        shares >= 1 and not out,
        "data.validation",
        "the shares of validation and test leave nothing to learn from",
    )
    fault(
        c.data.labels is not None and len(set(c.data.labels)) < 2,
        "data.labels",
        "needs at least two different labels",
    )
    fault(
        not _is_encoding(c.data.encoding),
        "data.encoding",
        f"there is no text encoding {c.data.encoding!r}",
        'Write "auto", "utf-8", "utf-16", "windows-1252" or another that Python knows',
    )
    separator = c.data.separator
    fault(
        separator != "auto" and (len(separator) != 1 or separator in '"\r\n' or separator > "~"),
        "data.separator",
        f"{separator!r} cannot stand between columns",
        'Write "auto" or one character, such as ";"',
    )
    e = c.evaluate
    fault(
        not e.test and not (c.data.train and c.data.validation),
        "evaluate.test",
        "is false, and there is no validation: nothing would be evaluated",
    )
    fault(
        t.best_metric in REFERENCE_METRICS,
        "train.best_metric",
        "is measured at the end only, when both models answer",
        "Choose by loss",
    )
    fault(
        c.objective.metric in REFERENCE_METRICS and not e.completions,
        "evaluate.completions",
        f"is 0, and the objective is {c.objective.metric}, which needs answers",
    )
    looks = (objective_contradictions, guardrail_contradictions, threshold_contradictions)
    return out + [found for look in looks for found in look(c)]
