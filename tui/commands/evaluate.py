"""`ftev-tui eval`: two existing models on the same rows, from a config or from flags."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.config.config import EvaluateConfig, RunConfig
from ...core.config.config_file import apply_overrides, check_config, load_config
from ...core.errors import ConfigError, Fault, RunError
from ...core.files.reading import read_json
from ...core.tasks import TASKS
from .train import announce, start

FLAGS = ("base", "tuned", "data")  # all three, or a RUN.toml


def run(options: argparse.Namespace) -> int:
    """As `train`, without training. Raises ConfigError for flags that do not go together."""
    announce(options, "reading what to evaluate")
    config = _from_file(options) if options.config else _from_flags(options)
    if options.self_test:
        config = _with_self_test(config)
        options.headless = not options.detach  # what is asked for is printed
    return start(config, options)


def _with_self_test(config: RunConfig) -> RunConfig:
    """Who asks for the self-test gets it, also where the config turns it off."""
    rows = config.evaluate.self_test_rows or EvaluateConfig().self_test_rows
    return replace(config, evaluate=replace(config.evaluate, self_test_rows=rows))


def _from_file(options: argparse.Namespace) -> RunConfig:
    given = [f"--{name}" for name in (*FLAGS, "task") if getattr(options, name)]
    if given:
        raise ConfigError(Fault(", ".join(given), "cannot be given beside RUN.toml", "Use --set"))
    config = load_config(Path(options.config), options.overrides)
    if config.trains:
        where = f"{options.config} model.tuned"
        raise ConfigError(Fault(where, "must be given", "Name the tuned model that is evaluated"))
    return config


def _from_flags(options: argparse.Namespace) -> RunConfig:
    missing = [f"--{name}" for name in FLAGS if not getattr(options, name)]
    if missing:
        raise ConfigError(Fault(", ".join(missing), "must be given", "Or name a RUN.toml"))
    table: dict[str, Any] = {
        "task": options.task or task_of(options.tuned),
        "folder": str(Path.cwd()),
        "model": {"base": options.base, "tuned": options.tuned},
        "data": {"test": options.data},
    }
    lines: dict[str, int] = {}
    apply_overrides(table, options.overrides, lines)
    return check_config(table, "eval", lines)


def task_of(model: str) -> str:
    """What a local model was made for, by its config. Raises ConfigError where it does not say."""
    folder = Path(model)
    for name in ("config.json", "adapter_config.json"):
        try:
            settings = read_json(folder / name, dict[str, Any])
        except RunError:
            continue
        kinds = " ".join(
            [*(settings.get("architectures") or []), str(settings.get("task_type", ""))]
        )
        for task in TASKS.values():
            if any(word in kinds for word in task.architectures):
                return task.name
    remedy = "Write " + " or ".join(f"--task {name}" for name in TASKS)
    raise ConfigError(Fault("--task", f"{model} does not say what it was made for", remedy))
