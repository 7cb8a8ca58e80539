"""`ftev-tui trace RUN --text T`: what happens to a text, layer by layer, in base and tuned."""

from __future__ import annotations

import argparse
import shutil
import sys

import msgspec

from ...core.errors import RunError
from ...core.run.control import AskTrace, Held, Traced, ask
from ...core.run.runs import Run, open_run, runs_folder
from .prompt import PATIENCE, see_to_worker
from .show import let_interrupt, print_json, say

PLAIN_WIDTH = 100  # cells where no terminal says otherwise
LEAST_WIDTH = 76  # cells that the table of layers needs


def run(options: argparse.Namespace) -> int:
    """Starts a worker where none is at work. Raises RunError for one that cannot trace."""
    found = open_run(options.run, runs_folder(options.runs_dir))
    if options.text == "-":
        let_interrupt()
        options.text = sys.stdin.read()
    see_to_worker(found)
    traced = _ask(found, options.text)
    if options.json:
        print_json(msgspec.to_builtins(traced))
    else:
        _print(traced)
    return 0


def _ask(found: Run, text: str) -> Traced:
    for reply in ask(found, AskTrace(text=text), PATIENCE):
        if isinstance(reply, Held):
            say(f"training waits at step {reply.step:,}")
        elif isinstance(reply, Traced):
            return reply
    raise RunError(f"{found.id}: its worker gave no trace; it may be of an older version")


def _print(traced: Traced) -> None:
    from ..drawing.lines import text_of
    from ..screens.trace.lines import whole_trace

    width = shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns
    for line in whole_trace(traced, max(LEAST_WIDTH, width - 1)):
        print(text_of(line).rstrip())
