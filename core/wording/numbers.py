"""Numbers as words, the same in a report, a table and a line of progress."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Protocol, SupportsFloat

from ..metrics.metric import METRICS

DASH = "–"
COST = "cost"  # per row, in the unit of the objective's prices: no metric without them


def read_number(value: object) -> float:
    """A number of a result: events and reports spell NaN and infinities as strings."""
    if value is None:
        return math.nan
    assert isinstance(value, SupportsFloat | str), value
    return float(value)


LOSS_UNITS = {"nats a token": "nats per token", "bits a byte": "bits per byte"}


def name_unit(stored: str | None) -> str:
    """The unit of a loss on screens and in reports; files keep their older spelling."""
    return LOSS_UNITS.get(stored or "", stored or "nats per token")


def unit_of(metric: str) -> str:
    """How a metric's numbers are written: share, points, perplexity, price, nats or number."""
    if metric in METRICS:
        return METRICS[metric].unit
    if metric == COST:
        return "price"
    return "nats" if metric.endswith("loss") else "share"


def format_value(metric: str, value: object) -> str:
    """`91.2 %`, `0.812` or `2.34` by the metric's unit."""
    number = read_number(value)
    if not math.isfinite(number):
        return spell(number)
    match unit_of(metric):
        case "share":  # z: what rounds to nothing has no sign
            return f"{number * 100:z.1f} %"
        case "points":
            return f"{number:z.1f}"
        case "perplexity":
            return f"{number:,.2f}"
        case "data units":
            return f"{number:,.4g}" if abs(number) < 1e15 else f"{number:.4g}"
        case _:
            return f"{number:z.3f}"


def format_difference(metric: str, value: object) -> str:
    """`+3.2 points` for shares (`+0.32 points` below one point), else the signed number."""
    number = read_number(value)
    text = _signed(metric, number, _digits(metric, [number]))
    return f"{text} points" if unit_of(metric) == "share" and math.isfinite(number) else text


def format_difference_in_column(metric: str, value: object) -> str:
    """The same where differences stand under one another: those of shares have one decimal."""
    number = read_number(value)
    if unit_of(metric) != "share" or not math.isfinite(number):
        return format_difference(metric, value)
    return f"{_signed(metric, number, 1)} points"


def format_interval(metric: str, low: object, high: object) -> str:
    """`88.1 % to 93.6 %`; a dash where there is no interval."""
    ends = read_number(low), read_number(high)
    if any(map(math.isnan, ends)):
        return DASH
    return " to ".join(format_value(metric, end) for end in ends)


def format_difference_interval(metric: str, low: object, high: object) -> str:
    """`+1.2 to +4.0`; a dash where there is no interval."""
    ends = [read_number(low), read_number(high)]
    if any(map(math.isnan, ends)):
        return DASH
    return " to ".join(_signed(metric, end, _digits(metric, ends)) for end in ends)


def shows_nothing(metric: str, difference: object) -> bool:
    """Whether a difference is 0 in every digit that is shown of it."""
    number = read_number(difference)
    return not _signed(metric, number, _digits(metric, [number])).strip("+-0.")


def _digits(metric: str, values: list[float]) -> int:
    """Decimals in which these differences are not 0."""
    match unit_of(metric):
        case "share":  # below one point of difference one decimal would show little of it
            return 2 if any(0 < abs(v) < 0.01 for v in values) else 1
        case "points":
            return 1
        case "perplexity":
            return 2
        case "data units":  # of three digits that count
            most = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
            return min(8, max(0, 2 - math.floor(math.log10(most)))) if most else 3
        case _:
            return 3


def _signed(metric: str, number: float, digits: int) -> str:
    if not math.isfinite(number):
        return spell(number)
    scale = 100 if unit_of(metric) == "share" else 1
    text = f"{number * scale:+,.{digits}f}"
    return text if text.strip("+-0.") else text[1:]  # nothing is neither more nor less


class Measured(Protocol):
    """A number with its 95 % interval, whose ends are NaN where there is none."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def format_estimate(metric: str, estimate: Measured | None) -> str:
    """`91.2 % [88.1, 93.6]`, or the value alone where there is no interval."""
    if estimate is None:
        return DASH
    value = format_value(metric, estimate.value)
    ends = estimate.low, estimate.high
    if any(map(math.isnan, ends)):
        return value
    # the unit stands once, after the value
    low, high = (format_value(metric, end).removesuffix(" %") for end in ends)
    return f"{value} [{low}, {high}]"


def format_point(metric: str, estimate: Measured | None) -> str:
    """The value alone, whatever its interval; a dash for none."""
    return DASH if estimate is None else format_value(metric, estimate.value)


def format_drift(value: object) -> str:
    """`0`, `3.1e-07` or `0.0214`: what lies between two numbers that should be the same."""
    number = read_number(value)
    if not math.isfinite(number):
        return spell(number)
    return "0" if number == 0 else f"{number:.1e}" if number < 0.001 else f"{number:.3g}"


def format_p(value: object) -> str:
    """`< 0.0001`, `0.0123` or `0.42`; a dash where there is none."""
    number = read_number(value)
    if math.isnan(number):
        return DASH
    return "< 0.0001" if number < 0.0001 else f"{number:.4f}" if number < 0.1 else f"{number:.2f}"


def format_seconds(seconds: float | None) -> str:
    """`0.4 s`, `38 s`, `2 min 05 s`, `3 h 20 min`; a dash where it is not known."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if seconds < 9.95:  # from here on one decimal rounds to 10.0
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_time(timestamp: float) -> str | None:
    """ISO 8601 in UTC, to the second; None for a moment that is not known."""
    if not timestamp:
        return None
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="seconds")


def format_shape(rows: int, columns: int) -> str:
    """`1,000 × 10`; a dash where a side has no rows."""
    if rows < 0:
        return DASH
    return f"{rows:,} × {columns:,}" if columns >= 0 else f"{rows:,}"


def spell(number: float) -> str:
    """A number that is not finite, as it is written everywhere."""
    return "NaN" if math.isnan(number) else "∞" if number > 0 else "-∞"


def format_count(number: int, noun: str) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def about_rows(needed: float) -> int:
    """A number of rows to two digits, rounded up: never fewer than what is needed."""
    unit = int(10 ** max(math.floor(math.log10(needed)) - 1, 0))
    return math.ceil(needed / unit) * unit
