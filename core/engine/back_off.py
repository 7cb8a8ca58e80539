"""When the device's memory runs out, a step is done again in twice as many parts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .batches import Step


def cut_finer(parts: Step, times: int) -> Step:
    """Every part in so many pieces, as far as it has rows for them."""
    return [piece for part in parts for piece in np.array_split(part, times) if len(piece)]


def in_parts(
    parts: Step, times: int, work: Callable[[Step], Tensor], forget: Callable[[], None]
) -> tuple[Tensor, int]:
    """What `work` makes of a step's parts, and into how many pieces each had to be cut for it.

    A step is the sum of its parts (T5), so cutting them finer changes no result. Raises
    torch.OutOfMemoryError where even single rows do not fit. `forget` drops what a failed try made.
    """
    while True:
        pieces = cut_finer(parts, times)
        try:
            return work(pieces), times
        except torch.OutOfMemoryError:
            if max(len(piece) for piece in pieces) == 1:
                raise
        times *= 2  # outside the handler: what the traceback holds on to is free by now
        forget()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
