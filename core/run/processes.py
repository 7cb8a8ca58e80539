"""How many processes a run is started with; known without torch, so that a screen can start one."""

from __future__ import annotations

from ..config.config import RunConfig
from ..errors import ConfigError, Fault
from .gpus import visible_gpus


def count_gpus() -> int:
    """NVIDIA devices that a worker started here would see; 0 without a driver."""
    return len(visible_gpus())


def processes_of(config: RunConfig, devices: int | None = None, gpus: int | None = None) -> int:
    """One process a device. Raises ConfigError where more GPUs are asked for than there are.

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
