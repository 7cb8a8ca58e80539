"""SWEEP.toml: the tables of a run.toml and a [sweep] table, as one checked config per run."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeGuard

from ..config.config import RunConfig
from ..config.config_file import check_config, checked, placed, read_table
from ..config.fields import Count, CountOrNone
from ..errors import ConfigError, DataError, Fault
from ..metrics.metric import METRICS

if TYPE_CHECKING:
    import polars as pl

MOST_RUNS = 1_000
SAME_IN_EVERY_RUN = ("task", "name", "folder", "model.tuned", "objective", "evaluate", "guardrail")
DIGITS = 4  # of a number drawn from a range: more carry no information and are hard to type
TRIES = 50  # draws for each run wanted, before it is taken that there are no others


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included; whole ones where both ends are."""

    low: float
    high: float
    log: bool = False

    def at(self, share: float) -> float | int:
        """The number that has so much of the range below it."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            low, high = self.low - 0.5, self.high + 0.5  # else the ends come half as often
            return min(max(round(self._between(low, high, share)), self.low), self.high)
        return float(f"{self._between(self.low, self.high, share):.{DIGITS - 1}e}")

    def _between(self, low: float, high: float, share: float) -> float:
        if self.log:
            return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        return low + share * (high - low)


Values = list[object] | Range


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """The table [sweep]."""

    method: Literal["grid", "random"] = "grid"
    """"grid" runs every combination; "random" draws some."""
    runs: Count = 20
    """How many combinations are drawn (random)."""
    seed: int = 42
    """Seed of the draws; the runs keep train.seed."""
    at_once: CountOrNone = None
    """Runs at the same time; default: as many as there are GPUs, else 1."""
    metric: str | None = None
    """Validation metric that chooses among the runs; default: what chooses their checkpoints."""
    over: dict[str, object] = field(default_factory=dict)
    """Settings by their names: a list of values, or for random { low, high, scale }."""


@dataclass(frozen=True)
class Combination:
    """One run of the sweep: what differs in it, and its whole config."""

    number: int  # from 1, in the order of the file or of the draws
    settings: dict[str, object]  # dotted names, in the order of the file
    config: RunConfig
    data: Mapping[str, str] = field(default_factory=dict)  # sha256 of each split's files, once read


@dataclass(frozen=True)
class Sweep:
    """A checked SWEEP.toml: every run it stands for, and the metric that chooses among them."""

    name: str
    path: Path
    config: SweepConfig
    base: RunConfig
    metric: str
    combinations: list[Combination]

    @property
    def tag(self) -> str:
        """What the home screen groups and filters its runs by; one word."""
        return tag_of(self.name)


def tag_of(name: str) -> str:
    """A sweep's name as one word, as its runs are tagged with."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "sweep"


def load_sweep(path: Path, overrides: list[str] | None = None) -> Sweep:
    """Read and check a SWEEP.toml and every run it stands for. Raises ConfigError, all faults."""
    table, lines = read_table(path, overrides)
    faults: list[Fault] = []
    table.setdefault("name", path.stem)
    config = _read_sweep(table.pop("sweep", None), faults)
    values = read_values(config.over, config.method == "random", faults)
    overruled: list[Fault] = []
    for key in values:
        if key in lines and lines[key] == 0:
            remedy = "Leave one of them out"
            overruled.append(Fault(f"--set {key}", "is one of [sweep.over]", remedy, key))
        lines[key] = _line_of_over(key, lines)
    _check_size(config, values, faults)
    _check_swept(values, faults)
    faults = [*overruled, *placed(faults, path.name, lines)]
    if faults:  # what each value by itself is refused for is listed all the same
        found = [{}, *({key: v} for key, of in values.items() if isinstance(of, list) for v in of)]
    elif config.method == "random":
        found = draw(values, config.runs, config.seed)
    else:
        found = list(walk(values))
    name = str(table["name"])
    made = _make(name, table, found[:MOST_RUNS], faults, path.name, lines)
    if faults:
        raise ConfigError(*dict.fromkeys(faults))
    base = made[0].config
    metric = _choose_metric(config, made, values, faults)
    if faults:
        raise ConfigError(*placed(faults, path.name, lines))
    return Sweep(name, path, config, base, metric, made)


def _read_sweep(table: object, faults: list[Fault]) -> SweepConfig:
    if not isinstance(table, dict):
        what = "must be given" if table is None else f"must be a table, not {table!r}"
        faults.append(Fault.of("sweep", what, "Write [sweep] and [sweep.over]"))
        return SweepConfig()
    return SweepConfig(**checked(SweepConfig, table, "sweep.", faults))


def _line_of_over(key: str, lines: Mapping[str, int]) -> int:
    parts = f"sweep.over.{key}".split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((lines[name] for name in names if name in lines), 1)


def _check_size(config: SweepConfig, values: Mapping[str, Values], faults: list[Fault]) -> None:
    if not values and not faults:
        example = 'Write "train.learning_rate" = [1e-5, 5e-5] under [sweep.over]'
        faults.append(Fault.of("sweep.over", "names no setting", example))
    key, size = "sweep.runs", config.runs
    if config.method == "grid":
        key, size = "sweep.over", grid_size(values)
    if size > MOST_RUNS:
        what = f"makes {size:,} runs, and {MOST_RUNS:,} are the most"
        faults.append(Fault.of(key, what, 'Shorten a list, or write method = "random"'))


def _check_swept(values: Mapping[str, Values], faults: list[Fault]) -> None:
    for key in values:
        if key in SAME_IN_EVERY_RUN or key.partition(".")[0] in SAME_IN_EVERY_RUN:
            what = "must be the same in every run, or they could not be compared"
            faults.append(Fault.of(key, what))
        if inner := next((other for other in values if other.startswith(f"{key}.")), None):
            faults.append(Fault.of(key, f"is the table of {inner}, which is swept over too"))


def _make(
    name: str,
    table: dict[str, object],
    found: list[dict[str, object]],
    faults: list[Fault],
    source: str,
    lines: dict[str, int],
) -> list[Combination]:
    """One config per combination; the faults of all of them, each once."""
    width, made = len(str(len(found))), []
    for number, settings in enumerate(found, 1):
        whole = deepcopy(table)
        whole["name"] = f"{name}-{number:0{max(2, width)}}"
        for key, value in settings.items():
            _put(whole, key, value)
        evaluate = whole.setdefault("evaluate", {})
        if not isinstance(evaluate, dict):
            continue
        evaluate["test"] = False  # test is read once, for the run that is chosen
        config = _check(whole, source, lines, faults)
        if config is not None:
            faults += placed(_train_faults(config), source, lines)
            made.append(Combination(number, settings, config))
    return made


def _put(table: dict[str, object], key: str, value: object) -> None:
    """Set a dotted key. A value in the place of its table is replaced: it is a fault already."""
    *sections, name = key.split(".")
    for section in sections:
        inner = table.setdefault(section, {})
        if not isinstance(inner, dict):
            inner = table[section] = {}
        table = inner
    table[name] = value


def _check(
    table: dict[str, object], source: str, lines: dict[str, int], faults: list[Fault]
) -> RunConfig | None:
    """The config, or None and its faults added to the others."""
    try:
        return check_config(table, source, lines)
    except ConfigError as error:
        faults += error.faults
        return None


def _train_faults(config: RunConfig) -> list[Fault]:
    what = "is for `eval`: the runs of a sweep are trained"
    return [] if config.trains else [Fault.of("model.tuned", what)]


def _choose_metric(
    config: SweepConfig,
    made: list[Combination],
    values: Mapping[str, Values],
    faults: list[Fault],
) -> str:
    """What chooses among the runs: [sweep] metric, else what chooses their checkpoints."""
    task = made[0].config.task_type
    declared = [c.config.train.best_metric or c.config.objective.metric for c in made]
    if config.metric is None and len(set(declared)) > 1:
        what = "is not the same in every run: what chooses among them?"
        faults.append(Fault.of("train.best_metric", what, "Write [sweep] metric"))
    metric = config.metric or declared[0] or task.default_metric
    known = task.metrics
    if metric not in known:
        what = f"there is no metric {metric!r} for {task.name}"
        faults.append(Fault.of("sweep.metric", what, "Known: " + ", ".join(known)))
    if task.writes and "model.max_length" in values:
        what = "truncates other texts: the runs would not be scored on the same tokens"
        faults.append(Fault.of("model.max_length", what))
    per_token = metric in METRICS and METRICS[metric].per_token
    if task.writes and "model.base" in values and per_token:
        what = f"models with different tokenizers cannot be compared by {metric}"
        remedy = 'Write [sweep] metric = "bits_per_byte"'
        faults.append(Fault.of("model.base", what, remedy))
    return metric


# Settings that are swept over


def read_values(over: Mapping[str, object], random: bool, faults: list[Fault]) -> dict[str, Values]:
    """[sweep.over] by dotted names, written `"train.seed" = …` or as tables. Faults are added."""
    found: dict[str, Values] = {}
    for key, given in _open(over):
        place = f"sweep.over.{key}"
        if isinstance(given, list):
            if not given:
                faults.append(Fault.of(place, "has no values"))
            elif any(value in given[:i] for i, value in enumerate(given)):
                faults.append(Fault.of(place, "names a value twice"))
            found[key] = given
        elif isinstance(given, Mapping) and random:
            if isinstance(read := _read_range(given), str):
                faults.append(Fault.of(place, read, "Write { low = 1e-5, high = 1e-3 }"))
            else:
                found[key] = read
        elif isinstance(given, Mapping):
            remedy = 'Write a list, or method = "random"'
            faults.append(Fault.of(place, "is a range, and a grid needs a list of values", remedy))
        else:
            faults.append(Fault.of(place, f"must be a list of values, not {given!r}"))
    return found


def _open(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Tables within tables as dotted names; a table with `low` or `high` is a range."""
    for name, value in table.items():
        if isinstance(value, Mapping) and value and not {"low", "high"} & set(value):
            yield from _open(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _read_range(given: Mapping[str, object]) -> Range | str:
    """A range, or what is wrong with it."""
    if unknown := sorted(set(given) - {"low", "high", "scale"}):
        return f"a range has low, high and scale, not {', '.join(unknown)}"
    low, high, scale = given.get("low"), given.get("high"), given.get("scale", "linear")
    if not (_is_finite(low) and _is_finite(high)):
        return "needs low and high, both numbers"
    if scale not in ("linear", "log"):
        return f"scale is linear or log, not {scale!r}"
    if low >= high:
        return "low must lie below high"
    if scale == "log" and low <= 0:
        return "a log scale needs low above 0"
    return Range(low, high, scale == "log")


def _is_finite(end: object) -> TypeGuard[int | float]:
    return isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end)


def grid_size(values: Mapping[str, Values]) -> int:
    """How many combinations a grid has."""
    return math.prod(len(v) for v in values.values() if isinstance(v, list))


def walk(values: Mapping[str, Values]) -> Iterator[dict[str, object]]:
    """Every combination; the last setting of the file changes first."""
    lists = [v for v in values.values() if isinstance(v, list)]
    for chosen in itertools.product(*lists):
        yield dict(zip(values, chosen, strict=True))


def draw(values: Mapping[str, Values], count: int, seed: int) -> list[dict[str, object]]:
    """`count` different combinations, or all there are; more of them begin with the same ones."""
    uniform = random.Random(seed).random
    found: list[dict[str, object]] = []
    for _ in range(TRIES * count):
        drawn = {key: _pick(of, uniform()) for key, of in values.items()}
        if drawn not in found:
            found.append(drawn)
        if len(found) == count:
            break
    return found


def _pick(values: Values, share: float) -> object:
    return values.at(share) if isinstance(values, Range) else values[int(share * len(values))]


# The rows of the runs


HELD_OUT = ("validation", "test")


class _HeldOut(NamedTuple):
    """The labels of a run, and its held-out splits by row and content hash."""

    labels: Sequence[str]
    frames: dict[str, pl.DataFrame]


def check_rows(sweep: Sweep) -> Sweep:
    """Read the data of each different setting of it once; held-out rows must be the same in all.

    Returns the sweep whose combinations know their data. Raises DataError or ConfigError with
    every fault.
    """
    from ..data.data import read_run_data

    data: dict[str, dict[str, str]] = {}
    first: _HeldOut | None = None
    faults: dict[Fault, None] = {}
    for c in sweep.combinations:
        key = _data_settings(c)
        if key in data:
            continue
        data[key] = {}
        try:
            dataset = read_run_data(c.config)
        except (DataError, ConfigError) as error:
            faults |= dict.fromkeys(error.faults)
            continue
        data[key] = dataset.hashes()
        names = [name for name in HELD_OUT if name in dataset.splits]
        frames = {n: dataset.splits[n].frame.select("row_id", "content") for n in names}
        rows = _HeldOut(dataset.labels, frames)
        first = first or rows
        faults |= dict.fromkeys(_other_rows(sweep, first, rows))
    if faults:
        raise DataError(*faults)
    known = [replace(c, data=data[_data_settings(c)]) for c in sweep.combinations]
    return replace(sweep, combinations=known)


def _data_settings(combination: Combination) -> str:
    return repr((combination.config.data, combination.config.train.seed))


def _other_rows(sweep: Sweep, first: _HeldOut, rows: _HeldOut) -> list[Fault]:
    """What is held out of one run and not of another: they could not be compared."""
    found = []
    if rows.labels != first.labels:
        found.append(Fault.of("data.labels", "differ between the runs", "Write [data] labels"))
    for name in HELD_OUT:
        ours, theirs = rows.frames.get(name), first.frames.get(name)
        same = ours is theirs if ours is None or theirs is None else ours.equals(theirs)
        if not same:
            what = f"not every run has the same rows in {name}"
            remedy = f"Name a file, {name} = …, instead of a share that seed and train decide"
            place = f"{sweep.path.name} data.{name}"
            found.append(Fault(place, what, remedy, f"data.{name}"))
    return found


def of_the_chosen(config: RunConfig, model: Path, name: str) -> RunConfig:
    """The config that evaluates a chosen run's model on test: the same rows are held out."""
    return replace(
        config,
        name=name,
        model=replace(config.model, tuned=str(model)),
        evaluate=replace(config.evaluate, test=True),
    )
