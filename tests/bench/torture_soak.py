"""A worker that trains and a screen that shows it, with prompts, for minutes or hours.

Memory and descriptors of both are flat once they are warm, and where nothing happens nothing is
written, neither to the terminal nor to the disk.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ftev.core.files.disk import memory_of
from ftev.core.run.control import AskPause, ask
from ftev.core.run.events import EventReader
from ftev.core.run.history import History, read_history
from ftev.core.run.launch import start_worker
from ftev.core.run.runs import Run, create_run
from pseudo_terminal import Terminal, children_of
from torture_kills import PATIENCE, SINGLE, kinds
from torture_signals import has_stepped
from waiting import wait_for

Row = tuple[str, int, list[str]]
OPEN = "import sys; from ftev.tui.cli import main; sys.exit(main(sys.argv[1:]))"
KEYS = ("1", "2", "\t", "]", "[", "+", "0")
GROWTH = 0.01  # of what a warm process holds
STEP_BYTES = 88  # that a history holds of each step: ten numbers of 8 bytes, and room to grow
WARM = 1 / 3  # of the time
QUIET_SECONDS = 10.0
SETTLED_SECONDS = 15.0  # in which the worker writes the one sample that shows it idle


@dataclass
class Watched:
    """What a process held, a sample a second."""

    pid: int
    memory: list[int] = field(default_factory=list)  # bytes
    files: list[int] = field(default_factory=list)

    def look(self) -> None:
        held = memory_of(self.pid)
        assert held, "the process has ended"
        self.memory.append(held)
        self.files.append(len(os.listdir(f"/proc/{self.pid}/fd")))

    def faults(self, name: str, held: float) -> tuple[str, list[str]]:
        """How it grew since it was warm, and what of that is too much.

        `held`: bytes that it has to keep for each second.
        """
        warm = int(len(self.memory) * WARM)
        fifth = max(1, (len(self.memory) - warm) // 5)
        before = statistics.median(self.memory[warm : warm + fifth])
        kept = held * (len(self.memory) - warm - fifth)  # between the middles of the two fifths
        growth = (statistics.median(self.memory[-fifth:]) - kept) / before - 1
        files, most = max(self.files[:warm]), max(self.files[-fifth:])
        text = f"{name}: {before / 2**20:.0f} MiB {growth:+.2%}, {files} files then {most}"
        found = [f"memory grew by {growth:.2%}"] if growth > GROWTH else []
        return text, found + ([f"{most} files are open, of {files}"] if most > files else [])


def soak(options: argparse.Namespace) -> Iterator[Row]:
    """So many minutes of training, watched, prompted and then paused."""
    os.environ |= SINGLE
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        place = Path(name)
        os.environ["XDG_STATE_HOME"] = str(place / "state")
        kind = next(k for k in kinds(place) if k.config.task == "generation")
        train = replace(kind.config.train, epochs=1_000, max_steps=None, eval_every=2_000)
        # Long epochs: an evaluation ends each, and what it measured and answered is kept.
        with (Path(kind.config.folder) / "train.csv").open("a") as file:
            file.writelines(f"cup {i} is,warm tea of day {i % 7}\n" for i in range(40_000))
        run = create_run(replace(kind.config, train=train), place / "runs")
        process = start_worker(run, "--serve-minutes", "0")
        try:
            wait_for(partial(has_stepped, run, process), "the first steps")
            terminal = Terminal([sys.executable, "-c", OPEN, "open", str(run.path)], 120, 40)
            try:
                yield from watched(run, process.pid, terminal, options.minutes * 60)
            finally:
                terminal.close()
        finally:
            process.terminate()
            process.wait(PATIENCE)


def watched(run: Run, worker: int, terminal: Terminal, seconds: float) -> Iterator[Row]:
    terminal.wait_for("step", 60.0)
    [screen] = children_of(terminal.pid) or [terminal.pid]
    processes = {"worker": Watched(worker), "screen": Watched(screen)}
    history, reader = History(), EventReader(run.events_path)
    history.add_all(reader.read_all())
    began, first, asked = time.monotonic(), history.step, 0
    while time.monotonic() - began < seconds:
        second = len(processes["screen"].memory)
        history.add_all(reader.read_all())
        if second % 5 == 0 and answered(history) == asked:  # who asks in a hurry asks again
            terminal.press(f"pcup number {second} is\r")
            asked += 1
        elif second % 5 == 3 and answered(history) == asked:  # escape stops what is not answered
            terminal.press("\x1b")
        elif second % 5 == 4:
            terminal.press(KEYS[second // 5 % len(KEYS)])
        terminal.read(1.0)
        terminal.output.clear()
        for watch in processes.values():
            watch.look()
    rate = (history.step - first) / (time.monotonic() - began)
    # Reading on: a screen whose terminal takes nothing waits, and its keys with it.
    terminal.read(60.0, lambda: answered(read_history(run)) == asked)
    for name, watch in processes.items():
        found, faults = watch.faults(name, rate * STEP_BYTES if name == "screen" else 0.0)
        yield found, len(watch.memory), faults
    lost = asked - answered(read_history(run))
    faults = [f"{lost} were not answered\n{terminal.text()}"] if lost or not asked else []
    yield f"{asked} prompts, {rate:,.0f} steps a second", asked, faults
    yield from quiet(run, worker, screen, terminal)


def answered(history: History) -> int:
    return sum(not prompt.probe for prompt in history.prompts)


def quiet(run: Run, worker: int, screen: int, terminal: Terminal) -> Iterator[Row]:
    """Paused, nothing is written: neither by the worker nor by the screen."""
    list(ask(run, AskPause()))
    wait_for(lambda: read_history(run).paused, "the pause")
    terminal.press("\x1b")
    terminal.read(SETTLED_SECONDS)
    terminal.output.clear()
    before = {pid: written_by(pid) for pid in (worker, screen)}
    terminal.read(QUIET_SECONDS)
    for name, pid in (("worker", worker), ("screen", screen)):
        bytes_ = written_by(pid) - before[pid]
        faults = [f"{bytes_:,} bytes were written"] if bytes_ else []
        if pid == screen and terminal.bytes_read:
            faults.append(f"{terminal.bytes_read:,} bytes came: {terminal.output[-1][1][:80]!r}")
        yield f"{name}, {QUIET_SECONDS:.0f} s paused: {bytes_:,} bytes written", 1, faults


def written_by(pid: int) -> int:
    """Bytes that a process has handed to the system, to whatever file."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))
