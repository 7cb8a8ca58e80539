"""Which GPUs a process started here would see, asked of the driver: torch is not needed for it."""

from __future__ import annotations

import os
from pathlib import Path

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
    """The GPU that a process of ours was told to use; None where that is not known."""
    try:
        told = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    name = f"{VISIBLE}=".encode()
    found = next((entry for entry in told if entry.startswith(name)), None)
    return found.removeprefix(name).decode(errors="replace") if found is not None else None
