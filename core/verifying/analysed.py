"""What the rows say beyond the metrics, made once more where the data files are still there."""

from __future__ import annotations

import json
from collections.abc import Iterator

import polars as pl

from ..analyses import ANALYSES, Evaluation, Frames
from ..events import spell_numbers
from .agreement import find_disagreements
from .stored import BROKEN, UNCHECKED, Check, StoredRun, agreed, cannot, suspects

Again = dict[tuple[str, str], object]  # results by analysis and model
ELSEWHERE = "needs a model, the data files or other runs, and is not checked"


def check_analyses(stored: StoredRun) -> Iterator[Check]:
    """A check for each stored analysis; one that fails where the rows no longer allow them."""
    for split, analyses in stored.history.analyses.items():
        again, broken = _analyse_again(stored, split)
        if broken:
            files = suspects(stored, split, stored.frames[split])
            yield cannot(f"{split} analyses", files, broken[0])
        told = "cannot be made from the rows as they are" if broken else ELSEWHERE
        for name, models in analyses.items():
            for model, result in models.items():
                what = f"{split} {name} {model}".strip()
                if (name, model) not in again:
                    yield Check(what, UNCHECKED, UNCHECKED, None, f"{what}: {told}")
                    continue
                now = again[name, model]
                yield agreed(what, "result", [*find_disagreements(result, now)], what)


def _stored_windows(frames: Frames, source: pl.DataFrame) -> pl.DataFrame | None:
    """How windows of documents begin, as it was stored beside them; None for whole rows."""
    tuned = frames.get("tuned")
    if tuned is None or tuned.height == source.height or "input" not in tuned.columns:
        return None
    return tuned.select("row_id", "input")


def _analyse_again(stored: StoredRun, split: str) -> tuple[Again, list[Exception]]:
    """Every analysis that can be made, and what stood against the others."""
    frames = stored.frames.get(split)
    if stored.dataset is None or frames is None or split not in stored.dataset.splits:
        return {}, []
    source = stored.dataset.splits[split].frame
    evaluation = Evaluation(
        split=split,
        frames=frames,
        source=source,
        windows=_stored_windows(frames, source),
        config=stored.run.config(),
        labels=tuple(stored.labels),
        positive=stored.history.positive,
        validation=stored.frames.get("validation", {}),
    )
    again: Again = {}
    broken: list[Exception] = []
    for look in ANALYSES:
        try:
            for found in look(evaluation):
                plain = json.dumps(spell_numbers(found.result))
                again[found.name, found.model] = json.loads(plain)
        except BROKEN as error:
            broken.append(error)
    return again, broken
