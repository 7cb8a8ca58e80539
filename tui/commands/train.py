"""`ftev-tui train RUN.toml`, `demo` and `eval` (two existing models on the same rows, from a config
or from flags): start a run, and show it: a screen, lines, or its path."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.config.config import EvaluateConfig, RunConfig
from ...core.errors import ConfigError, Fault, RunError
from ...core.run.runs import Run, create_run, runs_folder
from ...core.wording.text import visible
from .show import can_draw_screen, print_json, say

DEMO_FOLDER = "demo_data"


def run(options: argparse.Namespace) -> int:
    """Raises FtevError before anything is started where config or data are at fault."""
    options.full_report = is_demo = options.command == "demo"
    if is_demo and options.keep is not None:
        return keep_demo(options)
    made_up = "demo, made up on this machine"
    announce(options, f"{options.task} {made_up}" if is_demo else f"reading {options.config}")
    from ...core.config.config_file import load_config

    path = write_demo_data(options) if is_demo else Path(options.config)
    return start(load_config(path, options.overrides), options)


def write_demo_data(options: argparse.Namespace) -> Path:
    """Beside the runs, where the data can be looked at; returns its run.toml."""
    from ...core.data.demo import write_demo

    return write_demo(options.task, runs_folder(options.runs_dir) / DEMO_FOLDER / options.task)


def keep_demo(options: argparse.Namespace) -> int:
    """The data and run.toml of a demo, to be edited and run; nothing is started.

    Raises ConfigError for a folder in which there is one already.
    """
    from ...core.data.demo import write_demo
    from ...core.files.disk import writing

    folder = Path(options.keep or f"demo_{options.task}")
    if (folder / "run.toml").exists():
        what = "is there already, perhaps edited"
        raise ConfigError(Fault(str(folder / "run.toml"), what, "Name another folder after --keep"))
    with writing(folder):
        path = write_demo(options.task, folder)
    if options.json:
        print_json({"config": str(path)})
    else:
        print(path)
        print(f"`ftev-tui check {path}` looks at it, `ftev-tui train {path}` starts it")
    return 0


def announce(options: argparse.Namespace, what: str) -> None:
    """A first line at once: the imports behind it take a while."""
    if options.json or options.detach or _prepares(options):
        say(f"ftev: {what} …")
    else:
        print(f"ftev: {what} …", flush=True)


def start(config: RunConfig, options: argparse.Namespace) -> int:
    """Check the data, create the run, start its worker and show it."""
    from ...core.data.data import read_run_data
    from ...core.run.launch import processes_of, require_engine

    refuse_early_gate(options)
    if not _prepares(options):  # what is prepared here may be meant for another machine
        require_engine()
        processes_of(config)
    read_run_data(config)
    return show_new(create_run(config, runs_folder(options.runs_dir)), options)


def _prepares(options: argparse.Namespace) -> bool:
    """A resumed run is there already."""
    return getattr(options, "prepare", False)


def refuse_early_gate(options: argparse.Namespace) -> None:
    """A detached command returns before there is a verdict: its 0 would pass the gate."""
    if options.gate and (options.detach or _prepares(options)):
        remedy = "Leave one out; when the run is over, ask `ftev-tui report RUN --gate`"
        other = "--detach" if options.detach else "--prepare"
        raise ConfigError(Fault("--gate", f"cannot be answered with {other}", remedy))


def show_new(run: Run, options: argparse.Namespace, *arguments: str) -> int:
    """Start the run's worker and show it as the options say."""
    if _prepares(options):
        print(run.path.resolve())
        return 0
    if options.detach:
        return _detach(run, options, arguments)
    if options.headless or options.json or not can_draw_screen():
        return _show_lines(run, options, arguments)
    return _show_screen(run, options, arguments)


def _start_worker(
    run: Run, options: argparse.Namespace, arguments: tuple[str, ...]
) -> subprocess.Popen[bytes]:
    from ...core.run.launch import start_worker

    return start_worker(run, *arguments, devices=getattr(options, "devices", None))


def _detach(run: Run, options: argparse.Namespace, arguments: tuple[str, ...]) -> int:
    from ...core.run.launch import refuse_if_second, wait_until_listening

    process = _start_worker(run, options, arguments)
    wait_until_listening(run, process)
    refuse_if_second(run, process)
    process.returncode = 0  # it lives on: nobody waits for it here
    if options.json:
        from ...core.catalog.summary import describe_status

        print_json(describe_status(run))
    else:
        print(run.path.resolve())
    return 0


def _show_lines(run: Run, options: argparse.Namespace, arguments: tuple[str, ...]) -> int:
    from ...core.run.launch import refuse_if_second
    from .follow import (
        INTERRUPTED,
        Follower,
        describe_death,
        exit_code,
        follow_own,
        print_outcome,
        printer,
    )

    emit = printer(to_stderr=options.json)
    follower = Follower(run, emit)
    if arguments:  # a resumed run has written a part of its events before
        follower.skip_past()
    process = _start_worker(run, options, (*arguments, "--serve-minutes", "0"))
    interrupted = follow_own(follower, process)
    refuse_if_second(run, process)
    history = follower.history
    if history.finished is None and not interrupted:
        for line in describe_death(run, history):
            say(line)
        return 1
    report = print_outcome(run, history, emit)
    if options.json:
        print_json(report)
    elif getattr(options, "full_report", False) and history.results:
        from ...core.report.report import render_markdown

        print("\n" + render_markdown(report), end="")
    if interrupted:
        return INTERRUPTED
    code = exit_code(history, report, gate=options.gate)
    if getattr(options, "self_test", False) and history.results:
        from .follow import print_self_test

        return code or print_self_test(history, emit)
    return code


def _show_screen(run: Run, options: argparse.Namespace, arguments: tuple[str, ...]) -> int:
    """The screen of a run whose worker outlives it. Leaving before the end is no failure."""
    process = _start_worker(run, options, arguments)
    code = draw_screen(run, options)
    process.poll()
    process.returncode = process.returncode or 0
    return code or after_screen(run, options)


def draw_screen(run: Run, options: argparse.Namespace) -> int:
    """The run's screen, in an interpreter of its own where Polars has been at work in this one.

    The screen is drawn in a forked process. Polars answers from a pool of threads, which a fork
    does not take along: there the first table would be waited for forever.
    """
    folder = runs_folder(options.runs_dir)
    if "polars" not in sys.modules:
        from ..app.app import run_app

        return run_app(folder, run, theme=options.theme, ascii_only=options.ascii)
    from ...core.run.launch import child_environment, python_command
    from ..terminal.terminal import supervised

    command = python_command("ftev.tui.cli", "--runs-dir", str(folder))
    command += ["--theme", options.theme, *["--ascii"] * options.ascii]
    command += ["open", str(run.path.resolve())]
    return supervised(lambda: os.execve(sys.executable, command, child_environment()))


def after_screen(run: Run, options: argparse.Namespace) -> int:
    """One line on where the run stands when its screen is left."""
    from ...core.catalog.summary import run_status
    from ...core.report.report import build_report
    from ...core.run.history import read_history
    from .follow import OBJECTIVE_NOT_MET, exit_code

    history = read_history(run)
    if history.finished is None:
        going = "goes on" if run.worker_alive() else run_status(run, history)
        print(f"{run.id} {going}: `ftev-tui open {run.id}` shows it again")
        return OBJECTIVE_NOT_MET if options.gate else 0
    print(f"{run.id} {history.finished.status}: {run.path.resolve()}")
    return exit_code(history, build_report(run, history), gate=options.gate)


FLAGS = ("base", "tuned", "data")  # all three, or a RUN.toml


def evaluate(options: argparse.Namespace) -> int:
    """As `train`, without training. Raises ConfigError for flags that do not go together."""
    announce(options, "reading what to evaluate")
    config = _from_file(options) if options.config else _from_flags(options)
    if "://" in config.model.base + str(config.model.tuned):
        return _evaluate_served(config, options)
    if options.self_test:
        config = _with_self_test(config)
        options.headless = not options.detach  # what is asked for is printed
    return start(config, options)


def _evaluate_served(config: RunConfig, options: argparse.Namespace) -> int:
    """Models behind servers: here and now, for there is no engine to be started."""
    from ...core.compare.served import are_served, evaluate_served
    from ...core.run.history import read_history
    from .follow import gate_code, print_outcome

    are_served(config)
    found = evaluate_served(config, runs_folder(options.runs_dir), lambda text: say(f"  {text}"))
    history = read_history(found)
    lines: list[str] = []
    report = print_outcome(found, history, lines.append)
    if options.json:
        print_json(report)
    else:
        print(f"run {found.id}: {history.task}")
        for note in history.notes:
            print(f"  {visible(note.text)}")
        print("\n".join(lines))
    return gate_code(report) if options.gate else 0


def _with_self_test(config: RunConfig) -> RunConfig:
    """Who asks for the self-test gets it, also where the config turns it off."""
    rows = config.evaluate.self_test_rows or EvaluateConfig().self_test_rows
    return replace(config, evaluate=replace(config.evaluate, self_test_rows=rows))


def _from_file(options: argparse.Namespace) -> RunConfig:
    given = [f"--{name}" for name in (*FLAGS, "task") if getattr(options, name)]
    if given:
        raise ConfigError(Fault(", ".join(given), "cannot be given beside RUN.toml", "Use --set"))
    from ...core.config.config_file import load_config

    config = load_config(Path(options.config), options.overrides)
    if config.trains:
        where = f"{options.config} model.tuned"
        raise ConfigError(Fault(where, "must be given", "Name the tuned model that is evaluated"))
    return config


def _from_flags(options: argparse.Namespace) -> RunConfig:
    from ...core.config.config_file import apply_overrides, check_config

    missing = [f"--{name}" for name in FLAGS if not getattr(options, name)]
    if missing:
        raise ConfigError(Fault(", ".join(missing), "must be given", "Or name a RUN.toml"))
    table: dict[str, Any] = {
        "task": options.task or _task_of_served(options.tuned) or task_of(options.tuned),
        "folder": str(Path.cwd()),
        "model": {"base": options.base, "tuned": options.tuned},
        "data": {"test": options.data},
    }
    lines: dict[str, int] = {}
    apply_overrides(table, options.overrides, lines)
    return check_config(table, "eval", lines)


def _task_of_served(model: str) -> str:
    """A server's model writes text."""
    return "generation" if "://" in model else ""


def task_of(model: str) -> str:
    """What a local model was made for, by its config. Raises ConfigError where it does not say."""
    from ...core.files.reading import read_json
    from ...core.tasks import NAMES, TASKS

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
    remedy = "Write " + " or ".join(f"--task {name}" for name in NAMES)
    raise ConfigError(Fault("--task", f"{model} does not say what it was made for", remedy))
