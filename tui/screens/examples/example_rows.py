"""The scored rows of a split as one table of columns, filtered and sorted without Python rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Required, TypeAlias, TypedDict, cast

from textual.message import Message

from ....core.catalog.filter import read_condition, read_number, split_parts
from ....core.errors import FtevError
from ....core.run.history import History
from ....core.run.runs import Run
from ....core.wording.numbers import name_unit
from ...app.background import in_thread
from ..evaluation.reading import CLEAN, stored_split

if TYPE_CHECKING:
    import polars as pl


TEXT_CHARACTERS = 500  # of a row that are kept in the table
Places: TypeAlias = "pl.Series | list[int]"  # of selected rows in the table, in order
LABELLED = ("fixed", "broke", "wrong", "right")
WRITTEN = ("fell", "rose", "same")
ORDERS = ("row", "confidence", "loss", "label", "flip")


class Row(TypedDict, total=False):
    """A row of `Examples.table`; what a task does not have is absent."""

    row_id: Required[int]
    kind: Required[str]
    text: Required[str]
    leak: Required[bool]
    label: str
    before: str | None
    predicted: str | None
    confidence: float | None
    loss: float | None
    loss_before: float | None
    change: float
    tokens: int


@dataclass
class Examples:
    """`table`: row_id, kind, text, length, leak and, by task: label, before, predicted,
    confidence, loss, loss_before; or loss, loss_before, change, tokens. `frames`: the predictions.
    """

    split: str
    reference: str
    labelled: bool
    table: pl.DataFrame
    frames: dict[str, pl.DataFrame]
    labels: tuple[str, ...] = ()
    missing: str = ""  # why there are no texts, or not these rows alone
    unit: str = ""
    leaks: dict[int, tuple[str, int, str, float]] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[str, ...]:
        if not self.reference:
            return ("wrong", "right") if self.labelled else ()
        return LABELLED if self.labelled else WRITTEN

    @property
    def orders(self) -> tuple[str, ...]:
        return ORDERS if self.labelled else ("row", "loss", "flip")


@dataclass
class ExamplesRead(Message):
    """The rows of the split and against the reference that were asked for, or why there are none.

    Two questions are read by two threads: the older may be answered last.
    """

    split: str
    reference: str
    examples: Examples | None
    failed: str = ""


def read_examples(
    run: Run,
    history: History,
    split: str,
    reference: str,
    post: Callable[[Message], object],
) -> None:
    """Read the predictions of a split in a thread."""

    def read() -> None:
        try:
            examples = examples_of(run, history, split, reference)
        except FtevError as error:
            post(ExamplesRead(split, reference, None, str(error)))
        else:
            post(ExamplesRead(split, reference, examples))

    in_thread(read)


def examples_of(run: Run, history: History, split: str, reference: str) -> Examples:
    """Raises FtevError where no predictions are stored, or they cannot be used."""
    import polars as pl

    from ....core.analysis.predictions import read_inputs, read_predictions

    stored = stored_split(split)
    frames = read_predictions(run, history, stored)
    after = frames["tuned"] if "tuned" in frames else next(iter(frames.values()))
    before = frames.get(reference)
    # By the file and not by the task: a foreign file may hold either.
    labelled = bool({"label", "labels"} & set(after.columns))
    table = _labelled(before, after) if labelled else _written(before, after)
    inputs = read_inputs(run, history, stored, after)
    texts = _texts(table, after, inputs.texts)
    leaks = leaks_of(history, stored)
    table = table.with_columns(
        texts.fill_null("").str.slice(0, TEXT_CHARACTERS).alias("text"),
        pl.col("row_id").is_in(list(leaks)).alias("leak"),
    ).with_columns(pl.col("text").str.len_chars().alias("length"))
    # Predictions are stored by split; rows that repeat an earlier split are left out here.
    if split.endswith(CLEAN) and leaks:
        table = table.filter(~pl.col("leak"))
    missing = inputs.missing if texts.null_count() == texts.len() else ""
    result = history.result(split)
    scored = result.n if result else table.height
    if split.endswith(CLEAN) and table.height != scored:
        missing = f"the run lists only some of the repeated rows: {scored:,} were scored here"
    unit = "" if labelled else _unit(table)
    return Examples(
        split,
        reference if before is not None else "",
        labelled,
        table.drop("unit", strict=False),
        dict(frames),
        tuple(history.labels),
        missing,
        unit,
        leaks,
    )


def _texts(table: pl.DataFrame, after: pl.DataFrame, inputs: dict[int, str]) -> pl.Series:
    """A text a row of the table: its prompt where one was answered, else its input, else null."""
    import polars as pl

    known = pl.DataFrame(
        {"row_id": list(inputs), "input": list(inputs.values())},
        schema={"row_id": pl.Int64, "input": pl.String},
    )
    rows = table.select("row_id").join(known, on="row_id", how="left", maintain_order="left")
    if "prompt" in after.columns:
        prompts = after.select("row_id", "prompt")
        rows = rows.join(prompts, on="row_id", how="left", maintain_order="left")
        return rows.select(pl.coalesce("prompt", "input").alias("text"))["text"]
    return rows["input"].alias("text")


def _unit(table: pl.DataFrame) -> str:
    return name_unit(table["unit"][0] if "unit" in table.columns and table.height else None)


def _labelled(before: pl.DataFrame | None, after: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    from ....core.analysis.flips import label_flips

    if before is None:
        # One model against itself: the same columns, and nothing changes.
        flips = label_flips(after, after).with_columns(pl.lit("").alias("from"))
    else:
        flips = label_flips(before, after)
    losses = {"loss": after, "loss_before": before}
    for name, frame in losses.items():
        if frame is not None and "nll" in frame.columns:
            # A foreign file may hold float32; comparisons with what is typed need the same type.
            column = frame.select("row_id", pl.col("nll").cast(pl.Float64).alias(name))
            flips = flips.join(column, on="row_id", how="left", maintain_order="left")
    return flips.rename({"from": "before", "to": "predicted", "to_confidence": "confidence"})


def _written(before: pl.DataFrame | None, after: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    from ....core.analysis.flips import changes_of

    if before is None and "targets" in after.columns:
        return changes_of(after, after).select(
            "row_id", "tokens", "unit", loss="to", kind=pl.lit("")
        )
    if before is None:
        loss = (pl.col("nll") / pl.col("tokens")).alias("loss")
        return after.select("row_id", loss, "tokens", pl.lit("").alias("kind"))
    return changes_of(before, after).rename({"from": "loss_before", "to": "loss"})


def leaks_of(history: History, split: str) -> dict[int, tuple[str, int, str, float]]:
    """Rows of a split that repeat one of an earlier split: row -> (split, row, layer, share)."""
    found: dict[int, tuple[str, int, str, float]] = {}
    if history.leakage is None:
        return found
    order = history.leakage.splits or list(history.splits)  # older runs did not note their order
    for a, row_a, b, row_b, layer, share in history.leakage.pairs:
        # The later split of a pair is the one that leaks.
        pair = sorted(
            ((a, row_a), (b, row_b)), key=lambda p: order.index(p[0]) if p[0] in order else 0
        )
        (first, first_row), (last, last_row) = pair
        if last == split and first != last:
            found.setdefault(last_row, (first, first_row, layer, share))
    return found


def select(
    examples: Examples, query: Query, kind: str, order: str, only: Sequence[int]
) -> pl.Series:
    """The places in `table` of the rows that a query, a kind and a list of ids leave, in order."""
    import polars as pl

    table = examples.table.with_row_index("at")
    for term in query.terms:
        # A column that this task does not have matches nothing.
        if term.column in table.columns or term.column == "text":
            table = table.filter(_expression(term))
        else:
            table = table.clear()
    if kind:
        table = table.filter(pl.col("kind") == kind)
    if only:
        table = table.filter(pl.col("row_id").is_in(list(only)))
    return _ordered(table, order)["at"]


def _ordered(table: pl.DataFrame, order: str) -> pl.DataFrame:
    import polars as pl

    match order:
        case "confidence" | "loss" if order in table.columns:
            return table.sort(order, descending=True, nulls_last=True, maintain_order=True)
        case "label" if "label" in table.columns:
            return table.sort("label", "predicted", maintain_order=True)
        case "flip" if "change" in table.columns:
            return table.sort(pl.col("change").abs(), descending=True, nulls_last=True)
        case "flip" if "kind" in table.columns and "confidence" in table.columns:
            ranks = {kind: rank for rank, kind in enumerate(LABELLED)}
            # others last
            by = pl.col("kind").replace_strict(ranks, default=9, return_dtype=pl.Int64)
            return table.sort(by, "confidence", descending=[False, True], nulls_last=True)
    return table


def _expression(term: Term) -> pl.Expr:
    import polars as pl

    column, value = pl.col(term.column), term.value
    if term.sign == "has":
        # Literal: what is typed is no pattern, and `(` no fault.
        return column.str.to_lowercase().str.contains(str(value).lower(), literal=True)
    if term.column == "leak":
        return column == (str(value).lower() in ("yes", "true", "1"))
    match term.sign:
        case "=":
            return column == value
        case "!=":
            return column != value
        case ">":
            return column > value
        case "<":
            return column < value
        case ">=":
            return column >= value
    return column <= value


def rows_at(examples: Examples, places: Places, start: int, count: int) -> list[Row]:
    """Some of the selected rows, as they are drawn."""
    wanted = places[start : start + count]
    return cast("list[Row]", examples.table[wanted].to_dicts()) if len(wanted) else []


NUMBERS = {
    "row": "row_id",
    "conf": "confidence",
    "confidence": "confidence",
    "loss": "loss",
    "before_loss": "loss_before",
    "change": "change",
    "tokens": "tokens",
    "length": "length",
}
WORDS = {
    "label": "label",
    "predicted": "predicted",
    "before": "before",
    "kind": "kind",
    "leak": "leak",
}
KNOWN = "label= predicted= before= kind= conf> loss> change< length> tokens> row= leak=yes"


@dataclass(frozen=True)
class Term:
    """`column sign value`; a word of the text has the column "text" and the sign "has"."""

    column: str
    sign: str
    value: str | float


@dataclass(frozen=True)
class Query:
    """What was typed to find rows, and what of it was not understood."""

    terms: tuple[Term, ...] = ()
    faults: tuple[str, ...] = ()


def read_query(text: str) -> Query:
    """Terms, all of which a row must meet; faults name what was not understood and is ignored."""
    terms, faults = [], []
    for part in split_parts(text):
        found = _read_term(part)
        if isinstance(found, Term):
            terms.append(found)
        else:
            faults.append(found)
    return Query(tuple(terms), tuple(faults))


def _read_term(part: str) -> Term | str:
    key, sign, value = read_condition(part) or ("", "", "")
    key, sign = key.lower(), "=" if sign == "==" else sign
    if key in WORDS:
        return Term(WORDS[key], sign, value) if sign in ("=", "!=") else f"{key} takes = or !="
    if key not in NUMBERS:
        return Term("text", "has", part)
    try:
        return Term(NUMBERS[key], sign, read_number(value))
    except ValueError:
        return f"{key}{sign} needs a number"


def quote(value: str) -> str:
    """A value as it is typed: in quotes where it holds a space or is empty."""
    plain = value.replace('"', "")
    return f'"{plain}"' if not plain or any(c.isspace() for c in plain) else plain


def label_query(truth: str | None = None, predicted: str | None = None) -> str:
    """The rows of a cell of the confusion matrix."""
    parts = [("label", truth), ("predicted", predicted)]
    return " ".join(f"{name}={quote(value)}" for name, value in parts if value is not None)
