"""Products of a few rows with large weights, the way round that a CPU does them in one reading.

In float32 a product of two rows with a layer's weights takes a CPU as long as two products of one,
though the weights need be read only once; the weights with the rows as columns take as long as one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

MOST_ROWS = 4  # of more, both ways take the same time


@contextlib.contextmanager
def few_rows(model: Any, rows: int) -> Iterator[None]:
    """The model's linear layers take so many rows at a time as columns, where that is quicker."""
    layers = _layers(model) if 1 < rows <= MOST_ROWS else []
    for layer in layers:
        layer.__dict__["forward"] = partial(_as_columns, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.__dict__["forward"]


def _layers(model: Any) -> list[nn.Linear]:
    return [
        m
        for m in model.modules()
        if type(m) is nn.Linear
        and m.weight.dtype == torch.float32
        and m.weight.device.type == "cpu"
        and "forward" not in m.__dict__
    ]


def _as_columns(layer: nn.Linear, x: Tensor) -> Tensor:
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) > MOST_ROWS or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return nn.functional.linear(x, layer.weight, layer.bias)
    out = (layer.weight @ rows.T).T.reshape(*x.shape[:-1], layer.out_features)
    return out if layer.bias is None else out + layer.bias
