"""How often a 95 % interval holds the true value, by metric: simulated (V14).

    python tests/bench/coverage.py [--runs 300] [--rows 5 10 20 50 100 200] [--truths 0.5 ... 0.999]

Models of two and of four labels whose probabilities are calibrated, with the share of right answers
given; pairs of models for the differences; language models whose rows have skewed losses; answers
against references. The true value of a metric is that of 400,000 rows (exact for counts). Printed:
coverage over all true values by number of rows, and the least of any single cell with its place.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from ftev.core.metrics.bootstrap import Resampling
from ftev.core.metrics.comparisons import compare
from ftev.core.metrics.evaluate import evaluate_classification, evaluate_text

ROWS = (5, 10, 20, 50, 100, 200)
TRUTHS = (0.5, 0.7, 0.9, 0.95, 0.99, 0.999)
POPULATION = 400_000
DRAWS = 1_000
Found = dict[str, list[bool]]
Cell = tuple[int, float]


def skill_of(share: float, n_labels: int) -> float:
    """The skill at which the likeliest label is right in this share of rows, by bisection."""
    low, high = 0.0, 40.0
    for _ in range(40):
        middle = (low + high) / 2
        truth, p = scored(20_000, n_labels, middle, np.random.default_rng(1), None)
        low, high = (middle, high) if (p.argmax(1) == truth).mean() < share else (low, middle)
    return high


def scored(
    n: int, n_labels: int, skill: float, rng: np.random.Generator, shares: Sequence[float] | None
) -> tuple[Any, Any]:
    """Truth and calibrated probabilities: a normal score whose likelihood ratio is known."""
    truth = rng.choice(n_labels, n, p=shares)
    logits = skill * rng.normal(size=(n, n_labels))
    logits[np.arange(n), truth] += skill**2
    if shares is not None:
        logits = logits + np.log(shares)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return truth, p / p.sum(axis=1, keepdims=True)


def frame_of(truth: Any, p: Any, labels: Sequence[str]) -> pl.DataFrame:
    names = np.array(labels)
    return pl.DataFrame(
        {
            "row_id": np.arange(len(truth)),
            "label": names[truth],
            "predicted": names[p.argmax(axis=1)],
            "probabilities": p.tolist(),
        }
    )


def classifiers(
    n_labels: int, shares: Sequence[float] | None, args: argparse.Namespace
) -> Iterator[tuple[Cell, Found]]:
    labels = [f"l{i}" for i in range(n_labels)]
    positive = labels[1] if n_labels == 2 else None
    for share in args.truths:
        rng = np.random.default_rng(2)
        skill = skill_of(share, n_labels)
        whole = frame_of(*scored(POPULATION, n_labels, skill, rng, shares), labels)
        true = evaluate_classification(whole, labels, positive, draws=2).metrics
        for n in args.rows:
            held: Found = defaultdict(list)
            for run in range(args.runs):
                rng = np.random.default_rng((3, n, run))
                frame = frame_of(*scored(n, n_labels, skill, rng, shares), labels)
                found = evaluate_classification(frame, labels, positive, draws=DRAWS).metrics
                for name, e in found.items():
                    if np.isfinite(e.low) and name in true:
                        held[name].append(e.low - 1e-9 <= true[name].value <= e.high + 1e-9)
            yield (n, share), held


def paired(args: argparse.Namespace) -> Iterator[tuple[Cell, Found]]:
    """A model against one that is a little better on the same rows: scores share their noise."""
    labels = ["l0", "l1"]

    def pair(n: int, skill: float, rng: np.random.Generator) -> list[pl.DataFrame]:
        truth = rng.choice(2, n)
        shared, *own = rng.normal(size=(3, n, 2))
        frames = []
        for gain, noise in zip((0.8, 1.0), own, strict=True):
            s = skill * gain
            logits = s * (0.8 * shared + 0.6 * noise)
            logits[np.arange(n), truth] += s**2
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            frames.append(frame_of(truth, p / p.sum(axis=1, keepdims=True), labels))
        return frames

    for share in args.truths:
        skill = skill_of(share, 2)
        a, b = pair(POPULATION, skill, np.random.default_rng(4))
        true = {c.metric: c.difference for c in differences(a, b, labels, 2)}
        for n in args.rows:
            held: Found = defaultdict(list)
            for run in range(args.runs):
                a, b = pair(n, skill, np.random.default_rng((5, n, run)))
                for c in differences(a, b, labels, DRAWS):
                    if np.isfinite(c.low) and c.metric in true:
                        held[c.metric].append(c.low - 1e-9 <= true[c.metric] <= c.high + 1e-9)
            yield (n, share), held


def differences(a: pl.DataFrame, b: pl.DataFrame, labels: Sequence[str], draws: int) -> Any:
    return compare("t", "a", a, "b", b, labels, "l1", resampling=Resampling(draws=draws))


def texts(args: argparse.Namespace) -> Iterator[tuple[Cell, Found]]:
    """Rows of 5 to 40 tokens; the loss of a row is gamma, the share of right tokens is beta."""

    def rows(n: int, share: float, rng: np.random.Generator) -> pl.DataFrame:
        tokens = rng.integers(5, 40, n)
        right = rng.beta(20 * share, 20 * (1 - share), n)
        return pl.DataFrame(
            {
                "row_id": np.arange(n),
                "nll": tokens * rng.gamma(2, 0.5, n) * (1.01 - share) * 2,
                "tokens": tokens,
                "correct": rng.binomial(tokens, right),
                "bytes": tokens * 4,
            }
        )

    for share in args.truths:
        whole = rows(POPULATION, share, np.random.default_rng(6))
        true = evaluate_text(whole, draws=2).metrics
        for n in args.rows:
            held: Found = defaultdict(list)
            for run in range(args.runs):
                frame = rows(n, share, np.random.default_rng((7, n, run)))
                for name, e in evaluate_text(frame, draws=DRAWS).metrics.items():
                    if np.isfinite(e.low):
                        held[name].append(e.low - 1e-9 <= true[name].value <= e.high + 1e-9)
            yield (n, share), held


def told(title: str, cells: Iterator[tuple[Cell, Found]], rows: Sequence[int]) -> None:
    by_rows: dict[str, dict[int, list[bool]]] = defaultdict(lambda: defaultdict(list))
    least: dict[str, tuple[float, Cell]] = {}
    for cell, held in cells:
        print(".", end="", file=sys.stderr, flush=True)
        for name, inside in held.items():
            by_rows[name][cell[0]] += inside
            least[name] = min(least.get(name, (2.0, cell)), (float(np.mean(inside)), cell))
    print(f"\n## {title}\n\n| metric | {' | '.join(map(str, rows))} | all | least |")
    print("|---|" + "--:|" * (len(rows) + 2))
    for name, found in by_rows.items():
        shown = [f"{100 * np.mean(found[n]):.1f}" if found[n] else "–" for n in rows]
        every = 100 * np.mean([x for n in rows for x in found[n]])
        worst, (n, share) = least[name]
        place = f"{100 * worst:.1f} ({n} rows, {share:g})"
        print(f"| {name} | {' | '.join(shown)} | {every:.1f} | {place} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--truths", type=float, nargs="+", default=list(TRUTHS))
    parser.add_argument("--only", nargs="+", default=["two", "rare", "four", "pairs", "texts"])
    args = parser.parse_args()
    work = {
        "two": ("Two labels, as many of each", lambda: classifiers(2, None, args)),
        "rare": ("Two labels, one row of five positive", lambda: classifiers(2, (0.8, 0.2), args)),
        "four": ("Four labels", lambda: classifiers(4, (0.4, 0.3, 0.2, 0.1), args)),
        "pairs": ("Paired differences, two labels", lambda: paired(args)),
        "texts": ("Language models", lambda: texts(args)),
    }
    for name in args.only:
        title, cells = work[name]
        told(title, cells(), args.rows)


if __name__ == "__main__":
    main()
