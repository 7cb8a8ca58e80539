"""What a piece of work makes of tensors: their shapes, and how many bytes live at once."""

from __future__ import annotations

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class Seen(TorchDispatchMode):
    """Watches every tensor that is made while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: set[tuple[int, ...]] = set()
        self.peak = 0
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = op(*args, **(kwargs or {}))
        for value in tree_iter(out):
            if isinstance(value, torch.Tensor):
                self._see(value)
        self._live = {k: v for k, v in self._live.items() if not v[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._live.values()))
        return out

    def _see(self, value: torch.Tensor) -> None:
        self.shapes.add(tuple(value.shape))
        storage = value.untyped_storage()
        self._live[storage._cdata] = StorageWeakRef(storage), storage.nbytes()

    def wide(self, vocabulary: int) -> list[tuple[int, ...]]:
        """Shapes of what has one number for each token of the vocabulary."""
        return sorted(s for s in self.shapes if s and s[-1] == vocabulary)
