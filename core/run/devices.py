"""Which GPUs a process started here would see, asked of the driver: torch is not needed for it."""

from __future__ import annotations

import os
from pathlib import Path

from ..config.config import RunConfig
from ..errors import ConfigError, Fault

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """What to write into CUDA_VISIBLE_DEVICES for each of them; empty without one."""
    given = os.environ.get(VISIBLE)
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1")]
    return [str(n) for n in range(_count_devices())]


def _count_devices() -> int:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver, or one without NVML: there is nothing to count
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0
    finally:
        pynvml.nvmlShutdown()


def gpu_of(pid: int) -> str | None:
    """The GPU assigned to a process of ours; None where that is not known."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    name = f"{VISIBLE}=".encode()
    found = next((entry for entry in environment if entry.startswith(name)), None)
    return found.removeprefix(name).decode(errors="replace") if found is not None else None


def count_gpus() -> int:
    """NVIDIA devices that a worker started here would see; 0 without a driver."""
    return len(visible_gpus())


def processes_of(config: RunConfig, devices: int | None = None, gpus: int | None = None) -> int:
    """One process per device. Raises ConfigError where more GPUs are asked for than there are.

    A number on a machine without GPUs is that many processes on its CPU. `devices` overrules the
    config; `gpus`: how many there are, None looks.
    """
    asked = config.train.devices if devices is None else devices
    if isinstance(asked, int) and asked < 1:
        raise ConfigError(Fault("devices", f"must be at least 1, not {asked}", "", "train.devices"))
    if asked in ("cpu", 1):
        return 1
    found = count_gpus() if gpus is None else gpus
    if asked == "auto":
        return max(1, found)
    assert isinstance(asked, int)
    if 0 < found < asked:
        what = f"asks for {asked} devices, and this machine has {_gpus(found)}"
        remedy = f'Write {found} or "auto"; over several machines, see docs/several_devices.md'
        raise ConfigError(Fault.of("train.devices", what, remedy))
    return asked


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"
