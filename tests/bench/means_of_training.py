"""What `means.py` measures of training: batches, precision, kernels, memory."""

from __future__ import annotations

import argparse
import ctypes
import gc
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

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
    from ftev.core.config.config import ModelConfig, RunConfig
    from ftev.core.engine.models.devices import drawn_from
    from ftev.core.engine.models.load import load
    from ftev.core.engine.scoring.rows import classification_rows

    frame = made_texts(count or args.rows, 256, 1).with_row_index("row_id")
    with drawn_from(1):
        config = RunConfig(task="classification", model=ModelConfig(base=args.encoder))
        loaded = load(config, args.encoder, sorted(frame["label"].unique()))
    loaded.max_length = min(loaded.max_length, 256)
    loaded.model.to("cuda" if torch.cuda.is_available() else "cpu")
    *_, rows = classification_rows(frame, loaded)
    return loaded, rows


def settings(**asked: Any) -> Any:
    from ftev.core.config.config import TrainConfig

    return TrainConfig(epochs=1.0, warmup_ratio=0.0, learning_rate=1e-5, **asked)


def training(loaded: Any, rows: Any, asked: Any, precision: str, **more: Any) -> Any:
    """A side: one epoch from the same weights; returns the mean loss of a target."""
    import torch
    from ftev.core.engine.training import train as training_loop
    from ftev.core.engine.training.batches import PART_PRICE
    from ftev.core.engine.training.train import read_steps, train
    from ftev.core.engine.training.trainer import Trainer, plan_training

    before = {n: w.clone() for n, w in loaded.model.state_dict().items()}
    plan, price = plan_training(rows, asked), more.pop("part_price", PART_PRICE)

    def work() -> float:
        loaded.model.load_state_dict(before)
        torch.manual_seed(0)
        t = Trainer(loaded, rows, plan, asked, precision, **more)
        with mock.patch.object(training_loop, "PART_PRICE", price):
            steps = read_steps(list(train(t)))
        return sum(s.loss_sum for s in steps) / sum(s.loss_count for s in steps)

    return work


def alike(spent: Mapping[str, Spent], tolerance: float) -> None:
    losses = [side.result for side in spent.values()]
    assert max(losses) - min(losses) < tolerance * max(losses), losses


def epochs(args: argparse.Namespace) -> Rows:
    """Batches and precision by the time of an epoch; what preparation could save at most."""
    from ftev.core.engine.scoring.rows import classification_rows
    from ftev.core.engine.training.batches import padding_ratio
    from ftev.core.engine.training.packing import packed_batch
    from ftev.core.engine.training.trainer import Trainer, plan_training

    loaded, rows = encoder(args)
    asked = settings(batch_size=32)
    frame = made_texts(args.rows, 256, 1).with_row_index("row_id")
    plan = plan_training(rows, asked)
    sides: dict[str, Any] = {
        "whole": lambda t: [[step] for step in t.plan.epochs[0]],
        "parts": lambda t: [t.parts(step) for step in t.plan.epochs[0]],
    }
    padded = Trainer(loaded, rows, plan, asked, "bfloat16", may_pack=False)
    packed = Trainer(loaded, rows, plan, asked, "bfloat16")
    assert packed.packing
    padding = {
        name: f"{padding_ratio([p for step in cut(padded) for p in step], rows.lengths):.2f}"
        for name, cut in sides.items()
    } | {"packed": f"{packed.padding():.2f}"}
    ours = training(loaded, rows, asked, "bfloat16")
    ours()  # the first turn of all
    spent = alternate(
        {
            "whole": training(loaded, rows, asked, "bfloat16", may_pack=False, part_price=1e9),
            "parts": training(loaded, rows, asked, "bfloat16", may_pack=False),
            "packed": ours,
            "float32": training(loaded, rows, asked, "float32"),
        },
        args.rounds,
    )
    alike(spent, 0.1)
    parts = [part for step in plan.epochs[0] for part in packed.parts(step)]
    spent |= alternate(
        {
            "ten collated": lambda: [
                packed_batch(loaded, rows, part, packed.packing) for part in parts * 10
            ],
            "ten tokenised": lambda: [list(classification_rows(frame, loaded)) for _ in range(10)],
        },
        args.rounds,
        warm_up=True,
    )
    collated, tokenised = (
        0.1 / paid(spent, "packed", name) for name in ("ten collated", "ten tokenised")
    )
    whole = f"padded to the longest: {padding['whole']} tokens a real one"
    fast = "where the hardware has it and the model 10 M parameters"
    kept = "for all epochs and models of a run; not between runs"
    most = f"{1 + collated:.4f} × at most: making batches is {collated:.2%} of an epoch"
    text = f"{1 + tokenised:.4f} × at most: tokenising is {tokenised:.2%} of one epoch"
    return [
        [
            f"32 random rows in parts of like length: {padding['parts']}",
            whole,
            times(paid(spent, "whole", "parts")),
            "",
            "where rows cannot be packed",
        ],
        [
            f"32 random rows packed, attention by groups: {padding['packed']}",
            whole,
            times(paid(spent, "whole", "packed")),
            "",
            "wherever a model keeps rows apart",
        ],
        ["bfloat16", "float32", times(paid(spent, "float32", "packed")), "", fast],
        ["the next batch made by a thread", "made when it is needed", most, "", "no"],
        ["texts tokenised once and kept", "at every start", text, "", kept],
    ]


def packing(args: argparse.Namespace) -> Rows:
    """A language model: rows packed, against parts of like length."""
    loaded = made_model("10m", 512, 1)
    rows = made_rows("completions", 2_500, 512, 4_000, 1)
    asked = settings(batch_tokens=1_024)
    spent = alternate(
        {
            "padded": training(loaded, rows, asked, "bfloat16", may_pack=False),
            "packed": training(loaded, rows, asked, "bfloat16"),
        },
        args.rounds,
        warm_up=True,
    )
    alike(spent, 0.02)
    lines = ["rows of a language model packed", "in parts of like length, padded"]
    kept = "wherever a model keeps rows apart"
    return [[*lines, times(paid(spent, "padded", "packed")), "", kept]]


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
