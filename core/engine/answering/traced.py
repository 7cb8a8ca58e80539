"""A text followed through base and tuned, set beside each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl
from msgspec.structs import replace

from ...run.control import AskTrace, Traced
from ...run.traces import ModelTrace, TracedLayer
from ..models.models import Loaded, unwrapped
from ..scoring.pairing import same_tokens
from ..scoring.rows import TokenRows, classification_rows, prompt_ids
from ..scoring.token_scores import piece, pieces
from ..worker.session import Session
from .trace import (
    LENS_TOLERANCE,
    Found,
    Task,
    causal_task,
    cosine,
    entropy,
    label_task,
    probe_task,
    read_place,
    relative_change,
    top_shares,
    trace,
)

BASE_BY_PROBE = "base (linear probe)"


def trace_text(s: Session, asked: AskTrace) -> Traced:
    """What becomes of a text in each model, and the layer in which they part."""
    aligned = s.config.trains or same_tokens(s.base, s.tuned)
    told, found, notes = [], [], []
    for model, loaded in (("base", s.base), ("tuned", s.tuned)):
        ids, cut = _ids(s, loaded if not aligned else s.tuned, asked.text)
        name, task = _task(s, model, loaded, ids)
        if task is None:
            notes.append("The base has neither a head nor a probe: it has no answer to follow.")
            continue
        seen = trace(loaded, ids, task)
        found.append(seen)
        told.append(_model_trace(loaded, model, name, ids, cut, task, seen))
    if len(told) == 2 and aligned:
        told[1] = replace(told[1], layers=_with_distances(found[0], found[1]))
    elif len(told) == 2:
        notes.append("The two models read different tokens: their states are not compared.")
    return Traced(
        text=asked.text,
        task=s.config.task,
        models=told,
        parts_at=parts_at(told),
        notes=notes,
    )


def _ids(s: Session, loaded: Loaded, text: str) -> tuple[list[int], int]:
    """The tokens as this model reads them, and how many were left out."""
    if not s.config.task_type.has_labels:
        ids = prompt_ids(loaded, text, s.form, spaced=s.spaced)
        kept = ids[: loaded.max_length]
        return kept, len(ids) - len(kept)
    frame = pl.DataFrame({"row_id": [0], "text": [text], "label": [loaded.labels[0]]})
    *_, rows = classification_rows(frame, loaded)
    assert isinstance(rows, TokenRows)
    return [int(i) for i in rows.ids[0]], rows.truncated_tokens


def _task(s: Session, model: str, loaded: Loaded, ids: list[int]) -> tuple[str, Task | None]:
    if not s.config.task_type.has_labels:
        return model, causal_task(loaded, ids, lambda i: piece(loaded, i))
    if model == "tuned" or s.base_has_head:
        return model, label_task(loaded, ids)
    if s.probe is None:
        return model, None
    place = read_place(s.tuned, ids)
    return BASE_BY_PROBE, probe_task(loaded, s.probe.probabilities, s.labels, place)


def _model_trace(
    loaded: Loaded, model: str, name: str, ids: list[int], cut: int, task: Task, seen: Found
) -> ModelTrace:
    probabilities = top_shares(seen.scores.softmax(-1), task.name_of)
    architecture = type(unwrapped(loaded.model)).__name__
    texts = pieces(loaded, ids)
    return ModelTrace(
        model=model,
        name=name,
        architecture=architecture,
        tokens=list(zip(texts, ids, strict=True)),
        place=place_in_words(task.place, len(ids)),
        place_index=task.place,
        layers=seen.layers,
        lens=task.lens,
        logits=top_shares(seen.scores, task.name_of),
        probabilities=probabilities,
        final=probabilities[0][0] if probabilities else "",
        entropy=entropy(seen.scores),
        lens_error=seen.error if math.isfinite(seen.error) else None,
        cut_tokens=cut,
        notes=_notes(architecture, seen),
    )


def place_in_words(place: int | None, count: int) -> str:
    if place is None:
        return "the mean over all tokens"
    return "the first token" if place == 0 and count > 1 else "the last token"


def _notes(architecture: str, seen: Found) -> list[str]:
    if not seen.layers:
        return [
            f"{architecture} does not hand one state from layer to layer in the way that can be "
            "followed here: only what goes in and what comes out is shown."
        ]
    if not seen.error <= LENS_TOLERANCE:
        return [
            f"{architecture} makes its answer of more than its last layer's state (off by "
            f"{seen.error:.2g} logits): answers of earlier layers are not shown."
        ]
    return []


def _with_distances(base: Found, tuned: Found) -> list[TracedLayer]:
    """The tuned model's layers with their distance to those of the base."""
    if len(base.followed) != len(tuned.followed):
        return tuned.layers
    return [
        replace(layer, distance=relative_change(a, b), distance_cosine=cosine(a, b))
        for layer, a, b in zip(tuned.layers, base.followed, tuned.followed, strict=True)
    ]


def parts_at(models: Sequence[ModelTrace]) -> int | None:
    """The first layer where the two would answer differently, if they stopped there."""
    if len(models) < 2:
        return None
    for a, b in zip(models[0].layers, models[1].layers, strict=False):
        if a.top and b.top and a.top[0][0] != b.top[0][0]:
            return a.index
    return None
