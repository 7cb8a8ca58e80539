"""Time travel: the run as of one evaluation, with its metrics, confusion matrix and checkpoint."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len

from ....core.judgement.live import evaluation_values
from ....core.run.events import Evaluated
from ....core.run.history import History
from ....core.run.runs import Run
from ....core.wording.text import visible
from ...drawing.format import fit, fit_right, format_count, wrap
from ...drawing.lines import Line
from ..charts.data import evaluation_order
from ..prompt.answers import Exchange, exchange_of
from .metric_rows import Change, MetricRow, MetricTable, Value, metric_tables

LABEL_WIDTH = 12  # cells at most
MOST_CONFUSIONS = 5
HEAD = 7  # lines for the titles of a moment and its table, and between them


@dataclass(frozen=True)
class Moment:
    """An evaluation that was travelled to; `kept`: its weights can still answer."""

    evaluation: Evaluated
    kept: bool

    @property
    def step(self) -> int:
        return self.evaluation.step

    @property
    def refusal(self) -> str:
        """Why no prompt can be answered as of it; empty where one can."""
        if self.kept:
            return ""
        return (
            f"The checkpoint of step {self.step:,} was not kept, so nothing can answer "
            "as it did. Behind this box, esc returns to now."
        )


def nearest_moment(run: Run, history: History, step: int) -> Moment | None:
    """The evaluation nearest to a step; None where there was none."""
    series = history.validation_series()
    if not series:
        return None
    at = bisect_left(series, step, key=lambda e: e.step)
    near = min(series[max(0, at - 1) : at + 1], key=lambda e: abs(e.step - step))
    return Moment(near, is_kept(run, history, near.step))


def is_kept(run: Run, history: History, step: int) -> bool:
    """Whether the weights of a step are on disk."""
    if (run.checkpoints / f"step_{step:06d}").is_dir():
        return True
    # The folder `model` holds the weights of the step that was kept.
    return bool(history.ended) and step == history.best_step and run.model_path.exists()


def history_at(history: History, step: int) -> History:
    """What was known right after the evaluation at a step."""
    return replace(
        history,
        evaluations=[e for e in history.evaluations if e.step <= step and e.split == "validation"],
        results={},
        comparisons=[],
        analyses={},
        texts=[],
    )


def moment_tables(history: History, primary: str, height: int) -> list[MetricTable]:
    """The table while training, and the other metrics that the counts of an evaluation give.

    In a low pane so many that the confusion matrix has its place below.
    """
    tables = metric_tables(history, primary)
    series = history.validation_series()
    if not tables or not series:
        return tables
    first, last = (evaluation_values(e, history) for e in (series[0], series[-1]))
    table, known = tables[0], {row.metric for row in tables[0].rows}
    added = []
    for name in dict.fromkeys(evaluation_order(primary or "macro_f1")):
        if name in known or name not in last:
            continue
        values = [Value(v[name]) for v in (first, last) if name in v]
        change = (
            Change(last[name] - first[name]) if len(table.columns) > 1 and name in first else None
        )
        columns = table.columns if len(values) == len(table.columns) else table.columns[-1:]
        named = dict(zip(columns, values, strict=False))
        added.append(MetricRow(name, named, change, table.columns[0], name == primary))
    below = min(len(history.labels) + 2, MOST_CONFUSIONS + 1) if history.labels else 0
    room = max(1, height - below - len(table.rows) - HEAD)
    return [replace(table, rows=[*table.rows, *added[:room]])]


def moment_title(moment: Moment, width: int) -> list[Line]:
    """Which evaluation is shown, and whether its checkpoint can answer."""
    evaluation = moment.evaluation
    what_answers = (
        "Its checkpoint is kept: prompts are answered by it."
        if moment.kept
        else "Its checkpoint was not kept: prompts show what was answered then."
    )
    title = f"at step {evaluation.step:,}, epoch {evaluation.epoch:.2f}"
    head: Line = [(title, "strong accent"), ("   esc returns to now", "muted")]
    return [head, *([(text, "muted")] for text in wrap(what_answers, width)), []]


def confusion_lines(
    evaluation: Evaluated, labels: Sequence[str], width: int, height: int
) -> list[Line]:
    """The matrix where it fits, else the most frequent confusions."""
    counts: dict[tuple[int, int], int] = defaultdict(int)
    for truth, prediction, count in evaluation.confusion:
        # No prediction is counted past the last label, and belongs to no cell.
        if 0 <= truth < len(labels) and 0 <= prediction < len(labels):
            counts[truth, prediction] += count
    if not counts:
        return []
    names = [visible(label) for label in labels]
    size = min(LABEL_WIDTH, max(cell_len(name) for name in names))
    cell = max(len(format_count(n)) for n in counts.values())
    cell = max(cell, min(8, size))
    if size + 2 + len(labels) * (cell + 2) <= width and len(labels) + 2 <= height:
        return _matrix(counts, names, size, cell)
    return _worst(counts, names, width)


def _matrix(
    counts: dict[tuple[int, int], int], names: list[str], size: int, cell: int
) -> list[Line]:
    lines: list[Line] = [[("confusion", "strong"), ("  truth down, prediction across", "muted")]]
    heads = "".join("  " + fit_right(fit(name, cell).rstrip(), cell) for name in names)
    lines.append([(" " * size + heads, "muted")])
    for truth, name in enumerate(names):
        line: Line = [(fit(name, size), "muted")]
        for prediction in range(len(names)):
            count = counts.get((truth, prediction), 0)
            role = "muted" if not count else "strong good" if truth == prediction else "bad"
            line.append(("  " + fit_right(format_count(count) if count else "·", cell), role))
        lines.append(line)
    return lines


def _worst(counts: dict[tuple[int, int], int], names: list[str], width: int) -> list[Line]:
    wrong = sorted(((n, t, p) for (t, p), n in counts.items() if t != p and n), reverse=True)
    lines: list[Line] = [[("confused most often", "strong")]]
    for count, truth, prediction in wrong[:MOST_CONFUSIONS]:
        text = f"{format_count(count)} × {names[truth]} predicted as {names[prediction]}"
        lines.append([(fit(text, width), "")])
    return lines if wrong else [[("No row was misclassified.", "muted")]]


def answered_at(history: History, step: int) -> Exchange | None:
    """The last of the run's own prompts that it answered at a step."""
    found = [p for p in history.prompts if p.step == step and p.probe]
    if not found:
        return None
    exchange = exchange_of(found[-1])
    exchange.step = step
    return exchange
