"""What `means.py` measures of training: batches, precision, kernels, memory."""

from __future__ import annotations

import argparse
import ctypes
import gc
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from causal import made_model, made_rows
from classifier import made_rows as made_texts
from measure import Spent, alternate

Rows = list[list[str]]


def paid(spent: Mapping[str, Spent], without: str, with_it: str) -> float:
    """Time without over time with: the median over the rounds."""
    import torch

    clock = "wall" if torch.cuda.is_available() else "cpu"
    pairs = zip(getattr(spent[without], clock), getattr(spent[with_it], clock), strict=True)
    return statistics.median(a / b for a, b in pairs)


def times(ratio: float) -> str:
    return f"{ratio:.2f} ×"


def encoder(args: argparse.Namespace, count: int = 0) -> tuple[Any, Any]:
    """The classifier with a new head, and made rows of lognormal length."""
    import torch
    from ftev.core.engine.devices import drawn_from
    from ftev.core.engine.models import load_classifier
    from ftev.core.engine.rows import classification_rows

    frame = made_texts(count or args.rows, 256, 1).with_row_index("row_id")
    with drawn_from(1):
        loaded = load_classifier(args.encoder, sorted(frame["label"].unique()))
    loaded.max_length = min(loaded.max_length, 256)
    loaded.model.to("cuda" if torch.cuda.is_available() else "cpu")
    *_, rows = classification_rows(frame, loaded)
    return loaded, rows


def settings(**asked: Any) -> Any:
    from ftev.core.config import TrainConfig

    return TrainConfig(epochs=1.0, warmup_ratio=0.0, learning_rate=1e-5, **asked)


def training(loaded: Any, rows: Any, asked: Any, precision: str, **more: Any) -> Any:
    """A side: one epoch from the same weights; returns the mean loss of a target."""
    import torch
    from ftev.core.engine.train import Trainer, plan_training, read_steps, train

    before = {n: w.clone() for n, w in loaded.model.state_dict().items()}
    plan = more.pop("plan", None) or plan_training(rows, asked)

    def work() -> float:
        loaded.model.load_state_dict(before)
        torch.manual_seed(0)
        steps = read_steps(list(train(Trainer(loaded, rows, plan, asked, precision, **more))))
        return sum(s.loss_sum for s in steps) / sum(s.loss_count for s in steps)

    return work


def alike(spent: Mapping[str, Spent], tolerance: float) -> None:
    losses = [side.result for side in spent.values()]
    assert max(losses) - min(losses) < tolerance * max(losses), losses


def epochs(args: argparse.Namespace) -> Rows:
    """Batches and precision by the time of an epoch; what preparation could save at most."""
    from ftev.core.engine.batches import padding_ratio
    from ftev.core.engine.rows import classification_rows
    from ftev.core.engine.train import Plan, Trainer, _collate, plan_training

    loaded, rows = encoder(args)
    ids, budget = np.arange(len(rows)), round(32 * float(rows.lengths.mean()))
    by_length, by_budget = settings(batch_size=32), settings(batch_tokens=budget)
    frame = made_texts(args.rows, 256, 1).with_row_index("row_id")
    in_order = Plan([[[ids[i : i + 32]] for i in range(0, len(ids), 32)]])
    plans = (in_order, plan_training(rows, by_length), plan_training(rows, by_budget))
    t = Trainer(loaded, rows, plans[2], by_budget, "bfloat16")
    parts = [part for step in plans[2].epochs[0] for part in step]
    ours = training(loaded, rows, by_budget, "bfloat16")
    ours()  # the first turn of all
    spent = alternate(
        {
            "in order": training(loaded, rows, by_length, "bfloat16", plan=in_order),
            "by length": training(loaded, rows, by_length, "bfloat16"),
            "ours": ours,
            "float32": training(loaded, rows, by_budget, "float32"),
        },
        args.rounds,
    )
    alike(spent, 0.1)
    spent |= alternate(
        {
            "ten collated": lambda: [_collate(t, part) for part in parts * 10],
            "ten tokenised": lambda: [list(classification_rows(frame, loaded)) for _ in range(10)],
        },
        args.rounds,
        warm_up=True,
    )
    padding = [f"{padding_ratio(p.epochs[0], rows.lengths):.2f} tokens a real one" for p in plans]
    collated, tokenised = (
        0.1 / paid(spent, "ours", name) for name in ("ten collated", "ten tokenised")
    )
    against = f"32 rows in file order: {padding[0]}"
    fast = "where the hardware has it and the model 10 M parameters"
    kept = "for all epochs and models of a run; not between runs"
    most = f"{1 + collated:.4f} × at most: making batches is {collated:.2%} of an epoch"
    told = f"{1 + tokenised:.4f} × at most: tokenising is {tokenised:.2%} of one epoch"
    return [
        [
            f"32 rows of like length: {padding[1]}",
            against,
            times(paid(spent, "in order", "by length")),
            "",
            "always",
        ],
        [
            f"rows of like length by a budget of tokens: {padding[2]}",
            against,
            times(paid(spent, "in order", "ours")),
            "",
            "with train.batch_tokens",
        ],
        ["bfloat16", "float32", times(paid(spent, "float32", "ours")), "", fast],
        ["the next batch made by a thread", "made when it is needed", most, "", "no"],
        ["texts tokenised once and kept", "at every start", told, "", kept],
    ]


def packing(args: argparse.Namespace) -> Rows:
    loaded = made_model("10m", 512, 1)
    if loaded.device.type == "cuda":
        return []  # there the row of variable-length attention tells it
    rows = made_rows("completions", 2_500, 512, 4_000, 1)
    asked = settings(batch_tokens=1_024)
    spent = alternate(
        {
            "padded": training(loaded, rows, asked, "bfloat16", packed=False),
            "packed": training(loaded, rows, asked, "bfloat16", packed=True),
        },
        args.rounds,
        warm_up=True,
    )
    alike(spent, 0.02)
    told = ["rows end to end, a mask over all pairs of tokens", "rows of like length, padded"]
    return [[*told, times(paid(spent, "padded", "packed")), "", "on GPUs alone"]]


def grown(work: Callable[[], Any]) -> float:
    """MiB above what was held before that this process, or its GPU, takes at most for the work."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return float(torch.cuda.max_memory_allocated() - before) / 2**20
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew from here
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) / 2**10


def _status(name: str) -> int:
    """KiB, from the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


MEASURES: dict[str, Callable[[argparse.Namespace], Rows]] = {
    "epochs": epochs,
    "packing": packing,
}
