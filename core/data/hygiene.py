"""What rows hold that nobody meant to teach: mark-up, quoted mails, labels that look mistyped.

Each is a short line with a count and one example. Nothing is changed by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile

import polars as pl

from ..wording.numbers import format_count
from .faults import show_value
from .label_sets import count_labels, describe_sets, joined_labels
from .labels import find_variants
from .rows import input_of
from .sources import Table
from .targets import describe_targets

_TAGS = (
    "p|br|div|span|a|b|i|u|em|strong|font|ul|ol|li|table|tr|td|img|h[1-6]|script|style|html|body"
)
TRACES = {  # in words: what matches
    "HTML tags": rf"(?i)</?(?:{_TAGS})(?:\s[^<>]{{0,200}})?/?>",
    "HTML entities": r"(?i)&(?:amp|lt|gt|quot|apos|nbsp|#\d{1,6}|#x[0-9a-f]{1,5});",
    "quoted replies": r"(?m)^>+ ?\S.*$|^-{3,} ?Original Message ?-{3,}|^On .{5,80} wrote:\s*$",
    "e-mail signatures": r"(?m)^-- ?$|^Sent from my \w+",
}
LEAST_LABEL = 5  # letters: one letter of a shorter label is much of it
MOST_LABELS = 2_000  # more are not compared
LISTED = 3
_BLANK = 0.005  # share of a column; less is rounded away


def remarks(
    frames: Mapping[str, pl.DataFrame], labels: Iterable[str], table: Table
) -> tuple[str, ...]:
    """What is striking in the rows of all splits, and which columns of the first source have gaps.

    One line each.
    """
    frame = pl.concat(list(frames.values()), how="diagonal_relaxed")
    if not frame.height:
        return ()
    found = [*_traces(frame), *_like_labels(frame, labels), *_groups(frame), *_gaps(table)]
    if "labels" in frame.columns:
        found = [describe_sets(frame), *found]
    if "label" in frame.columns and (several := joined_labels(labels)):
        sign, label = several
        how = f'label_separator = "{sign}" under [data] reads several per row'
        found.append(f'a label holds "{sign}", such as {show_value(label)}: {how}')
    if "targets" in frame.columns:
        found = [*describe_targets(frame, tuple(labels)), *found]
    return tuple(found)


def _traces(frame: pl.DataFrame) -> Iterator[str]:
    texts = input_of(frame)
    for name, pattern in TRACES.items():
        matches = texts.str.extract(f"({pattern})", 1)
        count = len(matches) - matches.null_count()
        if count:
            example = show_value(str(matches.drop_nulls()[0]).strip())
            yield f"{name} in {_rows(count, frame.height)}, such as {example}"


def _rows(count: int, of: int) -> str:
    return f"{format_count(count, 'row')} ({count / of:.1%})"


def _like_labels(frame: pl.DataFrame, labels: Iterable[str]) -> Iterator[str]:
    """Labels that are one letter apart: one of them may be a slip."""
    sets = "labels" in frame.columns
    pairs = like_labels(labels) if sets or "label" in frame.columns else []
    if not pairs:
        return
    counts = Counter(count_labels(frame) if sets else frame["label"].to_list())
    shown = "; ".join(
        f"{show_value(a)} ({counts[a]:,}) and {show_value(b)} ({counts[b]:,})"
        for a, b in pairs[:LISTED]
    )
    more = f"; and {len(pairs) - LISTED:,} more" if len(pairs) > LISTED else ""
    yield f"{format_count(len(pairs), 'pair')} of labels one letter apart: {shown}{more}"


def like_labels(labels: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of labels that one letter more, less or other makes equal; numbers apart are meant.

    Those that `find_variants` knows are not among them: they are a finding of their own.
    """
    known = sorted({label for label in labels if len(label) >= LEAST_LABEL})
    if len(known) > MOST_LABELS:
        return []
    same = {tuple(sorted(pair)) for group in find_variants(known) for pair in _pairs(group)}
    nearby: dict[str, list[str]] = {}
    for label in known:
        for key in {label, *(label[:i] + label[i + 1 :] for i in range(len(label)))}:
            nearby.setdefault(key, []).append(label)
    found = {pair for group in nearby.values() for pair in _pairs(group)}
    return sorted(p for p in found - same if _is_one_apart(*p))


def _pairs(group: list[str]) -> Iterator[tuple[str, str]]:
    return ((a, b) for i, a in enumerate(group) for b in group[i + 1 :])


def _is_one_apart(a: str, b: str) -> bool:
    """Whether one letter more, less or other makes them equal, and that is no digit."""
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    head = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    other = len(a) == len(b)  # one letter stands for another
    changed = longer[head : head + 1] + shorter[head : head + other]
    apart = longer[head + 1 :] == shorter[head + other :]
    return apart and not any(letter.isdigit() for letter in changed)


def _groups(frame: pl.DataFrame) -> Iterator[str]:
    if "group" not in frame.columns:
        return
    sizes = frame["group"].drop_nulls().value_counts(sort=True)
    if sizes.height:
        name, largest = sizes.row(0)
        yield (
            f"{format_count(sizes.height, 'group')}, {frame.height / sizes.height:,.1f} rows each; "
            f"the largest, {show_value(name)}, has {format_count(largest, 'row')}"
        )


def _gaps(table: Table) -> Iterator[str]:
    """Columns in which some values are missing or blank, with their shares."""
    shares: dict[str, float] = {}
    for name, column in table.columns.items():
        empty = column.null_count() if column.dtype != pl.Object else 0
        if column.dtype == pl.String:
            empty += int((column.str.strip_chars() == "").sum())
        if len(column) and empty >= _BLANK * len(column):
            shares[name] = empty / len(column)
    if shares:
        listed = ", ".join(f"{show_value(n)} {share:.0%}" for n, share in [*shares.items()][:10])
        more = f" and {len(shares) - 10:,} more" if len(shares) > 10 else ""
        yield f"empty in part: {listed}{more}"
