"""The honest base of a classifier: a linear probe on the frozen base model (C6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ..models.devices import Readings, autocast
from ..models.kernels import padding_known
from ..models.models import Loaded, unwrapped, without_cache
from ..scoring.evaluate import labelled
from ..scoring.rows import TokenRows
from .batches import collate, evaluation_batches

STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # inverse regularisation, tried on validation
Features = NDArray[np.float32]


@dataclass
class Probe:
    """Multinomial logistic regression on standardised features: mean of the last hidden states."""

    weights: NDArray[np.float64]  # [features, labels]
    bias: NDArray[np.float64]  # [labels]
    labels: tuple[str, ...]
    strength: float

    def probabilities(self, features: Features) -> NDArray[np.float64]:
        logits = features @ self.weights + self.bias
        logits -= logits.max(1, keepdims=True)
        odds = np.exp(logits)
        return odds / odds.sum(1, keepdims=True)

    def score(self, features: Features, rows: TokenRows) -> pl.DataFrame:
        """The same frame as `score_labels` makes."""
        tiny = np.finfo(np.float64).tiny
        return labelled(rows, self.labels, np.log(np.maximum(self.probabilities(features), tiny)))

    def save(self, path: Path) -> None:
        tensors = {"weights": self.weights, "bias": self.bias}
        save_file(tensors, path, metadata={"strength": str(self.strength)})


def load_probe(path: Path, labels: tuple[str, ...]) -> Probe:
    """A probe that `save` wrote; `labels` are those of its columns, in their order."""
    tensors = load_file(path)
    return Probe(tensors["weights"], tensors["bias"], labels, float("nan"))


@torch.inference_mode()
def features(
    loaded: Loaded, rows: TokenRows, precision: str, budget: int
) -> Iterator[int | Features]:
    """Mean of the last hidden states of each row; yields rows done, at last [rows, hidden]."""
    found = np.empty((len(rows), 0), dtype=np.float32)

    def keep(part: NDArray[np.int64], mean: Features) -> None:
        nonlocal found
        if not found.shape[1]:
            found = np.empty((len(rows), mean.shape[1]), dtype=np.float32)
        found[part] = mean

    readings = Readings(loaded.device, keep)
    with loaded.active(), autocast(loaded.device, precision):
        backbone = _backbone(loaded)
        uncached = without_cache(backbone)
        done = 0
        for part in evaluation_batches(rows.lengths, budget):
            batch = collate(rows.ids, part, loaded.tokenizer.pad_token_id, loaded.device)
            with padding_known(batch.padded):
                out = backbone(input_ids=batch.ids, attention_mask=batch.mask, **uncached)
            states = out[0].float()
            weight = batch.mask[:, :, None].float()
            readings.add(part, (states * weight).sum(1) / weight.sum(1))
            done += len(part)
            yield done
        readings.read()
    yield found


def _backbone(loaded: Loaded) -> Any:
    model = unwrapped(loaded.model)
    return getattr(model, model.base_model_prefix)


def fit_probe(
    train: tuple[Features, NDArray[np.int64]],
    validation: tuple[Features, NDArray[np.int64]] | None,
    labels: tuple[str, ...],
) -> Iterator[int | Probe]:
    """Choose the regularisation by validation loss; yields strengths tried, at last the probe.

    The best one is not fitted again on train and validation together: the tuned model did not learn
    from validation either.
    """
    from sklearn.linear_model import LogisticRegression

    x, y = train
    mean, scale = x.mean(0), x.std(0) + 1e-6
    best: tuple[float, Probe] | None = None
    for tried, strength in enumerate(STRENGTHS if validation else (1.0,), 1):
        model = LogisticRegression(C=strength, max_iter=300, tol=1e-3)
        with _quiet():
            model.fit((x - mean) / scale, y)
        probe = _probe_of(model, mean, scale, labels, strength)
        if validation is None:
            loss = 0.0
        else:
            p = probe.probabilities(validation[0])
            loss = float(-np.log(np.maximum(p[np.arange(len(p)), validation[1]], 1e-300)).mean())
        if best is None or loss < best[0]:
            best = (loss, probe)
        yield tried
    assert best is not None
    yield best[1]


def _quiet() -> Any:
    """Reaching max_iter is fine here: validation decides, not convergence."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    context = warnings.catch_warnings()
    warnings.simplefilter("ignore", ConvergenceWarning)
    return context


def _probe_of(
    model: Any, mean: Features, scale: Features, labels: tuple[str, ...], strength: float
) -> Probe:
    """The regression over raw features; labels that train lacks never get any probability."""
    weights = np.zeros((len(mean), len(labels)))
    bias = np.full(len(labels), -1e9)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes
        coefficients = np.vstack([-coefficients[0] / 2, coefficients[0] / 2])
        intercepts = np.array([-intercepts[0] / 2, intercepts[0] / 2])
    for row, label in enumerate(model.classes_):
        weights[:, label] = coefficients[row] / scale
        bias[label] = intercepts[row] - (coefficients[row] / scale) @ mean
    return Probe(weights, bias, labels, strength)
