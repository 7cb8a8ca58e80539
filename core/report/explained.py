"""A metric of a run in full: its receipt, its differences, what stands beside it, what it means.

The receipt as lines too, for a command and a screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import msgspec

from ..config.config import RunConfig
from ..errors import ConfigError
from ..metrics.metric import METRICS
from ..run.history import History
from ..wording.numbers import (
    DASH,
    format_count,
    format_difference,
    format_difference_interval,
    format_interval,
    format_p,
    format_value,
)
from ..wording.text import nearest
from .glossary import Entry, lookup
from .receipts import (
    DifferenceReceipt,
    IntervalReceipt,
    Part,
    Receipt,
    Rows,
    Tokens,
    compared_with,
    differences,
    explained_split,
    receipt,
)


class Explained(msgspec.Struct, frozen=True):
    """`beside`: the same metric of the other models on these rows, and of random guessing."""

    receipt: Receipt
    differences: list[DifferenceReceipt]
    beside: dict[str, float]
    glossary: Entry


def explain_metric(
    history: History,
    config: RunConfig | None,
    metric: str,
    split: str | None = None,
    model: str = "tuned",
) -> Explained:
    """By default of the tuned model on the split that the verdict reads.

    Raises ConfigError for a metric, split or model that the run does not have.
    """
    metric = metric_name(metric)
    split = explained_split(history, split)
    found = lookup(metric)
    assert found is not None  # a test holds that the glossary has every metric
    return Explained(
        receipt(history, config, split, model, metric),
        differences(history, config, split, metric, model),
        compared_with(history, split, metric, model),
        found,
    )


def metric_name(text: str) -> str:
    """A metric however it is spelt, by its aliases too. Raises ConfigError with the nearest."""
    found = lookup(text)
    if found is not None and found.name in METRICS:
        return found.name
    near = ", ".join(nearest(text, METRICS))
    raise ConfigError(f"--explain: there is no metric {text!r}. Nearest: {near}")


LineOfReceipt = tuple[str, str]  # label and text
SHOWN_PARTS = 10


def receipt_lines(r: Receipt) -> Iterator[LineOfReceipt]:
    yield "metric", r.title
    yield "value", f"{format_value(r.metric, r.value)} ({r.value:.10g}), {r.better} is better"
    yield "of", f"{r.model} on {r.split}" if r.split else r.model
    yield "formula", r.formula
    yield from _division(r)
    if r.parts:
        yield "made of", _parts(r.metric, r.parts)
    yield "weighting", r.weighting
    if r.positive:
        yield "positive", f'"{r.positive}"'
    yield "rows", describe_rows(r.rows)
    if r.tokens:
        yield "tokens", describe_tokens(r.tokens)
    yield "dtype", r.dtype
    yield "prefix", r.prefix
    if r.interval:
        ends = format_interval(r.metric, r.interval.low, r.interval.high)
        yield "interval", _interval(ends, r.interval)
    if r.training_seed is not None:
        yield "run's seed", str(r.training_seed)
    for note in r.notes:
        yield "note", note


def difference_lines(d: DifferenceReceipt) -> Iterator[LineOfReceipt]:
    yield "difference", f"{format_difference(d.metric, d.value)}, {d.from_model} to {d.to_model}"
    yield "formula", d.formula
    if d.numerator is not None:
        yield from _division(d)
    yield "made of", _parts(d.metric, d.parts)
    if d.interval:
        yield "interval", _interval(_difference_ends(d, d.interval), d.interval)
    yield "p", f"{format_p(d.p)}, {d.p_method.removeprefix('p ')}"
    if d.p_holm is not None:
        yield "p by Holm", f"{format_p(d.p_holm)}, adjusted over the secondary metrics"
    if d.fixed is not None and d.broke is not None:
        yield "rows", f"fixed {d.fixed:,}, broke {d.broke:,}"
    if d.smallest_detectable is not None and math.isfinite(d.smallest_detectable):
        least = format_difference(d.metric, abs(d.smallest_detectable)).lstrip("+")
        yield "detectable", f"{least} or more, with this many rows, at 80 % power"


def meaning_lines(e: Explained) -> Iterator[LineOfReceipt]:
    """What the metric means, with this run's own reference points."""
    yield "meaning", e.glossary.meaning
    yield "reading", e.glossary.reading
    if e.beside:
        yield "beside it", describe_beside(e.receipt.metric, e.beside)
    yield "trap", e.glossary.trap
    yield "see also", ", ".join(e.glossary.see)


def explained_lines(e: Explained) -> list[list[LineOfReceipt]]:
    """The receipt, each difference, and the meaning: blocks of lines."""
    found = [list(receipt_lines(e.receipt))]
    found += [list(difference_lines(d)) for d in e.differences]
    return [*found, list(meaning_lines(e))]


def describe_beside(metric: str, beside: Mapping[str, float]) -> str:
    values = (f"{name} {format_value(metric, value)}" for name, value in beside.items())
    return ", ".join(values)


def describe_rows(rows: Rows) -> str:
    """`200 scored of 210; 3 without scored tokens, 1 truncated, …`"""
    line = f"{rows.scored:,} scored"
    if rows.in_split is not None:
        line += f" of {rows.in_split:,}"
    counts = (
        (rows.unscored, "without scored tokens"),
        (rows.truncated, "truncated at the window"),
        (rows.skipped, "malformed ones skipped"),
        (rows.repeated, "excluded as repeats of a row of an earlier split"),
    )
    parts = [f"{n:,} {what}" for n, what in counts if n is not None]
    return f"{line}; {', '.join(parts)}" if parts else line


def describe_tokens(tokens: Tokens) -> str:
    counts = f"{tokens.in_split:,} in the split"
    if tokens.scored is not None:
        counts += f", {tokens.scored:,} scored"
    return f"{counts}, {tokens.masked:,} masked, {tokens.truncated:,} truncated"


def format_sum(value: float) -> str:
    """A count whole, a sum with four decimals, a small one with six digits."""
    if not math.isfinite(value):
        return f"{value:g}"
    if value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.4f}" if abs(value) >= 1 else f"{value:.6g}"


def _division(r: Receipt | DifferenceReceipt) -> Iterator[LineOfReceipt]:
    if r.numerator is None or r.denominator is None:
        return
    yield "numerator", f"{format_sum(r.numerator)}: {r.numerator_is}"
    yield "denominator", f"{format_sum(r.denominator)}: {r.denominator_is}"
    if isinstance(r, Receipt) and r.then:
        yield "then", f"{r.then} of the quotient"


def _parts(metric: str, parts: list[Part]) -> str:
    shown = [_part(metric, p) for p in parts[:SHOWN_PARTS]]
    more = len(parts) - len(shown)
    return "; ".join([*shown, f"and {format_count(more, 'label')} more"] if more else shown)


def _part(metric: str, p: Part) -> str:
    value = f"{p.name} {format_value(metric, p.value)}"
    if p.numerator is None or p.denominator is None:
        return value
    return f"{value} ({format_sum(p.numerator)} ÷ {format_sum(p.denominator)})"


def _difference_ends(d: DifferenceReceipt, interval: IntervalReceipt) -> str:
    """`+1.2 to +4.0 points`, `-0.050 to -0.021 nats`; a dash where there is no interval."""
    ends = format_difference_interval(d.metric, interval.low, interval.high)
    unit = {"share": "points", "coefficient": "", "squared error": "", "perplexity": ""}
    name = unit.get(d.unit, d.unit)
    return f"{ends} {name}" if name and ends != DASH else ends


def _interval(ends: str, interval: IntervalReceipt) -> str:
    return f"{ends}, {interval.method}"
