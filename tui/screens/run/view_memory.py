"""The look of the panes as plain values, and back; what does not fit is left as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ...drawing.plot import MARKERS
from ...widgets.pane import NumberedPane
from ..charts.chart import ChartPane
from .arrangement import Desk
from .look import Look

if TYPE_CHECKING:
    from textual.widget import Widget

    from ..compare.compare_panes import CompareDesk
    from ..evaluation.sections import Section

MOST_LINES = 1_000_000
OF_THE_DATA = ("name", "shown", "window", "cursor", "marker")  # right only if they are there


def desk_memory(desk: Desk | CompareDesk) -> dict[str, Any]:
    """Which pane is in view, whether it is zoomed, and how far each is scrolled."""
    scrolled = {
        str(number): [pane.from_end, pane._hidden_above]
        for number, pane in desk.panes.items()
        if isinstance(pane, NumberedPane) and (pane.from_end or pane._hidden_above)
    }
    return {"shown": desk.shown, "zoomed": desk.zoomed, "scrolled": scrolled}


def recall_desk(desk: Desk | CompareDesk, memory: dict[str, Any]) -> None:
    shown, scrolled = memory.get("shown"), memory.get("scrolled")
    if type(shown) is int and shown in desk.panes:
        desk.shown = shown
        desk.zoomed = memory.get("zoomed") is True
    recall_scrolled(desk.panes, scrolled)


def recall_scrolled(panes: Mapping[int, Widget], scrolled: object) -> None:
    """Panes that have their lines already: how far they are scrolled is bounded by them."""
    for number, pane in panes.items():
        ends = scrolled.get(str(number)) if isinstance(scrolled, dict) else None
        if isinstance(pane, NumberedPane) and isinstance(ends, list) and _are_lines(ends):
            pane.from_end, pane._hidden_above = ends


def _are_lines(ends: list[Any]) -> bool:
    return len(ends) == 2 and all(type(e) is int and 0 <= e <= MOST_LINES for e in ends)


def chart_memory(pane: ChartPane) -> dict[str, Any]:
    """Axis, window, smoothing and the rest of the view; the cursor as the step it stands on."""
    told = look_memory(pane.view)
    cursor, steps = told.pop("cursor"), pane.data.history.steps.step
    told["cursor_step"] = steps[cursor] if cursor is not None and cursor < len(steps) else None
    return {"view": told, "as_table": pane.as_table}


def recall_chart(pane: ChartPane, memory: dict[str, Any]) -> None:
    """`pane` has its data already."""
    view, told = pane.view, memory.get("view")
    pane.as_table = memory.get("as_table") is True
    if not isinstance(told, dict):
        return
    if (name := told.get("name")) in pane.data.names:
        view.name = str(name)
    recall_look(view, told)
    step = told.get("cursor_step")
    if type(step) is int and len(pane.data):
        view.cursor = pane.data.index_at(step, "step")


def look_memory(view: Look) -> dict[str, Any]:
    told = {f.name: getattr(view, f.name) for f in fields(view)}
    return {**told, "marker": MARKERS.index(view.marker)}


def recall_look(view: Look, told: dict[str, Any]) -> None:
    for f in fields(view):
        value = told.get(f.name)
        if f.name not in OF_THE_DATA and _alike(value, getattr(view, f.name)):
            setattr(view, f.name, value)
    window, marker = told.get("window"), told.get("marker")
    if isinstance(window, list) and len(window) == 2 and all(map(is_finite, window)):
        view.window = (window[0], window[1]) if window[0] < window[1] else None
    if type(marker) is int and 0 <= marker < len(MARKERS) and view.marker in MARKERS[:-1]:
        view.marker = MARKERS[marker]  # an ASCII screen stays one


PLACES = ("top", "cursor", "kind")  # of a section of the evaluation


def section_memory(section: Section) -> dict[str, int]:
    return {name: vars(section)[name] for name in PLACES if vars(section).get(name)}


def recall_section(section: Section, memory: object) -> None:
    for name in PLACES:
        value = memory.get(name) if isinstance(memory, dict) else None
        if hasattr(section, name) and type(value) is int and 0 <= value <= MOST_LINES:
            setattr(section, name, value)


def _alike(value: object, now: object) -> bool:
    """A value of the same plain type; of names and shares only those that are offered are taken."""
    from ...drawing.series import SMOOTHINGS
    from .look import AXES

    if isinstance(now, str):
        return value in AXES
    if isinstance(now, bool):
        return isinstance(value, bool)
    return isinstance(now, float) and value in SMOOTHINGS


def is_finite(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
