"""Whether the stored rows of two runs are the same rows: by id, content hash and truth."""

from __future__ import annotations

import polars as pl

from ..tasks import find_task
from ..wording.numbers import format_count

SHOWN_IDS = 5
WORDS = {"content": "the input", "label": "the label", "bytes": "the scored text"}


def why_unpaired(
    a: pl.DataFrame, b: pl.DataFrame, names: tuple[str, str], task: str, same_file: bool = False
) -> str:
    """Why two runs' rows are not the same rows; empty where they are.

    `same_file` says that both were read from the same bytes: windows of documents have no content
    hash and are known by nothing else.
    """
    if reason := _other_ids(a, b, names):
        return reason
    unknown = [name for name, frame in zip(names, (a, b), strict=True) if "content" not in frame]
    if unknown:
        return f"no content hash is stored with the rows of {' and '.join(unknown)}"
    truth = find_task(task).truth
    both = a.select("row_id", "content", truth).join(
        b.select("row_id", "content", truth), on="row_id", suffix="_other"
    )
    for column in ("content", truth):
        other = both.filter(pl.col(column).ne_missing(pl.col(f"{column}_other")))
        if other.height:
            return f"{WORDS[column]} differs on {list_ids(other['row_id'])}"
    if both["content"].null_count() and not same_file:
        return "the rows are windows of documents, and the files differ (by their sha256)"
    return ""


def same_tokens(a: pl.DataFrame, b: pl.DataFrame) -> bool:
    """Whether two models counted the same tokens in every text."""
    return a.sort("row_id")["tokens"].equals(b.sort("row_id")["tokens"])


def _other_ids(a: pl.DataFrame, b: pl.DataFrame, names: tuple[str, str]) -> str:
    only = [
        (name, mine.join(other, on="row_id", how="anti")["row_id"].sort())
        for name, mine, other in zip(names, (a, b), (b, a), strict=True)
    ]
    if not any(len(ids) for _, ids in only):
        return ""
    return " and ".join(f"{list_ids(ids)} only in {name}" for name, ids in only if len(ids))


def list_ids(ids: pl.Series) -> str:
    """ "1 row (7)", "9 rows (1, 4, 5, 8, 9, …)" """
    named = ", ".join(map(str, ids.head(SHOWN_IDS))) + (", …" if len(ids) > SHOWN_IDS else "")
    return f"{format_count(len(ids), 'row')} ({named})"
