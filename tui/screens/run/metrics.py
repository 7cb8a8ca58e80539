"""The metrics pane: the models beside each other, and how much better the tuned one is."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from itertools import groupby
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.message import Message

from ....core.catalog.summary import live_headline
from ....core.run.events import TextScored
from ....core.run.history import History
from ....core.wording.names import name_class
from ....core.wording.numbers import shows_nothing
from ....core.wording.text import visible
from ...app.background import RECEIPTS, preload
from ...drawing.format import (
    ABSENT,
    MINUS,
    format_count,
    format_number,
    format_signed,
    with_dots,
    with_minus,
    wrap,
)
from ...drawing.lines import DECISION_MARKS, GAP, Column, Line, Span, header, moved, row
from ...widgets.pane import NumberedPane
from .metric_rows import Change, MetricRow, MetricTable, Value, metric_tables
from .moment import Moment, confusion_lines, history_at, moment_tables, moment_title

TWO_LINES = 15  # lines from which on a reason may have two of them
ROOMY = 26  # lines from which on nothing is abridged
BRIEF_ROWS = 3  # of each table but the first, in a low pane
CHANGE, INTERVAL = "change", "95 % interval"
NAME_LENGTH, NEWEST_WIDTH = 36, 9  # of a figure that another loop logged
TITLE_WIDTH, VALUE_WIDTH, DIFFERENCE_WIDTH = 14, 8, 7


@dataclass(frozen=True)
class Judgement:
    """The answer against the objective, as the pane shows it."""

    decision: str
    objective: str
    reasons: tuple[str, ...]


class MetricsPane(NumberedPane):
    NUMBER, NAME = 3, "Metrics"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
    ]

    @dataclass
    class MetricOpened(Message):
        """`enter` on a metric: its receipt is wanted."""

        table: MetricTable
        row: MetricRow

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self.primary = ""
        self.judgement: Judgement | None = None
        self.cursor: int | None = None
        self.moment: Moment | None = None

    def show_history(self, history: History, primary: str, judgement: Judgement | None) -> None:
        self.history, self.primary, self.judgement = history, primary, judgement
        self.moment = None
        self.show()

    def show_moment(self, history: History, moment: Moment, primary: str) -> None:
        """As it was at one evaluation, with the confusion matrix of then."""
        self.history, self.primary, self.judgement = (
            history_at(history, moment.step),
            primary,
            None,
        )
        self.moment = moment
        self.show()

    def lines(self, width: int, height: int) -> list[Line]:
        lines = judgement_lines(self.judgement, width, height)
        if self.judgement is None and not self.history.results:
            lines = headline_lines(self.history, self.primary, width)
        if self.moment is not None:
            lines = moment_title(self.moment, width)
        tables = self._tables(height)
        if not tables and self.history.origin == "ftev":
            lines.append([("The base model is evaluated before training starts.", "muted")])
        number = 0
        for table in tables:
            # The cursor counts the rows of all tables as one list.
            lines += [*table_lines(table, width, self._cursor_in(number, table)), []]
            number += len(table.rows)
        if self.moment is not None:
            room = max(0, height - len(lines))
            lines += confusion_lines(self.moment.evaluation, self.history.labels, width, room)
        lines += text_lines(self.history.texts, width)
        lines += logged_lines(self.history, width)
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def _cursor_in(self, number: int, table: MetricTable) -> int | None:
        if self.cursor is None or not number <= self.cursor < number + len(table.rows):
            return None
        return self.cursor - number

    def _tables(self, height: int) -> list[MetricTable]:
        """In a low pane only the first rows of all tables but the first."""
        if self.moment is not None:
            return moment_tables(self.history, self.primary, height)
        tables = metric_tables(self.history, self.primary)
        if height >= ROOMY:
            return tables
        return tables[:1] + [replace(t, rows=t.rows[:BRIEF_ROWS]) for t in tables[1:]]

    def _rows(self) -> list[tuple[MetricTable, MetricRow]]:
        return [(t, r) for t in self._tables(self.content_size.height) for r in t.rows]

    def action_move(self, count: int) -> None:
        rows = self._rows()
        if not rows:
            return
        # Who moves among metrics will open one: the numbers library is loaded meanwhile.
        preload(RECEIPTS)
        start = -1 if self.cursor is None else self.cursor
        self.cursor = moved(start, count, len(rows))
        self._keep_cursor_seen()
        self.show()

    def _keep_cursor_seen(self) -> None:
        """Scroll so that the line of the cursor is on the screen."""
        lines = self.lines(self.content_size.width, self.content_size.height)
        # Only the drawn lines know where a row stands: tables are wrapped, shortened and titled.
        at = next((i for i, line in enumerate(lines) if any(r == "cursor" for _, r in line)), 0)
        room = max(1, self.content_size.height - 1)
        if at < self.hidden_above + 1:
            self.hidden_above = max(0, at - 1)
        elif at >= self.hidden_above + room:
            self.hidden_above = at - room + 1

    def open_metric(self) -> bool:
        """Ask for the receipt of the metric under the cursor; False where there is no cursor."""
        rows = self._rows()
        if self.cursor is None or self.cursor >= len(rows):
            return False
        self.post_message(self.MetricOpened(*rows[self.cursor]))
        return True

    @property
    def metric_under_cursor(self) -> str | None:
        rows = self._rows()
        if self.cursor is None or self.cursor >= len(rows):
            return None
        return rows[self.cursor][1].metric

    def drop_cursor(self) -> bool:
        had = self.cursor is not None
        self.cursor = None
        self.show()
        return had


def judgement_lines(judgement: Judgement | None, width: int, height: int) -> list[Line]:
    """SHIP  macro F1 at least 85 %, and why; in a low pane the first reasons, a line each."""
    if judgement is None:
        return []
    _, role = DECISION_MARKS.get(judgement.decision, ("", "strong"))
    word = judgement.decision.upper()
    first, *rest = wrap(
        with_minus(visible(judgement.objective)), max(10, width - len(word) - 2)
    ) or [""]
    lines: list[Line] = [[(word, f"strong {role}"), (GAP + first, "")]]
    lines += [[(" " * (len(word) + 2) + text, "")] for text in rest]
    brief = height < ROOMY
    most = 2 if height >= TWO_LINES else 1
    for reason in judgement.reasons[: max(1, height // 5) if brief else None]:
        text = with_minus(visible(reason))
        parts = _in_brief(text, width - 2, most) if brief else wrap(text, width - 2)
        lines += [[("  " + text, "muted")] for text in parts]
    return [*lines, []]


def headline_lines(history: History, primary: str, width: int) -> list[Line]:
    """The declared metric of the last evaluation beside its reference, as `status` gives it."""
    headline = live_headline(history, primary)
    if headline is None:
        return []
    return [*([(text, "strong")] for text in wrap(with_minus(visible(headline.text)), width)), []]


def _in_brief(reason: str, width: int, most: int) -> list[str]:
    """A reason in at most so many lines; whole words are left out."""
    whole = wrap(reason, width)
    if len(whole) > most:
        whole = wrap(_shortened(reason, width), width)
    if len(whole) > most:
        whole = [*whole[: most - 1], with_dots(" ".join(whole[most - 1 : most + 1]), width)]
    return whole


def _shortened(reason: str, width: int) -> str:
    """Without its asides where it is too long: reasons begin alike and differ in their ends."""
    return reason if cell_len(reason) <= width else re.sub(r" \([^()]*\)", "", reason)


def table_lines(table: MetricTable, width: int, cursor: int | None) -> list[Line]:
    """Title, header and a line per metric; columns are as wide as what stands in them."""
    titles, cells = _chosen_columns(table, width)
    columns = [
        Column(title, max(cell_len(text) for text in (title, *(c[i][0] for c in cells))), i > 0)
        for i, title in enumerate(titles)
    ]
    lines: list[Line] = [_title(table), header(columns)]
    for index, spans in enumerate(cells):
        line = row(columns, spans)
        if index == cursor:
            title, *rest = line
            line = [(title[0], "cursor"), *((text, f"{role} strong") for text, role in rest)]
        lines.append(line)
    return lines


def _title(table: MetricTable) -> Line:
    about = f"  {format_count(table.rows_scored)} rows"
    if named := name_class((row.metric for row in table.rows), visible(table.positive, 24)):
        about += f", {named}"
    return [(visible(table.title), "strong"), (about, "muted")]


def _chosen_columns(table: MetricTable, width: int) -> tuple[list[str], list[list[Span]]]:
    """The columns that fit: the least informative give way first, the interval last."""
    gone: list[str] = []
    for leaving in (None, "majority", "mean", "probe", INTERVAL):
        gone += [leaving] if leaving else []
        # Of two columns none gives way: a change needs the value that it started from.
        models = [m for m in table.columns if m not in gone or len(table.columns) < 3]
        titles = ["", *models, CHANGE, INTERVAL]
        cells = [_cells(metric, models) for metric in table.rows]
        kept = [
            i
            for i, title in enumerate(titles)
            if title not in gone and (i <= len(models) or any(c[i][0] for c in cells))
        ]
        titles, cells = [titles[i] for i in kept], [[c[i] for i in kept] for c in cells]
        widths = [
            max(cell_len(text) for text in (title, *(c[i][0] for c in cells)))
            for i, title in enumerate(titles)
        ]
        if sum(widths) + len(GAP) * (len(widths) - 1) <= width:
            break
    return titles, cells


def _cells(metric: MetricRow, models: list[str]) -> list[Span]:
    cells = [(metric.title, "strong" if metric.primary else "")]
    for model in models:
        value = metric.values.get(model)
        cells.append((format_value(value, metric.unit) if value else ABSENT, _role_of(model)))
    change = metric.change
    if change is None:
        return [*cells, ("", ""), ("", "")]
    return [
        *cells,
        (format_difference(change, metric.unit), change_role(metric)),
        (format_interval(change, metric.unit), "muted"),
    ]


def _role_of(column: str) -> str:
    if column in ("majority", "mean", "probe"):
        return "muted"
    return "base" if column in ("base", "step 0") else "tuned"


def format_value(value: Value, unit: str) -> str:
    # A metric that is not defined here, such as the recall of a label without rows.
    if math.isnan(value.value):
        return ABSENT
    if unit == "share":
        return f"{value.value * 100:.1f} %"
    if unit == "points":
        return f"{value.value:.1f}"
    if unit == "perplexity":
        return f"{value.value:,.2f}"
    return f"{value.value:.3f}".replace("-", MINUS)


def _scale(unit: str) -> tuple[float, int]:
    if unit == "share":
        return 100, 1
    return 1, {"points": 1, "perplexity": 2}.get(unit, 3)


def format_difference(change: Change, unit: str) -> str:
    factor, decimals = _scale(unit)
    return format_signed(change.difference * factor, decimals)


def format_interval(change: Change, unit: str) -> str:
    """[+33.2, +47.6]"""
    factor, decimals = _scale(unit)
    if math.isnan(change.low) or math.isnan(change.high):
        return ""
    ends = (format_signed(end * factor, decimals) for end in (change.low, change.high))
    return f"[{', '.join(ends)}]"


def change_role(metric: MetricRow) -> str:
    """Good or bad only where the difference is shown."""
    change = metric.change
    if change is None or not math.isfinite(change.difference):
        return "muted"
    if shows_nothing(metric.metric, change.difference):
        return "muted"
    if not change.is_certain:
        return "muted"
    return "good" if (change.difference < 0) == metric.lower_is_better else "bad"


def logged_lines(history: History, width: int) -> list[Line]:
    """The newest of every figure that another training loop logged."""
    newest = list(history.scalars.newest())
    if history.origin == "ftev" and not newest:
        return []
    head: Line = [("logged", "strong"), (f"  by {visible(history.origin)}", "muted")]
    if not newest:
        return [head, [("Nothing besides the loss so far.", "muted")]]
    names = [visible(name.removeprefix("train/"), NAME_LENGTH) for name, *_ in newest]
    columns = [
        Column("", max(map(cell_len, names)), right=False),
        Column("newest", NEWEST_WIDTH),
        Column("step", NEWEST_WIDTH),
    ]
    lines = [head, header(columns)]
    for name, (_, step, value) in zip(names, newest, strict=True):
        cells = [(name, ""), (format_number(value), "strong"), (format_count(step), "muted")]
        lines.append(row(columns, cells))
    return lines


def text_lines(texts: list[TextScored], width: int) -> list[Line]:
    """Average log-likelihood of held-out texts, base and tuned."""
    scored = [t for t in texts if t.tokens]
    if not scored:
        return []
    columns = [
        Column("", TITLE_WIDTH, right=False),
        *(Column(m, VALUE_WIDTH) for m in ("base", "tuned")),
        Column("change", DIFFERENCE_WIDTH),
    ]
    lines: list[Line] = [[("log-likelihood", "strong"), ("  nats per token", "muted")]]
    lines.append(header(columns))
    ordered = sorted(scored, key=lambda t: t.source)
    for source, group in groupby(ordered, key=lambda t: t.source):
        found = {t.model: t.log_likelihood / t.tokens for t in group}
        base, tuned = found.get("base", math.nan), found.get("tuned", math.nan)
        lines.append(
            row(
                columns,
                [
                    (visible(source).replace("_", " ").replace(":", " "), ""),
                    (format_value(Value(base), "nats"), "base"),
                    (format_value(Value(tuned), "nats"), "tuned"),
                    (format_signed(tuned - base, 3), ""),  # one text: no noise is known
                ],
            )
        )
    return lines
