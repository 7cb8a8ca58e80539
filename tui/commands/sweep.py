"""`ftev-tui sweep SWEEP.toml`: many runs, and the one that validation chooses."""

from __future__ import annotations

import argparse
import fcntl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ...core.errors import Fault, RunError
from ...core.run.runs import runs_folder
from ...core.sweep.choice import describe_sweep, measured, rank
from ...core.sweep.machines import Machine, ThisMachine
from ...core.sweep.runs import (
    CAN_GO_ON,
    ENDED,
    Began,
    Ended,
    Entry,
    Lost,
    describe_change,
    describe_settings,
    find_test_run,
    other_runs,
    read_entries,
    read_test_runs,
    test_combination,
    work_through,
)
from ...core.sweep.sweep_file import Sweep, check_rows, load_sweep
from ...core.wording.names import name_decision, name_metric
from ...core.wording.numbers import DASH, format_count, format_estimate, format_seconds
from ...core.wording.text import visible
from .follow import INTERRUPTED, OBJECTIVE_NOT_MET, Emit, printer, terminated_as_interrupted
from .show import Document, print_json, print_table, say

FAILED = 1


def run(options: argparse.Namespace) -> int:
    """1 where no run is chosen or test is unread; 3 with `--gate` unless the verdict is to ship."""
    sweep = load_sweep(Path(options.config), options.overrides)
    folder = runs_folder(options.runs_dir)
    emit = printer(to_stderr=options.json)
    if options.dry_run:
        sweep = check_rows(sweep)
        return _show(sweep, read_entries(sweep, folder), folder, options)
    with _alone(sweep):
        count = format_count(len(sweep.combinations), "run")
        emit(f"ftev: {visible(sweep.name)}: {count}. `ftev-tui` shows them: /tag={sweep.tag}")
        sweep = check_rows(sweep)
        folder.mkdir(parents=True, exist_ok=True)
        entries = read_entries(sweep, folder)
        _warn_of_other_rows(sweep, folder, entries, emit)
        with _machine(sweep, options) as machine:
            try:
                # A scheduler ends a job by SIGTERM; runs in motion go on by themselves either way.
                with terminated_as_interrupted():
                    _work(sweep, entries, folder, machine, options, emit)
            except KeyboardInterrupt:
                _say_what_goes_on(read_entries(sweep, folder), "nothing more is started")
                return INTERRUPTED
            if machine.lost:
                _say_what_goes_on(entries, machine.lost)
        return _show(sweep, entries, folder, options)


@contextmanager
def _machine(sweep: Sweep, options: argparse.Namespace) -> Iterator[Machine]:
    if options.ray is None:
        yield ThisMachine(sweep)
        return
    from ...core.sweep.machines import RayCluster

    with closing(RayCluster(sweep, options.ray)) as cluster:
        yield cluster


@contextmanager
def _alone(sweep: Sweep) -> Iterator[None]:
    """Two of them would start every run twice. The file itself is the lock: it leaves no trace."""
    with sweep.path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            remedy = "`ftev-tui` shows its runs"
            raise RunError(Fault(str(sweep.path), "is at work already", remedy)) from None
        except OSError:  # a file system without locks
            pass
        yield


def _warn_of_other_rows(sweep: Sweep, folder: Path, entries: list[Entry], emit: Emit) -> None:
    """Runs that read other rows are made anew. Raises RunError where one of them is at work."""
    _, others = other_runs(sweep, folder, entries)
    if at_work := [e for e in others if e.status not in ENDED]:
        remedy = f"Wait for its end, or `ftev-tui stop {at_work[0].name}`"
        # Two runs of one name at once would write into one directory.
        raise RunError(Fault(at_work[0].name, f"is at work: {describe_change(at_work)}", remedy))
    if others:
        emit(
            visible(
                f"{describe_change(others)}: not compared with the runs of now, which start anew"
            )
        )


def _work(
    sweep: Sweep,
    entries: list[Entry],
    folder: Path,
    machine: Machine,
    options: argparse.Namespace,
    emit: Emit,
) -> None:
    """All the runs, and then the chosen one's evaluation on test."""
    before = [e for e in entries if e.status in ENDED]
    for entry in before:
        emit(_describe_end(entry, sweep.metric))
    for news in work_through(sweep, entries, folder, machine, retry=options.retry):
        emit(_describe(news, sweep.metric, len(entries)))
    ranked = rank([e.comparable for e in entries], sweep.metric)
    # Test rows are read for the chosen run alone: chosen by them, its figure would be optimistic.
    if machine.lost or not ranked or not sweep.base.data.test:
        return
    chosen = entries[ranked[0]]
    if stale := [e for e in read_test_runs(sweep, folder, chosen) if e.changed]:
        emit(visible(f"{describe_change(stale)}: it is not the evaluation of the rows of now"))
    test = find_test_run(sweep, folder, chosen) or Entry(test_combination(sweep, chosen))
    if test.status not in ENDED or (options.retry and test.status in CAN_GO_ON):
        emit(f"{chosen.name} is chosen by validation, and is evaluated on test")
    for _ in work_through(sweep, [test], folder, machine, retry=options.retry):
        pass


def _describe(news: Began | Ended | Lost, metric: str, count: int) -> str:
    if isinstance(news, Lost):
        living = ", ".join(news.waited_for)
        return f"{news.why}: nothing more is started" + (living and f"; {living} may live on")
    if isinstance(news, Ended):
        return _describe_end(news.entry, metric)
    entry = news.entry
    where = f" on GPU {news.place}" if news.place else ""
    verb = "goes on" if news.again else "starts"
    number = f"{entry.combination.number} of {count}"
    return visible(f"{entry.name} {verb}{where} ({number}): {describe_settings(entry.combination)}")


def _describe_end(entry: Entry, metric: str) -> str:
    if entry.status == "finished":
        value = format_estimate(metric, measured(entry.history, metric))
        return visible(f"{entry.name} finished: {name_metric(metric)} {value} on validation")
    why = f": {entry.error}" if entry.error else ""
    log = f"; see {entry.run.log_path}" if entry.run and not why else ""
    return visible(f"{entry.name} {entry.status}{why}{log}")


def _say_what_goes_on(entries: list[Entry], why: str) -> None:
    at_work = [e.name for e in entries if e.run and e.status not in (*ENDED, "waiting")]
    stopped = [e.name for e in entries if e.status in CAN_GO_ON]
    missing = sum(e.status == "waiting" for e in entries)
    goes = "goes on by itself" if len(at_work) == 1 else "go on by themselves"
    going = f"{', '.join(at_work)} {goes}" if at_work else "no run is at work"
    say(
        f"{why}: {going}; {format_count(missing, 'run')} to come. "
        "The same command takes it up from here"
        + (f"; with --retry also {', '.join(stopped)}" if stopped else "")
    )


def _show(sweep: Sweep, entries: list[Entry], folder: Path, options: argparse.Namespace) -> int:
    summary = describe_sweep(sweep, entries, folder)
    if options.json:
        print_json(summary)
    else:
        show_sweep(summary, dry=options.dry_run)
    if options.dry_run:
        return 0
    test = summary["test"]
    unread = sweep.base.data.test and (test is None or test["result"] is None)
    if summary["chosen"] is None or unread:
        return FAILED
    passed = test is not None and name_decision(test["verdict"]) == "ship"
    return OBJECTIVE_NOT_MET if options.gate and not passed else 0


def show_sweep(summary: Document, *, dry: bool = False) -> None:
    """The document of `sweep --json` as a table of runs, the choice and the verdict."""
    metric, settings = summary["metric"], summary["settings"]
    columns = ("run", *settings, "status", f"{name_metric(metric)} on validation", "took")
    rows = [
        [
            _mark(run["name"], summary["chosen"]),
            *(visible(run["settings"][name], 40) for name in settings),
            run["status"],
            format_estimate(metric, run["validation"]),
            format_seconds(run["seconds"]) if run["seconds"] is not None else DASH,
        ]
        for run in summary["runs"]
    ]
    print_table(columns, rows, words=("run", "status", columns[-2]))
    if dry:
        return
    for error in [f"{r['name']}: {r['error']}" for r in summary["runs"] if r["error"]]:
        print(visible(error))
    print(f"\n{visible(summary['why'])}.")
    if (test := summary["test"]) and test["verdict"]:
        verdict = test["verdict"]
        print(f"verdict: {name_decision(verdict)} (objective: {visible(verdict['objective'])})")
        for reason in verdict["reasons"]:
            print(f"  {visible(reason)}")
        print(f"`ftev-tui report {test['id']}` has every number of it.")
    for note in summary["notes"]:
        print(f"\n{visible(note)}.")


def _mark(name: str, chosen: str | None) -> str:
    return f"{name} (chosen)" if name == chosen else name
