"""Where the six panes stand, by the size of the terminal."""

from __future__ import annotations

from collections.abc import Collection

from textual.geometry import Region, Size

from ...widgets.pane import Numbered, PaneDesk

PIPELINE_HEIGHT = 7  # five stages and a border
WIDE, WIDE_TALL = 150, 37
MIDDLE, MIDDLE_TALL = 100, 33
TRACE_HEIGHT = 9


def is_compact(width: int, height: int) -> bool:
    """Whether panes share one place and are chosen like tabs. Sizes are those of the desk."""
    return not ((width >= MIDDLE and height >= MIDDLE_TALL - 3) or _is_wide(width, height))


def _is_wide(width: int, height: int) -> bool:
    return width >= WIDE and height >= WIDE_TALL - 3


def place_panes(width: int, height: int, shown: int, zoomed: bool) -> dict[int, Region]:
    """The region of each visible pane. `shown` is the pane in view where panes share a place."""
    if zoomed:
        return {shown: Region(0, 0, width, height)}
    if _is_wide(width, height):
        return _place_wide(width, height)
    if not is_compact(width, height):
        return _place_middle(width, height)
    below = Region(0, PIPELINE_HEIGHT, width, height - PIPELINE_HEIGHT)
    return {1: Region(0, 0, width, PIPELINE_HEIGHT), 4 if shown == 1 else shown: below}


def _place_wide(width: int, height: int) -> dict[int, Region]:
    """Two columns: what happens at the left, what comes of it at the right."""
    left = width * 3 // 5
    right = width - left
    rest = height - PIPELINE_HEIGHT
    trace = max(TRACE_HEIGHT, rest * 2 // 5)
    log = max(6, height // 5)
    prompt = (height - log) * 9 // 20
    metrics = height - log - prompt
    return {
        1: Region(0, 0, left, PIPELINE_HEIGHT),
        4: Region(0, PIPELINE_HEIGHT, left, rest - trace),
        2: Region(0, height - trace, left, trace),
        3: Region(left, 0, right, metrics),
        5: Region(left, metrics, right, prompt),
        6: Region(left, metrics + prompt, right, log),
    }


def _place_middle(width: int, height: int) -> dict[int, Region]:
    """Pipeline and trace over the whole width; chart beside metrics, prompt beside log."""
    trace = TRACE_HEIGHT - 1
    rest = height - PIPELINE_HEIGHT - trace
    lower = max(8, rest * 9 // 20)
    upper = rest - lower
    left = width // 2
    right = width - left
    y = PIPELINE_HEIGHT
    return {
        1: Region(0, 0, width, PIPELINE_HEIGHT),
        4: Region(0, y, left, upper),
        3: Region(left, y, right, upper),
        2: Region(0, y + upper, width, trace),
        5: Region(0, y + upper + trace, left, lower),
        6: Region(left, y + upper + trace, right, lower),
    }


class Desk(PaneDesk):
    """The six panes; where they share a place, the pipeline keeps its own."""

    def __init__(self, *panes: Numbered) -> None:
        super().__init__(*panes, id="desk", shown=4)

    def regions(self, size: Size) -> dict[int, Region]:
        return place_panes(size.width, size.height, self.shown, self.zoomed)

    def sharing(self, size: Size) -> Collection[int]:
        shares = not self.zoomed and is_compact(size.width, size.height)
        return [number for number in self.panes if number != 1] if shares else ()
