"""Runs with a planted truth: data files, stored predictions of models whose skill is known, and
the facts that a worker would have written. What ftev then finds and decides can be held to it.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from ftev.core.analysis import Evaluation, at_operating_point, measure
from ftev.core.config.config import (
    DataConfig,
    EvaluateConfig,
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
)
from ftev.core.data.data import Dataset, read_run_data
from ftev.core.data.drawn import draws_as_events
from ftev.core.data.leakage import Leakage, find_leakage
from ftev.core.data.splits import rows_together
from ftev.core.judgement.findings import Finding, find
from ftev.core.judgement.verdict import Verdict, judge
from ftev.core.metrics.counts import default_positive
from ftev.core.metrics.evaluate import majority_frame
from ftev.core.run.events import (
    AnyEvent,
    EpochDone,
    Evaluated,
    LabelsFixed,
    ModelLoaded,
    RunFinished,
    RunStarted,
    SplitPrepared,
    StepDone,
    TrainingEnded,
    TrainingPlanned,
)
from ftev.core.run.history import History, fold
from numpy.typing import NDArray
from scipy.special import expit, softmax

Array = NDArray[Any]
Frames = dict[str, pl.DataFrame]
SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "ai", "or", "en")]


def words(rng: np.random.Generator, count: int = 600) -> list[str]:
    """Made words of two or three syllables, each different."""
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(rng.choice(SYLLABLES, rng.integers(2, 4)))] = None
    return list(found)


def texts(
    rng: np.random.Generator, n: int, vocabulary: Sequence[str], length: tuple[int, int] = (6, 18)
) -> list[str]:
    """Different texts of made words; no two are nearly alike."""
    sizes = rng.integers(*length, n)
    return [" ".join(rng.choice(vocabulary, size)) for size in sizes]


@dataclass
class Rows:
    """A split as it will be written: columns of a csv file."""

    text: list[str]
    label: list[str]
    more: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.text)

    def take(self, places: Sequence[int] | Array) -> Rows:
        def of(values: list[str]) -> list[str]:
            return [values[int(i)] for i in places]

        return Rows(of(self.text), of(self.label), {k: of(v) for k, v in self.more.items()})

    def join(self, other: Rows) -> Rows:
        more = {k: v + other.more[k] for k, v in self.more.items()}
        return Rows(self.text + other.text, self.label + other.label, more)

    def write(self, path: Path) -> None:
        columns = {"text": self.text, "label": self.label, **self.more}
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))


@dataclass
class World:
    """Texts and labels drawn from one place: splits are alike unless a case changes them."""

    rng: np.random.Generator
    labels: tuple[str, ...] = ("no", "yes")
    prior: tuple[float, ...] = (0.5, 0.5)
    vocabulary: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.vocabulary = self.vocabulary or words(self.rng)

    def rows(self, n: int, **how: Any) -> Rows:
        codes = self.rng.choice(len(self.labels), n, p=self.prior)
        codes[: len(self.labels)] = np.arange(len(self.labels))[:n]  # each label occurs
        self.rng.shuffle(codes)
        return Rows(
            texts(self.rng, n, self.vocabulary, **how), [self.labels[code] for code in codes]
        )


def scored(
    rng: np.random.Generator,
    truth: Sequence[str],
    labels: Sequence[str],
    skill: float,
    shared: Array,
    prior: Sequence[float] | None = None,
) -> pl.DataFrame:
    """Predictions of a calibrated model whose scores move by `skill` with the truth.

    `shared` [n, C] is what makes a row hard for every model: two models agree on more rows than
    chance would have it.
    """
    codes = np.array([labels.index(t) for t in truth])
    own = rng.normal(size=(len(codes), len(labels)))
    scores = 0.8 * shared + 0.6 * own
    scores[np.arange(len(codes)), codes] += skill
    logits = skill * scores + np.log(
        prior if prior is not None else [1 / len(labels)] * len(labels)
    )
    if not skill:  # nothing known: the answer does not depend on the row, but for a little noise
        logits = logits + 0.01 * own
    return frame_of(truth, labels, softmax(logits, axis=1))


def frame_of(truth: Sequence[str], labels: Sequence[str], probabilities: Array) -> pl.DataFrame:
    """As the worker stores them; rows without a finite score have no prediction."""
    codes = np.array([labels.index(t) for t in truth])
    finite = np.isfinite(probabilities).all(axis=1)
    predicted = [
        labels[code] if ok else None
        for code, ok in zip(np.nan_to_num(probabilities).argmax(axis=1), finite, strict=True)
    ]
    with np.errstate(divide="ignore"):
        nll = -np.log(probabilities[np.arange(len(codes)), codes])
    return pl.DataFrame(
        {
            "row_id": np.arange(len(codes)),
            "label": list(truth),
            "predicted": pl.Series(predicted, dtype=pl.String),
            "probabilities": probabilities.tolist(),
            "nll": nll,
        }
    )


@dataclass
class Made:
    """A run as it is judged."""

    history: History
    config: RunConfig

    @property
    def findings(self) -> list[Finding]:
        return find(self.history, self.config)

    @property
    def verdict(self) -> Verdict:
        return judge(self.history, self.config)


Predict = Callable[[str, pl.DataFrame], Frames]  # split and its rows -> probe and tuned


def classified(
    folder: Path,
    splits: Mapping[str, Rows],
    predict: Predict,
    objective: ObjectiveConfig | None = None,
    course: Sequence[AnyEvent] | None = None,
    **more: Any,
) -> Made:
    """A finished classification run over these files. Raises what reading them raises."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        rows.write(folder / f"{name}.csv")
    config = RunConfig(
        task="classification",
        name="planted",
        model=ModelConfig(base="planted"),
        data=DataConfig(
            **{
                "validation": 0,
                **{n: f"{n}.csv" for n in splits},
                "text": "text",
                "label": "label",
            },
            **more.pop("data", {}),
        ),
        objective=objective or ObjectiveConfig(),
        evaluate=EvaluateConfig(**more.pop("evaluate", {})),
        folder=str(folder),
        **more,
    )
    dataset = read_run_data(config)
    return Made(fold(list(_classified(config, dataset, predict, course))), config)


def _classified(
    config: RunConfig, dataset: Dataset, predict: Predict, course: Sequence[AnyEvent] | None
) -> Iterator[AnyEvent]:
    train = dataset.splits["train"]
    positive = config.objective.positive or default_positive(dataset.labels, train.label_counts())
    yield _started(config)
    yield dataset.columns_found()
    yield LabelsFixed(labels=list(dataset.labels), positive=positive)
    yield _model(new_head=True)
    yield from prepared(dataset)
    leakage = find_leakage(dataset.splits, near=config.data.near_duplicates)
    yield leakage.as_event()
    yield from draws_as_events(dataset)
    yield from course if course is not None else healthy()
    validation: Frames = {}
    for split in ("validation", "test"):
        if split not in dataset.splits:
            continue
        source = dataset.splits[split].frame
        frames = predict(split, source)
        frames = {
            "majority": majority_frame(frames["tuned"], dataset.labels, train.label_counts())
        } | frames
        if (together := rows_together(source, same_input=False)) is not None:
            frames = {
                m: f if "cluster" in f.columns else f.join(together, on="row_id", how="left")
                for m, f in frames.items()
            }
        if split == "validation":
            validation = frames
        task = (dataset.labels, positive, config.objective)
        frames = at_operating_point(frames, validation, *task)
        e = Evaluation(
            split=split,
            frames=frames,
            source=source,
            config=config,
            labels=dataset.labels,
            positive=positive,
            validation=validation,
        )
        yield from measure(e, leakage.leaked_rows(split))
    yield RunFinished(status="finished")


def _started(config: RunConfig) -> RunStarted:
    return RunStarted(
        run="planted", name="planted", task=config.task, pid=1, host="here", ftev_version="0"
    )


def _model(**more: Any) -> ModelLoaded:
    return ModelLoaded(
        name="planted",
        architecture="Planted",
        parameters=1_000,
        trainable=1_000,
        layers=2,
        vocab_size=512,
        max_length=128,
        **more,
    )


def prepared(dataset: Dataset) -> Iterator[SplitPrepared]:
    for name, split in dataset.splits.items():
        yield SplitPrepared(split=name, rows=split.frame.height, **dataset.facts(name))


# Training


def course(
    train: Sequence[float],
    validation: Sequence[float],
    *,
    rows: int = 400,
    spread: float = 0.4,
    kept: int | None = None,
    noise: float = 0.05,
    seed: int = 0,
    reason: str = "completed",
    correct: Sequence[float] = (),
) -> list[AnyEvent]:
    """Steps and evaluations of a training: `train` the mean loss of each epoch, `validation` the
    loss at step 0 and after each epoch, `spread` how far a row's losses move between two of them.
    """
    rng = np.random.default_rng(seed)
    steps, epochs = 20, len(train)
    out: list[AnyEvent] = [
        TrainingPlanned(
            max_steps=steps * epochs,
            steps_per_epoch=steps,
            epochs=float(epochs),
            warmup_steps=2,
            rows_per_step=32.0,
            padding=1.1,
        ),
        _evaluated(0, validation, rows, spread, correct),
    ]
    before = validation[0]
    for epoch, mean in enumerate(train, start=1):
        start = before if epoch == 1 else train[epoch - 2]
        for i in range(steps):
            loss = start + (mean - start) * min(1.0, (i + 1) / 10) + noise * mean * rng.normal()
            step = (epoch - 1) * steps + i + 1
            out.append(_step(step, step / steps, loss))
        out.append(_evaluated(epoch, validation, rows, spread, correct))
        out.append(EpochDone(epoch=epoch, step=epoch * steps, seconds=1.0))
    best = int(np.nanargmin(validation)) if kept is None else kept
    out.append(TrainingEnded(reason=reason, step=steps * epochs, best_step=best * steps))
    return out


def _step(step: int, epoch: float, loss: float) -> StepDone:
    return StepDone(
        step=step,
        epoch=epoch,
        loss_sum=loss * 32,
        loss_count=32,
        learning_rate=5e-5,
        grad_norm=1.0,
        tokens=640,
        seconds=0.1,
    )


def _evaluated(
    epoch: int, losses: Sequence[float], rows: int, spread: float, correct: Sequence[float]
) -> Evaluated:
    error = spread / math.sqrt(rows)
    share = correct[epoch] if correct else expit(2 * (1 - losses[epoch]))
    return Evaluated(
        split="validation",
        model="tuned",
        step=20 * epoch,
        epoch=float(epoch),
        rows=rows,
        loss_sum=losses[epoch] * rows,
        loss_count=rows,
        correct=round(float(np.nan_to_num(share)) * rows),
        count=rows,
        changes=[(20 * e, losses[epoch] - losses[e], error) for e in range(epoch)],
    )


def healthy() -> list[AnyEvent]:
    return course([0.55, 0.40, 0.36], [0.69, 0.52, 0.46, 0.44])


# Generation


def text_frame(
    rng: np.random.Generator,
    shared: Array,
    tokens: Array,
    nats: float,
    *,
    spread: float = 0.25,
    own: float = 0.1,
) -> pl.DataFrame:
    """Row sums of a language model with a mean loss of about `nats`; `shared` [n] is what makes a
    row hard for every model."""
    means = nats * np.exp(spread * shared + own * rng.normal(size=len(tokens)))
    correct = rng.binomial(tokens, np.exp(-means).clip(0, 1))
    return pl.DataFrame(
        {
            "row_id": np.arange(len(tokens)),
            "nll": tokens * means,
            "tokens": tokens,
            "correct": correct,
            "bytes": tokens * 4,
        }
    )


@dataclass(frozen=True)
class Writer:
    """How a planted language model answers."""

    right: float = 0.6  # share of the reference's words that it gets right
    ends: float = 1.0  # share of its answers that stop by themselves
    loops: float = 0.0  # share of them that say one thing again and again
    end_nats: float = 0.1  # negative log-likelihood of the end token


def answers(
    rng: np.random.Generator,
    frame: pl.DataFrame,
    prompts: Sequence[str],
    references: Sequence[str],
    vocabulary: Sequence[str],
    writer: Writer,
    limit: int,
) -> pl.DataFrame:
    """The frame with a model's answers, as the worker stores them; a token is a word here."""
    completions, ended = [], []
    for reference in references:
        said = [
            word if rng.random() < writer.right else str(rng.choice(vocabulary))
            for word in reference.split()
        ]
        stops = bool(rng.random() < writer.ends)
        if rng.random() < writer.loops:
            said, stops = ["on and on and"] * (limit // 4), False
        elif not stops:
            said = (said + list(rng.choice(vocabulary, limit)))[:limit]
        completions.append(" ".join(said))
        ended.append(stops)
    lengths = [len(c.split()) for c in completions]
    return frame.with_columns(
        prompt=pl.Series(list(prompts)),
        reference=pl.Series(list(references)),
        reference_tokens=pl.Series([len(r.split()) for r in references]),
        completion=pl.Series(completions),
        completion_tokens=pl.Series(lengths),
        completion_limit=limit,
        ended_by_eos=pl.Series(ended),
        prompt_cut=pl.lit(False),
        end_nll=writer.end_nats * np.exp(0.3 * rng.normal(size=frame.height)),
    )


def generated(
    folder: Path,
    splits: Mapping[str, Rows],
    predict: Predict,
    objective: ObjectiveConfig | None = None,
    course: Sequence[AnyEvent] | None = None,
    facts: Sequence[AnyEvent] = (),
    **more: Any,
) -> Made:
    """A finished run of a language model; rows have the prompt as text, the completion as label."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        rows.write(folder / f"{name}.csv")
    config = RunConfig(
        task="generation",
        name="planted",
        model=ModelConfig(base="planted"),
        data=DataConfig(
            **{"validation": 0, **{n: f"{n}.csv" for n in splits}},
            prompt="text",
            completion="label",
        ),
        objective=objective or ObjectiveConfig(),
        folder=str(folder),
        **more,
    )
    dataset = read_run_data(config)
    leakage = find_leakage(dataset.splits)
    events: list[AnyEvent] = [
        _started(config),
        dataset.columns_found(),
        _model(),
        *prepared(dataset),
        leakage.as_event(),
        *draws_as_events(dataset),
        *(course if course is not None else healthy_text()),
        *_generated(config, dataset, predict, leakage),
        *facts,
        RunFinished(status="finished"),
    ]
    return Made(fold(events), config)


def _generated(
    config: RunConfig, dataset: Dataset, predict: Predict, leakage: Leakage
) -> Iterator[AnyEvent]:
    for split in ("validation", "test"):
        if split in dataset.splits:
            source = dataset.splits[split].frame
            e = Evaluation(split=split, frames=predict(split, source), source=source, config=config)
            yield from measure(e, leakage.leaked_rows(split))


def healthy_text() -> list[AnyEvent]:
    return course([3.2, 2.7, 2.5], [4.0, 3.1, 2.8, 2.7])
