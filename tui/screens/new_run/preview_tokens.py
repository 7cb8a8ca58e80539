"""What the engine says of a new run's rows, as lines: token lengths, and what is learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.cells import cell_len

from ....core.wording.text import visible
from ...drawing.format import bar, fit, fit_right, format_count, wrap
from ...drawing.lines import Line, cut, titled

LONGEST_BAR = 40
MASK_LINES = 4  # lines of one stretch of masked or scored tokens


def token_blocks(model: Mapping[str, Any], width: int, *, windows: bool) -> list[list[Line]]:
    """How long the rows are as the model reads them, and what of them it learns."""
    first = next(iter(model["splits"].values()))
    return [
        _length_lines(first, int(model["max_length"]), width, windows=windows),
        _mask_lines(first, width),
    ]


def _length_lines(told: Mapping[str, Any], limit: int, width: int, *, windows: bool) -> list[Line]:
    """A bar a bin of token lengths, and where rows are cut."""
    if windows:
        told_in = f"{told['rows']:,} windows of at most {limit:,} tokens, {told['tokens']:,} in all"
        return [titled("Token lengths", told_in)]
    head = f"median {told['median']:,}, 95 % up to {told['p95']:,}, longest {told['longest']:,}"
    lines = [titled("Token lengths", head)]
    bins = [b for b in told.get("histogram", ()) if b[2] or b[1] <= told["longest"]]
    most = max((count for _, _, count in bins), default=1) or 1
    room = min(LONGEST_BAR, max(4, width - 24))
    for low, high, count in bins:
        at_limit = low <= limit <= high and told["truncated_rows"]
        line: Line = [
            (fit_right(f"{low:,}–{min(high, limit):,}", 12) + "  ", "muted"),
            (fit(bar(count / most, room), room), "warn" if at_limit else "train"),
            (fit_right(format_count(count), 8), "muted"),
        ]
        lines.append(line)
    return [*lines, *_cut_lines(told, limit, width)]


def _cut_lines(told: Mapping[str, Any], limit: int, width: int) -> list[Line]:
    if not told["truncated_rows"]:
        return [[("✓ ", "good"), (f"no row is cut: the limit is {limit:,} tokens", "")]]
    share = told["truncated_rows"] / max(1, told["rows"])
    text = (
        f"cut at {limit:,}: {told['truncated_rows']:,} rows ({share * 100:.1f} %) lose "
        f"{told['truncated_tokens']:,} tokens"
    )
    dashes = max(0, width - cell_len(text) - 4)
    return [cut([("╌╌ ", "warn"), (text, "warn"), (" " + "╌" * dashes, "warn")], width)]


def _mask_lines(told: Mapping[str, Any], width: int) -> list[Line]:
    """The first rows in stretches: what the model only reads, and what it learns to write."""
    if "scored_tokens" not in told:
        return []
    share = told["scored_tokens"] / max(1, told["tokens"])
    head = (
        f"{told['scored_tokens']:,} of {told['tokens']:,} tokens are learned ({share * 100:.0f} %)"
    )
    lines = [titled("What is learned", head)]
    for name, what in (("unscored_rows", "learn nothing"), ("rows_without_eos", "have no end")):
        if told.get(name):
            lines.append([("! ", "warn"), (f"{told[name]:,} rows {what}", "")])
    for row in told.get("rows_shown", ())[:2]:
        lines += _stretches(row, width)
        lines.append([])
    return lines[:-1] if not lines[-1] else lines


def _stretches(row: Sequence[Sequence[Any]], width: int) -> list[Line]:
    lines: list[Line] = []
    for scored, tokens in groupby(row, key=lambda token: bool(token[1])):
        told = wrap(visible(" ".join(str(text) for text, _ in tokens)), width - 10)
        if len(told) > MASK_LINES:
            told = [*told[: MASK_LINES // 2], "…", *told[-(MASK_LINES // 2) :]]
        name, role, text_role = ("learned", "tuned", "") if scored else ("read", "muted", "muted")
        for n, text in enumerate(told):
            lines.append(
                [
                    (fit(name if not n else "", 8), role),
                    ("▌ " if scored else "· ", role),
                    (text, text_role),
                ]
            )
    return lines
