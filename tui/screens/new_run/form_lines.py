"""The lines of the form: a field each, its section at the left, what is wrong beside it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from ....core.config.fields import show_value
from ....core.wording.text import visible
from ...drawing.format import fit, wrap
from ...drawing.lines import Line, cut, width_of
from .form_fields import Field

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
        told = visible(candidate.rstrip("/").rpartition("/")[2] + "/" * candidate.endswith("/"))
        here = candidate == chosen
        piece = (f"[{told}] " if here else f" {told}  ", "strong accent" if here else "muted")
        if width_of(lines[-1]) + cell_len(piece[0]) > width and lines[-1]:
            if len(lines) == height:
                lines[-1] = [*cut(lines[-1], width - 2), ("…", "muted")]
                break
            lines.append([])
        lines[-1].append((set_cell_size(piece[0], min(width, cell_len(piece[0]))), piece[1]))
    return lines
