"""What `means.py` measures of kernels: the loss over a vocabulary, the optimizer, torch.compile."""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from collections.abc import Callable
from typing import Any

from causal import made_model
from means_of_training import Rows, alike, encoder, grown, paid, settings, times, wait
from measure import alternate


def vocabulary(args: argparse.Namespace) -> Rows:
    import torch
    from ftev.core.engine.models.kernels import memory_kept
    from ftev.core.engine.models.logits import ScoredPositions, vocabulary_loss
    from torch.nn import functional

    loaded, count = made_model("10m-50k", 512, 1), 1_024
    device, head = loaded.device, ScoredPositions(loaded.model)
    states = torch.randn(count, 384, device=device, requires_grad=True)
    targets = torch.randint(3, 50_000, (count,), device=device)

    def side(chunks: bool) -> float:
        with memory_kept(device), torch.autocast(device.type, dtype=torch.bfloat16):
            for _ in range(2):
                loaded.model.zero_grad()
                if chunks:
                    loss = vocabulary_loss(head, states, targets)
                else:
                    loss = functional.cross_entropy(head.logits(states), targets, reduction="sum")
                loss.backward()
        wait()
        return float(loss.detach())

    ways = {"whole": lambda: side(False), "chunks": lambda: side(True)}
    spent = alternate(ways, 3, warm_up=True)
    alike(spent, 1e-3)
    used = [grown(work) for work in ways.values()]
    lines = [f"the loss of {count:,} targets among 50,000 words in chunks", "whole logits"]
    memory = f"{used[0]:,.0f} → {used[1]:,.0f} MiB"
    return [[*lines, times(paid(spent, "whole", "chunks")), memory, "always"]]


def optimizer(args: argparse.Namespace) -> Rows:
    import torch
    from ftev.core.engine.models.kernels import memory_kept
    from ftev.core.engine.training.trainer import make_optimizer

    loaded, rows = encoder(args)
    for parameter in loaded.model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-4)
    asked = settings(batch_tokens=round(32 * float(rows.lengths.mean())))
    sides: dict[str, Callable[[], Any]] = {}
    for name in ("for-loop", "foreach", "fused"):
        made = make_optimizer(loaded.model, asked)
        made.param_groups[:] = [
            g | {"fused": name == "fused", "foreach": name == "foreach"} for g in made.param_groups
        ]
        sides[name] = lambda made=made: [made.step() for _ in range(5)] and wait()  # type: ignore[misc]
    with memory_kept(loaded.device):
        spent = alternate(sides, 3, warm_up=True)
    return [
        ["fused AdamW, the update alone", f"AdamW, {name}", gain, "", "always"]
        for name in ("for-loop", "foreach")
        if (gain := times(paid(spent, name, "fused")))
    ]


def compiling(args: argparse.Namespace) -> Rows:
    """A step of one shape: compiled with torch's own parts, against ftev's, with its kernels."""
    import copy
    import shutil

    import torch
    from ftev.core.engine.models.kernels import padding_known, use_cpu_kernels
    from torch.nn import functional

    lines = ["torch.compile, a graph a width, torch's own attention and dropout", "ftev's kernels"]
    if shutil.which("g++") is None and not torch.cuda.is_available():
        return [[*lines, "not measured: needs a C++ compiler", "", "no"]]
    loaded, _ = encoder(args, 32)
    device, rows, width = loaded.device, 16, 64
    compiled = torch.compile(copy.deepcopy(loaded.model), dynamic=False)
    if device.type == "cpu":
        use_cpu_kernels(loaded.model)
    ids = torch.randint(1_000, 20_000, (rows, width), device=device)
    mask = torch.ones_like(ids)
    mask[::2, width - 9 :] = 0

    def step(model: Any) -> None:
        model.train()
        with padding_known(True), torch.autocast(device.type, dtype=torch.bfloat16):
            logits = model(input_ids=ids, attention_mask=mask).logits
            loss = functional.cross_entropy(logits.float(), ids[:, 0] * 0, reduction="sum")
        loss.backward()
        model.zero_grad()
        wait()

    step(loaded.model)
    with tempfile.TemporaryDirectory() as folder:  # nothing that an earlier turn compiled
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        before = _all_processes()
        step(compiled)
        took = _all_processes() - before
        spent = alternate(
            {"as it is": lambda: step(loaded.model), "compiled": lambda: step(compiled)}, 9
        )
    gain = paid(spent, "as it is", "compiled")
    saved = spent["as it is"].median_cpu - spent["compiled"].median_cpu
    pays = f"pays after {took / saved:,.0f} steps of it" if gain > 1 else "never pays"
    return [[*lines, f"{times(gain)}; {took:.0f} s to compile one width, {pays}", "", "no"]]


def _all_processes() -> float:
    """CPU seconds so far, the C++ compiler's included."""
    spent = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(s.ru_utime + s.ru_stime for s in spent)


MEASURES: dict[str, Callable[[argparse.Namespace], Rows]] = {
    "vocabulary": vocabulary,
    "optimizer": optimizer,
    "compiling": compiling,
}
