"""Checkpoints: a model that loads with from_pretrained, and beside it all that resume needs (T4).

Everything is tensors (safetensors) and JSON; nothing is pickled. A checkpoint is written under a
temporary name, synced and renamed: there is a whole one or none.
"""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ..errors import RunError
from ..runs import TRAINING_STATE, Run
from .models import save
from .train import Position, Trainer

TENSORS = "training_state.safetensors"


@dataclass
class Best:
    """The best evaluation so far, and how many there were since the reference moved (T2)."""

    value: float | None = None
    step: int = 0
    loss: float | None = None  # which of two equal values is better
    reference: float | None = None  # moves only when the gain exceeds min_delta
    since: int = 0


@dataclass
class Saved:
    """The JSON half of a checkpoint."""

    position: Position
    best: Best
    precision: str
    python_random: list[Any] = field(default_factory=list)
    numpy_random: dict[str, Any] = field(default_factory=dict)


def checkpoint_path(run: Run, step: int) -> Path:
    return run.checkpoints / f"step_{step:06d}"


def save_checkpoint(run: Run, t: Trainer, best: Best) -> Path:
    """Write the state after the last step taken."""
    path = checkpoint_path(run, t.position.step)
    temporary = path.with_name(path.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save(t.loaded, temporary)
    save_file(_tensors(t), temporary / TENSORS)
    (temporary / TRAINING_STATE).write_bytes(msgspec.json.encode(_state(t, best)))
    _sync(temporary)
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)
    _sync_folder(path.parent)
    return path


def _tensors(t: Trainer) -> dict[str, torch.Tensor]:
    tensors = {"random.torch": torch.get_rng_state()}
    if t.loaded.device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(t.loaded.device)
    for i, parameter in enumerate(_parameters(t)):
        for name, value in t.optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{i}.{name}"] = value.detach().contiguous()
    return tensors


def _parameters(t: Trainer) -> list[torch.nn.Parameter]:
    return [p for group in t.optimizer.param_groups for p in group["params"]]


def _state(t: Trainer, best: Best) -> Saved:
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return Saved(
        position=t.position,
        best=best,
        precision=t.precision,
        python_random=[version, list(numbers), gauss],
        numpy_random={
            "kind": str(kind),
            "keys": np.asarray(keys).tolist(),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
    )


def read_state(path: Path) -> Saved:
    try:
        return msgspec.json.decode((path / TRAINING_STATE).read_bytes(), type=Saved)
    except (OSError, msgspec.MsgspecError) as error:
        raise RunError(f"{path}: this checkpoint cannot be resumed: {error}") from None


def restore_training(path: Path, t: Trainer) -> Best:
    """Optimizer, position and all random states; the model's weights are loaded before."""
    saved = read_state(path)
    tensors = load_file(path / TENSORS)
    for i, parameter in enumerate(_parameters(t)):
        prefix = f"optimizer.{i}."
        found = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        if found:
            t.optimizer.state[parameter] = {
                k: v if k == "step" and parameter.device.type == "cpu" else v.to(parameter.device)
                for k, v in found.items()
            }
    torch.set_rng_state(tensors["random.torch"])
    if "random.cuda" in tensors and t.loaded.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], t.loaded.device)
    version, numbers, gauss = saved.python_random
    random.setstate((version, tuple(numbers), gauss))
    n = saved.numpy_random
    keys = np.asarray(n["keys"], dtype=np.uint32)
    np.random.set_state((n["kind"], keys, n["position"], n["has_gauss"], n["cached"]))
    t.position = saved.position
    return saved.best


def drop_old_checkpoints(run: Run, keep: int, best_step: int) -> None:
    """Keep the newest ones and the best one."""
    steps = sorted(
        int(p.name.removeprefix("step_"))
        for p in run.checkpoints.glob("step_*")
        if p.name.removeprefix("step_").isdigit()
    )
    for step in steps[:-keep]:
        if step != best_step:
            shutil.rmtree(checkpoint_path(run, step), ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
