"""What the screen costs, measured on the real program in a real pseudo-terminal.

    python tests/bench/screen.py [--seconds 15] [--others VENV]

Prints first useful paint, bytes a second and CPU at 200 × 50 under 2 and 1,000 events a second, the
time from key to paint meanwhile, the bytes of 10 quiet seconds, and the opening of 20 metrics of
20,000 steps. With `--others`, an environment that holds `textual-plotext` and `wandb`, a plotext
widget and W&B LEET are measured beside it.
"""

from __future__ import annotations

# ruff: noqa: E402 - the tests lend their made runs and their terminal
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tui")]

from ftev.core.run.events import Evaluated, StepDone, SystemSampled
from ftev.core.run.runs import Run
from made_runs import live_worker, make_run, story, until_step, write_events
from pseudo_terminal import Terminal, children_of

COLUMNS, ROWS = 200, 50
TICKS = os.sysconf("SC_CLK_TCK")
OPEN = "import sys; from ftev.tui.cli import main; sys.exit(main(sys.argv[1:]))"
PLOTEXT = Path(__file__).with_name("plotext_widget.py")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of all that it started."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    own = (int(fields[11]) + int(fields[12])) / TICKS
    return own + sum(map(cpu_seconds, children_of(pid)))


def command(run: Run | None, folder: Path) -> list[str]:
    where = ["--runs-dir", str(folder)]
    return [sys.executable, "-c", OPEN, *where, *(["open", str(run.path)] if run else [])]


def paint(argv: list[str], text: str, starts: int, columns: int, rows: int) -> str:
    """From the start of the process to a frame that holds `text`, and the CPU time it took."""
    took, cpu = [], []
    for number in range(starts + 1):
        terminal = Terminal(argv, columns, rows)
        seconds = terminal.wait_for(text, 30.0)
        if number:  # the first start compiled what is new
            took.append(seconds * 1000)
            cpu.append(cpu_seconds(terminal.pid) * 1000)
        terminal.close()
    return (
        f"{statistics.median(took):.0f} ms (least {min(took):.0f}; "
        f"CPU {statistics.median(cpu):.0f}, least {min(cpu):.0f})"
    )


class Feed(threading.Thread):
    """Writes steps of a run at a pace, as a worker does."""

    def __init__(self, run: Run, step: int, rate: float) -> None:
        super().__init__(daemon=True)
        self.run_fed, self.step, self.rate = run, step, rate
        self.over = threading.Event()

    def run(self) -> None:
        batch = max(1, round(self.rate / 20))
        while not self.over.wait(batch / self.rate):
            write_events(self.run_fed, [self._event() for _ in range(batch)])

    def _event(self) -> StepDone | SystemSampled:
        self.step += 1
        return StepDone(
            step=self.step,
            epoch=self.step / 28,
            loss_sum=32 * (0.3 + 0.1 * ((self.step * 7919) % 100) / 100),
            loss_count=32,
            learning_rate=1e-4,
            grad_norm=1.0,
            tokens=1300,
            seconds=0.1,
            time=time.time(),
        )


def under_load(argv: list[str], run: Run, rate: float, seconds: float, ready: str) -> None:
    terminal = Terminal(argv, COLUMNS, ROWS)
    terminal.wait_for(ready, 30.0)
    terminal.read(2.0)
    feed = Feed(run, 93, rate)
    feed.start()
    terminal.read(2.0)
    sent, cpu, began = terminal.bytes_read, cpu_seconds(terminal.pid), time.perf_counter()
    terminal.read(seconds)
    took = time.perf_counter() - began
    sent, cpu = terminal.bytes_read - sent, cpu_seconds(terminal.pid) - cpu
    delays = key_to_paint(terminal)
    feed.over.set()
    feed.join()
    print(
        f"  {rate:5,.0f} events/s: {sent / took / 1024:6.2f} KiB/s, {cpu / took * 100:5.1f} % of a "
        f"core, key to paint {statistics.median(delays) * 1000:.0f} ms (most "
        f"{max(delays) * 1000:.0f})"
    )
    terminal.close()


def key_to_paint(terminal: Terminal, presses: int = 10) -> list[float]:
    """Seconds from a key to the picture it asks for: help comes and goes."""
    took = []
    for i in range(presses):
        wanted = i % 2 == 0
        began = time.perf_counter()
        terminal.press("?" if wanted else "q")
        terminal.read(5.0, lambda w=wanted: ("help for this screen" in terminal.text()) == w)
        took.append(time.perf_counter() - began)
        terminal.read(0.2)
    return took


def quiet(argv: list[str], ready: str) -> None:
    terminal = Terminal(argv, COLUMNS, ROWS)
    terminal.wait_for(ready, 30.0)
    terminal.read(6.0)
    sent, cpu = terminal.bytes_read, cpu_seconds(terminal.pid)
    terminal.read(10.0)
    sent, cpu = terminal.bytes_read - sent, cpu_seconds(terminal.pid) - cpu
    print(f"  10 s without news: {sent} bytes, {cpu * 10:.2f} % of a core")
    terminal.close()


def long_run(folder: Path, steps: int = 20_000) -> Run:
    """Six series of a step and fourteen more of evaluations every step: twenty metrics."""
    run = make_run(folder, number=5)
    head = until_step(story(), 1)[:-1]
    every = [
        event
        for step in range(1, steps + 1)
        for event in (
            StepDone(
                step=step,
                epoch=step / 4000,
                loss_sum=40.0 / step**0.3,
                loss_count=32,
                learning_rate=1e-4,
                grad_norm=1.0,
                tokens=1300,
                seconds=0.1,
            ),
            *(
                [
                    Evaluated(
                        split="validation",
                        model="tuned",
                        step=step,
                        epoch=step / 4000,
                        rows=100,
                        loss_sum=50.0,
                        loss_count=100,
                        correct=80,
                        count=100,
                        seconds=0.2,
                    )
                ]
                if step % 100 == 0
                else []
            ),
        )
    ]
    write_events(run, [*head, *every])
    live_worker(run)
    return run


def measure_ours(seconds: float, starts: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = name + "/state"
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as where it is installed
        os.environ["PYTHONPYCACHEPREFIX"] = name + "/code"
        worker = subprocess.Popen(["sleep", "3600"], start_new_session=True)
        try:
            runs = [make_run(folder / "runs", number=n) for n in range(3)]
            for run in runs:
                write_events(run, until_step(story(), 93))
                live_worker(run, worker.pid)
            print(f"ftev, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
            ended = make_run(folder / "runs", number=3)
            write_events(ended, story())
            for what, run, text in (("home", None, "running"), ("finished run", ended, "finished")):
                for columns, rows in ((80, 24), (120, 40), (COLUMNS, ROWS)):
                    argv = command(run, folder / "runs")
                    took = paint(argv, text, starts, columns, rows)
                    print(f"  first useful paint, {what} {columns}×{rows}: {took}")
            quiet(command(runs[0], folder), "step 93 of")
            for run, rate in zip(runs[1:], (2, 1000), strict=True):
                under_load(command(run, folder), run, rate, seconds, "step 93 of")
            long = long_run(folder / "long")
            took = paint(command(long, folder), "step 20,000", 3, COLUMNS, ROWS)
            size = long.events_path.stat().st_size / 1e6
            print(f"  20 metrics of 20,000 steps ({size:.1f} MB): {took}")
        finally:
            worker.kill()
            worker.wait()


def measure_others(python: Path, seconds: float) -> None:
    """A plotext widget fed the same; what is not installed is said and left out."""
    done = subprocess.run(
        [python, "-c", "import textual_plotext"], check=False, capture_output=True
    )
    if done.returncode:
        print("plotext widget: not measured, textual-plotext is not installed there")
    else:
        for rate in (2, 1000):
            print("plotext widget")
            bare_load([str(python), str(PLOTEXT), str(rate)], rate, seconds)
    program = python.with_name("wandb")
    if not program.exists():
        print("LEET: not measured, wandb is not installed there")
    else:
        measure_leet(python, program, seconds)


def bare_load(argv: list[str], rate: float, seconds: float) -> None:
    terminal = Terminal(argv, COLUMNS, ROWS)
    terminal.read(4.0)
    sent, cpu, began = terminal.bytes_read, cpu_seconds(terminal.pid), time.perf_counter()
    terminal.read(seconds)
    took = time.perf_counter() - began
    sent, cpu = terminal.bytes_read - sent, cpu_seconds(terminal.pid) - cpu
    print(
        f"  {rate:5,.0f} events/s: {sent / took / 1024:6.2f} KiB/s, {cpu / took * 100:5.1f} % of a "
        "core"
    )
    terminal.close()


LEET_RUN = """
import sys, time, wandb
run = wandb.init(project="p", mode="offline", dir=sys.argv[1], settings=wandb.Settings(silent=True))
end = time.time() + float(sys.argv[3])
step = 0
while time.time() < end:
    run.log({"loss": 1 / (1 + step % 97), "accuracy": step % 13})
    step += 1
    time.sleep(1 / float(sys.argv[2]))
"""


def measure_leet(python: Path, program: Path, seconds: float) -> None:
    print("LEET")
    for rate in (2.0, 1000.0):
        with tempfile.TemporaryDirectory() as folder:
            lives = str(seconds + 25)
            writer = subprocess.Popen(
                [python, "-c", LEET_RUN, folder, str(rate), lives],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                found: list[Path] = []
                end = time.monotonic() + 15
                while not found and time.monotonic() < end:
                    found = list(Path(folder).glob("wandb/offline-run-*"))
                    time.sleep(0.2)
                if not found:
                    print("  not measured: wandb made no run offline")
                    return
                time.sleep(2)
                bare_load([str(program), "beta", "leet", str(found[0])], rate, seconds)
            finally:
                writer.terminate()
                writer.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each load")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--others", type=Path, metavar="VENV")
    options = parser.parse_args()
    measure_ours(options.seconds, options.starts)
    if options.others:
        measure_others(options.others.absolute() / "bin" / "python", options.seconds)
    else:
        print(
            "others: not measured; --others VENV names an environment with textual-plotext, wandb"
        )


if __name__ == "__main__":
    main()
