"""What went wrong in a worker, told in one sentence."""

from __future__ import annotations

from ...errors import FtevError


class Stopped(Exception):  # noqa: N818  (a request, not an error)
    """Somebody asked the run to stop; its state is saved."""


def explain(error: Exception) -> str:
    """What, and what to do; the traceback stands in worker.log."""
    if isinstance(error, FtevError):
        return str(error)
    if "out of memory" in str(error).lower():
        return (
            "the device ran out of memory. Lower train.batch_size or model.max_length, "
            'raise train.gradient_accumulation_steps, or use model.adapter = "lora"'
        )
    return f"{type(error).__name__}: {error}. The traceback is in worker.log"
