"""Deploy parity: what was scored is what ships (G3).

The model in memory, the same with its adapter merged in, and the weights read back from the run's
`model/` folder score a sample of the rows whose stored scores the results were made from.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from safetensors import safe_open

from ..analyses.thresholds import own_answers
from ..events import AnalysisComputed, spell_numbers
from ..reporting.kept import chosen_by
from ..results import evaluate_classification, evaluate_text
from .batches import Layout
from .devices import drawn_from, free_memory
from .drift import Scored, measure, sample, scorer, summarise, take, tolerance
from .errors import Stopped, explain
from .models import Loaded, load, unwrapped
from .session import Session

# W + BA rounds otherwise than Wx + B(Ax): merged weights are allowed ten times the drift.
MERGED_TOLERANCE = 10.0
ROOM = 2.0  # times the model's size that must be free before it is held once more
Measure = Callable[[pl.DataFrame], float]


@dataclass(frozen=True)
class Shipped:
    """What there is to compare: the tuned model, its folder, and how to load and to score."""

    tuned: Loaded
    folder: Path
    load: Callable[[str], Loaded]
    score: Scored
    metric: Measure
    stored: pl.DataFrame  # the rows of the sample as they were scored
    within: float  # nats of a row's loss


def parity(s: Session, split: str) -> Iterator[AnalysisComputed]:
    """Compare what can be shipped with the stored scores of a split; at most one fact."""
    settings = s.config.evaluate
    if not settings.parity_rows:
        return
    every = s.rows_for(s.tuned, split)
    index = sample(every, settings.parity_rows)
    if not len(index):
        return
    rows = take(every, index)
    shipped = Shipped(
        tuned=s.tuned,
        folder=s.run.model_path,
        load=lambda folder: _load_as_others_would(s, folder),
        score=scorer(rows, settings.precision, settings.batch_tokens),
        metric=_metric(s),
        stored=own_answers(pl.read_parquet(s.run.predictions / f"{split}.tuned.parquet"))[index],
        within=tolerance(s.device, settings.precision),
    )
    found = s.drive(compare_weights(shipped), f"deploy parity on {split}", 3)
    result = {
        "rows": len(index),
        "of": len(every),
        "precision": settings.precision,
        "device": s.device.type,
        "unit": "row" if s.config.is_classification else "token",
        "metric": chosen_by(s.config),
        **found,
    }
    yield AnalysisComputed(split=split, name="parity", model="tuned", result=spell_numbers(result))


def _load_as_others_would(s: Session, folder: str) -> Loaded:
    """Weights that the folder lacks must not come out right because this run knows its seed."""
    with drawn_from(s.config.train.seed + 1):
        loaded = load(s.config, folder, s.labels)
    loaded.model.to(s.device)
    return loaded


def _metric(s: Session) -> Measure:
    """The metric that the run is judged by, on a frame of scores; NaN where it does not apply."""

    def value(frame: pl.DataFrame) -> float:
        if s.config.is_classification:
            found = evaluate_classification(frame, s.labels, s.positive, draws=1).metrics
        else:
            found = evaluate_text(frame, draws=1).metrics
        name = chosen_by(s.config)
        return found[name].value if name in found else float("nan")

    return value


def compare_weights(p: Shipped) -> Iterator[int | dict[str, Any]]:
    """Yields the forms compared so far, at last the drift of each against the stored scores."""
    measured: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    for number, (name, within, make) in enumerate(_forms(p)):
        lacking = "" if make is None else lacking_memory(p.tuned)
        if lacking:
            skipped.append({"weights": name, "reason": lacking})
            continue
        try:
            measured.append(_measured(p, name, within, make() if make else p.tuned))
        except Stopped:
            raise
        except Exception as error:  # what cannot be loaded or merged cannot be shipped
            skipped.append({"weights": name, "reason": explain(error), "failed": True})
        yield number + 1
    whole = summarise(measured, p.within, bool(p.tuned.labels))
    yield {
        **whole,
        "passed": whole["passed"] and not any("failed" in form for form in skipped),
        "scored": p.metric(p.stored),
        "weights": measured,
        "skipped": skipped,
        **describe_weights(p),
    }


Form = tuple[str, float, Callable[[], Loaded] | None]


def _forms(p: Shipped) -> list[Form]:
    adapted = p.tuned.has_adapter
    forms: list[Form] = [("in memory, adapter on" if adapted else "in memory", p.within, None)]
    if adapted:
        forms.append(("adapter merged", p.within * MERGED_TOLERANCE, lambda: merged(p.tuned)))
    forms.append(("read back from model/", p.within, lambda: p.load(str(p.folder))))
    return forms


def merged(tuned: Loaded) -> Loaded:
    """A copy whose adapter is added into its weights, as it is often deployed."""
    return replace(tuned, model=copy.deepcopy(tuned.model).merge_and_unload())


def _measured(p: Shipped, name: str, within: float, loaded: Loaded) -> dict[str, Any]:
    *_, frame = p.score(loaded, Layout())
    return {
        "weights": name,
        "tolerance": within,
        **measure(p.stored, frame),
        "metric": p.metric(frame),
        "dtype": dtype_of(loaded),
        "tied_embeddings": tied(loaded),
    }


def lacking_memory(loaded: Loaded) -> str:
    """Why the model is not held once more; empty where twice its size is free or not known."""
    size = sum(t.numel() * t.element_size() for t in loaded.model.parameters())
    places = {torch.device("cpu"), loaded.device}
    free = [n for n in (free_memory(place) for place in places) if n is not None]
    if not free or min(free) >= ROOM * size:
        return ""
    return (
        f"a copy of this model takes {_gigabytes(size)} and only {_gigabytes(min(free))} are free; "
        f"twice its size is wanted"
    )


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


def dtype_of(loaded: Loaded) -> str:
    """The weights' type, or types: `float32`."""
    kinds = {str(p.dtype).removeprefix("torch.") for p in loaded.model.parameters()}
    return ", ".join(sorted(kinds))


def tied(loaded: Loaded) -> bool:
    """Whether the head that makes tokens is the table that reads them."""
    model = unwrapped(loaded.model)
    head = model.get_output_embeddings()
    return head is not None and head.weight is model.get_input_embeddings().weight


def describe_weights(p: Shipped) -> dict[str, Any]:
    """What stands in the folder: its types and size, and what an adapter there says of its base."""
    kinds: set[str] = set()
    for path in sorted(p.folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            kinds |= {str(file.get_slice(key).get_dtype()) for key in file.keys()}  # noqa: SIM118
    told: dict[str, Any] = {
        "adapter": p.tuned.has_adapter,
        "tied_embeddings": tied(p.tuned),
        "stored_dtype": ", ".join(sorted(kinds)),
    }
    path = p.folder / "adapter_config.json"
    if path.exists():
        named = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
        told["adapter_base"] = str(named)
    return told
