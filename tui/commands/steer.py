"""`ftev-tui stop`, `pause`, `checkpoint`, `resume`: ask a run's worker, and print what it did."""

from __future__ import annotations

import argparse
import time

from ...core.catalog.summary import describe_status
from ...core.errors import RunError
from ...core.run.control import Accepted, AskCheckpoint, AskPause, AskResume, ask
from ...core.run.history import read_history
from ...core.run.launch import ask_to_stop, is_stopping, make_way, wait_until_gone
from ...core.run.runs import (
    Run,
    last_checkpoint,
    newest_whole,
    open_run,
    runs_folder,
    step_of,
    way_on,
)
from .show import print_json, say
from .train import announce, show_new

ASKS = {"pause": AskPause, "checkpoint": AskCheckpoint}
DEED_SECONDS = 60.0  # a step of a large model may take as long before it looks at requests
AT_ONCE_SECONDS = 0.3  # for the answer, and for the end
SAVING_SECONDS = 600.0  # a checkpoint of a large model on a slow disk


def run(options: argparse.Namespace) -> int:
    """Prints what comes of the request. Raises RunError where no worker listens."""
    if options.command == "resume":
        return resume(options)
    found = open_run(options.run, runs_folder(options.runs_dir))
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
        if command == "checkpoint" and now.checkpoints[-1:] != before.checkpoints[-1:]:
            return f"{found.id}: checkpoint of step {now.checkpoints[-1].step:,} saved"
        if now.ended or now.finished:
            return f"{found.id}: its training is over; nothing was left to {command}"
        time.sleep(0.1)
    return f"{found.id}: {said}"


def resume(options: argparse.Namespace) -> int:
    """A paused run goes on at once, an ended one from its last checkpoint."""
    found = open_run(options.run, runs_folder(options.runs_dir))
    history = read_history(found)
    if found.worker_alive() and not history.finished:
        if not is_stopping(found):
            return _go_on(found, options)
        wait_until_gone(found)
        history = read_history(found)
    if history.finished and history.finished.status == "finished":
        raise RunError(f"{found.id} is finished: nothing is left to resume")
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
