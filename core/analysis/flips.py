"""The flip list: which rows the tuned model fixed and broke, or whose loss fell and rose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import polars as pl
from msgspec.structs import replace

from ..errors import DataError, Fault
from ..metrics.analyses import ABSOLUTE_ERROR, Flip, Flips, LabelChange
from ..metrics.clusters import Clusters, read_clusters
from ..metrics.label_sets.rows import as_one_label, read_label_sets
from ..metrics.references import read_references
from ..run.events import AnalysisComputed
from .predictions import Evaluation

KEYS = {"label", "labels", "targets", "nll", "completion"}  # by which rows are seen to change
LISTED = 200  # rows of each changed kind that are written down
WITH_TEXT = 10  # of them with the beginning of their input
INPUT_CHARACTERS = 200
LABEL_KINDS = ("fixed", "broke", "wrong", "right")
LOSS_KINDS = ("fell", "rose", "same", "undefined", "unscored")
CHANGED = ("fixed", "broke", "fell", "rose")


def find_flips(e: Evaluation) -> Iterator[AnalysisComputed]:
    """The tuned model against its reference: base, else probe, else majority."""
    reference = e.reference
    if reference is None or "tuned" not in e.frames:
        return
    pair = e.frames[reference], e.frames["tuned"]
    if not KEYS.intersection(pair[0].columns):
        return
    rows = changes_of(*pair)
    together = read_clusters(pair[0])
    found = describe_flips(rows, LISTED, together, reference)
    if "labels" in pair[0].columns:
        found = replace(found, by_label=label_changes(*pair, e.labels))
    yield e.found(replace(found, rows=_with_inputs(found.rows, e)), "tuned")


def label_changes(
    before: pl.DataFrame, after: pl.DataFrame, labels: Sequence[str]
) -> dict[str, LabelChange]:
    """Rows of which each label was wrong and is right, and the reverse, where they have several."""
    a, b = (read_label_sets(frame, labels) for frame in (before, after))
    right = [(m.truth == m.predicted) & m.answered[:, None] for m in (a, b)]
    fixed, broke = (right[1] & ~right[0]).sum(axis=0), (right[0] & ~right[1]).sum(axis=0)
    return {
        label: LabelChange(int(fixed[i]), int(broke[i]))
        for i, label in enumerate(labels)
        if fixed[i] or broke[i]
    }


def label_flips(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """One row per example: row_id, label, from, to, from_confidence, to_confidence, kind.

    Rows with several labels are right where they have exactly these: texts name them. Confidence is
    the probability of the predicted label, or of exactly these; null where a model has none. Kinds:
    fixed (wrong, then right), broke (right, then wrong), wrong and right (in both). Raises
    DataError when the rows or their labels differ.
    """
    sides = [
        as_one_label(frame).select(
            "row_id",
            "label",
            pl.col("predicted").alias(name),
            _confidence(frame).alias(f"{name}_confidence"),
        )
        for name, frame in (("from", before), ("to", after))
    ]
    joined = _join(sides, ["row_id", "label"])
    was, now = pl.col("from") == pl.col("label"), pl.col("to") == pl.col("label")
    kind = (
        pl.when(was & now)
        .then(pl.lit("right"))
        .when(now)
        .then(pl.lit("fixed"))
        .when(was)
        .then(pl.lit("broke"))
        .otherwise(pl.lit("wrong"))
    )
    return joined.with_columns(kind.alias("kind"))


def _confidence(frame: pl.DataFrame) -> pl.Expr:
    if "probabilities" not in frame.columns:
        return pl.lit(None, dtype=pl.Float64)
    if "labels" in frame.columns:
        return pl.col("confidence")
    return pl.col("probabilities").list.max().cast(pl.Float64)


def _join(sides: list[pl.DataFrame], keys: list[str]) -> pl.DataFrame:
    a, b = sides
    if a.height == b.height and all(a[key].equals(b[key]) for key in keys):
        return a.hstack(b.drop(keys))  # in one order, as a run stores them: nothing to look up
    joined = a.join(b, on=keys, how="inner", maintain_order="left")
    if not a.height == b.height == joined.height:
        raise DataError(
            Fault(
                "stored predictions",
                f"the two models agree on the {' and '.join(keys)} of {joined.height:,} rows only "
                f"(they have {a.height:,} and {b.height:,})",
                "Evaluate both on the same split",
            )
        )
    return joined


def changes_of(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """What became of each row, by what the rows are."""
    if "targets" in before.columns:
        return error_changes(before, after)
    if "nll" not in before.columns and "completion" in before.columns:
        return label_flips(*map(_right_or_wrong, (before, after)))
    labelled = {"label", "labels"} & set(before.columns)
    return label_flips(before, after) if labelled else loss_changes(before, after)


def _right_or_wrong(frame: pl.DataFrame) -> pl.DataFrame:
    """Answers as labels: whether each equals its reference, as exact match has it."""
    rows = read_references(frame)
    assert rows is not None
    right = pl.Series("predicted", ["right" if r else "wrong" for r in rows.columns["exact_match"]])
    ids = pl.Series("row_id", rows.row_id)
    return pl.DataFrame([ids, pl.repeat("right", rows.n, eager=True).alias("label"), right])


def error_changes(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """As `loss_changes`, of predicted numbers: mean absolute error over a row's targets."""
    sides = [
        frame.select(
            "row_id",
            "targets",
            (pl.col("predicted") - pl.col("targets"))
            .list.eval(pl.element().abs())
            .list.mean()
            .alias(name),
        )
        for name, frame in (("from", before), ("to", after))
    ]
    compared = _join(sides, ["row_id", "targets"]).select(
        "row_id",
        "from",
        "to",
        tokens=pl.lit(1),
        unit=pl.lit(ABSOLUTE_ERROR),
        change=pl.col("to") - pl.col("from"),
    )
    return compared.with_columns(_kind_of_change().alias("kind"))


def _kind_of_change() -> pl.Expr:
    return (
        pl.when(~pl.col("change").is_finite())
        .then(pl.lit("undefined"))
        .when(pl.col("change") < 0)
        .then(pl.lit("fell"))
        .when(pl.col("change") > 0)
        .then(pl.lit("rose"))
        .otherwise(pl.lit("same"))
    )


def loss_changes(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """One row per text: row_id, from, to, change, tokens, kind; `unit` is constant over the rows.

    Nats per token where both models scored the same tokens, else bits per byte. Kinds: fell, rose
    and same by the sign of the change alone; undefined (not finite) and unscored rows have none.
    """
    sides = [
        frame.select("row_id", *(pl.col(c).alias(f"{c}_{name}") for c in ("nll", "tokens")), *more)
        for name, frame, more in (("from", before, ["bytes"]), ("to", after, []))
    ]
    joined = _join(sides, ["row_id"])
    same_tokens = bool((joined["tokens_from"] == joined["tokens_to"]).all())
    size = pl.col("tokens_to") if same_tokens else pl.col("bytes") * pl.lit(2.0).log()
    scored = (pl.col("tokens_from") > 0) & (pl.col("tokens_to") > 0)
    compared = joined.select(
        "row_id",
        *((pl.col(f"nll_{name}") / size).alias(name) for name in ("from", "to")),
        tokens=pl.col("tokens_to"),
        scored=scored,
        unit=pl.lit("nats a token" if same_tokens else "bits a byte"),
    ).with_columns(change=pl.col("to") - pl.col("from"))
    kind = pl.when(~pl.col("scored")).then(pl.lit("unscored")).otherwise(_kind_of_change())
    return compared.with_columns(kind.alias("kind")).drop("scored")


def describe_flips(
    rows: pl.DataFrame, listed: int, clusters: Clusters | None = None, reference: str = ""
) -> Flips:
    """Counts of every kind, which add up to n, and the first rows of each changed kind.

    `clusters` of the rows, where they belong together: then p is of these.
    """
    counted = dict(rows.group_by("kind").len().iter_rows())
    kinds = LABEL_KINDS if "label" in rows.columns else LOSS_KINDS
    found = Flips(
        from_model=reference,
        to_model="tuned",
        n=rows.height,
        counts={kind: counted.get(kind, 0) for kind in kinds},
        rows={k: list_rows(rows, k, listed) for k in kinds if k in CHANGED},
    )
    if "label" in rows.columns:
        other = (pl.col("kind") == "wrong") & pl.col("from").ne_missing(pl.col("to"))
        return replace(found, wrong_otherwise=rows.filter(other).height)
    return _with_changes(found, rows, clusters)


def _with_changes(found: Flips, rows: pl.DataFrame, clusters: Clusters | None) -> Flips:
    """What the changes of a loss amount to, and the p of as many falls as rises."""
    from ..metrics.clusters import change_p

    signs = {"fell": 1.0, "rose": -1.0}
    change = rows["kind"].replace_strict(signs, default=0.0, return_dtype=pl.Float64).to_numpy()
    changes = rows.filter(pl.col("kind").is_in(["fell", "rose", "same"]))["change"]
    quartiles = [float(changes.quantile(q, "linear") or 0.0) for q in (0.25, 0.5, 0.75)]
    return replace(
        found,
        unit=rows["unit"][0] if rows.height else "nats a token",
        p=change_p(change, clusters)[0],
        clusters=None if clusters is None else clusters.count,
        quartiles=quartiles if len(changes) else None,
    )


def list_rows(rows: pl.DataFrame, kind: str, most: int) -> list[Flip]:
    """The rows of a kind: the tuned model's most confident first, or the largest change first."""
    chosen = rows.filter(pl.col("kind") == kind)
    if "label" in rows.columns:
        order = ["to_confidence", "from_confidence"]
        chosen = chosen.sort(*order, "row_id", descending=[True, True, False], nulls_last=True)
    else:
        chosen = chosen.sort(pl.col("change").abs(), pl.col("row_id"), descending=[True, False])
        chosen = chosen.drop("unit")
    return msgspec.convert(chosen.head(most).drop("kind").to_dicts(), list[Flip])


def _with_inputs(rows: dict[str, list[Flip]], e: Evaluation) -> dict[str, list[Flip]]:
    """The first rows with the beginning of their input."""
    shown = {row.row_id for listed in rows.values() for row in listed[:WITH_TEXT]}
    texts = _inputs(e, list(shown)) if shown else {}

    def shown_row(row: Flip) -> Flip:
        text = texts.get(row.row_id)
        return row if text is None else replace(row, input=text[:INPUT_CHARACTERS])

    return {
        kind: [*map(shown_row, listed[:WITH_TEXT]), *listed[WITH_TEXT:]]
        for kind, listed in rows.items()
    }


def _inputs(e: Evaluation, wanted: list[int]) -> dict[int, str]:
    """By row_id; empty where the rows are windows of documents and their texts are not given."""
    from ..data.rows import input_of

    asked = pl.col("row_id").is_in(wanted)
    if e.windows is not None:
        return dict(e.windows.filter(asked).select("row_id", "input").iter_rows())
    if e.source.height != e.frames["tuned"].height:
        return {}
    rows = e.source.filter(asked)
    if e.config.task_type.has_head:
        rows = rows.select("row_id", "text")
    return dict(zip(rows["row_id"], input_of(rows), strict=True))
