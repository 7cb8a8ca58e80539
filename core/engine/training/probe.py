"""The honest base of a classifier: a linear probe on the frozen base model (C6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from ..models.devices import Readings, autocast
from ..models.kernels import padding_known
from ..models.models import Loaded, at_precision, unwrapped, without_cache
from ..models.scales import Scale, output_layers
from ..scoring.classification import labelled
from ..scoring.evaluate import fitting
from ..scoring.multi_label import label_sets
from ..scoring.regression import numbers
from ..scoring.rows import TokenRows
from .batches import collate, evaluation_batches

STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # inverse regularisation, tried on validation
ITERATIONS, GRADIENT = 300, 1e-3  # where the search for the weights of one of them ends
UNSEEN, FAR = -1e8, 20.0  # the bias of a label without rows, and where a head has it
MOST_ROWS = 4_096  # of train: more cost a forward pass each and hardly move a linear baseline
Features = NDArray[np.float32]
FloatArray = NDArray[np.float64]


@dataclass
class Probe:
    """Multinomial logistic regression on standardised features: mean of the last hidden states.

    Where rows have several labels ("sets"), a logistic regression per label; of numbers a ridge
    regression per target, in the data's units.
    """

    weights: NDArray[np.float64]  # [features, labels]
    bias: NDArray[np.float64]  # [labels]
    labels: tuple[str, ...]
    strength: float
    precision: str = "float32"  # of the features that it was fitted on
    of: Literal["label", "sets", "numbers"] = "label"

    def logits(self, features: Features) -> FloatArray:
        """[rows, labels], before softmax, or before each label's sigmoid."""
        return np.asarray(features @ self.weights + self.bias)

    def probabilities(self, features: Features) -> NDArray[np.float64]:
        logits = self.logits(features)
        if self.of == "sets":
            return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))
        logits -= logits.max(1, keepdims=True)
        odds = np.exp(logits)
        return odds / odds.sum(1, keepdims=True)

    def score(self, features: Features, rows: TokenRows) -> pl.DataFrame:
        """The same frame as a model's scores are."""
        if self.of == "numbers":
            return numbers(rows, self.logits(features))
        if self.of == "sets":
            return label_sets(rows, self.labels, self.logits(features))
        tiny = np.finfo(np.float64).tiny
        return labelled(rows, self.labels, np.log(np.maximum(self.probabilities(features), tiny)))

    def save(self, path: Path) -> None:
        tensors = {"weights": self.weights, "bias": self.bias}
        settings = {"strength": str(self.strength), "precision": self.precision}
        settings["of"] = self.of
        save_file(tensors, path, metadata=settings)


def load_probe(path: Path, labels: tuple[str, ...]) -> Probe:
    """A probe that `save` wrote; `labels` are those of its columns, in their order."""
    with safe_open(path, "numpy") as file:
        settings = file.metadata() or {}
        weights, bias = file.get_tensor("weights"), file.get_tensor("bias")
    strength = float(settings.get("strength", "nan"))
    precision = settings.get("precision", "float32")
    of = "sets" if "sets" in settings else settings.get("of", "label")
    return Probe(weights, bias, labels, strength, precision, of)  # type: ignore[arg-type]


def sample(labels: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Places of at most so many rows drawn by seed, and of one of each label that has none."""
    if len(labels) <= most:
        return np.arange(len(labels))
    drawn = np.random.default_rng(seed).permutation(len(labels))
    _, firsts = np.unique(labels[drawn], return_index=True)
    return np.union1d(drawn[:most], drawn[firsts])


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
    loaded = at_precision(loaded, precision)
    with loaded.active(), autocast(loaded.device, precision):
        backbone = _backbone(loaded)
        uncached = without_cache(backbone)
        done = 0
        for part in evaluation_batches(rows.lengths, fitting(budget, loaded)):
            pad = loaded.tokenizer.pad_token_id
            batch = collate(rows.ids, part, pad, loaded.device, segments=rows.segments)
            with padding_known(batch.padded):
                out = backbone(**batch.inputs, **uncached)
            states = out[0].float()
            weight = batch.mask[:, :, None].float()
            readings.add(part, (states * weight).sum(1) / weight.sum(1))
            done += len(part)
            yield done
        readings.read()
    yield found


@torch.inference_mode()
def inputs_of_head(
    loaded: Loaded, rows: TokenRows, precision: str, budget: int
) -> Iterator[int | Features]:
    """What the last linear layer reads of each row; yields rows done, at last [rows, width].

    Of a layer that is put on every token's state, that of the last token.
    """
    parts: list[tuple[NDArray[np.int64], Features]] = []
    seen: list[torch.Tensor] = []
    layer = output_layers(loaded)[-1]
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        with loaded.active() as model, autocast(loaded.device, precision):
            uncached = without_cache(model)
            done = 0
            for part in evaluation_batches(rows.lengths, fitting(budget, loaded)):
                pad = loaded.tokenizer.pad_token_id
                batch = collate(rows.ids, part, pad, loaded.device, segments=rows.segments)
                with padding_known(batch.padded):
                    model(**batch.inputs, **uncached)
                read = seen.pop()
                if read.ndim == 3:
                    read = read[torch.arange(len(part)), batch.mask.sum(-1) - 1]
                parts.append((part, read.float().cpu().numpy()))
                done += len(part)
                yield done
    finally:
        hook.remove()
    order = np.argsort(np.concatenate([part for part, _ in parts]))
    yield np.concatenate([read for _, read in parts])[order]


@torch.no_grad()
def put_on_head(probe: Probe, loaded: Loaded, read: Features) -> None:
    """Give the last linear layer the probe's weights. `read`: what it was fitted on; where there is
    no bias, the probe's goes into the direction in which these are nearest to 1.
    """
    layer, weights, bias = output_layers(loaded)[-1], probe.weights.T, probe.bias
    scale = Scale.of(loaded)
    if scale is not None and not scale.folded:  # of numbers, in the units that training has
        unit = np.array(scale.unit)
        weights, bias = weights / unit[:, None], (bias - np.array(scale.mean)) / unit
    known = bias > UNSEEN  # a label without rows: from so far below training can still come back
    bias = np.where(known, bias, bias[known].min() - FAR)
    if layer.bias is None:
        wide = read.astype(np.float64)
        ones = np.linalg.lstsq(wide, np.ones(len(wide)), rcond=1e-4)[0]
        weights = weights + np.outer(bias - bias.mean() * (scale is None), ones)
    layer.weight.copy_(torch.from_numpy(weights))
    if layer.bias is not None:
        layer.bias.copy_(torch.from_numpy(bias))


def _backbone(loaded: Loaded) -> Any:
    model = unwrapped(loaded.model)
    return getattr(model, model.base_model_prefix)


def fit_probe(
    train: tuple[Features, NDArray[np.int64]],
    validation: tuple[Features, NDArray[np.int64]] | None,
    labels: tuple[str, ...],
    precision: str = "float32",
) -> Iterator[int | Probe]:
    """Choose the regularisation by validation loss; yields strengths tried, at last the probe.

    The best one is not fitted again on train and validation together: the tuned model did not learn
    from validation either. `precision`: that of the features.
    """
    x, y = train
    mean, scale = x.mean(0), x.std(0) + 1e-6
    standard = (x - mean) / scale
    seen, codes = np.unique(y, return_inverse=True)
    found: FloatArray | None = None
    best: tuple[float, Probe] | None = None
    for tried, strength in enumerate(STRENGTHS if validation else (1.0,), 1):
        found = _regression(standard, codes, len(seen), strength, found)
        probe = _probe_of(found, seen, mean, scale, labels, strength, precision)
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


def fit_label_probes(
    train: tuple[Features, NDArray[np.floating[Any]]],
    validation: tuple[Features, NDArray[np.floating[Any]]] | None,
    labels: tuple[str, ...],
    precision: str = "float32",
) -> Iterator[int | Probe]:
    """The same where rows have several labels: targets are 0 or 1, [rows, labels].

    One strength for all labels; a label that every row of train has, or none, keeps its share.
    """
    x, y = train
    mean, scale = x.mean(0), x.std(0) + 1e-6
    standard = (x - mean) / scale
    starts: list[FloatArray | None] = [None] * y.shape[1]
    best: tuple[float, Probe] | None = None
    for tried, strength in enumerate(STRENGTHS if validation else (1.0,), 1):
        weights, bias = np.zeros((len(mean), y.shape[1])), np.zeros(y.shape[1])
        for label in range(y.shape[1]):
            codes = (y[:, label] > 0).astype(np.int64)
            if codes.min() == codes.max():  # one answer alone: as likely as so many rows say
                positives = codes.sum() + 0.5
                bias[label] = np.log(positives / (len(codes) + 1 - positives))
                continue
            found = _regression(standard, codes, 2, strength, starts[label])
            starts[label] = found
            weights[:, label] = found[:-1, 0] / scale
            bias[label] = found[-1, 0] - mean @ weights[:, label]
        probe = Probe(weights, bias, labels, strength, precision, "sets")
        loss = 0.0
        if validation is not None:
            logits = probe.logits(validation[0])
            loss = float(np.logaddexp(0.0, np.where(validation[1] > 0, -logits, logits)).mean())
        if best is None or loss < best[0]:
            best = (loss, probe)
        yield tried
    assert best is not None
    yield best[1]


def fit_number_probe(
    train: tuple[Features, NDArray[np.floating[Any]]],
    validation: tuple[Features, NDArray[np.floating[Any]]] | None,
    labels: tuple[str, ...],
    precision: str = "float32",
) -> Iterator[int | Probe]:
    """The same of numbers, [rows, targets]: ridge regressions, whose penalty is on the weights of
    standardised features alone."""
    x, y = train[0].astype(np.float64), train[1].astype(np.float64)
    mean, scale, middle = x.mean(0), x.std(0) + 1e-6, y.mean(0)
    standard = (x - mean) / scale
    gram, aim = standard.T @ standard, standard.T @ (y - middle)
    unit = y.std(0) + 1e-300  # targets of any size count alike
    best: tuple[float, Probe] | None = None
    for tried, strength in enumerate(STRENGTHS if validation else (1.0,), 1):
        penalty = np.eye(len(mean)) / strength
        weights = np.linalg.solve(gram + penalty, aim) / scale[:, None]
        probe = Probe(weights, middle - mean @ weights, labels, strength, precision, "numbers")
        loss = 0.0
        if validation is not None:
            wrong = (probe.logits(validation[0]) - validation[1]) / unit
            loss = float((wrong**2).mean())
        if best is None or loss < best[0]:
            best = (loss, probe)
        yield tried
    assert best is not None
    yield best[1]


def _regression(
    x: Features, y: NDArray[np.int64], classes: int, strength: float, start: FloatArray | None
) -> FloatArray:
    """Weights of a logistic regression, the intercepts last: [features + 1, outputs].

    What scikit-learn's LogisticRegression minimises, whose import takes seconds of processor time:
    the mean NLL and the squared weights over 2 x strength x rows. Two classes have one output, the
    second's odds. `start`: the weights of another strength. Reaching the last iteration is fine:
    validation decides, not convergence.
    """
    from scipy.optimize import minimize

    outputs = 1 if classes == 2 else classes
    shape, penalty = (x.shape[1] + 1, outputs), 1 / (strength * len(y))

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        weights = flat.reshape(shape)
        scores = (x @ weights[:-1].astype(x.dtype)).astype(np.float64) + weights[-1]
        if outputs == 1:
            scores = np.hstack([-scores / 2, scores / 2])
        scores -= scores.max(1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(1, keepdims=True))
        value = -scores[np.arange(len(y)), y].mean() + penalty / 2 * (weights[:-1] ** 2).sum()
        wrong = np.exp(scores)
        wrong[np.arange(len(y)), y] -= 1
        wrong = wrong[:, -outputs:] / len(y)
        gradient = np.vstack([x.T @ wrong.astype(x.dtype), wrong.sum(0)])
        gradient[:-1] += penalty * weights[:-1]
        return float(value), gradient.ravel()

    first = np.zeros(shape) if start is None else start
    options = {"maxiter": ITERATIONS, "gtol": GRADIENT}
    found = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x).reshape(shape)


def _probe_of(
    found: FloatArray,
    seen: NDArray[np.int64],
    mean: Features,
    scale: Features,
    labels: tuple[str, ...],
    strength: float,
    precision: str,
) -> Probe:
    """The regression over raw features; labels that train lacks never get any probability."""
    weights = np.zeros((len(mean), len(labels)))
    bias = np.full(len(labels), -1e9)
    both = np.hstack([-found / 2, found / 2]) if found.shape[1] == 1 and len(seen) == 2 else found
    weights[:, seen] = both[:-1] / scale[:, None]
    bias[seen] = both[-1] - mean @ weights[:, seen]
    return Probe(weights, bias, labels, strength, precision)
