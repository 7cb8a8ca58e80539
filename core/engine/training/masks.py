"""Attention masks built without a look at their contents.

transformers leaves a mask away where a batch has no padding, and asks the device to find that out:
every forward pass then waits for the GPU, which has nothing queued while it is answered. Whoever
made the batch knows, and says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

from ..models.cpu_kernels import NAME as ON_CPU

PACKED = "ftev_packed"  # what transformers knows the attention of packed rows by
SDPA = ("sdpa", ON_CPU, PACKED)  # all of them torch's own outside a training step


@contextlib.contextmanager
def padded_right(padded: bool) -> Iterator[None]:
    """While entered, SDPA's masks are those of batches padded on the right, or not padded at all.

    A causal model needs none: what a token sees stands before it, and padding stands behind.
    """

    def mask(
        *args: Any,
        attention_mask: Tensor | None = None,
        allow_is_causal_skip: bool = True,
        allow_is_bidirectional_skip: bool = False,
        **more: Any,
    ) -> Tensor | None:
        needed = padded and not allow_is_causal_skip
        return sdpa_mask(
            *args,
            attention_mask=attention_mask if needed else None,
            allow_is_causal_skip=allow_is_causal_skip,
            allow_is_bidirectional_skip=allow_is_bidirectional_skip and not needed,
            **more,
        )

    for name in SDPA:
        ALL_MASK_ATTENTION_FUNCTIONS[name] = mask
    try:
        yield
    finally:
        for name in SDPA:
            del ALL_MASK_ATTENTION_FUNCTIONS[name]
