"""When the device's memory runs out: more parts a step, and activations that are not kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.models import unwrapped
from .batches import Step


def cut_finer(parts: Step, times: int) -> Step:
    """Every part in so many pieces, as far as it has rows for them."""
    return [piece for part in parts for piece in np.array_split(part, times) if len(piece)]


def in_parts(
    parts: Step,
    times: int,
    work: Callable[[Step], Tensor],
    forget: Callable[[], None],
    spare: Callable[[], bool] = lambda: False,
) -> tuple[Tensor, int]:
    """What `work` makes of a step's parts, and into how many pieces each had to be cut for it.

    A step is the sum of its parts (T5), so cutting them finer changes no result. Where even single
    rows do not fit, `spare` makes the work need less; then the parts are tried as they came, as
    pieces that were too large before may fit now. Raises torch.OutOfMemoryError where it says that
    it cannot. `forget` drops what a failed try made.
    """
    came = times
    while True:
        pieces = cut_finer(parts, times)
        try:
            return work(pieces), times
        except torch.OutOfMemoryError:
            single = max(len(piece) for piece in pieces) == 1
            if single and not spare():
                raise
        # outside the handler: what the traceback holds on to is free by now
        times = came if single else times * 2
        forget()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def compute_twice(model: Any) -> bool:
    """Let a model keep the inputs of its layers only, and compute the rest again when it trains.

    The results are the same, the random numbers of dropout included; each step is computed forward
    once more. False where the architecture does not know how.
    """
    inner = unwrapped(model)
    if not getattr(inner, "supports_gradient_checkpointing", False):
        return False
    enable = getattr(inner, "activation_checkpointing_enable", None)  # its name from 5.23 on
    (enable or inner.gradient_checkpointing_enable)({"use_reentrant": False})
    return True
