"""Opening a long run: seconds and memory of reading, folding and drawing its charts.

    python tests/bench/opening.py [STEPS]

Each run is made by seed in a temporary folder and opened by a fresh process, as the screen opens
it: blocks of the file decoded and folded, the series prepared, the first chart drawn at 200 × 50.
One run has a million steps (or as many as asked); the other has 20,000 steps with an evaluation and
a sample of the machine after each: some twenty metrics of 20,000 points, all of them drawn. The
last figure is one redraw of 100,000 points.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ftev.core.run.events import (
    Evaluated,
    Event,
    LabelsFixed,
    RunStarted,
    StepDone,
    SystemSampled,
    TrainingPlanned,
    encode_event,
)

BEGAN = 1_790_000_000.0
WIDTH, HEIGHT = 118, 22  # cells of the chart pane at 200 × 50


def begin(steps: int) -> Iterator[Event]:
    yield RunStarted(
        run="long",
        name="long",
        task="classification",
        pid=1,
        host="h",
        ftev_version="0",
        time=BEGAN,
    )
    yield LabelsFixed(labels=["no", "yes"], positive="yes", time=BEGAN)
    yield TrainingPlanned(
        max_steps=steps,
        steps_per_epoch=steps // 10,
        epochs=10,
        warmup_steps=steps // 20,
        rows_per_step=32,
        padding=0.05,
        time=BEGAN,
    )


def step(n: int, steps: int, dice: random.Random) -> StepDone:
    return StepDone(
        time=BEGAN + n * 0.1,
        step=n,
        epoch=10 * n / steps,
        loss_sum=32 * (0.3 + 0.4 * dice.random()),
        loss_count=32,
        learning_rate=5e-4 * (1 - n / steps),
        grad_norm=0.5 + dice.random(),
        tokens=1300 + dice.randrange(100),
        seconds=0.09 + dice.random() / 50,
    )


def evaluation(n: int, steps: int, dice: random.Random) -> Evaluated:
    wrong, missed = dice.randrange(5, 30), dice.randrange(5, 30)
    cells = [(0, 0, 100 - wrong), (0, 1, wrong), (1, 0, missed), (1, 1, 100 - missed)]
    return Evaluated(
        time=BEGAN + n * 0.1,
        split="validation",
        model="tuned",
        step=n,
        epoch=10 * n / steps,
        rows=200,
        loss_sum=200 * (0.3 + 0.1 * dice.random()),
        loss_count=200,
        correct=200 - wrong - missed,
        count=200,
        confusion=cells,
    )


def sample(n: int, dice: random.Random) -> SystemSampled:
    return SystemSampled(
        time=BEGAN + n * 0.1,
        memory=dice.randrange(1 << 30, 2 << 30),
        cpu=2 * dice.random(),
        device_memory=dice.randrange(8 << 30, 9 << 30),
        device_total=80 << 30,
        device_use=dice.random(),
    )


def write_run(path: Path, steps: int, *, measured: bool) -> None:
    dice = random.Random(7)
    with path.open("wb") as file:
        file.writelines(encode_event(e) for e in begin(steps))
        for n in range(1, steps + 1):
            file.write(encode_event(step(n, steps, dice)))
            if measured:
                file.write(encode_event(evaluation(n, steps, dice)))
                file.write(encode_event(sample(n, dice)))


def open_run(path: Path) -> None:
    """What a fresh process does; prints its own figures."""
    started, spent = time.perf_counter(), time.process_time()

    def told(what: str) -> None:
        wall, cpu = time.perf_counter() - started, time.process_time() - spent
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"  {what:<34} {wall:6.2f} s wall {cpu:6.2f} s CPU   peak {peak:4.0f} MiB", flush=True
        )

    from ftev.core.run.events import EventReader
    from ftev.core.run.history import History
    from ftev.tui.app import app  # what the screen has loaded by then
    from ftev.tui.screens.charts.data import ChartData
    from ftev.tui.screens.charts.plot import View, chart_lines, plain_plot
    from ftev.tui.screens.run.follow import CHUNK

    assert app
    told("screen imported")
    history, reader = History(), EventReader(path, CHUNK)
    while history.read(reader):
        pass
    told(f"{history.version:,} events read and folded")
    data, view = ChartData(), View()
    data.update(history)
    data.make_all()
    told("series prepared")
    chart_lines(data, view, [], WIDTH, HEIGHT)
    told("first chart drawn")
    names = data.names
    for name in names:
        plain_plot(data, view, data.chart(name), WIDTH, HEIGHT)
    points = sum(len(s) for name in names for s in data.chart(name).series)
    told(f"{points:,} points of {len(names)} charts drawn")


def redraw(points: int, rounds: int = 50) -> None:
    from ftev.core.run.history import fold
    from ftev.tui.screens.charts.data import ChartData
    from ftev.tui.screens.charts.plot import View, plot_lines

    dice = random.Random(7)
    data = ChartData()
    data.update(fold([*begin(points), *(step(n, points, dice) for n in range(1, points + 1))]))  # type: ignore[list-item]
    plot_lines(data, View(), WIDTH, HEIGHT)
    times = []
    for _ in range(rounds):
        spent = time.process_time()
        plot_lines(data, View(), WIDTH, HEIGHT)
        times.append(time.process_time() - spent)
    print(f"one redraw of {points:,} points at {WIDTH} × {HEIGHT}: {min(times) * 1000:.1f} ms CPU")


def main(steps: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        for count, measured in ((steps, False), (20_000, True)):
            write_run(path, count, measured=measured)
            size = path.stat().st_size / 1e6
            print(f"{count:,} steps, {'measured each' if measured else 'alone'}: {size:,.0f} MB")
            subprocess.run([sys.executable, __file__, "--open", str(path)], check=True)
    redraw(100_000)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--open"]:
        open_run(Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
