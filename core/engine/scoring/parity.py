"""Deploy parity: what was scored is what ships (G3).

The model in memory, the same with its adapter merged in, and the run's `model/` folder, loaded as
the model card says in a process of its own (V3), score a sample of the rows whose stored scores the
results were made from.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import torch
from safetensors import safe_open

from ...analysis.thresholds import own_answers
from ...files.reading import read_json
from ...judgement.observations import chosen_by
from ...metrics.analyses import Parity
from ...metrics.evaluate import evaluate_classification, evaluate_text
from ...run.events import AnalysisComputed
from ..models.devices import free_memory
from ..models.models import Loaded, dtype_of, tied
from ..training.batches import Layout
from ..worker.endings import Stopped, explain
from ..worker.session import Session
from .read_back import NotRead, NotTested, ReadBack, Reader, Request
from .rows import TokenRows
from .self_test import Scored, measure, sample, scorer, summarise, tolerance
from .splits import in_label_order

# W + BA rounds otherwise than Wx + B(Ax): merged weights are allowed ten times the drift.
MERGED_TOLERANCE = 10.0
SLOWER = 20.0  # times as long as the other forms took, reading back may take beyond its start
ROOM = 2.0  # times the model's size that must be free before it is held once more
Measure = Callable[[pl.DataFrame], float]
Form = tuple[str, float, Callable[[], Iterator[int | ReadBack]]]


@dataclass(frozen=True)
class Shipped:
    """What there is to compare: the tuned model, its folder, and how to score both."""

    tuned: Loaded
    folder: Path
    score: Scored
    read_back: Callable[[float], Iterator[int | ReadBack]]  # given the seconds it may take
    metric: Measure
    stored: pl.DataFrame  # the rows of the sample as they were scored
    labels: tuple[str, ...]  # in the order of the stored probabilities
    within: float  # nats of a row's loss


def parity(s: Session, split: str, reader: Reader | None) -> Iterator[AnalysisComputed]:
    """Compare what can be shipped with the stored scores of a split; at most one fact."""
    settings = s.config.evaluate
    if reader is None:
        return
    every = s.rows_for(s.tuned, split)
    index = sample(every, settings.parity_rows)
    if not len(index):
        return
    rows = every.take(index)
    request = _request(s, rows)
    shipped = Shipped(
        tuned=s.tuned,
        folder=s.run.model_path,
        score=scorer(rows, settings.precision, settings.batch_tokens),
        read_back=lambda seconds: reader.score(request, rows, s.tuned.labels, seconds),
        metric=_metric(s),
        stored=own_answers(pl.read_parquet(s.run.predictions / f"{split}.tuned.parquet"))[index],
        labels=s.labels,
        within=tolerance(s.device, settings.precision),
    )
    found = s.drive(compare_weights(shipped), f"deploy parity on {split}", 3)
    result = {
        "rows": len(index),
        "of": len(every),
        "precision": settings.precision,
        "device": s.device.type,
        "unit": "row" if s.config.task_type.has_labels else "token",
        "metric": chosen_by(s.config),
        **found,
    }
    parity = msgspec.convert(result, Parity)
    yield AnalysisComputed(split=split, name="parity", model="tuned", result=parity)


def _request(s: Session, rows: TokenRows) -> Request:
    """The code of the model card with this run's folder in it, and what scoring takes."""
    folder = str(s.run.model_path.resolve())
    given = not s.config.trains  # a given model is saved with the label names that it came with
    return Request(
        code=s.config.task_type.loading_code(folder, adapter=s.tuned.has_adapter),
        device=str(s.device),
        precision=s.config.evaluate.precision,
        batch_tokens=s.config.evaluate.batch_tokens,
        max_length=s.tuned.max_length,
        threads=torch.get_num_threads(),
        labels=list(s.data_labels),
        label_map=(s.config.data.label_map or {}) if given else {},
        texts=read_again(s.tuned.tokenizer, rows),
    )


def read_again(tokenizer: Any, rows: TokenRows) -> list[tuple[str, list[int]]]:
    """The rows as text and the tokens that the tokenizer makes of it now."""
    texts: list[str] = tokenizer.batch_decode(rows.ids)
    return [(text, tokenizer(text).input_ids) for text in texts]


def _metric(s: Session) -> Measure:
    """The metric that the run is judged by, on a frame of scores; NaN where it does not apply."""

    def value(frame: pl.DataFrame) -> float:
        if s.config.task_type.has_labels:
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
    for number, (name, within, score) in enumerate(_forms(p)):
        lacking = "" if number == 0 else lacking_memory(p.tuned)
        if lacking:
            skipped.append({"weights": name, "reason": lacking})
            continue
        try:
            for found in score():
                if isinstance(found, ReadBack):
                    measured.append(_measured(p, name, within, found))
                yield number
        except (Stopped, GeneratorExit):
            raise
        except NotTested as error:
            skipped.append({"weights": name, "reason": str(error)})
        except Exception as error:  # what cannot be loaded or merged cannot be shipped
            reason = str(error) if isinstance(error, NotRead) else explain(error)
            skipped.append({"weights": name, "reason": reason, "failed": True})
    whole = summarise(measured, p.within, bool(p.tuned.labels))
    yield {
        **whole,
        "passed": whole["passed"] and not any("failed" in form for form in skipped),
        "scored": p.metric(p.stored),
        "weights": measured,
        "skipped": skipped,
        **describe_weights(p),
    }


def _forms(p: Shipped) -> list[Form]:
    adapted, started = p.tuned.has_adapter, time.monotonic()
    in_memory = "in memory, adapter on" if adapted else "in memory"
    forms: list[Form] = [(in_memory, p.within, lambda: _scored(p, p.tuned))]
    if adapted:
        within = p.within * MERGED_TOLERANCE
        forms.append(("adapter merged", within, lambda: _scored(p, merged(p.tuned))))

    def patience() -> float:
        return SLOWER * (time.monotonic() - started)

    return [*forms, ("read back from model/", p.within, lambda: p.read_back(patience()))]


def _scored(p: Shipped, loaded: Loaded) -> Iterator[int | ReadBack]:
    *_, frame = p.score(loaded, Layout())
    yield ReadBack(frame, loaded.labels, dtype_of(loaded), tied(loaded))


def merged(tuned: Loaded) -> Loaded:
    """A copy whose adapter is added into its weights, as it is often deployed."""
    return replace(tuned, model=copy.deepcopy(tuned.model).merge_and_unload())


def _measured(p: Shipped, name: str, within: float, found: ReadBack) -> dict[str, Any]:
    frame = in_label_order(found.frame, found.labels, p.labels)
    return {
        "weights": name,
        "tolerance": within,
        **measure(p.stored, frame),
        "metric": p.metric(frame),
        "dtype": found.dtype,
        "tied_embeddings": found.tied_embeddings,
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


def describe_weights(p: Shipped) -> dict[str, Any]:
    """What stands in the folder: its types and size, and what an adapter there says of its base."""
    kinds: set[str] = set()
    for path in sorted(p.folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            kinds |= {str(file.get_slice(key).get_dtype()) for key in file.keys()}  # noqa: SIM118
    found: dict[str, Any] = {
        "adapter": p.tuned.has_adapter,
        "tied_embeddings": tied(p.tuned),
        "stored_dtype": ", ".join(sorted(kinds)),
    }
    path = p.folder / "adapter_config.json"
    if path.exists():
        named = read_json(path, dict[str, Any]).get("base_model_name_or_path")
        found["adapter_base"] = str(named)
    return found
