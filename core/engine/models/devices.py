"""Which device and precision a run uses, and what they are busy with."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import threading
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ...config.config import RunConfig
from ...files import disk
from ...run.events import DeviceFound, Event, SystemSampled
from .choices import fast_bfloat16

SAMPLE_SECONDS = 5.0
IDLE_CORES = 0.05  # a worker that uses less, and no more memory than before, is not worth a line
LOOK_SECONDS = 0.1  # 16 µs of processor time a look
READ_SECONDS = 0.25  # how often what a device found comes back
SMALL_MODEL = 10_000_000  # parameters under which bfloat16 costs a CPU more in casts than it saves


def on_cpu(config: RunConfig) -> bool:
    """Whether a run computes on the processor: as configured, or for want of a GPU."""
    return config.train.devices == "cpu" or not torch.cuda.is_available()


def choose_device(config: RunConfig) -> torch.device:
    """This process's GPU where there is one, unless the config says cpu."""
    if on_cpu(config):
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


@contextlib.contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Random numbers from this seed; those of training go on afterwards as if none were drawn."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


class Readings:
    """What a device finds, brought back in one transfer a quarter of a second.

    To read each batch's by itself would have a GPU idle until the next one has been made. On a CPU
    there is nothing to wait for: what is found is kept at once, as a small tensor of each batch
    would keep the holes of its large ones apart.
    """

    def __init__(self, device: torch.device, keep: Callable[[Any, Any], None]) -> None:
        self._device, self._keep = device, keep
        self._pending: list[tuple[Any, torch.Tensor]] = []
        self._at = time.monotonic()

    def add(self, place: Any, found: torch.Tensor) -> None:
        """`found`, [entries, columns], is given to `keep` as an array, with `place`, in order."""
        self._pending.append((place, found))
        if self._device.type == "cpu" or time.monotonic() - self._at > READ_SECONDS:
            self.read()

    def read(self) -> None:
        """Keep what is still on the device."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        sizes = [len(found) for _, found in pending]
        whole = torch.split(torch.cat([found for _, found in pending]).cpu(), sizes)
        for (place, _), part in zip(pending, whole, strict=True):
            self._keep(place, part.numpy())
        self._at = time.monotonic()


def training_precision(config: RunConfig, device: torch.device, parameters: int) -> str:
    """ "float32" or "bfloat16" (autocast; weights stay float32)."""
    if config.model.precision != "auto":
        return config.model.precision
    if device.type == "cpu" and parameters < SMALL_MODEL:
        return "float32"
    return "bfloat16" if fast_bfloat16(device) else "float32"


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Forward passes in this precision; weights stay as they are."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def describe_device(device: torch.device, precision: str) -> DeviceFound:
    """Name and memory (bytes) of the device, and the versions of what computes on it."""
    names = ("torch", "transformers", "tokenizers", "accelerate", "peft", "polars", "numpy")
    packages = {name: metadata.version(name) for name in names} | {
        "python": platform.python_version()
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        name, memory = properties.name, properties.total_memory
    else:
        name = _processor_name()
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return DeviceFound(
        device=str(device),
        name=name,
        precision=precision,
        packages=packages,
        threads=torch.get_num_threads(),
        total_memory=memory,
    )


def _processor_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


class Telemetry:
    """Memory and use of processor and device, written down every few seconds by a thread.

    Between two samples it looks at the memory more often: a sample still shows a peak that is over.
    The first one is taken at once, when the program is there and no model is.
    """

    def __init__(self, write: Callable[[Event], None], device: torch.device) -> None:
        self._write, self._device = write, device
        self._handle: Any = None
        self._closing = contextlib.ExitStack()
        self._spent, self._at, self._peak = 0.0, 0.0, 0
        self._written = SystemSampled(memory=0, cpu=0.0)
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def __enter__(self) -> Telemetry:
        self._handle = self._closing.enter_context(_nvml_handle(self._device))
        self._at = time.monotonic()
        self.sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=SAMPLE_SECONDS)
        self._closing.close()

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """A sample before and one after, however short what is between them."""
        self.sample()
        try:
            yield
        finally:
            self.sample()

    def sample(self) -> None:
        """Write down how it is now."""
        with self._lock:
            self._written = self._look()
            self._write(self._written)

    def _look(self) -> SystemSampled:
        spent, now, memory = time.process_time(), time.monotonic(), resident_memory()
        used, total, share = _device_figures(self._handle)
        cpu = (spent - self._spent) / (now - self._at) if self._spent else 0.0
        peak = max(memory, self._peak)
        self._spent, self._at, self._peak = spent, now, 0
        return SystemSampled(
            memory=memory,
            cpu=cpu,
            peak_memory=peak,
            device_memory=used,
            device_total=total,
            device_use=share,
        )

    def sample_unless_idle(self) -> None:
        """Nothing is written of a worker that waits: a paused run is silent."""
        with self._lock:
            found, before = self._look(), self._written
            if not (is_idle(found, before) and is_idle(before, found)):
                self._written = found
                self._write(found)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            with self._lock:
                self._peak = max(self._peak, resident_memory())
            if time.monotonic() - self._at >= SAMPLE_SECONDS:
                self.sample_unless_idle()


def is_idle(found: SystemSampled, before: SystemSampled) -> bool:
    """Whether next to nothing was done, and no memory was taken since the sample before."""
    busy = found.cpu > IDLE_CORES or max(found.device_use, 0.0) > 0.0
    grown = found.memory > before.memory * 1.01
    return not busy and not grown and found.device_memory == before.device_memory


def resident_memory() -> int:
    """Bytes of this process in memory."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        unit = 1 if platform.system() == "Darwin" else 1024  # ru_maxrss is bytes on macOS
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return pages * os.sysconf("SC_PAGE_SIZE")


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be had on a device, limits of a container counted; None: not known."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return disk.free_memory()


@contextlib.contextmanager
def _nvml_handle(device: torch.device) -> Iterator[Any]:
    if device.type != "cuda":
        yield None
        return
    import pynvml

    try:
        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except pynvml.NVMLError:  # a driver without NVML: training does not depend on it
        yield None
        return
    try:
        yield handle
    finally:
        pynvml.nvmlShutdown()


def _device_figures(handle: Any) -> tuple[int, int, float]:
    """Bytes used, bytes in all, share of time busy; -1 where unknown."""
    if handle is None:
        return -1, -1, -1.0
    import pynvml

    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return memory.used, memory.total, pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    except pynvml.NVMLError:
        return -1, -1, -1.0
