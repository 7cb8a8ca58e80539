"""The threshold of a binary classifier, moved by keys: figures at each, and their curves."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from ....core.metrics.analyses import Thresholds as FoundThresholds
from ....core.wording.numbers import DASH, format_value
from ....core.wording.text import visible
from ...app.background import in_thread
from ...drawing.format import fit, fit_right
from ...drawing.lines import Line, Span, cut
from ...drawing.plot import ASCII, BRAILLE, Raster

if TYPE_CHECKING:
    import polars as pl


STOPS = 200  # thresholds that the keys visit
MOST_DIGITS = 7  # of a threshold; 9 cells hold them


@dataclass(frozen=True)
class Figures:
    """The confusion counts at a threshold."""

    threshold: float
    true_positives: int
    false_negatives: int
    false_positives: int
    true_negatives: int

    @property
    def precision(self) -> float:
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        return _share(
            2 * self.true_positives,
            2 * self.true_positives + self.false_negatives + self.false_positives,
        )

    def cost(self, fp: float, fn: float) -> float:
        """Mean per row, in the unit of the prices."""
        rows = (
            self.true_positives + self.false_negatives + self.false_positives + self.true_negatives
        )
        return _share(fp * self.false_positives + fn * self.false_negatives, rows)


def _share(above: float, below: float) -> float:
    # NaN, not 0: without predictions of the label its precision is not defined.
    return above / below if below else math.nan


@dataclass
class Thresholds:
    """Every distinct probability of the positive label from the least up, and the rows from there.

    `found[i]` and `false[i]` count rows whose probability is at least `scores[i]`; the last score
    is above them all.
    """

    positive: str
    scores: Sequence[float]
    found: Sequence[int]
    false: Sequence[int]
    positives: int
    others: int
    stops: Sequence[float]
    chosen: float = 0.5
    in_use: bool = False
    prices: tuple[float, float] | None = None
    at: int = 0

    @property
    def threshold(self) -> float:
        return self.stops[self.at]

    def figures(self, threshold: float) -> Figures:
        i = bisect_left(self.scores, threshold)
        found = self.found[i] if i < len(self.scores) else 0
        false = self.false[i] if i < len(self.scores) else 0
        return Figures(threshold, found, self.positives - found, false, self.others - false)

    def move(self, count: int) -> None:
        self.at = min(max(0, self.at + count), len(self.stops) - 1)

    def reset(self) -> None:
        self.at = bisect_left(self.stops, self.chosen)


def read_thresholds(
    frame: pl.DataFrame, labels: Sequence[str], found: FoundThresholds
) -> Thresholds | None:
    """From the predictions of the tuned model, and the report's threshold.

    None where probabilities are not stored, or are no numbers.
    """
    import numpy as np

    from ....core.metrics.thresholds import sweep, thin

    positive = found.positive
    if "probabilities" not in frame.columns or positive not in labels or not frame.height:
        return None
    code = list(labels).index(positive)
    scores = frame["probabilities"].list.get(code).cast(float).to_numpy()
    # A foreign run's file, or a model that diverged: bisection over NaN finds anything.
    if not np.isfinite(scores).all():
        return None
    swept = sweep((frame["label"] == positive).to_numpy(), np.ascontiguousarray(scores))
    start = found.chosen.threshold if found.chosen else 0.5
    # A hundred thousand rows have as many thresholds; the curve has columns for a few hundred.
    kept = swept.thresholds[thin(swept, None, STOPS)].tolist()
    fp, fn = found.aim.fp, found.aim.fn
    prices = (fp, fn) if fp is not None and fn is not None else None
    panel = Thresholds(
        positive,
        # The sweep goes from the strictest threshold down, bisection needs them rising.
        swept.thresholds[::-1].tolist(),
        swept.found[::-1].tolist(),
        swept.false[::-1].tolist(),
        swept.positives,
        swept.others,
        # The keys must be able to stop at the chosen threshold and at 0.5, whatever was thinned
        # out.
        sorted({*kept, start, 0.5}),
        start,
        found.in_use,
        prices,
    )
    panel.reset()
    return panel


@dataclass
class PanelRead(Message):
    """The thresholds of a split."""

    panel: Thresholds | None
    split: str


def read_panel(
    frame: pl.DataFrame,
    labels: Sequence[str],
    found: FoundThresholds,
    split: str,
    post: Callable[[Message], object],
) -> None:
    """Sort the probabilities in a thread: numpy is imported there."""
    in_thread(lambda: post(PanelRead(read_thresholds(frame, labels, found), split)))


def threshold_lines(panel: Thresholds, width: int) -> list[Line]:
    """The figures at the threshold under the cursor and at the chosen one, beside each other."""
    now, chosen, half = (panel.figures(t) for t in (panel.threshold, panel.chosen, 0.5))
    names = ["threshold", "precision", "recall", "F1"]
    columns = [[format_threshold(panel, f.threshold)] for f in (now, chosen, half)]
    for column, f in zip(columns, (now, chosen, half), strict=True):
        column += [format_value("f1", v) if v == v else DASH for v in (f.precision, f.recall, f.f1)]
    if panel.prices:
        names.append("cost per row")
        for column, f in zip(columns, (now, chosen, half), strict=True):
            column.append(f"{f.cost(*panel.prices):.3g}")
    other = name_chosen(panel)
    lines: list[Line] = [
        _line("", [("here", "strong accent"), (other, "muted"), ("at 0.5", "muted")])
    ]
    for i, name in enumerate(names):
        here, other, middle = (column[i] for column in columns)
        lines.append(_line(name, [(here, "strong"), (other, ""), (middle, "muted")]))
    lines.append([])
    lines += _confusion_lines(panel, now, chosen, half, width)
    return lines


def format_threshold(panel: Thresholds, threshold: float) -> str:
    """Three decimals, or as many as distinguish its neighbours; `> 0.997` is above all rows."""
    if threshold == panel.scores[-1]:  # the next float above the highest probability
        return f"> {_short(panel, panel.scores[-2], MOST_DIGITS - 2)}"
    return _short(panel, threshold, MOST_DIGITS)


def _short(panel: Thresholds, value: float, most: int) -> str:
    at = bisect_left(panel.stops, value)
    beside = [panel.stops[i] for i in (at - 1, at + 1) if 0 <= i < len(panel.stops)]
    for digits in range(3, most):
        text = f"{value:.{digits}f}"
        if all(text != f"{other:.{digits}f}" for other in beside):
            return text
    return f"{value:.{most}f}"


def _line(name: str, cells: Sequence[Span], size: int = 12) -> Line:
    return [(fit(name, size), "muted"), *((fit_right(text, 9), role) for text, role in cells)]


def name_chosen(panel: Thresholds) -> str:
    """What the threshold of validation was chosen by."""
    return "chosen" if panel.in_use else "best F1"


def _confusion_lines(
    panel: Thresholds, now: Figures, chosen: Figures, half: Figures, width: int
) -> list[Line]:
    positive = visible(panel.positive, 24)
    lines: list[Line] = [[(fit(f'rows, with "{positive}" as positive:', width), "muted")]]
    kinds = (
        ("✓ true pos.", "true_positives", "good"),
        ("✗ false neg.", "false_negatives", "bad"),
        ("✗ false pos.", "false_positives", "bad"),
        ("✓ true neg.", "true_negatives", "good"),
    )
    for name, key, role in kinds:
        here, other, middle = (f"{getattr(f, key):,}" for f in (now, chosen, half))
        lines.append(_line(name, [(here, f"strong {role}"), (other, ""), (middle, "muted")]))
    return lines


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
    left, right = f'all rows predicted "{visible(panel.positive, 24)}"', "none"
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
            if value != value:  # NaN
                continue
            y = raster.dots_down - 1 - round(value * (raster.dots_down - 1))
            # Joined downwards or upwards, so that a steep part has no gaps.
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
    # Counted along the line and not per column: steep parts are dashed alike.
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
