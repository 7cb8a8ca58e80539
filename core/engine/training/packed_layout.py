"""How rows of unlike length lie end to end: by bounds, or in groups of like length."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .batches import cut_by_length, to_device

# What a group of rows costs beside its tokens, in tokens: its attention is a few small operations.
# Of 8 to 256 on a CPU, 32 took the least time (MiniLM); on CUDA an estimate from kernel launches.
GROUP_PRICE = {"cpu": 32, "cuda": 512}
# On a CPU a pass is filled up to a multiple of this: oneDNN keeps a program for each shape it met,
# and so many of them scattered over memory cost 0.6 GiB in 40 steps and a fifth of the time.
WHOLE = 64


@dataclass(frozen=True)
class Group:
    """Rows that lie side by side, padded to the same width."""

    rows: int
    width: int
    mask: Tensor | None  # bool [rows, 1, 1, width]: where there are tokens; None where everywhere


@dataclass(frozen=True)
class Packed:
    """How the rows of a padded batch, [rows, width], lie end to end as [1, tokens]."""

    rows: int
    width: int
    places: Tensor  # int64 [tokens]: flat places in the padded batch
    tokens: int  # of the rows and their groups; what comes behind fills up
    groups: list[Group] = field(default_factory=list)
    bounds: Tensor | None = None  # int32 [rows + 1]: where each row begins, and the end
    _told: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)  # same for each layer

    def pack(self, value: Any) -> Any:
        """What is laid out as the padded batch, end to end; anything else as it is."""
        if isinstance(value, tuple):
            return tuple(map(self.pack, value))
        if not isinstance(value, Tensor) or value.ndim < 2 or value.shape[1] != self.width:
            return value
        if value.shape[0] not in (1, self.rows):
            return value
        if id(value) not in self._told:
            alike = value.shape[0] == 1  # the same for every row, as positions are
            places = self.places % self.width if alike else self.places
            self._told[id(value)] = (value, value.flatten(0, 1).index_select(0, places)[None])
        return self._told[id(value)][1]

    def unpack(self, tokens: Tensor) -> Tensor:
        """[1, tokens, hidden] as the padded batch; padding is 0."""
        empty = tokens.new_zeros(self.rows * self.width, tokens.shape[-1])
        filled = empty.index_copy(0, self.places[: self.tokens], tokens[0, : self.tokens])
        return filled.view(self.rows, self.width, -1)


def by_bounds(lengths: NDArray[np.int64], device: torch.device) -> Packed:
    """Rows so long, shortest first, end to end."""
    width = int(lengths[-1])
    places = np.concatenate([i * width + np.arange(n) for i, n in enumerate(lengths)])
    bounds = np.concatenate([[0], lengths.cumsum()]).astype(np.int32)
    return Packed(
        len(lengths),
        width,
        to_device(places, device),
        len(places),
        bounds=to_device(bounds, device),
    )


def by_groups(lengths: NDArray[np.int64], device: torch.device) -> Packed:
    """Rows so long, shortest first, end to end in groups of like length."""
    width, parts, groups = int(lengths[-1]), [], []
    for rows in cut_by_length(np.arange(len(lengths)), lengths, GROUP_PRICE[device.type]):
        wide = int(lengths[rows[-1]])
        parts.append((rows[:, None] * width + np.arange(wide)).ravel())
        mask = np.arange(wide) < lengths[rows, None]
        told = None if mask.all() else to_device(mask, device)[:, None, None]
        groups.append(Group(len(rows), wide, told))
    tokens = sum(map(len, parts))
    if device.type == "cpu" and tokens % WHOLE:
        parts.append(np.zeros(WHOLE - tokens % WHOLE, dtype=np.int64))
        groups.append(Group(1, len(parts[-1]), None))
    return Packed(len(lengths), width, to_device(np.concatenate(parts), device), tokens, groups)
