"""Values and names as words of a given width. Pure functions: clock and width are passed in."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from rich.cells import cell_len, set_cell_size

from ...core.run.runs import Run
from ...core.wording.text import visible

SMALLEST = 80, 24  # columns and lines of a terminal that the screens need
ABSENT = "–"
MINUS = "−"


_MINUS = re.compile(r"""(?<![\w.\-"'“‘])-(?=[\d.∞])""")


def with_minus(text: str) -> str:
    """A text of the report as screens show it: − before its numbers; quoted text stays as it is."""
    return _MINUS.sub(MINUS, text)


def format_count(value: float) -> str:
    """1,234,567"""
    return f"{value:,.0f}".replace("-", MINUS)


def format_short_count(value: float) -> str:
    """987, 12.3 k, 4.56 M: three digits and a letter."""
    # Up to 9,999 the digits themselves are as short.
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            scaled = value / {"G": 1e9, "M": 1e6, "k": 1e3}[unit]
            return f"{scaled:.{_decimals(scaled)}f} {unit}"
    return format_count(value)


def _decimals(scaled: float) -> int:
    return 2 if abs(scaled) < 10 else 1 if abs(scaled) < 100 else 0


def format_bytes(value: float) -> str:
    """734 MiB, 1.21 GiB"""
    if value < 0:
        return ABSENT
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1000 or unit == "GiB":  # 1000, not 1024: never four digits before the point
            return f"{value:.0f} B" if unit == "B" else f"{value:.{_decimals(value)}f} {unit}"
        value /= 1024
    raise AssertionError("the last unit takes all")


def format_seconds(seconds: float) -> str:
    """How long something took: 0.42 s, 12.3 s, 2:05, 1:02:03"""
    if not math.isfinite(seconds) or seconds < 0:
        return ABSENT
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return format_clock(seconds)


def format_clock(seconds: float) -> str:
    """How long something will take: 0:07, 12:34, 1:02:03, 2 d 3 h"""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    if hours:
        return f"{hours}:{minutes:02}:{whole % 60:02}"
    return f"{minutes}:{whole % 60:02}"


def format_age(seconds: float) -> str:
    """just now, 5 min, 3 h, 2 d, 6 weeks"""
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600:.0f} h"
    if seconds < 21 * 86400:
        return f"{seconds // 86400:.0f} d"
    return f"{seconds // (7 * 86400):.0f} weeks"


def format_time(stamp: float) -> str:
    """14:05:09, local"""
    return datetime.fromtimestamp(stamp).strftime("%H:%M:%S") if stamp else " " * 8


def format_number(value: float, digits: int = 4) -> str:
    """A raw number in so many digits, the one before the point counted: 0.412, 3.142, 12.35"""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    size = abs(value)
    if size and (size < 1e-3 or size >= 1e6):
        return f"{value:.{max(0, digits - 2)}e}".replace("-", MINUS, 1 if value < 0 else 0)
    before = 1 if size < 10 else len(str(int(size)))
    return f"{value:.{max(0, digits - before)}f}".replace("-", MINUS)


def format_share(value: float) -> str:
    """90.5 %"""
    return ABSENT if not math.isfinite(value) else f"{value * 100:.1f} %".replace("-", MINUS)


def format_signed(value: float, decimals: int) -> str:
    """+0.123, −0.050, and 0.000 where nothing is left after rounding"""
    if not math.isfinite(value):
        return ABSENT
    text = f"{value:+,.{decimals}f}"
    # Neither −0.000 nor +0.000: both would name a direction that is not there.
    if not text.strip("+-0."):
        return text[1:]
    return text.replace("-", MINUS)


def format_shape(rows: int, columns: int) -> str:
    """1,000 × 10; one side alone where the other does not apply"""
    if rows < 0 and columns < 0:
        return ""
    if rows < 0:
        return f"{format_count(columns)} columns"
    if columns < 0:
        return f"{format_count(rows)} rows"
    return f"{format_count(rows)} × {format_count(columns)}"


def fit(text: str, width: int) -> str:
    """Exactly `width` cells: padded on the right, or cut with an ellipsis."""
    if cell_len(text) <= width:
        return set_cell_size(text, max(0, width))
    if width <= 1:
        return "…"[:width]
    return set_cell_size(text, width - 1) + "…"


def short_model_name(name: str) -> str:
    """The last part of a hub id or a path; of a run's `model` folder the run."""
    parts = [part for part in name.split("/") if part]
    if len(parts) > 1 and parts[-1] == "model":
        return parts[-2]
    return parts[-1] if parts else name


def fit_right(text: str, width: int) -> str:
    """Exactly `width` cells: padded on the left, or cut."""
    missing = width - cell_len(text)
    return " " * missing + text if missing >= 0 else fit(text, width)


_UNIT = re.compile(r"(?<=\d) (?=%)")  # a line break there parts a number from its unit


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells, broken at spaces where there are some, but not before %."""
    if width < 1:
        return []
    lines: list[str] = []
    line = ""
    for word in _UNIT.sub("\0", text).split(" "):
        word = word.replace("\0", " ")
        joined = f"{line} {word}" if line else word
        if cell_len(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        *full, line = _chop(word, width)
        lines += full
    return [*lines, line]


def with_dots(text: str, width: int) -> str:
    """A text that goes on: its first words and an ellipsis, in at most `width` cells."""
    return next(iter(wrap(text, width - 2)), "") + " …"


def _chop(word: str, width: int) -> list[str]:
    if cell_len(word) <= width:
        return [word]
    pieces = [""]
    used = 0
    for character in word:
        size = cell_len(character)
        if used + size > width:
            pieces.append("")
            used = 0
        pieces[-1] += character
        used += size
    return pieces


def bar(share: float, width: int) -> str:
    """A bar of so many cells, in eighths."""
    share = min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0
    eighths = round(share * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")


def progress_bar(share: float, width: int) -> str:
    """A thin bar: ━━━━────"""
    done = round(min(1.0, max(0.0, share)) * width)
    return "━" * done + "─" * (width - done)


STARTED = re.compile(r"(\d{4})-(\d\d-\d\d)_(\d\d)-(\d\d)-(\d\d)")  # of a run's folder
FORMS = (r"\3:\4", r"\3:\4:\5", r"\2 \3:\4", r"\1-\2 \3:\4:\5")  # the shortest first


@lru_cache(64)
def cut_apart(labels: tuple[str, ...], width: int) -> tuple[str, ...]:
    """The labels in at most `width` cells: those that would look alike keep their ends as well."""
    seen = [visible(label) for label in labels]
    cut = [fit(name, width) for name in seen]
    count = Counter(cut)
    ways = [
        [
            fit_middle(name, width, before) if count[short] > 1 else short
            for name, short in zip(seen, cut, strict=True)
        ]
        for before in range(max(1, (width - 1) // 3), 0, -1)
    ]
    # The one that leaves fewest alike.
    best = max(ways, key=lambda names: len(set(names)))
    return tuple(name.rstrip() for name in best)


def fit_middle(text: str, width: int, before: int) -> str:
    """Exactly `width` cells: padded on the right, or cut behind the first `before` cells."""
    if cell_len(text) <= width or width < 4:
        return fit(text, width)
    head, tail = fit(text, before + 1)[:-1], text
    while cell_len(tail) > width - 1 - cell_len(head):
        tail = tail[1:]
    return fit(f"{head}…{tail}", width)


def name_runs(named: Sequence[tuple[str, Run]]) -> list[tuple[str, Run]]:
    """The runs with names that differ: those of one name say when they were started."""
    count = Counter(name for name, _ in named)
    return [
        (name if count[name] == 1 else _with_start(name, run, named), run) for name, run in named
    ]


def _with_start(name: str, run: Run, named: Sequence[tuple[str, Run]]) -> str:
    ids = [other.path.name for known, other in named if known == name]
    for form in FORMS:
        starts = [found.expand(form) for i in ids if (found := STARTED.match(i))]
        if len(set(starts)) == len(ids):
            return f"{name} {starts[ids.index(run.path.name)]}"
    return run.path.name
