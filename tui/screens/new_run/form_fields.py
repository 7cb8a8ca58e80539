"""The fields of a new run: which are shown, what stands in them, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....core.config.draft import Draft, form_path, form_settings, section_that_is_off
from ....core.config.fields import Setting, choices, show_value
from ....core.errors import Fault
from ....core.tasks import TASKS

SECTIONS = {  # the first part of a setting's path, and its section of the form
    "task": "what",
    "name": "what",
    "model": "what",
    "data": "data",
    "train": "training",
    "objective": "objective",
    "guardrail": "objective",
    "evaluate": "evaluation",
}
FEW = (  # what most runs set; the rest waits behind a key
    *("task", "name", "model.base", "model.adapter", "model.lora.r", "data.train"),
    *("data.validation", "data.test", "data.text", "data.label", "data.prompt"),
    *("data.completion", "data.messages", "train.epochs", "train.max_steps"),
    *("train.learning_rate", "train.batch_size", "objective.metric", "objective.positive"),
    *("objective.at_least", "evaluate.prompts"),
)
FILES = ("data.train", "data.validation", "data.test", "evaluate.general_text")
FOLDERS = ("model.base", "model.tuned")
COLUMNS = ("text", "label", "prompt", "completion", "messages", "group")
FOUND_BY_ITSELF = "found by itself"
NOT_SET = "–"


@dataclass(frozen=True)
class Known:
    """What is known beside the draft: values to choose from, and what was found in the data."""

    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    found: Mapping[str, str] = field(default_factory=dict)  # setting -> what stands for nothing


@dataclass(frozen=True)
class Field:
    """One line of the form."""

    setting: Setting
    section: str
    name: str
    shown: str
    given: bool
    choices: tuple[Any, ...] = ()  # None among them stands for the default
    value: Any = None
    faults: tuple[str, ...] = ()
    missing: bool = False  # nothing is wrong but that it must be given

    @property
    def path(self) -> str:
        return self.setting.path

    @property
    def completes(self) -> str:
        """What tab completes: "file", "folder", "value", or nothing."""
        if self.path in FILES:
            return "file"
        return "folder" if self.path in FOLDERS else "value" if self.choices else ""


def form_fields(draft: Draft, faults: Sequence[Fault], known: Known, *, whole: bool) -> list[Field]:
    """The fields to show: the few or all, without those of the other task."""
    wrong: dict[str, list[Fault]] = {}
    for fault in faults:
        wrong.setdefault(form_path(fault), []).append(fault)
    unused = [path for path, shown in known.found.items() if shown == NOT_SET and not whole]
    shown = [
        s
        for s in form_settings()
        if _is_shown(s.path, draft, wrong, whole=whole)
        and (s.path not in unused or s.path in draft.given or s.path in wrong)
    ]
    return [_field(s, draft, wrong.get(s.path, []), known) for s in shown]


def _is_shown(path: str, draft: Draft, wrong: Mapping[str, Any], *, whole: bool) -> bool:
    if path in draft.given or path in wrong:
        return True
    if _is_of_another_task(path, draft.given.get("task")):
        return False
    if path.startswith("model.lora.") and draft.given.get("model.adapter") != "lora":
        return False
    return whole or path in FEW


def _is_of_another_task(path: str, name: object) -> bool:
    if not isinstance(name, str) or name not in TASKS:
        return False
    own = TASKS[name].settings
    others = {p for task in TASKS.values() for p in task.settings if p not in own}
    return any(path == p or path.startswith(p + ".") for p in others)


def _field(setting: Setting, draft: Draft, wrong: list[Fault], known: Known) -> Field:
    path = setting.path
    first, _, rest = path.partition(".")
    given = path in draft.given
    value = draft.given[path] if given else None if setting.required else setting.default
    return Field(
        setting=setting,
        section=SECTIONS[first],
        name=rest or first,
        shown=show_value(value) if given else _default_shown(setting, draft, known),
        given=given,
        choices=field_choices(setting, known),
        value=value,
        faults=tuple(message_of(f) for f in wrong),
        missing=bool(wrong) and all(f.missing for f in wrong),
    )


def message_of(fault: Fault) -> str:
    """A fault beside its field: the line of a file, and the table of a list, are named."""
    if (line := fault.where.rpartition(":")[2]).isdecimal():
        return f"line {line}: {fault.what}"
    return f"{fault.setting} {fault.what}" if "[" in fault.setting else fault.what


def _default_shown(setting: Setting, draft: Draft, known: Known) -> str:
    if setting.path in known.found:
        return known.found[setting.path]
    if section_that_is_off(setting.path, draft.given):
        return "off"
    if setting.required or setting.default in (None, "", []):
        is_column = setting.path.removeprefix("data.") in ("text", "label")
        return FOUND_BY_ITSELF if is_column else NOT_SET
    return show_value(setting.default)


def field_choices(setting: Setting, known: Known) -> tuple[Any, ...]:
    """What a field cycles through; None stands for its default."""
    if few := choices(setting.type):
        return tuple(few)
    values = known.values.get(setting.path, ())
    return (None, *values) if values else ()


def next_choice(at: Field, direction: int) -> Any:
    """The choice after or before the one that stands there."""
    options = at.choices
    value = at.value if at.given or at.value in options else None
    index = options.index(value) if value in options else -1 if direction > 0 else 0
    return options[(index + direction) % len(options)]


def next_section(fields: Sequence[Field], index: int, direction: int) -> int:
    """The first field of the next section, or of the one before."""
    starts = [i for i, f in enumerate(fields) if not i or fields[i - 1].section != f.section]
    if not starts:
        return 0
    if direction > 0:
        return next((i for i in starts if i > index), starts[0])
    return next((i for i in reversed(starts) if i < index), starts[-1])
