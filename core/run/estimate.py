"""What a run will take: steps, tokens, time by earlier runs, memory by the model's size.

The estimate is kept beside the run (`estimate.json`), so that it can be held against what it took.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import ConfigError, FtevError, RunError
from ..files.disk import writing
from ..files.reading import read_json, read_toml
from .history import History, read_history
from .runs import Run, list_runs

if TYPE_CHECKING:
    from ..config.config import RunConfig

RUNS_LOOKED_AT = 200  # the newest; of each only its configuration
RUNS_READ = 3  # earlier runs of the same base whose pace is averaged
LARGEST_HISTORY = 50_000_000  # bytes of events: a longer history is not read for an estimate
# Bytes of activations per token, layer and hidden unit in 16 bits: 34 without attention scores
# (Korthikanti et al., 2022); twice that in float32.
BYTES_A_UNIT = 34
BYTES_A_LOGIT = 12  # logits, their gradient and the softmax, in float32


class Estimate(msgspec.Struct, frozen=True):
    """What was expected of a run. 0 stands for unknown."""

    steps: int
    tokens: int  # real tokens read in training
    state_bytes: int = 0  # weights, gradients and optimizer, of one device
    activation_bytes: int = 0  # of one device
    tokens_per_second: float = 0.0
    from_runs: tuple[str, ...] = ()  # the runs on this machine that the pace is taken from

    @property
    def memory_bytes(self) -> int:
        """The program comes on top."""
        return self.state_bytes + self.activation_bytes

    @property
    def seconds(self) -> float | None:
        """Of the optimizer steps; evaluation and loading come on top."""
        return self.tokens / self.tokens_per_second if self.tokens_per_second > 0 else None


class Pace(msgspec.Struct, frozen=True):
    """Real tokens per second in training, and the runs that showed it."""

    tokens_per_second: float = 0.0
    runs: tuple[str, ...] = ()


def estimate_run(config: RunConfig, model: Mapping[str, Any], pace: Pace) -> Estimate | None:
    """From the lengths and sizes that the engine measured; None where nothing is trained."""
    lengths = model["splits"].get("train")
    if not config.trains or not lengths or not lengths["rows"]:
        return None
    rows, tokens = int(lengths["rows"]), int(lengths["tokens"])
    train = config.train
    each = train.batch_tokens or train.batch_size  # of tokens or of rows
    a_pass = math.ceil((tokens if train.batch_tokens else rows) / each)
    steps = max(1, math.ceil(a_pass * train.epochs))
    share, shared = 1.0, _devices(config) if train.sharding == "full" else 1
    if train.max_steps and train.max_steps < steps:
        share, steps = train.max_steps / steps, train.max_steps
    return Estimate(
        steps=steps,
        tokens=round(tokens * train.epochs * share),
        state_bytes=int(model["state_bytes"]) // shared,
        activation_bytes=_activations(config, model, lengths),
        tokens_per_second=pace.tokens_per_second,
        from_runs=pace.runs,
    )


def _activations(config: RunConfig, model: Mapping[str, Any], lengths: Mapping[str, Any]) -> int:
    """Of one device's share of a part of a step; its rows are packed, so padding does not count."""
    train, whole = config.train, int(lengths["tokens"])
    step = train.batch_tokens or train.batch_size * whole / int(lengths["rows"])
    shares = train.gradient_accumulation_steps * _devices(config)
    tokens = min(max(math.ceil(step / shares), int(lengths["p95"])), whole)
    unit = BYTES_A_UNIT * (1 if config.model.precision == "bfloat16" else 2)
    body = tokens * int(model.get("layers", 0)) * int(model.get("hidden", 0)) * unit
    head = 0 if config.task_type.has_head else tokens * int(model.get("vocab", 0)) * BYTES_A_LOGIT
    return body + head


def _devices(config: RunConfig) -> int:
    """As many as are asked for by number; "auto" is not known here."""
    return config.train.devices if isinstance(config.train.devices, int) else 1


def find_pace(config: RunConfig, folder: Path) -> Pace:
    """How fast runs of the same base and adapter went on this machine; the newest few count."""
    tokens = seconds = 0.0
    names: list[str] = []
    for run in list_runs(folder)[:RUNS_LOOKED_AT]:
        if len(names) == RUNS_READ:
            break
        if not _is_alike(run, config):
            continue
        history = _read_small(run)
        if history and history.started and history.started.host == socket.gethostname():
            steps = history.steps
            first = 1 if len(steps) > 2 else 0  # the first step warms up
            took = sum(steps.seconds[first:])
            if took > 0:
                tokens, seconds = tokens + sum(steps.tokens[first:]), seconds + took
                names.append(run.id)
    return Pace(tokens / seconds, tuple(names)) if seconds else Pace()


def _is_alike(run: Run, config: RunConfig) -> bool:
    try:
        model = read_toml(run.path / "run.toml")[0].get("model", {})
    except ConfigError:
        return False
    if not isinstance(model, dict):
        return False
    same_base = model.get("base") == config.model.base
    return same_base and model.get("adapter", "none") == config.model.adapter


def _read_small(run: Run) -> History | None:
    try:
        if run.events_path.stat().st_size > LARGEST_HISTORY:
            return None
        return read_history(run)
    except (OSError, FtevError):
        return None


def estimate_path(run: Run) -> Path:
    return run.path / "estimate.json"


def write_estimate(run: Run, estimate: Estimate) -> None:
    with writing(estimate_path(run)):
        estimate_path(run).write_bytes(msgspec.json.encode(estimate))


def read_estimate(run: Run) -> Estimate | None:
    """None where the run was started without one."""
    try:
        return read_json(estimate_path(run), Estimate)
    except RunError:
        return None


def compare_with_estimate(run: Run, history: History) -> dict[str, float] | None:
    """Seconds, tokens and bytes of training, expected and real; None where nothing was expected.

    A resumed run has steps of two workers and is compared all the same: the steps are the same.
    Seconds are of the steps; memory is that of the last worker. What is not known is left out.
    """
    estimate = read_estimate(run)
    if estimate is None or not len(history.steps):
        return None
    numbers: dict[str, float] = {}
    if estimate.seconds is not None:
        numbers |= {
            "estimated_seconds": estimate.seconds,
            "seconds": sum(history.steps.seconds),
            "estimated_tokens": estimate.tokens,
            "tokens": sum(history.steps.tokens),
        }
    memory = training_memory(history)
    if memory is not None and estimate.memory_bytes:
        numbers |= {"estimated_memory": estimate.memory_bytes, "memory": memory}
    return numbers or None


def training_memory(history: History) -> float | None:
    """Bytes at the peak of training above those of the program before it loaded a model.

    Of the GPU where there is one, what other programs did on it counted in. None where the worker
    did not sample both.
    """
    loading, training = history.stages[0], history.stages[2]
    if history.started is None or training.done is None:
        return None
    samples, began = history.samples, history.started.time
    before = [n for n, at in enumerate(samples.time) if began <= at <= loading.started]
    within = [
        n for n, at in enumerate(samples.time) if training.started <= at <= training.done.time
    ]
    # The peak in the first sample within is that of the time before it.
    if not before or len(within) < 2 or min(samples.peak_memory[n] for n in within) < 0:
        return None
    if any(samples.device_memory[n] >= 0 for n in within):
        empty = samples.device_memory[before[-1]]
        return max(samples.device_memory[n] for n in within) - empty if empty >= 0 else None
    peak = max(samples.peak_memory[n] for n in within[1:])
    return peak - samples.memory[before[-1]]
