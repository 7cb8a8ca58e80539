"""A run before it is one: the settings that somebody gave so far, and every fault of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import ConfigError, Fault
from ..files.reading import read_toml
from ..tasks import NAMES
from .config import RunConfig, to_dict
from .config_file import check_config, default_name
from .fields import Setting, hints_of, section_type, settings

SOURCE = "form"
FOR_LOOKING = {"task": NAMES[0], "model.base": "not chosen yet"}


@dataclass(frozen=True)
class Draft:
    """What was given: a value as TOML has it for each dotted path. The rest is default."""

    given: Mapping[str, object] = field(default_factory=dict)
    folder: str = "."  # where relative paths start

    def with_value(self, path: str, value: object) -> Draft:
        """The draft with one more value; None takes it back to its default."""
        given = {p: v for p, v in self.given.items() if p != path}
        if value is not None:
            given[path] = value
        return replace(self, given=given)

    def table(self) -> dict[str, object]:
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
class CheckedDraft:
    """The run that a draft stands for, or every fault that is in the way."""

    config: RunConfig | None
    faults: tuple[Fault, ...] = ()


@cache
def form_settings() -> tuple[Setting, ...]:
    """The settings that a person gives: all but the folder, which ftev writes."""
    return tuple(s for s in settings(RunConfig) if s.path != "folder")


@cache
def optional_sections(cls: type = RunConfig, prefix: str = "") -> tuple[str, ...]:
    """Sections that are off until one of their settings is given, as `train.early_stopping`."""
    found: list[str] = []
    for f in fields(cls):
        if section := section_type(hints_of(cls)[f.name]):
            found += [prefix + f.name] if f.default is None else []
            found += optional_sections(section, f"{prefix}{f.name}.")
    return tuple(found)


def section_that_is_off(path: str, given: Mapping[str, object]) -> str:
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


def _check_in_rounds(draft: Draft) -> tuple[RunConfig | None, tuple[Fault, ...]]:
    """Checked again without what was wrong: contradictions show among right types only."""
    faults: dict[str, list[Fault]] = {}
    for _ in range(4):  # a bound: each round takes out what the last one found
        try:
            config = check_config(draft.table() | {"folder": draft.folder}, SOURCE)
            return config, tuple(f for found in faults.values() for f in found)
        except ConfigError as error:
            found = error.faults
        for path in {form_path(f) for f in found}:
            faults.setdefault(path, [f for f in found if form_path(f) == path])
            draft = draft.with_value(path, FOR_LOOKING.get(path))
    return None, tuple(f for found in faults.values() for f in found)


def form_path(fault: Fault) -> str:
    """The field of the form that a fault is about: of a table in a list, the list; or nothing."""
    path = fault.setting.partition("[")[0]
    while path and path not in _form_paths():
        path = path.rpartition(".")[0]
    return path


@cache
def _form_paths() -> frozenset[str]:
    return frozenset(s.path for s in form_settings())


def read_draft(table: dict[str, object], folder: str) -> tuple[Draft, list[str]]:
    """Nested tables to a draft, and the names of what is no setting. Types are checked later."""
    known = {s.path for s in form_settings()}
    given: dict[str, object] = {}
    unknown: list[str] = []

    def walk(inner: dict[str, object], prefix: str) -> None:
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


def _same(value: object, default: object) -> bool:
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
