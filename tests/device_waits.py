"""Which operations bring something back from the device, so that a GPU would be waited for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

WAITS = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "_unique2", "equal")


class Waits(TorchDispatchMode):
    """Counts them, and all calls, while entered; a processor shows them as a GPU does."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.calls = 0

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = op.__name__.partition(".")[0]
        self.calls += 1
        by_mask = name.startswith("index") and any(
            isinstance(v, torch.Tensor) and v.dtype == torch.bool for v in tree_iter(args[1:])
        )
        if name in WAITS or by_mask:
            self.found[name] += 1
        return op(*args, **(kwargs or {}))
