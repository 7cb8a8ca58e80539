"""A million step events opened, beside TensorBoard's reader; and what following a file adds.

    python tests/bench/reading.py [--events 1000000] [--peer 25000] [--follow 40]

Both sides have the same numbers: loss, learning rate, gradient norm and tokens of each step. Ours
are read and folded into the series that the screen draws. TensorBoard's Python reader is given
fewer steps, because it takes long; its time is multiplied. Followed is a run that another process
writes to: the time from an event's own time stamp to the message that has the screen draw it.
"""

from __future__ import annotations

# ruff: noqa: E402 - the tests lend their made runs
import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tui")]

import numpy as np
from ftev.core.run.events import EventReader, EventWriter
from ftev.core.run.history import History
from ftev.core.run.runs import Run
from ftev.tui.app import background
from ftev.tui.screens.run.follow import CHUNK, Follower, HistoryGrew
from made_runs import live_worker, make_run, story, until_step, write_events
from measure import alternate, section, table
from opening import step, write_run

TAGS = ("loss", "learning_rate", "grad_norm", "tokens")


def numbers(n: int, steps: int, dice: random.Random) -> tuple[float, ...]:
    s = step(n, steps, dice)
    return s.loss_sum / s.loss_count, s.learning_rate, s.grad_norm, float(s.tokens)


def write_peer(folder: Path, steps: int) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    dice, writer = random.Random(7), EventFileWriter(str(folder), max_queue_size=1000)
    for n in range(1, steps + 1):
        for tag, value in zip(TAGS, numbers(n, steps, dice), strict=True):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(step=n, wall_time=1.79e9 + n, summary=summary))
    writer.close()


def read_peer(folder: Path) -> list[float]:
    """Sums of each scalar, once TensorBoard has them all."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return [sum(s.value for s in found.Scalars(tag)) for tag in TAGS]


def read_raw(folder: Path) -> int:
    """Only the records of the file as messages, nothing kept."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    (path,) = folder.iterdir()
    return sum(1 for _ in LegacyEventFileLoader(str(path)).Load())


def read_ours(path: Path) -> History:
    history, reader = History(), EventReader(path, CHUNK)
    while history.read(reader):
        pass
    return history


def sums(history: History) -> list[float]:
    s = history.steps
    loss = np.asarray(s.loss_sum) / np.asarray(s.loss_count)
    columns: list[Any] = [loss, s.learning_rate, s.grad_norm, s.tokens]
    return [float(np.sum(column)) for column in columns]


def opened(events: int, peer: int) -> list[list[str]]:
    with tempfile.TemporaryDirectory() as name:
        many, few, theirs = Path(name) / "many", Path(name) / "few", Path(name) / "peer"
        write_run(many, events, measured=False)
        write_run(few, peer, measured=False)
        write_peer(theirs, peer)
        print("written", file=sys.stderr)
        spent = alternate(
            {
                "ours": lambda: read_ours(many),
                "peer": lambda: read_peer(theirs),
                "raw": lambda: read_raw(theirs),
            }
        )
        np.testing.assert_allclose(sums(read_ours(few)), spent["peer"].result, rtol=1e-6)
        assert len(spent["ours"].result.steps.step) == events
    times = events / peer
    cpu = {n: s.median_cpu * (1 if n == "ours" else times) for n, s in spent.items()}
    wall = {n: s.median_wall * (1 if n == "ours" else times) for n, s in spent.items()}
    words = {
        "ours": "ftev: read, checked and folded into a history",
        "peer": f"TensorBoard: EventAccumulator, {peer:,} steps × {times:,.0f}",
        "raw": f"TensorBoard: its records alone, nothing kept, {peer:,} steps × {times:,.0f}",
    }
    return [
        [words[n], f"{wall[n]:.2f} s", f"{cpu[n]:.2f} s", f"{cpu[n] / cpu['ours']:.0f} ×"]
        for n in words
    ]


def write_slowly(path: Path, count: int) -> None:
    """The other process: an event now and then."""
    dice, writer = random.Random(7), EventWriter(path)
    events = story()
    more = events[len(until_step(events, 40)) :][:count]
    time.sleep(1.0)
    for event in more:
        time.sleep(dice.uniform(0.3, 0.6))
        writer.write(type(event)(**{**_fields(event), "time": 0.0}))


def _fields(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


def followed(count: int, text: bool) -> tuple[list[float], float]:
    """ms from each event to the message about it, and the follower's CPU in 10 quiet seconds, %."""
    watch, delays = background._watch, []
    if not text:
        background._watch = lambda _: -1
    with tempfile.TemporaryDirectory() as name:
        run: Run = make_run(Path(name))
        write_events(run, until_step(story(), 40))
        live_worker(run)
        ready = threading.Event()

        def post(message: object) -> None:
            now = time.time()
            if isinstance(message, HistoryGrew) and ready.is_set():
                *_, last = EventReader(run.events_path).read_all()
                delays.append(1000 * (now - last.time))

        follower = Follower(run, post)
        follower.start()
        while follower._changes is None:  # as long as the first reading takes
            time.sleep(0.1)
        time.sleep(0.5)
        ready.set()
        command = [sys.executable, __file__, "--write", str(run.events_path), str(count)]
        subprocess.run(command, check=True)
        time.sleep(6.0)
        quiet = 10 if count > 10 else 3
        spent = time.process_time()
        time.sleep(quiet)
        idle = 100 * (time.process_time() - spent) / quiet
        follower.stop()
        follower.join()
    background._watch = watch
    assert len(delays) >= count / 2
    return delays, idle


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--peer", type=int, default=25_000, help="steps given to TensorBoard")
    parser.add_argument("--follow", type=int, default=40, help="events that are followed")
    args = parser.parse_args()
    rows = opened(args.events, args.peer)
    following = []
    for words, text in (("told by the system (Linux)", True), ("looking by itself", False)):
        delays, idle = followed(args.follow, text)
        median, most = statistics.median(delays), max(delays)
        following.append([words, f"{median:.0f} ms", f"{most:.0f} ms", f"{idle:.2f} %"])
        print(following[-1], file=sys.stderr)
    print(
        section(
            "Opening a million events, and following",
            "python tests/bench/reading.py",
            ("msgspec", "tensorboard"),
            f"{args.events:,} step events of four numbers each; medians of three turns. Sums of "
            "every number agree (TensorBoard keeps float32).",
            table(["", "wall", "CPU", "CPU, in ours"], rows),
            "TensorBoard's own page may read through a server written in Rust instead, which is "
            "not measured here. The event file has no index: who opens it reads all of it.",
            f"From an event to the message that has the screen draw it, {args.follow} events 0.3 "
            "to 0.6 s apart, written by another process:",
            table(["", "median", "most", "CPU when quiet"], following),
            "Events that follow within a quarter of a second are drawn together: a picture "
            "stands that long. File systems of other machines do not tell: there, and on macOS, "
            "the follower looks by itself.",
        )
    )


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if sys.argv[1:2] == ["--write"]:
        write_slowly(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
