"""The verdict bench: runs with a planted truth, and what ftev finds and decides.

    python tests/bench/verdicts.py [--seeds 5] [--only NAME] [--stored]

Each kind is made with every seed from stored predictions of models whose skill is known. The table
says which findings were planted, found and false, and whether the verdict was right. How often
"ship" is said where nothing was gained, no_gain.py counts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import polars as pl
import records
from ftev.core.config.config import CostConfig, GuardrailConfig, ObjectiveConfig, RunConfig
from ftev.core.config.config_file import load_config
from ftev.core.data.demo import write_demo
from ftev.core.errors import FtevError
from ftev.core.run.events import AnalysisComputed, TextScored
from ftev.core.run.history import read_history
from ftev.core.run.launch import start_worker
from ftev.core.run.runs import create_run
from measure import section, table
from planted import (
    Array,
    Frames,
    Made,
    Rows,
    World,
    Writer,
    answers,
    classified,
    course,
    frame_of,
    generated,
    scored,
    text_frame,
    texts,
)

SHIP, HOLD, NONE = "ship", "hold", "no evidence"
NOT_SHIP = (HOLD, NONE)


@dataclass(frozen=True)
class Kind:
    """A planted truth: `must` be found, `may` be found, and the verdicts that are right."""

    name: str
    make: Callable[[np.random.Generator, Path], Made]
    verdicts: tuple[str, ...]
    must: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()


KINDS: dict[str, Kind] = {}
ALWAYS = {"test_too_small"}  # that so many rows could not have shown more is true of every tie


def kind(
    name: str, verdicts: str | tuple[str, ...], must: str = "", may: str = ""
) -> Callable[[Callable[..., Made]], Callable[..., Made]]:
    def register(make: Callable[..., Made]) -> Callable[..., Made]:
        right = (verdicts,) if isinstance(verdicts, str) else verdicts
        KINDS[name] = Kind(name, make, right, frozenset(must.split()), frozenset(may.split()))
        return make

    return register


# Models that are equally good, or just as far apart as the objective asks: of so many draws of test
# rows one in forty shows a gain. In all other kinds the planted truth is decisive.
EQUALLY_GOOD = (
    "no gain",
    "shuffled",
    "at the margin",
    "worse by as much",
    "tuned model near chance",
)


# Classifiers


@dataclass
class Setting:
    """What a classifier's case may change."""

    rows: tuple[int, int, int] = (600, 300, 500)
    labels: tuple[str, ...] = ("no", "yes")
    prior: tuple[float, ...] = (0.5, 0.5)
    probe: float = 0.5
    tuned: float = 1.3
    objective: ObjectiveConfig | None = None
    course: Any = None
    spoil: Callable[[np.random.Generator, World, dict[str, Rows]], None] | None = None
    predict: Callable[..., Frames] | None = None
    more: dict[str, Any] = field(default_factory=dict)


def run(rng: np.random.Generator, folder: Path, s: Setting) -> Made:
    world = World(rng, s.labels, s.prior)
    names = ("train", "validation", "test")
    splits = {n: world.rows(k) for n, k in zip(names, s.rows, strict=True) if k}
    truths = {n: dict(zip(r.text, r.label, strict=True)) for n, r in splits.items()}
    if s.spoil:
        s.spoil(rng, world, splits)

    def predict(split: str, source: pl.DataFrame) -> Frames:
        """By the true labels, whatever a case has written into the files instead of them."""
        given = source["label"].to_list()
        truth = [truths[split].get(t, g) for t, g in zip(source["text"], given, strict=True)]
        truth = [t if t in s.labels else g for t, g in zip(truth, given, strict=True)]
        hard = rng.normal(size=(len(truth), len(s.labels)))
        skills = {"probe": s.probe, "tuned": s.tuned}
        frames = {m: scored(rng, truth, s.labels, k, hard, s.prior) for m, k in skills.items()}
        frames = {
            m: f.with_columns(row_id=source["row_id"], label=pl.Series(given))
            for m, f in frames.items()
        }
        return s.predict(rng, split, source, frames) if s.predict else frames

    return classified(folder, splits, predict, s.objective, s.course, **s.more)


@kind("no gain: labels shuffled", NOT_SHIP, may="loss_never_fell underfitting label_errors")
def no_gain_shuffled(rng: np.random.Generator, folder: Path) -> Made:
    flat = course([0.693] * 3, [0.695, 0.694, 0.693, 0.694])
    return run(rng, folder, Setting(probe=0, tuned=0, course=flat))


@kind("no gain: tuned as good as the probe", NOT_SHIP)
def no_gain(rng: np.random.Generator, folder: Path) -> Made:
    return run(rng, folder, Setting(probe=1, tuned=1))


@kind("random labels, 20 rows", NOT_SHIP, must="test_too_small", may="loss_never_fell underfitting")
def random_few(rng: np.random.Generator, folder: Path) -> Made:
    flat = course([0.693] * 3, [0.695, 0.694, 0.693, 0.694], rows=20)
    return run(rng, folder, Setting(rows=(200, 20, 20), probe=0, tuned=0, course=flat))


@kind("two identical models", NONE)
def identical(rng: np.random.Generator, folder: Path) -> Made:
    def same(rng: Any, split: str, source: Any, frames: Frames) -> Frames:
        return {"probe": frames["tuned"], "tuned": frames["tuned"]}

    return run(rng, folder, Setting(predict=same))


@kind("real gain, large", SHIP)
def gain_large(rng: np.random.Generator, folder: Path) -> Made:
    return run(rng, folder, Setting())


@kind("real gain, small, many rows", SHIP)
def gain_small(rng: np.random.Generator, folder: Path) -> Made:
    return run(rng, folder, Setting(rows=(600, 300, 6000), probe=1.0, tuned=1.2))


@kind("real gain, small, few rows", (SHIP, NONE), may="test_too_small")
def gain_small_few(rng: np.random.Generator, folder: Path) -> Made:
    return run(rng, folder, Setting(rows=(600, 300, 300), probe=1.0, tuned=1.15))


@kind("real gain on 20 labels", SHIP, may="small_classes")
def gain_many(rng: np.random.Generator, folder: Path) -> Made:
    labels = tuple(f"intent {i:02}" for i in range(20))
    prior = (0.05,) * 20
    return run(rng, folder, Setting((1200, 600, 1000), labels, prior, probe=1.0, tuned=2.2))


@kind("gain exactly at the margin", NOT_SHIP, may="poorly_calibrated label_errors")
def at_margin(rng: np.random.Generator, folder: Path) -> Made:
    """The tuned model fixes five rows in a hundred and breaks none: not more than the margin."""

    def fixes(rng: np.random.Generator, split: str, source: Any, frames: Frames) -> Frames:
        n = source.height
        wrong = np.arange(n) < round(0.2 * n)
        still = np.arange(n) < round(0.15 * n)
        return {m: answered_wrongly(source, w) for m, w in (("probe", wrong), ("tuned", still))}

    aim = ObjectiveConfig(metric="accuracy", better_by=0.05)
    return run(rng, folder, Setting(objective=aim, predict=fixes))


def answered_wrongly(source: pl.DataFrame, wrong: Array) -> pl.DataFrame:
    """Sure answers, wrong on these rows."""
    truth = source["label"].to_list()
    codes = np.array([("no", "yes").index(t) for t in truth])
    p = np.full((len(codes), 2), 0.1)
    p[np.arange(len(codes)), np.where(wrong, 1 - codes, codes)] = 0.9
    return frame_of(truth, ("no", "yes"), p).with_columns(row_id=source["row_id"])


def all_fixed(rng: Any, split: str, source: pl.DataFrame, frames: Frames) -> Frames:
    """The probe is always wrong, the tuned model always right."""
    n = source.height
    wrong = {"probe": np.ones(n, bool), "tuned": np.zeros(n, bool)}
    return {m: answered_wrongly(source, w) for m, w in wrong.items()}


def few_rows(n: int) -> Callable[[np.random.Generator, Path], Made]:
    def make(rng: np.random.Generator, folder: Path) -> Made:
        aim = ObjectiveConfig(metric="accuracy")
        return run(rng, folder, Setting((400, 100, n), objective=aim, predict=all_fixed))

    return make


FEW = "small_classes labels_swapped poorly_calibrated wrong_metric probe_beats_tuned"
kind("4 test rows, every flip in favour", NONE, "test_too_small", FEW)(few_rows(4))
kind("5 test rows, every flip in favour", NONE, "test_too_small", FEW)(few_rows(5))
kind("6 test rows, every flip in favour", (NONE, SHIP), "test_too_small", FEW)(few_rows(6))
kind("20 test rows, every flip in favour", SHIP, "test_too_small", FEW)(few_rows(20))


@kind(
    "99 to 1, always the majority",
    NOT_SHIP,
    must="class_imbalance labels_never_predicted",
    may="accuracy_paradox small_classes wrong_metric probe_beats_tuned underfitting",
)
def ninety_nine(rng: np.random.Generator, folder: Path) -> Made:
    def constant(rng: Any, split: str, source: Any, frames: Frames) -> Frames:
        p = np.tile([0.99, 0.01], (source.height, 1))
        tuned = frame_of(source["label"].to_list(), ("no", "yes"), p)
        return frames | {"tuned": tuned.with_columns(row_id=source["row_id"])}

    return run(
        rng,
        folder,
        Setting(prior=(0.99, 0.01), rows=(1000, 400, 1000), predict=constant, probe=0.3),
    )


@kind(
    "98 % accuracy, 12 % recall of fraud",
    HOLD,
    must="accuracy_paradox class_imbalance",
    may="poorly_calibrated small_classes wrong_metric label_errors probe_beats_tuned "
    "target_already_met underfitting",
)
def fraud(rng: np.random.Generator, folder: Path) -> Made:
    def finds_few(rng: np.random.Generator, split: str, source: Any, frames: Frames) -> Frames:
        truth = source["label"].to_list()
        found = rng.random(len(truth)) < np.where(np.array(truth) == "yes", 0.12, 0.001)
        p = np.where(found, 0.8, 0.02)
        tuned = frame_of(truth, ("no", "yes"), np.stack([1 - p, p], axis=1))
        return frames | {"tuned": tuned.with_columns(row_id=source["row_id"])}

    return run(
        rng,
        folder,
        Setting(
            prior=(0.98, 0.02),
            rows=(2000, 800, 3000),
            probe=0.2,
            objective=ObjectiveConfig(metric="accuracy", positive="yes", at_least=0.9),
            predict=finds_few,
        ),
    )


@kind(
    "constant answer, even labels",
    NOT_SHIP,
    must="labels_never_predicted",
    may="probe_beats_tuned underfitting",
)
def constant(rng: np.random.Generator, folder: Path) -> Made:
    def always(rng: Any, split: str, source: Any, frames: Frames) -> Frames:
        p = np.tile([0.51, 0.49], (source.height, 1))
        tuned = frame_of(source["label"].to_list(), ("no", "yes"), p)
        return frames | {"tuned": tuned.with_columns(row_id=source["row_id"])}

    return run(rng, folder, Setting(predict=always, probe=0.3))


@kind(
    "a probe that beats the tuned model",
    HOLD,
    must="probe_beats_tuned",
)
def probe_wins(rng: np.random.Generator, folder: Path) -> Made:
    return run(rng, folder, Setting(probe=1.5, tuned=0.8))


@kind(
    "a reference worse than chance",
    NOT_SHIP,
    may="labels_swapped underfitting poorly_calibrated",
)
def worse_reference(rng: np.random.Generator, folder: Path) -> Made:
    def inverted(rng: np.random.Generator, split: str, source: Any, frames: Frames) -> Frames:
        wrong = rng.random(source.height)
        return {
            "probe": answered_wrongly(source, wrong < 0.9),
            "tuned": answered_wrongly(source, wrong < 0.52),
        }

    return run(rng, folder, Setting(predict=inverted))


@kind("base better than tuned", HOLD)
def base_better(rng: np.random.Generator, folder: Path) -> Made:
    def with_base(rng: np.random.Generator, split: str, source: Any, frames: Frames) -> Frames:
        return {"base": frames["probe"], "tuned": frames["tuned"]}

    return run(rng, folder, Setting(probe=1.6, tuned=1.0, predict=with_base))


# References that prove nothing, and tests that cannot


def unscored(model: str, split: str, rows: slice) -> Callable[..., Frames]:
    """Of a model, these rows of a split have no finite score."""

    def broken(rng: Any, scored_split: str, source: Any, frames: Frames) -> Frames:
        if scored_split != split:
            return frames
        p = np.array(frames[model]["probabilities"].to_list())
        p[rows] = np.nan
        frame = frame_of(source["label"].to_list(), ("no", "yes"), p)
        return frames | {model: frame.with_columns(row_id=source["row_id"])}

    return broken


def of_near_chance(tuned: float) -> Callable[[np.random.Generator, Path], Made]:
    """A probe that knows next to nothing: being better than it is not being good."""

    def make(rng: np.random.Generator, folder: Path) -> Made:
        return run(rng, folder, Setting(probe=0.05, tuned=tuned))

    return make


GUESS = "underfitting label_errors"
kind("probe and tuned model near chance", NOT_SHIP, may=GUESS)(of_near_chance(0.05))
kind("probe near chance, tuned model good", SHIP)(of_near_chance(1.3))


@kind("base better than tuned, probe worse", HOLD)
def best_of_three(rng: np.random.Generator, folder: Path) -> Made:
    """Three models: the base answers without training, and better than what was trained."""

    def with_base(rng: np.random.Generator, split: str, source: Any, frames: Frames) -> Frames:
        truth = source["label"].to_list()
        hard = rng.normal(size=(len(truth), 2))
        base = scored(rng, truth, ("no", "yes"), 2.0, hard).with_columns(row_id=source["row_id"])
        return {"base": base, **frames}

    return run(rng, folder, Setting(probe=0.4, tuned=1.0, predict=with_base))


@kind("a broken reference", NOT_SHIP, may="no_prediction")
def broken_reference(rng: np.random.Generator, folder: Path) -> Made:
    """The probe has no prediction for half of the rows, and the tuned model is no better."""

    broken = unscored("probe", "test", slice(None, None, 2))
    return run(rng, folder, Setting(probe=1.0, tuned=1.0, predict=broken))


@kind("a test split of one label", NOT_SHIP, may="drawn_differently small_classes class_imbalance")
def one_label(rng: np.random.Generator, folder: Path) -> Made:
    def spoil(rng: Any, world: World, splits: dict[str, Rows]) -> None:
        rows = splits["test"]
        splits["test"] = rows.take([i for i, x in enumerate(rows.label) if x == "yes"])

    return run(rng, folder, Setting(probe=0.5, tuned=1.5, spoil=spoil))


@kind(
    "a threshold from validation rows without a score",
    NOT_SHIP,
    must="no_prediction",
    may="class_imbalance poorly_calibrated",
)
def unscored_validation(rng: np.random.Generator, folder: Path) -> Made:
    broken = unscored("tuned", "validation", slice(40))
    aim = ObjectiveConfig(positive="yes", recall_at_least=0.8)
    setting = Setting(
        prior=(0.7, 0.3), rows=(800, 600, 2000), objective=aim, probe=0.5, tuned=2.2, predict=broken
    )
    return run(rng, folder, setting)


# Margins


def by_margin(
    n: int, before: float, after: float, **aim: Any
) -> Callable[[np.random.Generator, Path], Made]:
    """Models wrong on just these shares of n test rows, under an objective of their difference."""

    def make(rng: np.random.Generator, folder: Path) -> Made:
        def answer(rng: np.random.Generator, split: str, source: Any, frames: Frames) -> Frames:
            pair = (("probe", before), ("tuned", after))
            places = {m: rng.permutation(source.height) for m, _ in pair}
            return {
                m: answered_wrongly(source, places[m] < round(w * source.height)) for m, w in pair
            }

        objective = ObjectiveConfig(metric="accuracy", **aim)
        return run(rng, folder, Setting((400, 200, n), objective=objective, predict=answer))

    return make


TIED = "poorly_calibrated label_errors test_too_small small_classes"
kind("no worse by 5 points, 3 rows", NONE, may=TIED)(by_margin(3, 0, 0, no_worse_by=0.05))
kind("no worse by 5 points, as good", SHIP, may=TIED)(by_margin(4000, 0.15, 0.15, no_worse_by=0.05))
kind("no worse by 5 points, worse by 2", SHIP, may=f"{TIED} probe_beats_tuned")(
    by_margin(4000, 0.15, 0.17, no_worse_by=0.05)
)
kind("no worse by 2 points, worse by 4", NOT_SHIP, may=f"{TIED} probe_beats_tuned")(
    by_margin(4000, 0.15, 0.19, no_worse_by=0.02)
)
kind("no worse by 2 points, worse by as much", NOT_SHIP, may=f"{TIED} probe_beats_tuned")(
    by_margin(1500, 0.15, 0.17, no_worse_by=0.02)
)
kind("better by 2 points, better by 8", SHIP, may=TIED)(by_margin(4000, 0.2, 0.12, better_by=0.02))


# Leakage


def copies(share: float, near: bool = False) -> Callable[..., None]:
    """A share of the test rows repeat rows of train, to the letter or but for one word."""

    def spoil(rng: np.random.Generator, world: World, splits: dict[str, Rows]) -> None:
        test, train = splits["test"], splits["train"]
        k = round(share * len(test))
        for i in range(k):
            j = i % len(train)
            text = train.text[j]
            if near:
                text = f"{text} {text.split()[0][:2]}"
            test.text[i], test.label[i] = text, train.label[j]

    return spoil


def knows_copies(rng: np.random.Generator, split: str, source: Any, frames: Frames) -> Frames:
    return frames


def leaked(share: float, near: bool) -> Callable[[np.random.Generator, Path], Made]:
    """No better than the probe, but for the rows that it has seen."""

    def make(rng: np.random.Generator, folder: Path) -> Made:
        def remembers(rng: Any, split: str, source: Any, frames: Frames) -> Frames:
            if split != "test":
                return frames
            seen = np.arange(source.height) < round(share * source.height)
            sure = answered_wrongly(source, np.zeros(source.height, bool))
            own = frames["tuned"]
            mixed = [s if known else o for s, o, known in zip(
                sure["probabilities"].to_list(), own["probabilities"].to_list(), seen, strict=True
            )]  # fmt: skip
            tuned = frame_of(source["label"].to_list(), ("no", "yes"), np.array(mixed))
            return frames | {"tuned": tuned.with_columns(row_id=source["row_id"])}

        return run(
            rng,
            folder,
            Setting(
                rows=(600, 300, 500),
                probe=1,
                tuned=1,
                spoil=copies(share, near),
                predict=remembers,
            ),
        )

    return make


LEAK = "overconfident poorly_calibrated repeated_test_rows drawn_differently"
for near in (False, True):
    word = "near" if near else "exact"
    for share in (0.05, 0.3, 1.0):
        kind(f"{word} leakage of {share:.0%}, no gain", NOT_SHIP, "leakage", LEAK)(
            leaked(share, near)
        )


@kind("test is the train file", NOT_SHIP, must="leakage same_rows", may=LEAK)
def same_file(rng: np.random.Generator, folder: Path) -> Made:
    def spoil(rng: Any, world: World, splits: dict[str, Rows]) -> None:
        splits["test"] = splits["train"]

    return run(rng, folder, Setting(tuned=2.5, spoil=spoil))


def groups(share: float) -> Callable[[np.random.Generator, Path], Made]:
    """A share of test rows belong to customers whose rows were trained on."""

    def make(rng: np.random.Generator, folder: Path) -> Made:
        def spoil(rng: np.random.Generator, world: World, splits: dict[str, Rows]) -> None:
            for at, rows in enumerate(splits.values()):
                rows.more["customer"] = [f"c{at}-{i // 2}" for i in range(len(rows))]
            test, train = splits["test"], splits["train"]
            for i in range(round(share * len(test))):
                test.more["customer"][i] = train.more["customer"][i % len(train)]

        def remembers(rng: Any, split: str, source: Any, frames: Frames) -> Frames:
            if split != "test":
                return frames
            seen = np.arange(source.height) < round(share * source.height)
            wrong = ~seen & (frames["tuned"]["predicted"] != frames["tuned"]["label"]).to_numpy()
            return frames | {"tuned": answered_wrongly(source, wrong)}

        more = {"data": {"group": "customer"}}
        setting = Setting(probe=1, tuned=1, spoil=spoil, predict=remembers, more=more)
        return run(rng, folder, setting)

    return make


for share in (0.05, 0.3, 1.0):
    kind(
        f"group leakage of {share:.0%}, no gain",
        NOT_SHIP,
        "group_in_two_splits",
        f"{LEAK} label_errors",  # every answer is as sure as the others, wrong ones too
    )(groups(share))


# Labels


def noisy(share: float) -> Callable[[np.random.Generator, Path], Made]:
    def make(rng: np.random.Generator, folder: Path) -> Made:
        def spoil(rng: np.random.Generator, world: World, splits: dict[str, Rows]) -> None:
            for name in ("validation", "test"):
                rows = splits[name]
                for i in np.flatnonzero(rng.random(len(rows)) < share):
                    rows.label[i] = "no" if rows.label[i] == "yes" else "yes"

        return run(rng, folder, Setting(rows=(600, 500, 1000), probe=0.8, tuned=2.2, spoil=spoil))

    return make


kind("label noise 0 %", SHIP)(noisy(0))
kind("label noise 5 %", SHIP, may="label_errors poorly_calibrated")(noisy(0.05))
kind("label noise 20 %", (SHIP, NONE), "label_errors", "poorly_calibrated")(noisy(0.2))
kind("label noise 40 %", (SHIP, NONE, HOLD), "", "label_errors poorly_calibrated")(noisy(0.4))


@kind(
    "labels of test swapped",
    NOT_SHIP,
    must="labels_swapped",
    may="poorly_calibrated probe_beats_tuned label_errors",
)
def swapped(rng: np.random.Generator, folder: Path) -> Made:
    def spoil(rng: Any, world: World, splits: dict[str, Rows]) -> None:
        splits["test"].label[:] = ["no" if x == "yes" else "yes" for x in splits["test"].label]

    return run(rng, folder, Setting(tuned=1.5, spoil=spoil))


@kind(
    "labels differ in case only",
    NOT_SHIP,
    must="label_variants",
    may="label_errors accuracy_paradox class_imbalance labels_never_predicted",
)
def case_only(rng: np.random.Generator, folder: Path) -> Made:
    labels = ("NO", "YES", "no", "yes")
    prior = (1 / 6, 1 / 6, 1 / 3, 1 / 3)

    def blind(rng: np.random.Generator, split: str, source: Any, frames: Frames) -> Frames:
        """Knows yes from no, and nothing of how it is written."""
        out = {}
        for model, share in (("probe", 0.7), ("tuned", 0.9)):
            truth = source["label"].to_list()
            right = rng.random(len(truth)) < share
            p = np.full((len(truth), 4), 0.01)
            for i, t in enumerate(truth):
                code = ("no", "yes").index(t.lower())
                code = code if right[i] else 1 - code
                p[i, 2 + code], p[i, code] = 0.65, 0.33
            p /= p.sum(axis=1, keepdims=True)
            out[model] = frame_of(truth, labels, p).with_columns(row_id=source["row_id"])
        return out

    return run(rng, folder, Setting(labels=labels, prior=prior, predict=blind))


@kind(
    "a label of train that test has not",
    (SHIP, NONE),
    may="small_classes drawn_differently class_imbalance",
)
def absent(rng: np.random.Generator, folder: Path) -> Made:
    labels = ("a", "b", "c")

    def spoil(rng: Any, world: World, splits: dict[str, Rows]) -> None:
        for name in ("validation", "test"):
            rows = splits[name]
            keep = [i for i, x in enumerate(rows.label) if x != "c"]
            splits[name] = rows.take(keep)

    prior = (0.45, 0.45, 0.1)
    return run(rng, folder, Setting(labels=labels, prior=prior, probe=0.8, tuned=1.8, spoil=spoil))


@kind(
    "a label that is never predicted",
    NOT_SHIP,
    must="labels_never_predicted",
    may="accuracy_paradox poorly_calibrated label_errors class_imbalance probe_beats_tuned",
)
def never(rng: np.random.Generator, folder: Path) -> Made:
    labels = ("a", "b", "c")

    def drops(rng: Any, split: str, source: Any, frames: Frames) -> Frames:
        p = np.array(frames["tuned"]["probabilities"].to_list())
        p[:, 2] = 1e-4
        p /= p.sum(axis=1, keepdims=True)
        tuned = frame_of(source["label"].to_list(), labels, p)
        return frames | {"tuned": tuned.with_columns(row_id=source["row_id"])}

    return run(
        rng,
        folder,
        Setting(labels=labels, prior=(0.35, 0.35, 0.3), probe=1.0, tuned=1.2, predict=drops),
    )


# Train and test drawn differently


@kind(
    "labels shifted",
    (SHIP, NONE, HOLD),
    must="drawn_differently",
    may="drawn_differently poorly_calibrated class_imbalance",
)
def label_shift(rng: np.random.Generator, folder: Path) -> Made:
    def spoil(rng: np.random.Generator, world: World, splits: dict[str, Rows]) -> None:
        other = World(rng, world.labels, (0.8, 0.2), world.vocabulary)
        splits["test"] = other.rows(len(splits["test"]))

    return run(rng, folder, Setting(spoil=spoil))


@kind("lengths shifted", SHIP, must="drawn_differently", may="drawn_differently")
def length_shift(rng: np.random.Generator, folder: Path) -> Made:
    def spoil(rng: np.random.Generator, world: World, splits: dict[str, Rows]) -> None:
        rows = splits["test"]
        longer = texts(rng, len(rows), world.vocabulary, (12, 30))
        splits["test"] = Rows(longer, rows.label)

    return run(rng, folder, Setting(spoil=spoil))


@kind("another vocabulary", SHIP, must="drawn_differently", may="drawn_differently")
def text_shift(rng: np.random.Generator, folder: Path) -> Made:
    def spoil(rng: np.random.Generator, world: World, splits: dict[str, Rows]) -> None:
        rows, half = splits["test"], world.vocabulary[:200]
        splits["test"] = Rows(texts(rng, len(rows), half), rows.label)

    return run(rng, folder, Setting(spoil=spoil))


# Thresholds


@kind(
    "cost dearer than a constant answer",
    HOLD,
    may="class_imbalance poorly_calibrated test_too_small drawn_differently",
)
def dear(rng: np.random.Generator, folder: Path) -> Made:
    """Validation's rows are easy, test's are not: the threshold that was cheap there is dear."""

    def moved(rng: np.random.Generator, split: str, source: Any, frames: Frames) -> Frames:
        if split == "validation":
            return frames
        truth = source["label"].to_list()
        hard = rng.normal(size=(len(truth), 2))
        tuned = scored(rng, truth, ("no", "yes"), 0.02, hard, (0.8, 0.2))
        p = np.array(tuned["probabilities"].to_list())[:, 1]
        p = np.clip(p * rng.uniform(0.02, 0.9, len(p)), 1e-4, 1)
        tuned = frame_of(truth, ("no", "yes"), np.stack([1 - p, p], axis=1))
        return frames | {"tuned": tuned.with_columns(row_id=source["row_id"])}

    aim = ObjectiveConfig(positive="yes", cost=CostConfig(fp=1, fn=20))
    return run(
        rng,
        folder,
        Setting(prior=(0.8, 0.2), rows=(800, 400, 1500), objective=aim, predict=moved, tuned=2.0),
    )


@kind("cost shown less than every rival's", SHIP, may="class_imbalance")
def cheap(rng: np.random.Generator, folder: Path) -> Made:
    aim = ObjectiveConfig(positive="yes", cost=CostConfig(fp=1, fn=5))
    return run(
        rng,
        folder,
        Setting(prior=(0.7, 0.3), rows=(800, 800, 3000), objective=aim, probe=0.5, tuned=1.8),
    )


@kind("cost, a second reference is cheaper", HOLD, may="class_imbalance")
def second_cheaper(rng: np.random.Generator, folder: Path) -> Made:
    """The base, asked by the likelihood of labels, stands behind the probe, and is the best."""

    def with_base(rng: np.random.Generator, split: str, source: Any, frames: Frames) -> Frames:
        truth, prior = source["label"].to_list(), (0.7, 0.3)
        hard = rng.normal(size=(len(truth), 2))
        base = scored(rng, truth, ("no", "yes"), 2.6, hard, prior).with_columns(
            row_id=source["row_id"], method=pl.lit("label_likelihood")
        )
        return {"base": base, **frames}

    aim = ObjectiveConfig(positive="yes", cost=CostConfig(fp=1, fn=5))
    setting = Setting(
        prior=(0.7, 0.3), rows=(600, 600, 1500), objective=aim, tuned=1.3, predict=with_base
    )
    return run(rng, folder, setting)


@kind("recall target met", SHIP, may="class_imbalance")
def recall_met(rng: np.random.Generator, folder: Path) -> Made:
    aim = ObjectiveConfig(positive="yes", recall_at_least=0.8)
    half = frames_with_margin
    return run(
        rng,
        folder,
        Setting(
            prior=(0.7, 0.3),
            rows=(800, 1500, 4000),
            objective=aim,
            probe=0.5,
            tuned=2.2,
            predict=half,
        ),
    )


def frames_with_margin(rng: Any, split: str, source: Any, frames: Frames) -> Frames:
    """Validation is a little harder: its threshold finds more of test than was asked for."""
    if split != "validation":
        return frames
    out = {}
    for model, frame in frames.items():
        p = np.array(frame["probabilities"].to_list())
        logit = np.log(p[:, 1] / p[:, 0]) - 1.2
        p1 = 1 / (1 + np.exp(-logit))
        made = frame_of(source["label"].to_list(), ("no", "yes"), np.stack([1 - p1, p1], axis=1))
        out[model] = made.with_columns(row_id=source["row_id"])
    return out


@kind(
    "recall target met on validation by chance", NOT_SHIP, may="class_imbalance poorly_calibrated"
)
def recall_missed(rng: np.random.Generator, folder: Path) -> Made:
    def easier(rng: Any, split: str, source: Any, frames: Frames) -> Frames:
        if split != "validation":
            return frames
        out = {}
        for model, frame in frames.items():
            p = np.array(frame["probabilities"].to_list())
            logit = np.log(p[:, 1] / p[:, 0]) + 1.2 * (source["label"] == "yes").to_numpy()
            p1 = 1 / (1 + np.exp(-logit))
            made = frame_of(source["label"].to_list(), ("no", "yes"), np.stack([1 - p1, p1], 1))
            out[model] = made.with_columns(row_id=source["row_id"])
        return out

    aim = ObjectiveConfig(positive="yes", recall_at_least=0.9)
    return run(
        rng,
        folder,
        Setting(prior=(0.7, 0.3), rows=(800, 400, 2000), objective=aim, tuned=1.3, predict=easier),
    )


# Guardrails and clusters


def by_tier(gold: float) -> Callable[[np.random.Generator, Path], Made]:
    """A tuned model that gains everywhere; among gold customers it is right as often as `gold`."""

    def make(rng: np.random.Generator, folder: Path) -> Made:
        def spoil(rng: np.random.Generator, world: World, splits: dict[str, Rows]) -> None:
            for rows in splits.values():
                rows.more["tier"] = ["gold" if i % 5 == 0 else "basic" for i in range(len(rows))]

        def answer(rng: np.random.Generator, split: str, source: Any, frames: Frames) -> Frames:
            n = source.height
            is_gold = np.arange(n) % 5 == 0 if split == "test" else np.zeros(n, bool)
            before = rng.random(n) < 0.25
            after = rng.random(n) < np.where(is_gold, 1 - gold, 0.08)
            pair = (("probe", before), ("tuned", after))
            return {m: answered_wrongly(source, w) for m, w in pair}

        rail = GuardrailConfig(metric="accuracy", slice={"tier": "gold"}, no_worse_by=0.02)
        more = {"guardrail": [rail]}
        return run(rng, folder, Setting((400, 200, 2000), spoil=spoil, predict=answer, more=more))

    return make


SURE = "poorly_calibrated label_errors"
kind("guardrail broken in one slice", HOLD, may=SURE)(by_tier(0.5))
kind("guardrail kept in its slice", SHIP, may=SURE)(by_tier(0.95))


@kind("clusters of 4 copies, no gain", NOT_SHIP, may=f"repeated_test_rows {SURE}")
def clusters_of_four(rng: np.random.Generator, folder: Path) -> Made:
    """Few customers, each with four copies of one row: rows by themselves would show anything."""

    def spoil(rng: np.random.Generator, world: World, splits: dict[str, Rows]) -> None:
        for at, (name, rows) in enumerate(splits.items()):
            once = rows.take(range(len(rows) // 4))
            text = [f"{t} {w}" for t in once.text for w in world.vocabulary[:4]]
            label = [x for x in once.label for _ in range(4)]
            customer = [f"{at}-{i}" for i in range(len(once)) for _ in range(4)]
            splits[name] = Rows(text, label, {"customer": customer})

    def by_customer(rng: Any, split: str, source: Any, frames: Frames) -> Frames:
        """Both models answer all rows of a customer alike."""
        first = pl.int_range(source.height) // 4 * 4
        places = pl.select(first).to_series()
        cluster = pl.Series("cluster", (places // 4).to_list())
        return {
            m: f[places].with_columns(
                row_id=source["row_id"], label=source["label"], cluster=cluster
            )
            for m, f in frames.items()
        }

    more = {"data": {"group": "customer"}}
    return run(
        rng,
        folder,
        Setting((400, 200, 400), probe=0.8, tuned=0.8, spoil=spoil, predict=by_customer, more=more),
    )


@kind(
    "few clusters, cost, no gain",
    NOT_SHIP,
    may=f"repeated_test_rows class_imbalance labels_never_predicted {SURE}",
)
def clusters_with_cost(rng: np.random.Generator, folder: Path) -> Made:
    """Ten customers of fifty rows each; a customer's rows are all answered alike."""

    def spoil(rng: np.random.Generator, world: World, splits: dict[str, Rows]) -> None:
        for at, rows in enumerate(splits.values()):
            rows.more["customer"] = [f"{at}-{i // 50}" for i in range(len(rows))]
            for i in range(len(rows)):
                rows.label[i] = ("no", "yes")[i // 50 % 2]

    def by_customer(rng: np.random.Generator, split: str, source: Any, frames: Frames) -> Frames:
        """Each customer is right or wrong as a whole, as often for one model as for the other."""
        out = {}
        for model in ("probe", "tuned"):
            wrong = rng.random(source.height // 50 + 1) < 0.3
            rows = wrong[np.arange(source.height) // 50]
            out[model] = answered_wrongly(source, rows)
        return out

    aim = ObjectiveConfig(positive="yes", cost=CostConfig(fp=1, fn=3))
    more = {"data": {"group": "customer"}}
    setting = Setting((500, 500, 500), objective=aim, spoil=spoil, predict=by_customer, more=more)
    return run(rng, folder, setting)


@kind("five test rows, forty times each", NOT_SHIP, may=f"repeated_test_rows {FEW} label_errors")
def five_rows(rng: np.random.Generator, folder: Path) -> Made:
    def spoil(rng: Any, world: World, splits: dict[str, Rows]) -> None:
        splits["test"] = splits["test"].take([i % 5 for i in range(200)])

    return run(rng, folder, Setting((400, 200, 200), spoil=spoil, predict=all_fixed))


# Training that went wrong


@kind("overfitting", (SHIP, NONE), must="overfitting")
def overfits(rng: np.random.Generator, folder: Path) -> Made:
    found = course(
        [0.5, 0.25, 0.1, 0.03, 0.01], [0.69, 0.48, 0.46, 0.58, 0.75, 0.95], spread=0.6, kept=5
    )
    return run(rng, folder, Setting(course=found))


@kind(
    "learning rate too small",
    NOT_SHIP,
    must="loss_never_fell",
    may="underfitting probe_beats_tuned labels_never_predicted test_too_small",
)
def rate_small(rng: np.random.Generator, folder: Path) -> Made:
    flat = course([0.692] * 3, [0.6931, 0.6931, 0.693, 0.693], spread=0.01, noise=0.02)
    return run(rng, folder, Setting(probe=0.8, tuned=0, course=flat))


@kind(
    "learning rate too large",
    NOT_SHIP,
    must="learning_rate_too_high",
    may="loss_diverged underfitting probe_beats_tuned labels_never_predicted overfitting",
)
def rate_large(rng: np.random.Generator, folder: Path) -> Made:
    found = course([6.0, 3.0, 2.5], [0.69, 5.0, 3.0, 2.6], spread=2.0, noise=0.1)
    return run(rng, folder, Setting(probe=0.8, tuned=0, course=found))


@kind(
    "training diverges late",
    NOT_SHIP,
    must="loss_diverged",
    may="overfitting probe_beats_tuned labels_never_predicted underfitting",
)
def diverges(rng: np.random.Generator, folder: Path) -> Made:
    found = course([0.5, 0.4, 5.0], [0.69, 0.5, 0.45, 4.0], spread=1.0, kept=3)
    return run(rng, folder, Setting(probe=0.8, tuned=0, course=found))


@kind("test rows without a finite score", HOLD, must="no_prediction", may="poorly_calibrated")
def not_finite(rng: np.random.Generator, folder: Path) -> Made:
    return run(rng, folder, Setting(tuned=2, predict=unscored("tuned", "test", slice(3))))


def with_fact(fact: AnalysisComputed) -> Callable[[np.random.Generator, Path], Made]:
    def make(rng: np.random.Generator, folder: Path) -> Made:
        return run(rng, folder, Setting(course=[*course([0.5, 0.4], [0.69, 0.5, 0.45]), fact]))

    return make


def drift(name: str, passed: bool) -> AnalysisComputed:
    result = {
        "rows": 32,
        "of": 500,
        "precision": "float32",
        "device": "cpu",
        "unit": "row",
        "metric": "macro_f1",
        "passed": passed,
        "tolerance": 1e-5,
        "largest_nll_drift": 0.0 if passed else 1.7,
        "largest_loss_drift": 0.0 if passed else 1.7,
        "changed_predictions": 0 if passed else 21,
        "changed_rows": [] if passed else [1, 2, 3],
        "scored": 0.9,
        "weights": [
            {
                "weights": "model/",
                "metric": 0.9 if passed else 0.5,
                "largest_nll_drift": 0.0 if passed else 1.7,
                "largest_loss_drift": 0.0 if passed else 1.7,
                "worst_row": 3,
                "changed_predictions": 0 if passed else 21,
                "changed_rows": [] if passed else [1, 2, 3],
                "tolerance": 1e-5,
            }
        ],
        "layouts": [],
        "skipped": [],
        "left_out": [],
    }
    return records.analysis(name, result, "test", "tuned")


kind("saved weights agree with those scored", SHIP)(with_fact(drift("parity", True)))
kind("saved weights altered after scoring", HOLD, "deploy_parity")(
    with_fact(drift("parity", False))
)
kind("self-test that does not agree", HOLD, "self_test")(with_fact(drift("self_test", False)))


# Language models


@dataclass
class Text:
    """What a language model's case may change."""

    rows: tuple[int, int, int] = (400, 150, 300)
    base: float = 3.2
    tuned: float = 2.6
    writers: tuple[Writer, Writer] = (Writer(0.3), Writer(0.6))
    objective: ObjectiveConfig | None = None
    course: Any = None
    facts: Sequence[Any] = ()
    change: Callable[[Frames], Frames] | None = None
    length: tuple[int, int] = (20, 45)


def write(rng: np.random.Generator, folder: Path, s: Text) -> Made:
    world = World(rng)
    splits = {}
    for name, n in zip(("train", "validation", "test"), s.rows, strict=True):
        prompts = texts(rng, n, world.vocabulary)
        splits[name] = Rows(prompts, texts(rng, n, world.vocabulary, s.length))

    def predict(split: str, source: pl.DataFrame) -> Frames:
        prompts, references = source["prompt"].to_list(), source["completion"].to_list()
        tokens = np.array([len(r.split()) + 1 for r in references])
        hard, out = rng.normal(size=len(tokens)), {}
        for model, nats, writer in zip(
            ("base", "tuned"), (s.base, s.tuned), s.writers, strict=True
        ):
            frame = text_frame(rng, hard, tokens, nats).with_columns(row_id=source["row_id"])
            if split == "test":
                frame = answers(rng, frame, prompts, references, world.vocabulary, writer, 65)
            out[model] = frame
        return s.change(out) if s.change else out

    return generated(folder, splits, predict, s.objective, s.course, s.facts)


@kind("language model: real gain", SHIP)
def text_gain(rng: np.random.Generator, folder: Path) -> Made:
    return write(rng, folder, Text())


@kind("language model: no gain", NOT_SHIP)
def text_none(rng: np.random.Generator, folder: Path) -> Made:
    return write(rng, folder, Text(tuned=3.2, writers=(Writer(0.3), Writer(0.3))))


@kind("language model: base better", HOLD, may="worse_answers overfitting")
def text_worse(rng: np.random.Generator, folder: Path) -> Made:
    return write(rng, folder, Text(base=2.6, tuned=3.2, writers=(Writer(0.6), Writer(0.3))))


@kind(
    "language model: both worse than guessing",
    NOT_SHIP,
    must="worse_than_guessing",
    may="underfitting",
)
def text_guess(rng: np.random.Generator, folder: Path) -> Made:
    """ln V is 6.24: beating a base at 11.7 nats is no reason to ship."""
    return write(rng, folder, Text(base=11.7, tuned=7.5, writers=(Writer(0.0), Writer(0.0))))


@kind(
    "language model: base worse than guessing, tuned too little better",
    NOT_SHIP,
    may="underfitting worse_than_guessing",
)
def text_base_guess(rng: np.random.Generator, folder: Path) -> Made:
    return write(rng, folder, Text(base=11.7, tuned=6.24, writers=(Writer(0.0), Writer(0.0))))


@kind("language model never stops", HOLD, must="never_stops", may="worse_answers")
def text_never_stops(rng: np.random.Generator, folder: Path) -> Made:
    loose = Writer(0.6, ends=0.0, end_nats=5.46)
    return write(rng, folder, Text(rows=(400, 100, 80), tuned=0.239, writers=(Writer(0.3), loose)))


@kind("language model loops", HOLD, must="worse_answers", may="never_stops")
def text_loops(rng: np.random.Generator, folder: Path) -> Made:
    return write(rng, folder, Text(writers=(Writer(0.5), Writer(0.5, loops=0.6))))


@kind("answers got worse while the loss fell", HOLD, must="worse_answers")
def text_answers_worse(rng: np.random.Generator, folder: Path) -> Made:
    return write(rng, folder, Text(writers=(Writer(0.7), Writer(0.3))))


@kind("language model forgets", (SHIP, NONE, HOLD), must="forgetting")
def text_forgets(rng: np.random.Generator, folder: Path) -> Made:
    def told(model: str, nats: float) -> TextScored:
        return TextScored(
            source="general_text",
            model=model,
            tokens=5_000,
            bytes=20_000,
            log_likelihood=-nats * 5_000,
            prefix="<s>",
            window=128,
            stride=127,
        )

    found = {"value": 0.8, "low": 0.7, "high": 0.9, "windows": 40, "difference": 0.8}
    facts = [
        told("base", 3.0),
        told("tuned", 3.8),
        records.analysis("forgetting", found, "general_text"),
    ]
    return write(rng, folder, Text(facts=facts))


@kind("language model memorises", NOT_SHIP, must="overfitting", may="worse_answers")
def text_memorises(rng: np.random.Generator, folder: Path) -> Made:
    found = course([2.0, 0.6, 0.1, 0.02], [3.2, 3.0, 3.3, 3.9, 4.6], spread=1.0, kept=4)
    return write(
        rng, folder, Text(base=3.2, tuned=4.4, writers=(Writer(0.3), Writer(0.25)), course=found)
    )


@kind("a loss that is not finite", HOLD, must="no_prediction")
def text_nan(rng: np.random.Generator, folder: Path) -> Made:
    def broken(frames: Frames) -> Frames:
        lost = pl.when(pl.col("row_id") == 2).then(float("nan")).otherwise("nll")
        return frames | {"tuned": frames["tuned"].with_columns(nll=lost)}

    return write(rng, folder, Text(change=broken))


@kind("truncated training rows", (SHIP, NONE), must="truncation")
def text_truncated(rng: np.random.Generator, folder: Path) -> Made:
    from ftev.core.run.events import SplitPrepared

    cut = SplitPrepared(
        split="train",
        rows=400,
        columns=2,
        truncated_rows=120,
        truncated_tokens=9_000,
        truncated_completions=100,
    )
    return write(rng, folder, Text(facts=[cut]))


# Real trainings of the tiny models that ship with the demo, by a worker as anybody starts it


NOISE = "label_errors"  # eight in a hundred labels of the demo's reviews are wrong
WILD = (  # what is true of a model whose weights have run away
    "loss_diverged learning_rate_too_high underfitting probe_beats_tuned labels_never_predicted "
    "loss_never_fell steps_skipped loss_not_finite poorly_calibrated overfitting accuracy_paradox "
    "deploy_parity self_test label_errors"
)


def trained(config: RunConfig) -> Made:
    run = create_run(config, Path(config.folder) / "runs")
    start_worker(run, "--serve-minutes", "0").wait()
    return Made(read_history(run), config)


def real(task: str, rng: np.random.Generator, folder: Path, **train: Any) -> RunConfig:
    """The demo's data, less of it, and its model; `train` are settings of the training."""
    config = load_config(write_demo(task, folder, seed=int(rng.integers(1 << 30))))
    settings = {"epochs": 2.0, "eval_every": 1.0, "devices": "cpu", **train}
    return replace(
        config,
        train=replace(config.train, **settings),
        objective=ObjectiveConfig(),
        evaluate=replace(config.evaluate, prompts=[]),
    )


def shuffle_labels(rng: np.random.Generator, path: Path) -> None:
    frame = pl.read_csv(path)
    order = rng.permutation(frame.height)
    frame.with_columns(frame["sentiment"][order].alias("sentiment")).write_csv(path)


@kind(
    "real training, shuffled labels",
    NOT_SHIP,
    may=f"loss_never_fell underfitting overfitting {NOISE}",
)
def real_shuffled(rng: np.random.Generator, folder: Path) -> Made:
    config = real("classification", rng, folder)
    for name in ("train.csv", "test.csv"):
        shuffle_labels(rng, folder / name)
    return trained(config)


@kind(
    "real training, learning rate too small",
    NOT_SHIP,
    "loss_never_fell",
    f"underfitting probe_beats_tuned labels_never_predicted poorly_calibrated {NOISE}",
)
def real_small_rate(rng: np.random.Generator, folder: Path) -> Made:
    return trained(real("classification", rng, folder, learning_rate=1e-9))


@kind("real training, learning rate far too large", NOT_SHIP, may=WILD)
def real_large_rate(rng: np.random.Generator, folder: Path) -> Made:
    return trained(real("classification", rng, folder, learning_rate=3.0))


@kind("real training, verse that improves", SHIP, may="poorly_calibrated overfitting")
def real_verse(rng: np.random.Generator, folder: Path) -> Made:
    """The base is worse than guessing, so a target is declared: beating it would prove nothing."""
    config = real("generation", rng, folder, epochs=3.0)
    return trained(replace(config, objective=ObjectiveConfig(metric="loss", at_most=5.0)))


@kind(
    "real training, completions truncated",
    NOT_SHIP,
    "truncation never_stops",
    "worse_answers end_not_scored nothing_to_score leakage",
)
def real_truncated(rng: np.random.Generator, folder: Path) -> Made:
    """No completion of train has its end within the window: the model cannot learn to stop."""
    config = real("generation", rng, folder, epochs=3.0)
    for name in ("train.jsonl", "test.jsonl"):
        lines = [json.loads(line)["text"] for line in (folder / name).read_text().splitlines()]
        rows = [{"prompt": t[:20], "completion": t[20:]} for t in lines]
        if name == "test.jsonl":
            rows = [r | {"completion": r["completion"][:40]} for r in rows]
        (folder / name).write_text("".join(json.dumps(r) + "\n" for r in rows))
    data = replace(config.data, text=None, validation=0.1)
    return trained(replace(config, data=data, model=replace(config.model, max_length=32)))


# What came of it


def make(name: str, seed: int) -> tuple[str, int, str, list[str], str]:
    """Kind, seed, decision, findings (those of severity info in brackets), and any fault."""
    rng = np.random.default_rng([seed, *name.encode()])
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = KINDS[name].make(rng, Path(folder) / "run")
            verdict = made.verdict
            found = sorted({f.code for f in made.findings if f.severity != "info"})
            informed = sorted({f.code for f in made.findings if f.severity == "info"})
        except FtevError as error:
            return name, seed, "refused", [], str(error).splitlines()[0]
        except Exception:
            return name, seed, "broken", [], traceback.format_exc()
    return name, seed, verdict.decision, [*found, *(f"({c})" for c in informed)], ""


def judged(name: str, results: Sequence[tuple[str, int, str, list[str], str]]) -> dict[str, Any]:
    """What came of one kind over its seeds."""
    k, decisions = KINDS[name], Counter(r[2] for r in results)
    expected = false = 0
    found, extra = Counter[str](), Counter[str]()
    for _, _, _, codes, _ in results:
        plain = {c.strip("()") for c in codes}
        warned = {c for c in codes if not c.startswith("(")}
        expected += len(k.must & plain)
        found.update(k.must & plain)
        wrong = warned - k.must - k.may - ALWAYS
        false += len(wrong)
        extra.update(wrong)
    right = sum(n for d, n in decisions.items() if d in k.verdicts)
    return {
        "kind": k,
        "runs": len(results),
        "found": expected,
        "planted": len(k.must) * len(results),
        "false": extra,
        "missed": {c: len(results) - found[c] for c in k.must if found[c] < len(results)},
        "decisions": decisions,
        "right": right,
    }


def report(outcomes: Sequence[dict[str, Any]]) -> str:
    rows = []
    for o in outcomes:
        k: Kind = o["kind"]
        given = ", ".join(f"{d} {n}" for d, n in o["decisions"].most_common())
        false = ", ".join(f"{c} {n}" for c, n in o["false"].most_common()) or "–"
        planted = ", ".join(sorted(k.must)) or "–"
        found = f"{o['found']} of {o['planted']}" if o["planted"] else "–"
        rows.append(
            (
                k.name,
                planted,
                found,
                false,
                " or ".join(k.verdicts),
                given,
                f"{o['right']} of {o['runs']}",
            )
        )
    head = ("planted", "findings expected", "found", "false", "verdict expected", "given", "right")
    return table(head, rows)


def is_equally_good(name: str) -> bool:
    """Where every test row is leaked there is nothing to judge by, and that is decisive."""
    return "100%" not in name and any(words in name for words in EQUALLY_GOOD)


def totals(outcomes: Sequence[dict[str, Any]]) -> str:
    runs, right = (sum(o[key] for o in outcomes) for key in ("runs", "right"))
    found, planted = (sum(o[key] for o in outcomes) for key in ("found", "planted"))
    with_false = sum(sum(o["false"].values()) for o in outcomes)
    wrong = [o for o in outcomes if SHIP not in o["kind"].verdicts]
    equal = [o for o in wrong if is_equally_good(o["kind"].name)]
    ships, by_chance = (sum(o["decisions"][SHIP] for o in some) for some in (wrong, equal))
    draws = sum(o["runs"] for o in equal)
    return (
        f"{len(outcomes)} kinds, {runs} runs: {right} verdicts right. Wrong ships: "
        f"{ships - by_chance} where the planted truth is decisive; {by_chance} in {draws} runs of "
        f"models that are equally good, where {draws / 40:.1f} are to be expected. "
        f"{found} of {planted} planted pitfalls found ({100 * found / max(1, planted):.1f} %); "
        f"{with_false} false findings ({100 * with_false / runs:.1f} for each hundred runs)."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--only", nargs="+", default=[""], help="kinds whose name holds one of these"
    )
    parser.add_argument("--stored", action="store_true", help="without trainings of tiny models")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    names = [
        n
        for n in KINDS
        if any(o in n for o in args.only) and not (args.stored and n.startswith("real tr"))
    ]
    work = [(n, s) for n in names for s in range(args.seeds)]
    started, results = time.monotonic(), []
    with ProcessPoolExecutor(args.processes) as pool:
        for done, outcome in enumerate(pool.map(make, *zip(*work, strict=True)), start=1):
            results.append(outcome)
            if outcome[4]:
                print(outcome[0], outcome[1], outcome[4], sep="\n", file=sys.stderr)
            print(f"\r{done} of {len(work)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    outcomes = [judged(n, [r for r in results if r[0] == n]) for n in names]
    seconds = f"One pass took {time.monotonic() - started:.0f} s."
    command = "python tests/bench/verdicts.py"
    parts = [report(outcomes), totals(outcomes), seconds]
    print(section("Verdicts on planted truths", command, ("numpy", "polars", "scipy"), *parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
