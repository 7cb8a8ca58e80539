"""Fine-tuning a classifier: ftev's loop against the Trainer of transformers.

    python tests/bench/classifier.py [--data FILE.csv] [--model FOLDER] [--rows N] [--epochs N] …

First how fast: on texts of lognormal length, made by seed from words whose mix tells the label.
Then how good: on real rows where they are there, trained to the end with several seeds, each side
scored on the same held-out rows, with the CPU time that it took to get there. Every side trains the
same model on the same token ids with the same learning rate, schedule, optimizer, epochs and rows a
step, in a process of its own, sides in turn; one evaluator, ftev's own, scores all of
them. Only the training itself is timed: loading, tokenising and scoring are not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from classifier_sides import (
    BEST,
    BEST_FLAGS,
    DEFAULTS,
    OURS,
    SIDES,
    find_model,
    made_rows,
    one_side,
    pieces,
    read_rows,
    split_rows,
)
from ftev.core.metrics.counts import default_positive
from ftev.core.metrics.evaluate import evaluate_classification
from measure import section, table
from quality import INTERVAL, Gap, f1_of, label_gaps

PACKAGES = ("torch", "transformers", "accelerate")
# Threads that wait sleep, on every side: spinning would be counted as work.
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
REAL = Path(__file__).resolve().parents[3] / "shared/data/sms_spam/SMSSpamCollection"


@dataclass
class Taken:
    """What a side told of each of its runs, and the held-out rows as it scored them."""

    told: list[dict[str, Any]] = field(default_factory=list)
    scores: list[pl.DataFrame] = field(default_factory=list)

    def mean(self, name: str) -> float:
        return statistics.mean(text[name] for text in self.told)

    def speed(self, clock: str) -> float:
        """Real tokens a second, the median over the runs."""
        return statistics.median(text["tokens"] / text[clock] for text in self.told)


def run_side(side: str, rows_file: Path, *more: str, scored: bool = True) -> tuple[Any, Any]:
    given = [*sys.argv[1:], *more, "--side", side, "--rows-file", str(rows_file)]
    scores = rows_file.with_name("scores.parquet")
    given += ["--scores", str(scores)] if scored else []
    ran = subprocess.run(
        [sys.executable, __file__, *given],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, **ENVIRONMENT},
    )
    values = msgspec.json.decode(ran.stdout.splitlines()[-1])
    print(f"{side} {' '.join(more)}: {values}", file=sys.stderr, flush=True)
    return values, pl.read_parquet(scores) if scored else None


def row_sets(args: argparse.Namespace) -> dict[str, pl.DataFrame]:
    """Rows to be trained on for speed: of very unlike length, short alike, and long alike."""
    mixed = made_rows(args.rows, args.longest, args.seed)
    sets = {"made, lognormal lengths": mixed}
    if (shared := REAL.parents[1]).is_dir():
        questions = read_rows(shared / "banking77/train.csv", True, None, None)
        sets["banking77, questions to a bank"] = questions
        sets["a novel, pieces of about 38 words"] = pieces(
            (shared / "gutenberg/emma.txt").read_text("utf-8"), args.rows, args.seed
        )
    return {name: split_rows(rows, args.rows, 0, args.seed) for name, rows in sets.items()}


def how_fast(args: argparse.Namespace, folder: Path) -> list[str]:
    """Tokens per second of the first steps, a table and its words.

    Trainer's length grouping sorts within 50 steps' rows, so that 50 steps are as any others are.
    """
    lines, precision = [], ""
    rows_file = folder / "speed.parquet"
    for name, rows in row_sets(args).items():
        rows.write_parquet(rows_file)
        found = {side: Taken() for side in (OURS, BEST)}
        for _ in range(args.rounds):
            for side, taken in found.items():
                more = ("--steps", str(args.steps))
                taken.told.append(run_side(side, rows_file, *more, scored=False)[0])
        ours = found[OURS]
        precision = ours.told[-1]["precision"]
        lines += [
            (
                name,
                side,
                f"{taken.speed('cpu'):,.0f}",
                f"{ours.speed('cpu') / taken.speed('cpu'):.2f}",
                f"{taken.speed('wall'):,.0f}",
                f"{ours.speed('wall') / taken.speed('wall'):.2f}",
                f"{taken.mean('padding'):.2f}",
                f"{taken.mean('memory'):,.0f}",
            )
            for side, taken in found.items()
        ]
    rate = ("tokens per CPU s", "ftev ×", "tokens/s", "ftev ×", "computed per real token", "MiB")
    words = (
        f"Speed: {args.rows:,} rows, the first {args.steps} steps of {args.batch_size} rows, at "
        f"most {args.longest} tokens per text; ftev in {precision}, Trainer with {BEST_FLAGS}. "
        "Tokens are real ones, padding left out."
    )
    return [table(("rows", "", *rate), lines), words]


def how_good(args: argparse.Namespace, folder: Path) -> list[str]:
    """Quality on held-out rows and the CPU time it took, two tables and their words."""
    if args.data:
        frame = read_rows(args.data, args.header, args.text, args.label)
    elif REAL.is_file():
        frame = read_rows(REAL, False, None, None)
    else:
        frame = made_rows(args.train_rows + args.held_out, args.longest, args.seed)
    rows_file = folder / "real.parquet"
    rows = split_rows(frame, args.train_rows, args.held_out, args.seed)
    rows.write_parquet(rows_file)
    labels = sorted(rows["label"].unique())
    held_out = rows.filter(~pl.col("train"))["label"].to_list()
    counts = {label: held_out.count(label) for label in labels}
    positive = default_positive(labels, counts) if len(labels) == 2 else None
    found = {side: Taken() for side in SIDES}
    for seed in args.seeds:
        for side, taken in found.items():
            more = ["--steps", "0", "--epochs", str(args.good_epochs), "--seed", str(seed)]
            text, scores = run_side(side, rows_file, *more)
            taken.told.append(text)
            taken.scores.append(scores)
    gaps = {
        peer: label_gaps(found[peer].scores, found[OURS].scores, labels, positive)
        for peer in (BEST, DEFAULTS)
    }
    where = args.data.name if args.data else REAL.name if REAL.is_file() else "texts made by seed"
    text = (
        f"Quality: {rows.height - len(held_out):,} rows of {where}, {args.good_epochs} epochs, "
        f"learning rate {args.learning_rate:g} falling linearly to 0 on every side, no weight "
        f"decay; figures of the same {len(held_out):,} held-out rows, no text of which was "
        f"trained on, means over the seeds {', '.join(map(str, args.seeds))}. Always the most "
        f"frequent label: accuracy {max(counts.values()) / len(held_out):.3f}."
    )
    return [text, reached(found, labels, positive), differences(found, gaps), in_words(gaps)]


def reached(found: dict[str, Taken], labels: Sequence[str], positive: str | None) -> str:
    f1 = f1_of(positive)

    def mean(side: str, name: str) -> str:
        values = [
            evaluate_classification(frame, labels, positive, draws=2).metrics[name].value
            for frame in found[side].scores
        ]
        return f"{statistics.mean(values):.4f}"

    lines = [
        (
            side,
            round(taken.mean("steps")),
            f"{taken.mean('cpu'):.1f} s",
            *(mean(side, name) for name in ("accuracy", f1, "loss")),
        )
        for side, taken in found.items()
    ]
    result = f"F1 of {positive}" if positive else "macro F1"
    return table(("trained to the end", "steps", "CPU", "accuracy", result, "loss"), lines)


def differences(found: dict[str, Taken], gaps: dict[str, dict[str, Gap]]) -> str:
    lines = [
        (
            f"ftev, less {peer}",
            *gap.values(),
            ", ".join(f"{x:+.3f}" for x in gap["loss"].seeds),
            f"{found[peer].mean('cpu') / found[OURS].mean('cpu'):.2f} ×",
        )
        for peer, gap in gaps.items()
    ]
    head = ("", "accuracy", "F1", "loss", "loss, each seed", "CPU to get there, in ours")
    return table(head, lines)


def in_words(gaps: dict[str, dict[str, Gap]]) -> str:
    behind = [
        f"{name} against {peer}"
        for peer, gap in gaps.items()
        for name, g in gap.items()
        if g.behind
    ]
    clear = f"ftev is behind in {'; '.join(behind)}" if behind else "ftev is behind in none"
    return (
        f"Differences with {INTERVAL}, the same for both sides and all seeds; they cover the "
        "choice of rows, not other seeds, and say how far apart the sides may still be. By them "
        f"{clear}. Trainer's best flags put rows of like length together; ftev draws them at "
        "random, as Trainer's defaults do."
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, help="rows of the quality part")
    parser.add_argument("--text")
    parser.add_argument("--label")
    parser.add_argument("--no-header", dest="header", action="store_false")
    parser.add_argument("--model")
    parser.add_argument("--rows", type=int, default=6_400, help="for the speed")
    parser.add_argument("--longest", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, default=50, help="for the speed")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--train-rows", type=int, default=320, help="for the quality")
    parser.add_argument("--held-out", type=int, default=400)
    parser.add_argument("--good-epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--side")
    parser.add_argument("--rows-file", type=Path)
    parser.add_argument("--scores", type=Path)
    args = parser.parse_args()
    args.model = find_model(args.model)
    return args


def main() -> None:
    args = arguments()
    if args.side:
        one_side(args)
        return
    with tempfile.TemporaryDirectory() as name:
        parts = [*how_fast(args, Path(name)), *how_good(args, Path(name))]
    command = " ".join(["python tests/bench/classifier.py", *sys.argv[1:]])
    print(section("Fine-tuning a classifier", command, PACKAGES, *parts))


if __name__ == "__main__":
    main()
