"""The form of a new run, without a screen: its fields, what stands in them, and their lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size

from ....core.config.draft import Draft, form_path, form_settings, section_that_is_off
from ....core.config.fields import Setting, choices, show_value
from ....core.errors import Fault
from ....core.tasks import TASKS
from ....core.wording.text import visible
from ...drawing.format import fit, wrap
from ...drawing.lines import Line, cut, width_of

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
    choices: tuple[object, ...] = ()  # None among them stands for the default
    value: object = None
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


def _is_shown(path: str, draft: Draft, wrong: Mapping[str, object], *, whole: bool) -> bool:
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


def field_choices(setting: Setting, known: Known) -> tuple[object, ...]:
    """What a field cycles through; None stands for its default."""
    if few := choices(setting.type):
        return tuple(few)
    values = known.values.get(setting.path, ())
    return (None, *values) if values else ()


def next_choice(at: Field, direction: int) -> object:
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


# As lines

MARK_WIDTH, SECTION_WIDTH, GAP = 2, 12, 2
LEAST_VALUE = 16  # cells of a value that a fault leaves standing
LEAST_CHOICES = 30  # cells from which on the choices stand beside each other


def name_width(fields: Sequence[Field], width: int) -> int:
    longest = max((cell_len(f.name) for f in fields), default=8)
    return max(8, min(longest, width - MARK_WIDTH - SECTION_WIDTH - GAP - LEAST_VALUE))


def value_column(fields: Sequence[Field], width: int) -> int:
    """The cell in which values begin."""
    return MARK_WIDTH + SECTION_WIDTH + name_width(fields, width) + GAP


def form_rows(fields: Sequence[Field], height: int) -> list[int | None]:
    """The fields in their order, and None for a blank line between sections where there is room."""
    spaced: list[int | None] = []
    for index, at in enumerate(fields):
        if index and fields[index - 1].section != at.section:
            spaced.append(None)
        spaced.append(index)
    return spaced if len(spaced) <= height else [*range(len(fields))]


def field_line(fields: Sequence[Field], index: int, width: int, *, focused: bool) -> Line:
    at = fields[index]
    first = not index or fields[index - 1].section != at.section
    line: Line = [
        ("▸ " if focused else "  ", "accent"),
        (fit(at.section if first else "", SECTION_WIDTH), "muted"),
        (fit(at.name, name_width(fields, width)) + " " * GAP, "strong" if focused else ""),
    ]
    room = width - width_of(line)
    fault = _fault(at)
    if focused and not fault and at.choices and None not in at.choices:
        return cut([*line, *choice_spans(at, room)], width)
    value_room = max(LEAST_VALUE, room - width_of(fault) - GAP) if fault else room
    line.append((shorten(visible(at.shown), value_room, at.completes), _value_role(at)))
    if fault:
        line += [(" " * GAP * bool(at.shown), ""), *fault]
    return cut(line, width)


def _value_role(at: Field) -> str:
    return "strong" if at.given else "muted"


def _fault(at: Field) -> Line:
    if at.missing:
        return [("! must be given", "warn")]
    if not at.faults:
        return []
    more = f" (and {len(at.faults) - 1:,} more)" if len(at.faults) > 1 else ""
    return [(f"✗ {visible(at.faults[0])}{more}", "bad")]


def choice_spans(at: Field, room: int) -> Line:
    """Every choice, the one that stands in brackets; where they do not fit, that one alone."""
    shown = [show_value(value) for value in at.choices]
    line: Line = []
    for value, text in zip(at.choices, shown, strict=True):
        here = type(value) is type(at.value) and value == at.value
        line.append((f"[{text}] " if here else f" {text}  ", "strong accent" if here else "muted"))
    if room >= LEAST_CHOICES and width_of(line) <= room:
        return line
    return [(f"‹ {visible(at.shown)} ›", "strong accent")]


def shorten(text: str, width: int, kind: str) -> str:
    """A path loses its beginning, anything else its end."""
    if cell_len(text) <= width or kind not in ("file", "folder"):
        return text if cell_len(text) <= width else fit(text, width)
    while cell_len(text) > max(1, width - 1):
        text = text[1:]
    return "…" + text


def foot_lines(at: Field, width: int, height: int) -> list[Line]:
    """What the focused field is for, what it takes, and everything that is wrong with it."""
    default = f"   default {show_value(at.setting.default)}" if _has_default(at) else ""
    head: Line = [(at.path, "strong"), (f"   {at.setting.takes}", "muted")]
    lines = [cut([*head, (visible(default), "muted")], width)]
    lines += [[(text, "")] for text in wrap(at.setting.sentence.replace("\n", " "), width)]
    for fault in at.faults:
        lines += [[(text, "warn" if at.missing else "bad")] for text in wrap(visible(fault), width)]
    if len(lines) > height:
        lines = [*lines[: height - 1], cut([*lines[height - 1], (" …", "muted")], width)]
    return lines


def _has_default(at: Field) -> bool:
    return not at.setting.required and at.setting.default not in (None, "", [])


def candidate_lines(candidates: Sequence[str], chosen: str, width: int, height: int) -> list[Line]:
    """What the text may become, by their last part; the chosen one marked."""
    lines: list[Line] = [[]]
    for candidate in candidates:
        name = visible(candidate.rstrip("/").rpartition("/")[2] + "/" * candidate.endswith("/"))
        here = candidate == chosen
        piece = (f"[{name}] " if here else f" {name}  ", "strong accent" if here else "muted")
        if width_of(lines[-1]) + cell_len(piece[0]) > width and lines[-1]:
            if len(lines) == height:
                lines[-1] = [*cut(lines[-1], width - 2), ("…", "muted")]
                break
            lines.append([])
        lines[-1].append((set_cell_size(piece[0], min(width, cell_len(piece[0]))), piece[1]))
    return lines
