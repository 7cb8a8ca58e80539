"""SWEEP.toml: the tables of a run.toml and a [sweep] table, to one checked config a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..config.config import RunConfig
from ..config.config_file import check_config, checked, placed, read_table
from ..config.fields import Count, CountOrNone
from ..errors import ConfigError, DataError, Fault
from .combinations import Values, draw, grid_size, read_values, walk

MOST_RUNS = 1_000
SAME_IN_EVERY_RUN = ("task", "name", "folder", "model.tuned", "objective", "evaluate", "guardrail")
# Of generation: they change which tokens are scored, and bits a byte stand above tokens.
PER_TOKEN = ("loss", "perplexity", "token_accuracy", "average_log_likelihood")


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
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
    over: dict[str, Any] = field(default_factory=dict)
    """Settings by their names: a list of values, or for random { low, high, scale }."""


@dataclass(frozen=True)
class Combination:
    """One run of the sweep: what differs in it, and its whole config."""

    number: int  # from 1, in the order of the file or of the draws
    settings: dict[str, Any]  # dotted names, in the order of the file
    config: RunConfig
    data: Mapping[str, str] = field(default_factory=dict)  # sha256 of each split's files, once read


@dataclass(frozen=True)
class Sweep:
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


def _check_size(
    config: SweepConfig,
    values: Mapping[str, Values],
    faults: list[Fault],
) -> None:
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
    table: dict[str, Any],
    found: list[dict[str, Any]],
    faults: list[Fault],
    source: str,
    lines: dict[str, int],
) -> list[Combination]:
    """A config a combination; the faults of all of them, each once."""
    width, made = len(str(len(found))), []
    for number, settings in enumerate(found, 1):
        whole = deepcopy(table)
        whole["name"] = f"{name}-{number:0{max(2, width)}}"
        for key, value in settings.items():
            _put(whole, key, value)
        if not isinstance(whole.setdefault("evaluate", {}), dict):
            continue
        whole["evaluate"]["test"] = False  # test is read once, for the run that is chosen
        config = _check(whole, source, lines, faults)
        if config is not None:
            faults += placed(_train_faults(config), source, lines)
            made.append(Combination(number, settings, config))
    return made


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key. A value in the way of its table gives way: the base's check told of it."""
    *sections, name = key.split(".")
    for section in sections:
        inner = table.setdefault(section, {})
        if not isinstance(inner, dict):
            inner = table[section] = {}
        table = inner
    table[name] = value


def _check(
    table: dict[str, Any], source: str, lines: dict[str, int], faults: list[Fault]
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
    if not task.has_labels and "model.max_length" in values:
        what = "cuts other texts: the runs would not be scored on the same tokens"
        faults.append(Fault.of("model.max_length", what))
    if not task.has_labels and "model.base" in values and metric in PER_TOKEN:
        what = f"models that cut texts into other tokens cannot be compared in {metric}"
        remedy = 'Write [sweep] metric = "bits_per_byte"'
        faults.append(Fault.of("model.base", what, remedy))
    return metric


def check_rows(sweep: Sweep) -> Sweep:
    """Read the data of each different setting of it once; held-out rows must be the same in all.

    Returns the sweep whose combinations know their data. Raises DataError or ConfigError with
    every fault.
    """
    from ..data.data import read_run_data

    data: dict[str, dict[str, str]] = {}
    first: dict[str, Any] | None = None
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
        rows: dict[str, Any] = {"labels": dataset.labels}
        for name in ("validation", "test"):
            if name in dataset.splits:
                rows[name] = dataset.splits[name].frame.select("row_id", "content")
        first = first or rows
        faults |= dict.fromkeys(_other_rows(sweep, first, rows))
    if faults:
        raise DataError(*faults)
    known = [replace(c, data=data[_data_settings(c)]) for c in sweep.combinations]
    return replace(sweep, combinations=known)


def _data_settings(combination: Combination) -> str:
    return repr((combination.config.data, combination.config.train.seed))


def _other_rows(sweep: Sweep, first: Mapping[str, Any], rows: Mapping[str, Any]) -> list[Fault]:
    """What is held out of one run and not of another: they could not be compared."""
    found = []
    if rows["labels"] != first["labels"]:
        found.append(Fault.of("data.labels", "differ between the runs", "Write [data] labels"))
    for name in ("validation", "test"):
        ours, theirs = rows.get(name), first.get(name)
        if (ours is None) != (theirs is None) or (ours is not None and not ours.equals(theirs)):
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
