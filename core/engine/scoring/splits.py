"""A prepared split scored by one model of the run, on all ranks, and what is written of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...run.events import Evaluated
from ..models.models import Loaded
from ..training.probe import (
    MOST_ROWS,
    STRENGTHS,
    Features,
    Probe,
    features,
    fit_label_probes,
    fit_number_probe,
    fit_probe,
    inputs_of_head,
    put_on_head,
    sample,
)
from ..worker.session import PROBE_FILE, Session
from .rows import TokenRows

Part = TypeVar("Part", pl.DataFrame, Features)  # an entry per row


def score(
    s: Session, loaded: Loaded, split: str, what: str, precision: str | None = None
) -> pl.DataFrame:
    """Predictions of a model on a prepared split, a row per example.

    In the precision of the final evaluation, where no other is given.
    """
    precision = precision or s.config.evaluate.precision
    s.ranks.order("score", s.name_of(loaded), split, precision)
    frame = score_share(s, loaded, split, what, precision)
    assert frame is not None
    return in_label_order(frame, loaded.labels, s.labels)


def final_scores(s: Session, loaded: Loaded, split: str, what: str) -> pl.DataFrame:
    """The same at the end of a run, as training left it where it scored these very weights.

    The base is what step 0 was; the precision must be that of the final evaluation.
    """
    step = s.step if loaded is s.tuned else 0
    precision = s.config.evaluate.precision
    known = s.validated.get((step, precision)) if split == "validation" else None
    return score(s, loaded, split, what, precision) if known is None else known


def score_share(
    s: Session, loaded: Loaded, split: str, what: str, precision: str
) -> pl.DataFrame | None:
    """This rank's part in it; the first one gets the whole, the others nothing."""
    budget = s.config.evaluate.batch_tokens

    def work(rows: TokenRows) -> Iterator[int | pl.DataFrame]:
        return s.scorer.score(loaded, rows, precision, budget)

    return _on_all_ranks(s, s.rows_for(loaded, split), work, f"{what} on {split}", pl.concat)


def find_probe(s: Session) -> Probe | None:
    """The linear probe on the base (C6), fitted when it is first asked for: no step waits for it.

    None where there is nothing to fit it on, or the config leaves it out.
    """
    wanted = s.task.probed and s.config.evaluate.probe
    if s.probe is not None or not wanted or "train" not in s.rows:
        return s.probe
    found: dict[str, tuple[Features, NDArray[Any]]] = {}
    for split in ("train", "validation"):
        if split in s.rows:
            rows = s.rows[split].take(rows_of_probe(s, split))
            found[split] = (_read_features(s, split), _truth_of(rows))
    fitting = _fit(s)(found["train"], found.get("validation"), s.labels, s.precision)
    s.probe = s.drive(fitting, "fitting the probe, strengths", len(STRENGTHS))
    s.probe.save(s.run.path / PROBE_FILE)
    if len(found["train"][0]) < len(s.rows["train"]):
        count, of = len(found["train"][0]), len(s.rows["train"])
        s.note(f"the linear probe learns from {count:,} of {of:,} rows of train, drawn by seed")
    if "validation" in found:
        s.probed_validation = found["validation"][0]
    return s.probe


def start_from_probe(s: Session) -> None:
    """The new head's last layer becomes a linear probe of what it reads (Kumar et al. 2022): all
    weights then train from a head that is right already, and distort the base less.
    """
    if s.base_has_head:
        s.note("the base brings a head of its own, which training starts from, and no probe")
        return
    budget, found = s.config.evaluate.batch_tokens, {}
    for split in ("train", "validation"):
        if split in s.rows:
            rows = s.rows[split].take(rows_of_probe(s, split))
            work = inputs_of_head(s.tuned, rows, s.precision, budget)
            what = f"reading {split} for the first head"
            found[split] = (s.drive(work, what, len(rows)), _truth_of(rows))
    fitting = _fit(s)(found["train"], found.get("validation"), s.tuned.labels, s.precision)
    probe = s.drive(fitting, "fitting the first head, strengths", len(STRENGTHS))
    put_on_head(probe, s.tuned, found["train"][0])
    s.note(f"the head starts from a linear probe of {len(found['train'][0]):,} rows of train")


def _truth_of(rows: TokenRows) -> NDArray[Any]:
    targets = rows.wanted if rows.labels is None else rows.labels
    assert targets is not None
    return targets


def _fit(s: Session) -> Callable[..., Iterator[int | Probe]]:
    """How a probe of this task is fitted."""
    rows = s.rows["train"]
    if rows.labels is not None:
        return fit_probe
    return fit_label_probes if rows.unit is None else fit_number_probe


def rows_of_probe(s: Session, split: str) -> NDArray[np.int64]:
    """The rows of a split whose features are read: of train a sample, where there are many."""
    rows = s.rows[split]
    if split != "train":
        return np.arange(len(rows))
    codes = rows.labels
    if codes is None:  # of several labels the first one stands for a row
        assert rows.wanted is not None
        if rows.unit is not None:  # numbers: none of them has to be there
            return sample(np.zeros(len(rows), dtype=np.int64), MOST_ROWS, s.config.train.seed)
        codes = np.where(rows.wanted.any(axis=1), rows.wanted.argmax(axis=1), -1)
    return sample(codes, MOST_ROWS, s.config.train.seed)


def score_probe(s: Session, probe: Probe, split: str) -> pl.DataFrame:
    """The probe's predictions; what it was fitted with on validation is not computed again."""
    found, s.probed_validation = s.probed_validation, None
    if found is None or split != "validation":
        found = _read_features(s, split)
    return probe.score(found, s.rows_for(s.base, split))


def _read_features(s: Session, split: str) -> Features:
    """What the probe knows of the rows of a split: float32 [rows, hidden]."""
    s.ranks.order("features", split)
    found = features_share(s, split)
    assert found is not None
    return found


def features_share(s: Session, split: str) -> Features | None:
    """This rank's part in it; the first one gets the whole, the others nothing."""
    budget = s.config.evaluate.batch_tokens

    def work(rows: TokenRows) -> Iterator[int | Features]:
        return features(s.base, rows, s.precision, budget)

    rows = s.rows_for(s.base, split).take(rows_of_probe(s, split))
    return _on_all_ranks(s, rows, work, f"probing the base on {split}", np.concatenate)


def _on_all_ranks(
    s: Session,
    rows: TokenRows,
    work: Callable[[TokenRows], Iterator[int | Part]],
    what: str,
    join: Callable[[list[Part]], Part],
) -> Part | None:
    """What `work` yields last, an entry per row, in the order of the rows; None on other ranks.

    Each rank computes its share once. The progress written is that of the first rank's share.
    """
    if s.ranks.alone:
        return s.drive(work(rows), what, len(rows))
    own = s.ranks.share(np.arange(len(rows)), rows.lengths)
    found = s.drive(work(rows.take(own)), what, len(own)) if len(own) else None
    pieces = [piece for piece in s.ranks.gather((own, found)) if len(piece[0])]
    if not pieces:
        return None
    back = np.argsort(np.concatenate([index for index, _ in pieces]))
    return join([part for _, part in pieces])[back]


def in_label_order(
    frame: pl.DataFrame, own: tuple[str, ...], labels: tuple[str, ...]
) -> pl.DataFrame:
    """Probabilities, and lists of labels, in the order of the run's labels; a probability of 0 for
    those that a given model lacks."""
    if own == labels or "probabilities" not in frame.columns:
        return frame
    if "labels" in frame.columns:
        frame = frame.with_columns(
            pl.Series(
                name,
                [named and sorted(named, key=labels.index) for named in frame[name].to_list()],
                dtype=pl.List(pl.String),
            )
            for name in ("labels", "predicted")
        )
    places = [own.index(label) if label in own else len(own) for label in labels]
    ordered = pl.col("probabilities").list.concat(pl.lit([0.0])).list.gather(places)
    return frame.with_columns(ordered.alias("probabilities"))


def evaluated(
    s: Session,
    split: str,
    model: str,
    frame: pl.DataFrame,
    precision: str,
    *,
    epoch: float = -1.0,
    seconds: float = 0.0,
) -> Evaluated:
    """Sums and counts of a scored split; without an epoch, those of the final evaluation."""
    return Evaluated(
        split=split,
        model=model,
        step=s.step,
        epoch=epoch,
        rows=frame.height,
        loss_sum=math.fsum(frame["nll"].to_list()),  # the same in any order of rows
        seconds=seconds,
        precision=precision,
        **s.scorer.sums(frame, s.labels),
    )


def metric_value(s: Session, name: str, event: Evaluated, frame: pl.DataFrame) -> float:
    """One metric of an evaluation; NaN where it does not apply, or a row has no prediction (V5)."""
    if event.no_prediction:
        return math.nan
    if name == "loss":
        return event.loss_sum / event.loss_count if event.loss_count else math.nan
    return s.scorer.metric(name, frame, s.labels, s.positive)
