"""One row in full: its text, the truth, what each model made of it, and what is known beside."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.cells import cell_len
from textual.message import Message

from ....core.metrics.analyses import LabelErrors, SuspectRow
from ....core.run.history import History
from ....core.run.runs import Run
from ....core.wording.numbers import DASH, format_value, read_number
from ....core.wording.text import NO_PREDICTION, visible, visible_lines
from ...app.background import in_thread
from ...drawing.format import bar, fit, fit_right, format_number, wrap
from ...drawing.lines import Line
from ..evaluation.reading import prose, stored_split
from .example_list import KIND_SIGNS
from .example_rows import TEXT_CHARACTERS, Examples, Places, Row, rows_at

MODELS = ("majority", "mean", "probe", "base", "tuned")
SHOWN_LABELS = 6  # most probable first; the true label is added where it is not among them
LEAST_TEXT = 4  # lines of a long text before the answers to it
BAR_WIDTH = 16  # cells
MEASURES = ("exact_match", "chrf", "bleu")


@dataclass
class RowDetail:
    """`found` is the row of the table; `answers` and `probabilities` are by model."""

    split: str
    found: Row
    text: str
    cut: bool  # whether the text goes on, unread
    truth: str = ""
    truths: set[str] = field(default_factory=set)  # its labels
    thresholds: dict[str, dict[str, float]] = field(default_factory=dict)  # of several labels
    answers: dict[str, str] = field(default_factory=dict)
    probabilities: dict[str, dict[str, float]] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    measures: dict[str, dict[str, float]] = field(default_factory=dict)
    leak: tuple[str, int, str, float] | None = None
    suspected: SuspectRow | None = None  # what confident learning says of its label
    missing: str = ""  # why there is no text


OF_ITS_OWN = (
    "✓ given: its probability reaches the label's own threshold; each label stands by itself"
)


@dataclass
class RowRead(Message):
    """A row; `at` is its place in the list it was opened from."""

    detail: RowDetail
    at: int


def read_row(
    run: Run,
    history: History,
    examples: Examples,
    places: Places,
    at: int,
    post: Callable[[Message], object],
) -> None:
    """Read a row in a thread: first what is in memory, then what takes longer."""

    def read() -> None:
        detail = detail_of(history, examples, places, at)
        post(RowRead(detail, at))
        # The first answer is in memory; the full text and BLEU take a reading of files.
        if complete(run, history, examples, detail):
            post(RowRead(detail, at))

    in_thread(read)


def detail_of(history: History, examples: Examples, places: Places, at: int) -> RowDetail:
    """What is in memory of a row; `complete` adds the rest."""
    import polars as pl

    from ....core.metrics.label_sets.rows import as_one_label

    found = rows_at(examples, places, at, 1)[0]
    row_id = found["row_id"]
    text = str(found["text"])
    detail = RowDetail(stored_split(examples.split), found, text, len(text) >= TEXT_CHARACTERS)
    detail.leak, detail.missing = examples.leaks.get(row_id), examples.missing
    for model in (m for m in MODELS if m in examples.frames):
        rows = examples.frames[model].filter(pl.col("row_id") == row_id)
        if not rows.height:
            continue
        row = as_one_label(rows).row(0, named=True)
        if examples.labelled:
            detail.truth = str(row["label"])
            detail.truths = set(row.get("labels", [detail.truth]))
            if "labels" in row:
                limits = row.get("thresholds") or [0.5] * len(examples.labels)
                detail.thresholds[model] = dict(zip(examples.labels, limits, strict=False))
            detail.answers[model] = str(row["predicted"] or NO_PREDICTION)
            if row.get("probabilities") is not None:
                named = zip(examples.labels, row["probabilities"], strict=False)
                detail.probabilities[model] = dict(named)
            if row.get("nll") is not None:
                detail.losses[model] = float(row["nll"])
        else:
            detail.truth = str(row.get("reference") or "")
            if row.get("completion") is not None:
                detail.answers[model] = str(row["completion"])
            if row["tokens"]:
                detail.losses[model] = float(row["nll"]) / row["tokens"]
    errors = history.analysis(LabelErrors, detail.split)
    suspects = (errors.rows if errors else None) or ()
    detail.suspected = next((r for r in suspects if r.row_id == row_id), None)
    return detail


def complete(run: Run, history: History, examples: Examples, detail: RowDetail) -> bool:
    """Add the uncut text and the measures of the answers; whether there was something to add."""
    import polars as pl

    from ....core.analysis.predictions import read_whole_input

    added = False
    row_id = detail.found["row_id"]
    frame = next(iter(examples.frames.values()))
    if detail.cut and "content" in frame.columns:
        whole = read_whole_input(run, history, detail.split, frame, row_id)
        if whole:
            detail.text, detail.cut, added = whole, False, True
    if not examples.labelled and detail.answers and detail.truth:
        from ....core.metrics.references import read_references

        for model in detail.answers:
            # Scored as the report scores them, from the same stored answers.
            rows = read_references(examples.frames[model].filter(pl.col("row_id") == row_id))
            if rows is not None:
                found = rows.metrics_of_totals(rows.sums[0])
                detail.measures[model] = {k: float(found[k]) for k in MEASURES if k in found}
                added = True
    return added


def row_lines(detail: RowDetail, width: int, height: int = 1_000) -> list[Line]:
    """Top to bottom: what it is, the marks, the text, the truth, the models.

    A text that would push the others out of `height` lines starts there; all of it is below.
    """
    name = "prompt" if detail.answers and not detail.probabilities and detail.truth else "text"
    why = f" ({detail.missing})" if detail.missing else ""
    text = _text(detail.text or f"The text of this row is not stored{visible(why)}.", width, "")
    if detail.cut:
        text.append([("… stored truncated", "muted")])
    most = max(LEAST_TEXT, height // 3)
    is_long = len(text) > most + 2
    head = f"{name}, the first {most} of {len(text):,} lines; all of it is below"
    lines = [_title(detail), [], *_marks(detail, width), [(head if is_long else name, "muted")]]
    lines += [*(text[:most] if is_long else text), []]
    lines += _labelled(detail, width) if "label" in detail.found else _written(detail, width)
    if is_long:
        lines += [[], [(f"{name} in full", "muted")], *text]
    return lines


def _title(detail: RowDetail) -> Line:
    sign, role = KIND_SIGNS.get(detail.found.get("kind", ""), ("", ""))
    line: Line = [(f"row {detail.found['row_id']} of {visible(detail.split)}", "strong")]
    return [*line, ("   ", ""), (sign.strip(), role)]


def _marks(detail: RowDetail, width: int) -> list[Line]:
    lines: list[Line] = []
    if detail.leak:
        split, row, layer, share = detail.leak
        how = "exactly" if layer == "exact" else f"{visible(layer)}, {share * 100:.0f} % alike"
        sentence = f"≡ It repeats row {row} of {split} ({how}): an earlier split contains it."
        lines += prose(sentence, width, "warn")
    if detail.suspected:
        suspected = detail.suspected
        likelihood = format_value("accuracy", suspected.probability)
        sentence = (
            f'! Its label "{suspected.label}" may be wrong: it looks like '
            f'"{suspected.suggested}" ({likelihood}). A confidently wrong model looks the same.'
        )
        lines += prose(sentence, width, "warn")
    return [*lines, []] if lines else []


def _text(text: str, width: int, role: str) -> list[Line]:
    paragraphs = visible_lines(text.strip("\n"))
    return [[(line, role)] for p in paragraphs for line in wrap(p, max(1, width))]


def _labelled(detail: RowDetail, width: int) -> list[Line]:
    lines: list[Line] = [[("truth     ", "muted"), (visible(detail.truth), "strong")]]
    for model, answer in detail.answers.items():
        right = answer == detail.truth
        sign, role = ("✓", "good") if right else ("✗", "bad")
        line: Line = [(fit(model, 10), _role(model)), (f"{sign} ", role), (visible(answer), "")]
        if model in detail.losses:
            line.append((f"   loss {format_number(detail.losses[model])}", "muted"))
        lines.append(line)
    if detail.probabilities:
        lines += [[], *_bars(detail, width)]
    return lines


def _bars(detail: RowDetail, width: int) -> list[Line]:
    """The likeliest labels of the tuned model, and the truth, under every model."""
    models = [m for m in MODELS if m in detail.probabilities]
    last = detail.probabilities[models[-1]]
    order = sorted(last, key=lambda label: -last[label])
    shown = order[:SHOWN_LABELS]
    shown += [label for label in order if label in detail.truths and label not in shown]
    size = min(28, max([5, *(cell_len(visible(label)) for label in shown)]))
    room = max(4, min(BAR_WIDTH, (width - size - 3) // len(models) - 11))
    head: Line = [(fit("", size + 2), "")]
    head += [(fit(model, room + 11), _role(model)) for model in models]
    lines: list[Line] = [head]
    for label in shown:
        true = label in detail.truths
        mark = "◂ " if true else "  "
        line: Line = [(fit(visible(label), size), "strong" if true else "")]
        line.append((mark, "accent"))
        for model in models:
            share = read_number(detail.probabilities[model].get(label))
            text = format_value("accuracy", share) if share == share else DASH
            given = share >= detail.thresholds.get(model, {}).get(label, math.inf)
            after = " ✓ " if given else "   "
            line += [(fit(bar(share, room), room), _role(model)), (fit_right(text, 8) + after, "")]
        lines.append(line)
    if len(order) > len(shown):
        lines.append([(f"and {len(order) - len(shown):,} less likely labels", "muted")])
    lines.append([("◂ ", "accent"), ("true label", "muted")])
    if detail.thresholds:
        lines += prose(OF_ITS_OWN, width, "muted")
    return lines


def _written(detail: RowDetail, width: int) -> list[Line]:
    lines: list[Line] = []
    if detail.truth:
        lines += [[("reference", "muted")], *_text(detail.truth, width, ""), []]
    for model in (m for m in MODELS if m in detail.answers or m in detail.losses):
        head: Line = [(model, f"strong {_role(model)}")]
        if model in detail.losses:
            head.append((f"   loss {format_number(detail.losses[model])} nats per token", "muted"))
        for name, value in detail.measures.get(model, {}).items():
            text = (
                ("yes" if value else "no") if name == "exact_match" else format_value(name, value)
            )
            head.append((f"   {name.replace('_', ' ')} {text}", "muted"))
        lines.append(head)
        if model in detail.answers:
            lines += _text(detail.answers[model] or "nothing", width, "")
        lines.append([])
    return lines


def _role(model: str) -> str:
    return model if model in ("base", "tuned") else "reference"
