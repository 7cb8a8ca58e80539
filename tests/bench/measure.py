"""What every benchmark shares: sides that take turns, and a section of RESULTS.md as its output.

CPU time is that of the process with all its threads: on a machine that does other work, trust the
ratio of CPU times of sides that took turns.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any


@dataclass
class Spent:
    """Seconds of each round of one side; `result` is what its last round returned."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    result: Any = None

    @property
    def median_wall(self) -> float:
        return statistics.median(self.wall)

    @property
    def median(self) -> float:
        """By the clock that counts here: a GPU works while the process waits."""
        return self.median_wall if on_gpu() else self.median_cpu

    @property
    def median_cpu(self) -> float:
        return statistics.median(self.cpu)


def alternate(
    sides: Mapping[str, Callable[[], Any]], rounds: int = 3, warm_up: bool = False
) -> dict[str, Spent]:
    """Run the sides in turn, `rounds` times; a first turn that is not counted where wanted."""
    if warm_up:
        for work in sides.values():
            work()
    spent = {name: Spent() for name in sides}
    for _ in range(rounds):
        for name, work in sides.items():
            took = spent[name]
            wall, cpu = time.perf_counter(), time.process_time()
            took.result = work()
            took.cpu.append(time.process_time() - cpu)
            took.wall.append(time.perf_counter() - wall)
    return spent


def peak_memory() -> float:
    """MiB that this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def on_gpu() -> bool:
    """Whether torch is loaded and has one."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_available())


def now() -> float:
    """Seconds on the clock that counts here; what a GPU has still to compute is waited for."""
    if not on_gpu():
        return time.process_time()
    sys.modules["torch"].cuda.synchronize()
    return time.perf_counter()


def machine() -> str:
    """2 cores of an AMD EPYC, or the GPU where torch is loaded and has one."""
    if on_gpu():
        return str(sys.modules["torch"].cuda.get_device_name())
    name = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    return f"{os.cpu_count()} cores of {name}"


def section(title: str, command: str, packages: Iterable[str], *parts: str) -> str:
    """A section of RESULTS.md: title, command, date, device, versions, then tables and words."""
    lines = [f"Python {platform.python_version()}"]
    lines += [f"{name} {metadata.version(name)}" for name in packages]
    load = Path("/proc/loadavg").read_text().split()[0]
    head = (
        f"`{command}`, {time.strftime('%Y-%m-%d')}, {machine()} (load {load}), {', '.join(lines)}."
    )
    return "\n\n".join([f"## {title}", head, *parts]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table: the first column to the left, numbers to the right."""
    lines = [f"| {' | '.join(head)} |", "|---" + "|--:" * (len(head) - 1) + "|"]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)
