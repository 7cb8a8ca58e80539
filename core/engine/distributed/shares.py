"""Rows read by several ranks: each computes its share once, the first one gets them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl

from ..models.models import Loaded
from ..scoring.drift import take
from ..scoring.rows import TokenRows
from ..training.probe import features
from ..worker.session import Session

Work = Callable[[TokenRows], Iterator[Any]]


def compute(s: Session, rows: TokenRows, work: Work, what: str) -> Any:
    """What `work` yields last, an entry a row, in the order of the rows; None on other ranks.

    Progress is told by the first rank's share.
    """
    if s.ranks.alone:
        return s.drive(work(rows), what, len(rows))
    own = s.ranks.share(np.arange(len(rows)), rows.lengths)
    found = s.drive(work(take(rows, own)), what, len(own)) if len(own) else None
    pieces = [piece for piece in s.ranks.gather((own, found)) if len(piece[0])]
    if not pieces:
        return None
    back = np.argsort(np.concatenate([index for index, _ in pieces]))
    values = [value for _, value in pieces]
    joined = pl.concat(values) if isinstance(values[0], pl.DataFrame) else np.concatenate(values)
    return joined[back]


def read_features(s: Session, loaded: Loaded, split: str) -> Any:
    """The features of a split that a probe is fitted on or asked about."""
    s.ranks.order("features", s.name_of(loaded), split)
    settings = s.config.evaluate

    def work(rows: TokenRows) -> Iterator[Any]:
        return features(loaded, rows, settings.precision, settings.batch_tokens)

    return compute(s, s.rows_for(loaded, split), work, f"probing the base on {split}")
