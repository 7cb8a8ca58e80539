"""What the evaluation screen reads: the report of a run, and its part of a split and reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.message import Message

from ....core.config.config import RunConfig
from ....core.errors import FtevError
from ....core.judgement.selection import REFERENCES, SPLITS, clean, place, reference_model
from ....core.report.document import Report
from ....core.run.history import History, read_history
from ....core.run.runs import Run
from ....core.wording.numbers import format_count
from ...app.background import in_thread

CLEAN = "_clean"
MODEL_WORDS = {"base": "the base", "probe": "the linear probe", "majority": "the majority"}


@dataclass
class EvaluationRead(Message):
    """The report of the run, its history and configuration (None where a copy lost it)."""

    report: Report
    history: History
    config: RunConfig | None


@dataclass
class ReadingFailed(Message):
    """Why something could not be read."""

    text: str


def read_evaluation(run: Run, history: History | None, post: Callable[[Message], object]) -> None:
    """Read in a thread; a history that has ended may be given."""
    in_thread(lambda: _read(run, history, post))


def _read(run: Run, history: History | None, post: Callable[[Message], object]) -> None:
    from ....core.report.report import build_report

    try:
        history = history or read_history(run)
        report = build_report(run, history)
        config = run.config_if_kept()
        post(EvaluationRead(report, history, config))
    except FtevError as error:
        post(ReadingFailed(str(error)))


def ordered_splits(report: Report) -> list[str]:
    """The splits with results, the judged one first, each before its rows without repeats."""
    order = tuple(name for split in SPLITS for name in (split, clean(split)))
    return sorted(report["results"], key=lambda split: (place(order, split), split))


def references_of(report: Report, split: str) -> list[str]:
    """The models that the tuned one is compared with on a split, the one that counts first."""
    results = report["results"].get(split, {})
    if "tuned" not in results:
        return []
    first = reference_model(results)
    known = [model for model in REFERENCES if model in results]
    return sorted(known, key=lambda model: model != first)


def narrowed(report: Report, split: str, reference: str) -> Report:
    """The report as far as it is about one split and one reference."""
    headline = report["headline"]
    kept = headline if headline and headline["split"] == split else None
    beside = [split, clean(split)] if kept else [split]
    return {
        **report,
        "headline": kept,
        "results": {s: report["results"][s] for s in beside if s in report["results"]},
        "comparisons": [
            c
            for c in report["comparisons"]
            if c.split == split and (not reference or c.from_model == reference)
        ],
        "analyses": {
            name: found
            for name, found in report["analyses"].items()
            if name == split or name not in SPLITS
        },
    }


def stored_split(split: str) -> str:
    """The split whose predictions hold these rows."""
    return split.removesuffix(CLEAN)


def describe_split(report: Report, split: str) -> str:
    """`test, 1,115 rows`"""
    result = next(iter(report["results"].get(split, {}).values()), None)
    whole = stored_split(split)
    name = whole if whole == split else f"{whole} without repeated rows"
    return f"{name}, {format_count(result.n if result else 0, 'row')}"
