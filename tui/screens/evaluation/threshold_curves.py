"""Precision, recall and F1 over thresholds as a chart, told apart without colour."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from ....core.wording.text import visible
from ...drawing.lines import Line, cut
from ...drawing.plot import ASCII, BRAILLE, Raster
from .thresholds import Thresholds, name_chosen

CURVES = ("precision", "recall", "f1")
ROLES = {"precision": "train", "recall": "validation", "f1": "tuned"}
TITLES = {"f1": "F1"}
PATTERNS = {"precision": (1, 1), "recall": (6, 10), "f1": (1, 4)}  # dots that are set, of how many


def curve_lines(
    panel: Thresholds, width: int, height: int, *, ascii_only: bool = False
) -> list[Line]:
    """Precision, recall and F1 over the thresholds the keys visit; lines mark here and chosen.

    A curve is known by its dots, or in ASCII by its letter: colour comes on top.
    """
    down = height - 2
    if width < 20 or down < 3:
        return []
    raster = Raster(width, down, ASCII if ascii_only else BRAILLE)
    last = max(1, len(panel.stops) - 1)
    for name, runs in _runs(panel, raster).items():
        _draw(raster, name, runs)
    chosen = bisect_left(panel.stops, panel.chosen)
    here_sign, chosen_sign = ("|", ":") if ascii_only else ("│", "┊")
    for at, sign, role in ((panel.at, here_sign, "accent"), (chosen, chosen_sign, "muted")):
        raster.mark_column(round(at / last * (raster.dots_across - 1)), role, sign)
    marks = f"{here_sign} here" if chosen == panel.at else f"{here_sign} here  {chosen_sign} "
    marks += "" if chosen == panel.at else name_chosen(panel)
    left, right = f'all rows called "{visible(panel.positive, 24)}"', "none"
    gap = " " * max(1, (width - len(left) - len(marks) - len(right)) // 2)
    axis: Line = [(left + gap, "muted"), (marks, ""), (gap + right, "muted")]
    return [*raster.lines(), cut(axis, width), cut(_legend(ascii_only), width)]


def _runs(panel: Thresholds, raster: Raster) -> dict[str, list[tuple[int, int, int]]]:
    """The dots of each curve, column by column, every run joined to the one before it."""
    runs: dict[str, list[tuple[int, int, int]]] = {name: [] for name in CURVES}
    before: dict[str, int] = {}
    last = max(1, len(panel.stops) - 1)
    for x in range(raster.dots_across):
        f = panel.figures(panel.stops[round(x / max(1, raster.dots_across - 1) * last)])
        for name in CURVES:
            value = getattr(f, name)
            if value != value:
                continue
            y = raster.dots_down - 1 - round(value * (raster.dots_down - 1))
            top, bottom = sorted((y, before.get(name, y)))
            runs[name].append((x, top, bottom))
            before[name] = y
    return runs


def _draw(raster: Raster, name: str, runs: Sequence[tuple[int, int, int]]) -> None:
    """Whole, dashed or dotted; in ASCII, where a cell is one character, by letter."""
    dots = [(x, y) for x, top, bottom in runs for y in range(top, bottom + 1)]
    if raster.marker is ASCII:
        for x, y in dots:
            raster.put_sign(x, y, name[0], ROLES[name])
        return
    shown, every = PATTERNS[name]
    kept = [(x, y, y) for i, (x, y) in enumerate(dots) if i % every < shown]
    raster.draw_runs(kept, ROLES[name])


def _legend(ascii_only: bool) -> Line:
    """The name of each curve behind a piece of it."""
    line: Line = []
    for name in CURVES:
        if ascii_only:
            piece = name[0]
        else:
            sample = Raster(8, 1, BRAILLE)
            _draw(sample, name, [(x, 1, 1) for x in range(sample.dots_across)])
            piece = "".join(text for text, _ in sample.lines()[0])
        line.append((f"{piece} {TITLES.get(name, name)}  ", ROLES[name]))
    return [*line, ("0 to 100 %", "muted")]
