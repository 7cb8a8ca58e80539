"""How often "ship" is said, or a gain shown, where there is none: pairs of models that are equally
good, or as far apart as an objective's margin, judged again and again. The nominal rate is 2.5 %.

    python tests/bench/no_gain.py [--draws 1000] [--judged 400]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))

import ftev.core.analysis as measuring
import numpy as np
import polars as pl
from ftev.core.analysis import ANALYSES, Evaluation, analyse, at_operating_point
from ftev.core.config.config import (
    CostConfig,
    DataConfig,
    GuardrailConfig,
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
)
from ftev.core.judgement.selection import read_difference
from ftev.core.judgement.verdict import judge
from ftev.core.metrics import comparisons, evaluate, references
from ftev.core.metrics.bootstrap import Resampling
from ftev.core.metrics.comparisons import compare
from ftev.core.metrics.evaluate import evaluate_classification, evaluate_text, majority_frame
from ftev.core.run.events import LabelsFixed, RunFinished, RunStarted
from ftev.core.run.history import fold
from measure import section, table
from planted import Array, Frames, Writer, answers, frame_of, scored, text_frame, texts, words

ROWS = (4, 5, 6, 10, 20, 50, 200, 1000, 5000)
JUDGED = (4, 6, 50, 200, 1000)  # test rows of what is judged whole
SKILL = 1.0


def equal_classifiers(rng: np.random.Generator, n: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    truth = [("no", "yes")[int(x)] for x in rng.random(n) < 0.4]
    hard = rng.normal(size=(n, 2))
    a, b = (scored(rng, truth, ("no", "yes"), SKILL, hard, (0.6, 0.4)) for _ in range(2))
    return a, b


def clustered(rng: np.random.Generator, n: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Every row four times over, the copies in one cluster."""
    pair = equal_classifiers(rng, max(1, n // 4))
    copies = [pl.concat([f.with_columns(cluster=pl.col("row_id"))] * 4) for f in pair]
    first, second = (f.with_columns(row_id=pl.int_range(f.height)) for f in copies)
    return first, second


POOL = 12_000  # rows of texts and answers, from which each pair of equal models draws its own


@cache
def pool() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two equally good writers on the same rows. n-grams of a row are counted once: by the row,
    sums are what they would be in any draw."""
    rng = np.random.default_rng(0)
    vocabulary = words(rng, 60)
    asked = texts(rng, POOL, vocabulary, (3, 12))
    tokens = np.array([len(r.split()) + 1 for r in asked])
    hard, writer = rng.normal(size=POOL), Writer(0.8)
    a, b = (
        answers(rng, text_frame(rng, hard, tokens, 2.0), asked, asked, vocabulary, writer, 20)
        for _ in range(2)
    )
    known: dict[tuple[str, str], Array] = {}
    signatures: dict[str, str] = {}
    for frame in (a, b):
        pairs = frame["completion"].to_list(), frame["reference"].to_list()
        sums, signatures = references._sums(*pairs)
        known |= dict(zip(zip(*pairs, strict=True), sums, strict=True))
    references._sums = lambda x, y: (
        np.array([known[pair] for pair in zip(x, y, strict=True)]),
        signatures,
    )
    return a, b


def equal_texts(rng: np.random.Generator, n: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    places = rng.permutation(POOL)[:n]
    swap = rng.random(n) < 0.5  # which of the two is which, row by row
    pair = [frame[places].with_columns(row_id=pl.int_range(n)) for frame in pool()]
    first = pl.when(pl.Series(swap))
    columns = [c for c in pair[0].columns if c != "row_id"]
    joined = pair[0].join(pair[1], on="row_id", suffix="_b", maintain_order="left")
    a = joined.select("row_id", *(first.then(c).otherwise(f"{c}_b").alias(c) for c in columns))
    b = joined.select("row_id", *(first.then(f"{c}_b").otherwise(c).alias(c) for c in columns))
    return a, b


NULLS: dict[str, Callable[[np.random.Generator, int], tuple[pl.DataFrame, pl.DataFrame]]] = {
    "two labels": equal_classifiers,
    "two labels, clusters of 4": clustered,
    "texts and answers": equal_texts,
}


def shown(name: str, n: int, seed: int, draws: int) -> Counter[str]:
    """Of `draws` pairs of equally good models, how often each metric is shown to be better."""
    found = Counter[str]()
    labels = None if name == "texts and answers" else ("no", "yes")
    positive = "yes" if labels else None
    for i in range(draws):
        rng = np.random.default_rng([seed, i, n, *name.encode()])
        before, after = NULLS[name](rng, n)
        resampling = Resampling(seed=i, draws=400)
        for c in compare(
            "test", "base", before, "tuned", after, labels, positive, None, resampling
        ):
            found[f"{c.metric} of"] += 1
            found[c.metric] += read_difference(c) == "better"
    return found


# How often each is said to be good enough to ship


@dataclass(frozen=True)
class Equals:
    """Models of which none has gained what its objective asks for, judged on n test rows."""

    make: Callable[[np.random.Generator, int], Frames]  # reference and tuned model
    objective: ObjectiveConfig
    guardrail: Sequence[GuardrailConfig] = ()
    task: str = "classification"


def apart(before: float, after: float) -> Callable[[np.random.Generator, int], Frames]:
    """Models wrong on these shares of all rows there are, each on rows of its own."""

    def make(rng: np.random.Generator, n: int) -> Frames:
        truth = rng.integers(0, 2, n)
        frames = {}
        for model, share in (("probe", before), ("tuned", after)):
            p = np.full((n, 2), 0.1)
            p[np.arange(n), np.where(rng.random(n) < share, 1 - truth, truth)] = 0.9
            frames[model] = frame_of([("no", "yes")[t] for t in truth], ("no", "yes"), p)
        return frames

    return make


def alike(rng: np.random.Generator, n: int) -> Frames:
    return dict(zip(("probe", "tuned"), equal_classifiers(rng, n), strict=True))


def written(rng: np.random.Generator, n: int) -> Frames:
    return dict(zip(("base", "tuned"), equal_texts(rng, n), strict=True))


def gold_lost(rng: np.random.Generator, n: int) -> Frames:
    """A gain everywhere but among every fourth row, which loses just what the guardrail allows."""
    gained, lost = apart(0.3, 0.1)(rng, n), apart(0.1, 0.15)(rng, n)
    is_gold = pl.Series(np.arange(n) % 4 == 0)
    return {
        model: pl.concat([gained[model].filter(~is_gold), lost[model].filter(is_gold)])
        for model in gained
    }


def aim(**how: Any) -> ObjectiveConfig:
    return ObjectiveConfig(metric="accuracy", **how)


GOLD = GuardrailConfig(metric="accuracy", slice={"tier": "gold"}, no_worse_by=0.05)
EQUALS = {
    "no target, equally good": Equals(alike, ObjectiveConfig()),
    "accuracy at least 80 %, it is 80 %": Equals(apart(0.4, 0.2), aim(at_least=0.8)),
    "better by 5 points, it is 5": Equals(apart(0.25, 0.2), aim(better_by=0.05)),
    "no worse by 5 points, worse by 5": Equals(apart(0.15, 0.2), aim(no_worse_by=0.05)),
    "least cost, equally good": Equals(
        alike, ObjectiveConfig(positive="yes", cost=CostConfig(fp=1, fn=3))
    ),
    "a guardrail of 5 points, its slice loses 5": Equals(gold_lost, ObjectiveConfig(), (GOLD,)),
    "language model, equally good": Equals(written, ObjectiveConfig(), task="generation"),
}
MEASURED = tuple(look for look in ANALYSES if look.__name__ in ("thresholds", "guardrails"))


def decided(name: str, n: int, seed: int, draws: int) -> Counter[str]:
    """Decisions on `draws` pairs, by the run's own measuring and judging with fewer resamples."""
    few = Resampling(draws=400)
    fewer_looks = {"analyse": lambda e, looks=(): analyse(e, MEASURED)}
    fewer_draws = {"compare": partial(compare, resampling=few)}
    metrics = {
        "evaluate_classification": partial(evaluate_classification, draws=few.draws),
        "evaluate_text": partial(evaluate_text, draws=few.draws),
    }
    seeds = ([seed, i, n, *name.encode()] for i in range(draws))
    with (
        patch.multiple(measuring, **fewer_looks),
        patch.multiple(comparisons, **fewer_draws),
        patch.multiple(evaluate, **metrics),
    ):
        return Counter(_decision(EQUALS[name], s, n) for s in seeds)


def _decision(equals: Equals, seed: Sequence[int], n: int) -> str:
    rng = np.random.default_rng(seed)
    classifies = equals.task == "classification"
    labels, positive = (("no", "yes"), "yes") if classifies else ((), None)
    config = RunConfig(
        task=equals.task,
        name="equal",
        model=ModelConfig(base="planted"),
        data=DataConfig(validation=0),
        objective=equals.objective,
        guardrail=list(equals.guardrail),
    )
    frames = equals.make(rng, n)
    validation: Frames = {}
    if equals.objective.cost:  # one threshold for both: rules of unlike ones are not equally good
        validation = dict.fromkeys(frames, equals.make(rng, 400)["tuned"])
    if classifies:
        counts = {"no": 6, "yes": 4}
        frames = {"majority": majority_frame(frames["tuned"], labels, counts), **frames}
        frames = at_operating_point(frames, validation, labels, positive, equals.objective)
    tier = [("basic", "gold")[i % 4 == 0] for i in range(n)]
    source = pl.DataFrame({"row_id": range(n), "tier": tier})
    e = Evaluation("test", frames, source, config, labels, positive, validation)
    started = RunStarted(
        run="equal", name="equal", task=equals.task, pid=1, host="here", ftev_version="0"
    )
    fixed = [LabelsFixed(labels=list(labels), positive=positive)] if classifies else []
    events = [started, *fixed, *measuring.measure(e), RunFinished(status="finished")]
    return judge(fold(events), config).decision


# The tables


def main() -> int:
    """What is shown of pairs, metric by metric, and what is decided of them, with the worst."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000, help="pairs for each kind of metric")
    parser.add_argument("--judged", type=int, default=400, help="pairs for each objective")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    with ProcessPoolExecutor(args.processes) as pool:
        decisions = _counted(pool, decided, EQUALS, JUDGED, args.judged)
        differences = _counted(pool, shown, NULLS, ROWS, args.draws)
    ships = [(n, [decisions[n, r]["ship"] / args.judged for r in JUDGED]) for n in EQUALS]
    shares = []
    for name in NULLS:
        metrics = {m for n in ROWS for m in differences[name, n] if not m.endswith(" of")}
        for m in sorted(metrics):
            shares.append((f"{name}: {m}", [_rate(differences[name, n], m) for n in ROWS]))
    parts = [
        "How often (in %) ftev says ship where that was not gained:",
        *_told("objective, and what is true", JUDGED, ships, args.judged),
        "How often (in %) a gain is shown where both models are equally good:",
        *_told("equally good, by metric", ROWS, shares, args.draws),
    ]
    command = "python tests/bench/no_gain.py"
    print(section("Ship where nothing was gained", command, ("numpy", "polars", "scipy"), *parts))
    return 0


def _counted(
    pool: ProcessPoolExecutor,
    count: Callable[[str, int, int, int], Counter[str]],
    names: Iterable[str],
    rows: Sequence[int],
    draws: int,
) -> dict[tuple[str, int], Counter[str]]:
    parts = 4
    work = list(product(names, rows, range(parts), [draws // parts]))
    found: dict[tuple[str, int], Counter[str]] = {}
    for (name, n, *_), part in zip(work, pool.map(count, *zip(*work, strict=True)), strict=True):
        found.setdefault((name, n), Counter()).update(part)
        print(f"\r{name}, {n} rows      ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


def _told(
    of: str, rows: Sequence[int], rates: Sequence[tuple[str, list[float]]], draws: int
) -> tuple[str, str]:
    lines = [(name, *(f"{100 * r:.1f}" for r in shares)) for name, shares in rates]
    worst, n, name = max(
        (r, n, name) for name, shares in rates for r, n in zip(shares, rows, strict=True)
    )
    error = 100 * np.sqrt(0.025 * 0.975 / draws)
    return table((of, *(f"{n:,}" for n in rows)), lines), (
        f"The highest of {len(rates) * len(rows)} rates is {100 * worst:.1f} % ({name}, {n:,} "
        f"rows), of {draws:,} pairs each; the nominal rate is 2.5 %, ± {2 * error:.1f} by chance."
    )


def _rate(found: Counter[str], metric: str) -> float:
    return found[metric] / max(1, found[f"{metric} of"])


if __name__ == "__main__":
    sys.exit(main())
