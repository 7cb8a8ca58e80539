"""What work costs as it grows: rows, classes, length, vocabulary and runs, with the exponent.

    python tests/bench/growth.py [--only NAME …] [--largest 1.0]

Each size is a process of its own, so that its peak memory is its own; what is given to the work is
made before the clock starts. The exponent is the slope in the log-log picture over the sizes from
the third on: 1 is linear. `--largest 0.1` leaves out what is larger than a tenth of the most.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import peak_memory, section, table

SAMPLE = Path(__file__).parents[2] / "sample_runs" / "classification"
Work = Callable[[], object]


def _predictions(rows: int, labels: int) -> Work:
    import numpy as np
    from ftev.core.metrics.evaluate import evaluate_classification
    from metrics_scale import predictions

    names = [f"label {i}" for i in range(labels)]
    truth = np.random.default_rng(0).integers(0, labels, rows)
    frame = predictions(truth, names, 1, 2.0)
    return lambda: evaluate_classification(frame, names, names[1] if labels == 2 else None)


def metrics_by_rows(rows: int, folder: Path) -> Work:
    return _predictions(rows, 2)


def metrics_by_classes(labels: int, folder: Path) -> Work:
    return _predictions(20_000, labels)


def _texts(rows: int) -> list[str]:
    """Made-up texts of 5 to 40 words; one in fifty repeats an earlier one."""
    import random

    dice = random.Random(7)
    words = [
        "".join(dice.choices("abcdefghijklmnoprstu", k=dice.randint(2, 9))) for _ in range(5000)
    ]
    texts: list[str] = []
    for _ in range(rows):
        if texts and dice.random() < 0.02:
            texts.append(dice.choice(texts))
        else:
            texts.append(" ".join(dice.choices(words, k=dice.randint(5, 40))))
    return texts


def _data(rows: int, folder: Path) -> Any:
    import polars as pl
    from ftev.core.config.config import DataConfig, ModelConfig, RunConfig

    frame = pl.DataFrame({"text": _texts(rows), "label": ["yes", "no"] * (rows // 2)})
    frame.write_csv(folder / "train.csv")
    return RunConfig(
        task="classification",
        model=ModelConfig(base="none"),
        data=DataConfig(train=str(folder / "train.csv"), validation=0.1, test=0.1),
    )


def data_by_rows(rows: int, folder: Path) -> Work:
    from ftev.core.data.data import read_run_data

    config = _data(rows, folder)
    return lambda: read_run_data(config)


def leakage_by_rows(rows: int, folder: Path) -> Work:
    from ftev.core.data.data import read_run_data
    from ftev.core.data.leakage import find_leakage

    dataset = read_run_data(_data(rows, folder))
    return lambda: find_leakage(dataset.splits)


def _scoring(rows: int, length: int, vocabulary: int) -> Work:
    import numpy as np
    import torch
    from ftev.core.data import demo
    from ftev.core.engine.models.load import load_tokenizer
    from ftev.core.engine.models.models import Loaded
    from ftev.core.engine.scoring.evaluate import score_tokens
    from ftev.core.engine.scoring.rows import TokenRows
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2}
    model: Any = LlamaForCausalLM(
        LlamaConfig(vocab_size=vocabulary, num_attention_heads=4, **shape)
    )
    rng = np.random.default_rng(0)
    given = TokenRows(row_ids=list(range(rows)), bytes=[length] * rows)
    given.ids = [rng.integers(5, 900, length).astype(np.int32) for _ in range(rows)]
    given.scored = [np.arange(length) > 0] * rows
    tokenizer = load_tokenizer(str(Path(demo.__file__).parent / "models" / "causal"))
    loaded = Loaded(model, tokenizer, length)
    list(score_tokens(loaded, given, "float32", length))  # what is set up once
    return lambda: list(score_tokens(loaded, given, "float32", 8192))


def scoring_by_rows(rows: int, folder: Path) -> Work:
    return _scoring(rows, 64, 4_000)


def scoring_by_length(length: int, folder: Path) -> Work:
    return _scoring(32_768 // 2048 * 8, length, 1_000)


def scoring_by_vocabulary(vocabulary: int, folder: Path) -> Work:
    return _scoring(64, 128, vocabulary)


def _runs(count: int, folder: Path) -> None:
    for n in range(count):
        run = folder / f"2026-11-20_14-{n // 60 % 60:02}-{n % 60:02}_run{n}"
        run.mkdir()
        for name in ("run.toml", "events.jsonl"):
            shutil.copy(SAMPLE / name, run / name)


def home_by_runs(count: int, folder: Path) -> Work:
    from ftev.core.catalog.run_facts import CACHE_FILE
    from ftev.tui.screens.home.run_list import Scanner

    _runs(count, folder)

    def first() -> None:
        (folder / CACHE_FILE).unlink(missing_ok=True)
        Scanner(folder, lambda message: None)._scan()

    return first


def home_by_runs_known(count: int, folder: Path) -> Work:
    """A new process with the cache of the last one."""
    from ftev.core.catalog.run_facts import read_cache
    from ftev.tui.screens.home.run_list import Scanner

    _runs(count, folder)
    Scanner(folder, lambda message: None)._scan()

    def again() -> None:
        scanner = Scanner(folder, lambda message: None)
        scanner._known = read_cache(folder)
        scanner._scan()

    return again


def report_by_rows(rows: int, folder: Path) -> Work:
    """The report and its tables of rows; the sample run's predictions repeated."""
    import polars as pl
    from ftev.core.report.formats import DEFAULT_FORMATS
    from ftev.core.report.report import write_report
    from ftev.core.run.runs import Run

    shutil.copytree(SAMPLE, folder / "run")
    for path in (folder / "run" / "predictions").iterdir():
        frame = pl.read_parquet(path)
        times = -(-rows // frame.height)
        ids = pl.Series("row_id", range(rows), dtype=frame.schema["row_id"])
        pl.concat([frame] * times).head(rows).with_columns(ids).write_parquet(path)
    return lambda: write_report(Run(folder / "run"), (*DEFAULT_FORMATS, "csv"), folder / "out")


# Name, work, sizes, the exponent that is allowed.
CURVES: tuple[tuple[str, Any, tuple[int, ...], float], ...] = (
    (
        "metrics with intervals, rows",
        metrics_by_rows,
        (1_000, 10_000, 100_000, 1_000_000),
        1.15,
    ),
    ("metrics of 20,000 rows, classes", metrics_by_classes, (2, 10, 100, 1_000), 1.15),
    (
        "reading and splitting data, rows",
        data_by_rows,
        (1_000, 10_000, 100_000, 1_000_000),
        1.15,
    ),
    ("looking for leakage, rows", leakage_by_rows, (1_000, 3_000, 10_000, 30_000), 1.15),
    ("scoring texts of 64 tokens, rows", scoring_by_rows, (100, 400, 1_600, 6_400), 1.15),
    (
        "scoring 128 rows, tokens a row",
        scoring_by_length,
        (32, 64, 128, 256, 512, 1_024),
        2.0,
    ),
    (
        "scoring, vocabulary",
        scoring_by_vocabulary,
        (1_000, 4_000, 16_000, 64_000, 128_000),
        1.15,
    ),
    ("home without its cache, runs", home_by_runs, (10, 30, 100, 300, 1_000), 1.15),
    ("home with its cache, runs", home_by_runs_known, (10, 30, 100, 300, 1_000), 1.15),
    ("report with tables, rows", report_by_rows, (1_000, 10_000, 100_000), 1.15),
)


def measured(number: int, size: int) -> tuple[float, float, float]:
    """Seconds of CPU, peak MiB, and of these what was there before the work; in a new process."""
    command = [sys.executable, __file__, "--one", str(number), str(size)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    cpu, peak, before = json.loads(done.stdout.splitlines()[-1])
    return cpu, peak, before


def one(number: int, size: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        work = CURVES[number][1](size, Path(name))
        before, spent, rounds = peak_memory(), time.process_time(), 0
        while not rounds or (time.process_time() - spent < 0.3 and rounds < 20):
            work()
            rounds += 1
        print(json.dumps([(time.process_time() - spent) / rounds, peak_memory(), before]))


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Least squares over the sizes from the third last on: small ones are all fixed cost."""
    points = [(math.log(n), math.log(s)) for n, s in zip(sizes, seconds, strict=True)][-3:]
    x, y = (sum(column) / len(points) for column in zip(*points, strict=True))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the curves' names")
    parser.add_argument("--largest", type=float, default=1.0)
    args = parser.parse_args()
    rows, steep = [], []
    for number, (name, _, sizes, allowed) in enumerate(CURVES):
        if not any(part in name for part in args.only):
            continue
        kept = [n for n in sizes if n <= args.largest * sizes[-1]]
        found = [measured(number, n) for n in kept]
        slope = exponent(kept, [cpu for cpu, _, _ in found]) if len(kept) > 1 else math.nan
        times = ", ".join(f"{n:,}: {cpu:.3g} s" for n, (cpu, _, _) in zip(kept, found, strict=True))
        peaks = " → ".join(f"{found[i][1]:,.0f}" for i in (0, -1))
        rows.append([name, times, f"{slope:.2f}", f"{peaks} MiB"])
        print(rows[-1], file=sys.stderr, flush=True)
        if slope > allowed:
            steep.append(f"{name} ({slope:.2f} > {allowed})")
    result = (
        "Steeper than they may be: " + "; ".join(steep)
        if steep
        else "None is steeper than it may be."
    )
    print(
        section(
            "Growth",
            "python tests/bench/growth.py",
            ("numpy", "polars", "torch"),
            "CPU seconds by size, one thread; the exponent over the three largest sizes; peak "
            "memory of the whole process at the least and the largest size, what it is given "
            "included.",
            table(["work", "CPU by size", "exponent", "peak memory"], rows),
            result + " Allowed is 1.15, and 2 for the length of a text: attention looks from every "
            "token to every earlier one. Logits of a large vocabulary are made by chunks of at "
            "most 256 MiB, whatever the rows.",
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
