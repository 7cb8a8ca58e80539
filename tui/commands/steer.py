"""`ftev-tui status`, `stop`, `pause`, `checkpoint`, `resume`: where a run stands; what is asked of
its worker, and what it did."""

from __future__ import annotations

import argparse
import time

from ...core.catalog.listed import format_headline
from ...core.catalog.summary import Status, describe_status
from ...core.errors import RunError
from ...core.metrics.metric import METRICS
from ...core.run.control import Accepted, AskCheckpoint, AskPause, AskResume, ask
from ...core.run.foreign.imported import find_run
from ...core.run.history import read_history
from ...core.run.launch import ask_to_stop, is_stopping, make_way, wait_until_gone
from ...core.run.runs import (
    Run,
    last_checkpoint,
    newest_whole,
    refuse_foreign,
    runs_folder,
    step_of,
    way_on,
)
from ...core.wording.names import name_metric
from ...core.wording.numbers import DASH, format_seconds, format_value
from ..drawing.format import format_bytes, format_number
from .show import print_json, print_table, say
from .train import announce, show_new

ASKS = {"pause": AskPause, "checkpoint": AskCheckpoint}
DEED_SECONDS = 60.0  # a step of a large model may take as long before it looks at requests
AT_ONCE_SECONDS = 0.3  # for the answer, and for the end
SAVING_SECONDS = 600.0  # a checkpoint of a large model on a slow disk


def run(options: argparse.Namespace) -> int:
    """Prints what comes of the request. Raises RunError where no worker listens."""
    found = find_run(options.run, runs_folder(options.runs_dir))
    refuse_foreign(found)
    if options.command == "resume":
        return resume(found, options)
    if options.command == "stop":
        outcome = stop(found, wait=options.wait)
    else:
        outcome = steer(found, options.command)
    show_outcome(outcome, found, options)
    return 0


def show_outcome(outcome: str, found: Run, options: argparse.Namespace) -> None:
    """What became of it: in words, or with --json as the run's status."""
    if options.json:
        say(outcome)
        print_json(describe_status(found))
    else:
        print(outcome)


def stop(found: Run, *, wait: bool) -> str:
    """What became of it, or, where that takes longer than a second and nobody waits, what will."""
    said = ask_to_stop(found, SAVING_SECONDS if wait else AT_ONCE_SECONDS)
    try:
        wait_until_gone(found, SAVING_SECONDS if wait else AT_ONCE_SECONDS)
    except RunError:
        if wait:
            raise
        step = read_history(found).step
        then = f"`ftev-tui status {found.id}` shows when it has, `resume` waits for it"
        return f"{found.id}, step {step:,}: {said}. {then}"
    history = read_history(found)
    if history.finished and history.finished.status == "finished":
        return f"{found.id} is finished; its worker has ended"
    newest = last_checkpoint(found)
    goes_on = f"goes on from step {step_of(newest):,}" if newest else "starts it again from step 0"
    return f"{found.id} stopped at step {history.step:,}: `ftev-tui resume {found.id}` {goes_on}"


def steer(found: Run, command: str) -> str:
    """Ask, and wait until the run has written the deed down, or is past it."""
    before = read_history(found)
    said = ""
    for reply in ask(found, ASKS[command]()):
        if isinstance(reply, Accepted):
            said = reply.text
    deadline = time.monotonic() + DEED_SECONDS
    while time.monotonic() < deadline and found.worker_alive():
        now = read_history(found)
        if command == "pause" and now.paused:
            return f"{found.id} is paused at step {now.step:,}"
        # Its time differs, also where the same step was saved before.
        if command == "checkpoint" and now.checkpoints[-1:] != before.checkpoints[-1:]:
            return f"{found.id}: checkpoint of step {now.checkpoints[-1].step:,} saved"
        if now.ended or now.finished:
            return f"{found.id}: its training is over; nothing was left to {command}"
        time.sleep(0.1)  # the deed comes between two steps; the file is small to read
    return f"{found.id}: {said}"


def resume(found: Run, options: argparse.Namespace) -> int:
    """A paused run goes on at once, an ended one from its last checkpoint."""
    history = read_history(found)
    if found.worker_alive() and not history.finished:
        if not is_stopping(found):
            return _go_on(found, options)
        wait_until_gone(found)
        history = read_history(found)
    if history.finished and history.finished.status == "finished":
        raise RunError(f"{found.id} is finished: nothing is left to resume")
    # A worker that only answers prompts still holds the run's lock.
    make_way(found)
    for text in way_on(*newest_whole(found)):
        say(f"ftev: {text}")
    announce(options, f"{found.id} goes on")
    return show_new(found, options, "--resume")


def _go_on(found: Run, options: argparse.Namespace) -> int:
    if not read_history(found).paused:
        raise RunError(f"{found.id} is not paused: its worker is at work")
    for _ in ask(found, AskResume()):
        pass
    show_outcome(f"{found.id} goes on", found, options)
    return 0


def show_status(options: argparse.Namespace) -> int:
    """Raises RunError where the run cannot be read."""
    status = describe_status(find_run(options.run, runs_folder(options.runs_dir)))
    if options.json:
        print_json(status)
    else:
        print_table(("", "where it stands"), status_rows(status), words=("", "where it stands"))
    return 0


def status_rows(status: Status) -> list[list[str]]:
    """A status as rows of a name and a value."""
    rows = [
        ["run", status["id"]],
        ["name", status["name"]],
        ["task", status["task"]],
        ["status", status["status"]],
        ["started", status["created"] or DASH],
    ]
    if activity := status["activity"]:
        ended = status["status"] in ("stopped", "failed", "died")
        rows.append(["ended while" if ended else "now", activity])
    if status["max_steps"]:
        rows.append(["step", f"{status['step']:,} of {status['max_steps']:,}"])
        rows.append(["epoch", f"{status['epoch']:.2f} of {status['epochs']:g}"])
    if status["eta_seconds"] is not None and status["status"] == "running":
        left = (
            f"{format_seconds(status['eta_seconds'])}, {status['tokens_per_second']:,.0f} tokens/s"
        )
        rows.append(["steps left", left])
    took = status["estimate"] or {}
    for name, what, as_words in (
        ("seconds", "training took", format_seconds),
        ("memory", "training memory", format_bytes),
    ):
        if name in took:
            expected = as_words(took[f"estimated_{name}"])
            rows.append([what, f"{as_words(took[name])}, estimated {expected}"])
    rows.append(["headline", format_headline(status["headline"])])
    for key, value in status["metrics"].items():
        split, _, metric = key.partition("/")
        # another tool's metric may be anything: a reward of 49 is not 4900 %
        is_known = status["origin"] == "ftev" or metric in METRICS or metric.endswith("loss")
        figure = format_value(metric, value) if is_known else format_number(value)
        shown = f"{figure} (step {status['metric_steps'][key]:,})"
        rows.append([f"{split} {name_metric(metric, status['positive'])}", shown])
    if worker := status["worker"]:
        there = "alive" if worker["alive"] else "gone"
        rows.append(["worker", f"{worker['pid']} on {worker['host']}, {there}"])
        if held := status["worker_memory"]:
            rows[-1][1] += f", holds {format_bytes(held)}"
        if worker["alive"] and status["status"] in ("finished", "stopped", "failed"):
            rows.append(
                ["", f"it answers prompts; `ftev-tui stop {status['id']}` frees its memory"]
            )
    if status["error"]:
        rows.append(["error", status["error"]])
    return rows
