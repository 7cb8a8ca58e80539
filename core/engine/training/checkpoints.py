"""Checkpoints: a model that loads with from_pretrained, and beside it all that resume needs (T4).

Everything is tensors (safetensors) and JSON; nothing is pickled. A checkpoint is written under a
temporary name, synced and renamed: there is a whole one or none.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ...errors import Fault, RunError
from ...files.disk import make_folder, remove, writing
from ...files.reading import read_json
from ...run.runs import TRAINING_STATE, Run, Written, damage_of, describe_files, step_of
from ..distributed.ranks import local, placed_like
from ..models.models import save
from .best import Best, ValidationRows
from .trainer import Position, Trainer

TENSORS = "training_state.safetensors"
SHARD = "optimizer.{:0>5}-of-{:0>5}.safetensors"  # a rank's part, where the state is sharded


@dataclass
class Saved:
    """The JSON half of a checkpoint."""

    position: Position
    best: Best
    precision: str
    python_random: list[Any] = field(default_factory=list)
    numpy_random: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Written] = field(default_factory=dict)  # all the others of the checkpoint


def checkpoint_path(run: Run, step: int) -> Path:
    """Where the checkpoint of a step is, or would be."""
    return run.checkpoints / f"step_{step:06d}"


def save_checkpoint(run: Run, t: Trainer, best: Best) -> Path:
    """Write the state after the last step taken; every rank has to take part.

    The first rank writes it. Where the optimizer's state is sharded, each writes its own part.
    Raises RunError where the disk refuses it, or gives back other bytes than were written.
    """
    path = checkpoint_path(run, t.position.step)
    with writing(path, _bytes_of(t)):
        try:
            return _save_checkpoint(run, t, best)
        except BaseException:
            remove(path.with_name(path.name + ".tmp"))  # it would take the room that is missing
            raise


def _save_checkpoint(run: Run, t: Trainer, best: Best) -> Path:
    path = checkpoint_path(run, t.position.step)
    temporary = path.with_name(path.name + ".tmp")
    if t.ranks.is_first:
        shutil.rmtree(temporary, ignore_errors=True)
        make_folder(run.checkpoints)
        temporary.mkdir()
    random_states = t.ranks.gather(_random_states(t))  # the others wait for the folder here
    if t.spread.sharded:
        t.ranks.meet()
        save_file(_optimizer_tensors(t), temporary / SHARD.format(t.ranks.rank, t.ranks.world))
        t.spread.gather_weights()
    if t.ranks.is_first:
        save(t.loaded, temporary, t.spread.gathered(t.loaded.model))
        tensors = {n: v for states in random_states for n, v in states.items()}
        save_file(
            tensors | ({} if t.spread.sharded else _optimizer_tensors(t)), temporary / TENSORS
        )
    if t.spread.sharded:
        t.spread.scatter_weights()
        t.ranks.meet()  # every part is written
    if t.ranks.is_first:
        state = replace(_state(t, best), files=describe_files(temporary))
        (temporary / TRAINING_STATE).write_bytes(msgspec.json.encode(state))
        _sync(temporary)
        if damage := damage_of(temporary):
            raise RunError(f"the checkpoint was not written whole: {damage}. See to the disk")
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
        _sync_folder(path.parent)
    return path


def _bytes_of(t: Trainer) -> int:
    """About as many as it takes: what is trained, and two moments of it."""
    return 3 * sum(p.numel() * p.element_size() for p in _parameters(t))


def _random_states(t: Trainer) -> dict[str, torch.Tensor]:
    of_rank = f".{t.ranks.rank}" if t.ranks.rank else ""
    states = {f"random.torch{of_rank}": torch.get_rng_state()}
    if t.loaded.device.type == "cuda":
        states[f"random.cuda{of_rank}"] = torch.cuda.get_rng_state(t.loaded.device)
    return states


def _optimizer_tensors(t: Trainer) -> dict[str, torch.Tensor]:
    return {
        f"optimizer.{i}.{name}": local(value.detach()).contiguous()
        for i, parameter in enumerate(_parameters(t))
        for name, value in t.optimizer.state.get(parameter, {}).items()
    }


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
    """The JSON half of a checkpoint. Raises RunError where it cannot be read."""
    return read_json(path / TRAINING_STATE, Saved)


def restore_training(path: Path, t: Trainer) -> Best:
    """Optimizer, position and all random states; the model's weights are loaded before."""
    saved = read_state(path)
    with ExitStack() as stack:
        names = [TENSORS, *sorted(p.name for p in path.glob("optimizer.*.safetensors"))]
        files = [stack.enter_context(safe_open(path / name, "pt")) for name in names]
        _restore_optimizer(t, files)
        _restore_random(t, files[0], saved.position.step)
    # JSON has no tuples: Python and NumPy take their states apart and back
    version, numbers, gauss = saved.python_random
    random.setstate((version, tuple(numbers), gauss))
    n = saved.numpy_random
    keys = np.asarray(n["keys"], dtype=np.uint32)
    np.random.set_state((n["kind"], keys, n["position"], n["has_gauss"], n["cached"]))
    t.position = saved.position
    return saved.best


def _restore_optimizer(t: Trainer, files: Sequence[Any]) -> None:
    """A tensor at a time, from as many parts as it was saved in to as many as it is needed in."""
    places: dict[str, list[Any]] = {}
    for file in files:
        for key in file.keys():  # noqa: SIM118  (no mapping)
            places.setdefault(key, []).append(file)
    for i, parameter in enumerate(_parameters(t)):
        prefix = f"optimizer.{i}."
        found = {k[len(prefix) :]: held for k, held in places.items() if k.startswith(prefix)}
        if not found:
            continue
        state = t.optimizer.state[parameter] = {}
        for name, held in found.items():
            parts = [file.get_tensor(prefix + name) for file in held]
            value = torch.cat(parts) if len(parts) > 1 and parts[0].ndim else parts[0]
            if name != "step" or parameter.device.type != "cpu":
                value = placed_like(parameter, value)
            state[name] = value


def _restore_random(t: Trainer, file: Any, step: int) -> None:
    """The rank's own state; one that did not take part before begins with a state of its own."""
    of_rank = f".{t.ranks.rank}" if t.ranks.rank else ""
    known = set(file.keys())
    if f"random.torch{of_rank}" not in known:
        torch.manual_seed(hash((t.settings.seed, t.ranks.rank, step)))
        return
    torch.set_rng_state(file.get_tensor(f"random.torch{of_rank}"))
    if f"random.cuda{of_rank}" in known and t.loaded.device.type == "cuda":
        torch.cuda.set_rng_state(file.get_tensor(f"random.cuda{of_rank}"), t.loaded.device)


def drop_old_checkpoints(run: Run, keep: int, spared: Collection[int]) -> None:
    """Keep the newest ones and those that are spared."""
    steps = sorted(
        int(p.name.removeprefix("step_"))
        for p in run.checkpoints.glob("step_*")
        if p.name.removeprefix("step_").isdecimal()
    )
    for step in steps[:-keep]:
        if step not in spared:
            shutil.rmtree(checkpoint_path(run, step), ignore_errors=True)


def diverged(run: Run, since: int, why: str) -> RunError:
    """The end of a run whose model computes nothing any more, with the checkpoint to go back to."""
    rows = ValidationRows.of(run)
    saved = [step_of(p.parent) for p in run.checkpoints.glob(f"step_*/{TRAINING_STATE}")]
    kept = max((step for step in saved if _is_finite(rows, step, since)), default=None)
    if kept is None:
        there = "No checkpoint with finite scores was saved before"
    else:
        path = checkpoint_path(run, kept).relative_to(run.path)
        there = f"The last checkpoint with finite scores is that of step {kept:,}, in {path}"
    return RunError(
        Fault("", f"diverged since step {since:,}: {why}. {there}", "Lower train.learning_rate")
    )


def _is_finite(rows: ValidationRows, step: int, since: int) -> bool:
    """By its own evaluation; without one, by the step that was taken from it."""
    scored = rows.read(step)
    return step < since - 1 if scored is None else bool(scored["nll"].is_finite().all())


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
