"""The same rows scored again: the self-test (L5) and deploy parity (G3).

Self-test: in other batches, with other padding, rows must score the same. Parity: what was scored
is what ships. The model in memory, the same with its adapter merged in, and the run's `model/`
folder, loaded as the model card says in a process of its own (V3), score a sample of the rows whose
stored scores the results were made from.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from ...analysis.thresholds import own_answers
from ...files.reading import read_json
from ...judgement.observations import chosen_by
from ...metrics.analyses import Parity, SelfTest
from ...run.events import AnalysisComputed
from ..models.devices import free_memory
from ..models.kernels import give_back_memory
from ..models.models import Loaded, dtype_of, left_padding_refused, tied
from ..training.batches import Layout
from ..worker.endings import Stopped, explain
from ..worker.session import Session
from .read_back import NotRead, NotTested, ReadBack, Reader, Request
from .rows import TokenRows
from .scorer import Scorer
from .splits import in_label_order

LISTED_ROWS = 20
# Nats of a row's loss (its NLL per scored token). On a CPU in float32 only the order of additions
# differs; a GPU chooses other kernels for other shapes; bfloat16 keeps 8 bits of each number.
TOLERANCES = {("cpu", "float32"): 1e-5, ("cuda", "float32"): 1e-4}
BFLOAT16_TOLERANCE = 0.1

Index = NDArray[np.int64]
Scored = Callable[[Loaded, Layout], Iterator[Any]]
EXTRA = 16  # tokens of padding that no row needs
BUDGET = 0.05  # of training, for the self-test
LEAST_ROWS = 8
IN_MEMORY = "as many as the token budget allows, shuffled"  # what parity needs of the same rows
LEFT = Layout(rows=8, seed=5, pad_left=True)
LAYOUTS = {
    "1 row at a time": Layout(rows=1, seed=0),
    "2 rows at a time, shuffled": Layout(rows=2, seed=1),
    "8 rows at a time, shuffled": Layout(rows=8, seed=2),
    IN_MEMORY: Layout(seed=3),
    "8 rows at a time, 16 tokens of extra padding": Layout(rows=8, seed=4, extra=EXTRA),
    "8 rows at a time, padded on the left": LEFT,
}


def tolerance(device: torch.device, precision: str) -> float:
    """What a row's loss may differ by and still be the same, in nats per scored token."""
    return TOLERANCES.get((device.type, precision), BFLOAT16_TOLERANCE)


def sample(rows: TokenRows, count: int) -> Index:
    """Rows spread evenly over the lengths, the shortest and the longest among them.

    Padding and batches differ most between those. Rows with nothing to score are left out.
    """
    order = np.argsort(rows.lengths, kind="stable")
    order = order[rows.targets[order] > 0]
    places = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round())
    return np.sort(order[places.astype(np.int64)])


def within_budget(s: Session, rows: TokenRows, most: int) -> Index:
    """A sample that costs at most BUDGET of what training cost, and has at least LEAST_ROWS.

    Counted in tokens of a forward pass: one that is trained on takes three, and float32 twice as
    much as bfloat16. So the same run has the same sample on any machine. Without training, `most`.
    """
    index = sample(rows, most)
    models = len(list(_own_models(s)))
    dearer = 2 if (s.precision, s.config.evaluate.precision) == ("bfloat16", "float32") else 1
    allowed = BUDGET * 3 * s.trained_tokens / (models * len(LAYOUTS) * dearer)
    while s.trained_tokens and len(index) > LEAST_ROWS and rows.lengths[index].sum() > allowed:
        index = sample(rows, max(LEAST_ROWS, len(index) * 3 // 4))
    return index


def scored_again(scorer: Scorer, rows: TokenRows, precision: str, budget: int) -> Scored:
    """Scores these rows with any model and in any layout."""
    return lambda loaded, layout: scorer.score(loaded, rows, precision, budget, layout)


def measure(stored: pl.DataFrame, found: pl.DataFrame, answer: str) -> dict[str, Any]:
    """Drift of `found` against `stored`, row by row; NaN where a loss is NaN on one side only.

    A prediction is changed where the column `answer` differs: the label or, of a text, the number
    of its tokens that were the model's first choice. Of numbers none is.
    """
    before, after = stored["nll"].to_numpy(), found["nll"].to_numpy()
    tokens = stored["tokens"].to_numpy() if "tokens" in stored.columns else np.ones(len(before))
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(after - before))
    changed = (
        stored[answer].ne_missing(found[answer]).to_numpy() if answer else np.zeros(len(same), bool)
    )
    ids = stored["row_id"].to_numpy()
    return {
        "largest_nll_drift": float(apart.max(initial=0.0)),
        "largest_loss_drift": float((apart / tokens).max(initial=0.0)),
        "worst_row": int(ids[np.argmax(apart / tokens)]) if len(ids) else -1,
        "changed_predictions": int(changed.sum()),
        "changed_rows": ids[changed][:LISTED_ROWS].tolist(),
    }


def summarise(parts: list[dict[str, Any]], within: float, labels: bool) -> dict[str, Any]:
    """The worst of several measurements, and whether all of them stay within their tolerance.

    A label that changes fails however small the drift. Of a text's thousands of tokens one may
    lie so near to another that the last bit decides: there the drift alone does.
    """
    rows = sorted({row for part in parts for row in part["changed_rows"]})
    losses = [part["largest_loss_drift"] for part in parts]
    inside = all(p["largest_loss_drift"] <= p.get("tolerance", within) for p in parts)
    return {
        "passed": inside and not (labels and rows),
        "tolerance": within,
        "largest_nll_drift": _worst([part["largest_nll_drift"] for part in parts]),
        "largest_loss_drift": _worst(losses),
        "changed_predictions": max((part["changed_predictions"] for part in parts), default=0),
        "changed_rows": rows[:LISTED_ROWS],
    }


def _worst(values: list[float]) -> float:
    return float(np.max(values, initial=0.0))  # NaN is the worst


def self_test(s: Session, split: str, tuned: dict[str, pl.DataFrame]) -> Iterator[AnalysisComputed]:
    """Score a sample of an evaluated split anew in every layout, each model by itself.

    `tuned` is filled with the tuned model's scores by layout, for who compares these rows too.
    """
    settings = s.config.evaluate
    if not settings.self_test_rows:
        return
    give_back_memory()  # that of the scoring: the process that reads the model back is there too
    for model, loaded in _own_models(s):
        every = s.rows_for(loaded, split)  # two given models may have tokenizers of their own
        index = within_budget(s, every, settings.self_test_rows)
        if not len(index):
            continue
        rows = every.take(index)
        stored = own_answers(pl.read_parquet(s.run.predictions / f"{split}.{model}.parquet"))[index]
        again = scored_again(s.scorer, rows, settings.precision, settings.batch_tokens)
        what = f"self-test of the {model} model on {split}"
        frames = tuned if model == "tuned" else {}
        work = score_layouts(loaded, stored, again, s.scorer.changed, rows.lengths, frames)
        found = s.drive(work, what, len(LAYOUTS))
        within = tolerance(s.device, settings.precision)
        result = {
            **_conditions(s, len(index), len(every)),
            **summarise(found["layouts"], within, s.task.has_head),
            **found,
        }
        passed = msgspec.convert(result, SelfTest)
        yield AnalysisComputed(split=split, name="self_test", model=model, result=passed)


def _conditions(s: Session, rows: int, of: int) -> dict[str, Any]:
    """Which rows were scored again, and as what."""
    return {
        "rows": rows,
        "of": of,
        "precision": s.config.evaluate.precision,
        "device": s.device.type,
        "unit": s.task.loss_unit,
    }


def _own_models(s: Session) -> Iterator[tuple[str, Loaded]]:
    """The models that were scored by their own forward pass."""
    if s.base_has_head or not s.task.has_head:
        yield "base", s.base
    yield "tuned", s.tuned


def score_layouts(
    loaded: Loaded,
    stored: pl.DataFrame,
    again: Scored,
    answer: str,
    lengths: NDArray[np.int64],
    frames: dict[str, pl.DataFrame],
) -> Iterator[int | dict[str, list[dict[str, Any]]]]:
    """Yields layouts done, at last the drift of each against what is stored; fills `frames`."""
    measured, left_out = [], []
    for number, (name, layout) in enumerate(LAYOUTS.items()):
        if refused := _refused(loaded, layout, lengths):
            left_out.append({"layout": name, "reason": refused})
            continue
        *_, frames[name] = again(loaded, layout)
        measured.append({"layout": name, **measure(stored, frames[name], answer)})
        yield number + 1
    yield {"layouts": measured, "left_out": left_out}


def _refused(loaded: Loaded, layout: Layout, lengths: NDArray[np.int64]) -> str:
    """Why a layout cannot be made for this model and these rows; empty where it can."""
    if layout.pad_left:
        return left_padding_refused(loaded)
    if layout.extra and layout.rows:
        batches = layout.batches(lengths, 0)
        if all(lengths[part].max() >= loaded.max_length for part in batches):
            return f"every batch is as wide as the model reads ({loaded.max_length:,} tokens)"
    return ""


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
    answer: str  # the column that `measure` compares
    read_back: Callable[[float], Iterator[int | ReadBack]]  # given the seconds it may take
    metric: Measure
    stored: pl.DataFrame  # the rows of the sample as they were scored
    labels: tuple[str, ...]  # in the order of the stored probabilities
    within: float  # nats of a row's loss
    in_memory: pl.DataFrame | None = None  # the tuned model's scores, where they are known


def parity(
    s: Session, split: str, reader: Reader | None, tested: dict[str, pl.DataFrame]
) -> Iterator[AnalysisComputed]:
    """Compare what can be shipped with the stored scores of a split; at most one fact.

    `tested`: the tuned model's scores by layout, as the self-test left them.
    """
    settings = s.config.evaluate
    if reader is None:
        return
    give_back_memory()
    every = s.rows_for(s.tuned, split)
    index = within_budget(s, every, settings.parity_rows)
    if not len(index):
        return
    rows = every.take(index)
    request = _request(s, rows)
    known = tested.get(IN_MEMORY)
    if known is not None and known["row_id"].to_list() != rows.row_ids:
        known = None
    shipped = Shipped(
        tuned=s.tuned,
        folder=s.run.model_path,
        score=scored_again(s.scorer, rows, settings.precision, settings.batch_tokens),
        answer=s.scorer.changed,
        in_memory=known,
        read_back=lambda seconds: reader.score(request, rows, s.tuned.labels, seconds),
        metric=_metric(s),
        stored=own_answers(pl.read_parquet(s.run.predictions / f"{split}.tuned.parquet"))[index],
        labels=s.labels,
        within=tolerance(s.device, settings.precision),
    )
    found = s.drive(compare_weights(shipped), f"deploy parity on {split}", 3)
    result = {
        **_conditions(s, len(index), len(every)),
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
        task=s.task.name,
        code=s.task.loading_code(folder, adapter=s.tuned.has_adapter),
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
        found = s.task.evaluate(frame, s.labels, s.positive, draws=1).metrics
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
    forms: list[Form] = [(in_memory, p.within, lambda: _scored(p, p.tuned, p.in_memory))]
    if adapted:
        within = p.within * MERGED_TOLERANCE
        forms.append(("adapter merged", within, lambda: _scored(p, merged(p.tuned))))

    def patience() -> float:
        return SLOWER * (time.monotonic() - started)

    return [*forms, ("read back from model/", p.within, lambda: p.read_back(patience()))]


def _scored(
    p: Shipped, loaded: Loaded, frame: pl.DataFrame | None = None
) -> Iterator[int | ReadBack]:
    if frame is None:
        *_, frame = p.score(loaded, Layout())
    assert frame is not None
    yield ReadBack(frame, loaded.labels, dtype_of(loaded), tied(loaded))


def merged(tuned: Loaded) -> Loaded:
    """A copy whose adapter is added into its weights, as it is often deployed."""
    return replace(tuned, model=copy.deepcopy(tuned.model).merge_and_unload())


def _measured(p: Shipped, name: str, within: float, found: ReadBack) -> dict[str, Any]:
    frame = in_label_order(found.frame, found.labels, p.labels)
    return {
        "weights": name,
        "tolerance": within,
        **measure(p.stored, frame, p.answer),
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
