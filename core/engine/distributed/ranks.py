"""Several processes on one run: the first one leads, the others do as it says.

The first rank runs the story of the run, decides everything and alone writes events and listens.
Where a piece of work is for all, it gives an order first; the others wait for orders, and nothing
else. In one process there is nobody to order, and nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from ...errors import ConfigError, Fault, RunError
from .members import ARRIVAL_SECONDS, place_in_world

Rows = NDArray[np.int64]
ORDER_BYTES = 256
# What ranks exchange within a piece of work must come soon; an order may be long in coming, while
# the first rank searches for leakage or answers a prompt: its heartbeat shows that it lives.
WORK_TIMEOUT = timedelta(minutes=30)
ORDER_TIMEOUT = timedelta(days=30)


class Order(msgspec.Struct, frozen=True, array_like=True):
    """A piece of work for all ranks, by name."""

    name: str
    values: list[Any] = []


@dataclass(frozen=True)
class Ranks:
    """The processes of a run as seen from one, and their lines over the CPU's network."""

    rank: int = 0
    world: int = 1
    orders: Any = None
    group: Any = None

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def alone(self) -> bool:
        return self.world == 1

    def order(self, name: str, *values: Any) -> None:
        """The first rank says what is next; said by another, it is not heard."""
        if self.alone or not self.is_first:
            return
        order = msgspec.json.encode(Order(name, list(values)))
        line = torch.zeros(ORDER_BYTES, dtype=torch.uint8)
        line[: len(order)] = torch.frombuffer(bytearray(order), dtype=torch.uint8)
        distributed.broadcast(line, 0, group=self.orders)

    def hear(self) -> Order:
        """Wait for what the first rank says."""
        line = torch.empty(ORDER_BYTES, dtype=torch.uint8)
        distributed.broadcast(line, 0, group=self.orders)
        return msgspec.json.decode(line.numpy().tobytes().rstrip(b"\0"), type=Order)

    def gather(self, piece: Any) -> list[Any]:
        """Every rank's piece, by rank, on the first one; nothing on the others."""
        if self.alone:
            return [piece]
        pieces: list[Any] | None = [None] * self.world if self.is_first else None
        distributed.gather_object(piece, pieces, dst=0, group=self.group)
        return pieces or []

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all ranks, on each of them; a copy on the CPU where there are several."""
        if self.alone:
            return values
        values = values.detach().cpu()
        distributed.all_reduce(values, group=self.group)
        return values

    def meet(self) -> None:
        """Go on when all have come."""
        if not self.alone:
            distributed.barrier(group=self.group)

    def share(self, rows: Rows, lengths: NDArray[np.int64]) -> Rows:
        """This rank's part of rows: dealt out longest first, to and fro, so that tokens balance."""
        if self.alone:
            return rows
        return deal(rows, lengths, self.world)[self.rank]

    def parts(self, step: Sequence[Rows], lengths: NDArray[np.int64]) -> Iterator[tuple[Rows, int]]:
        """This rank's share of each part of a step, with its weight.

        Every rank must compute each part, for gradients are exchanged in it: a rank for which
        there is no row takes the first one with weight 0.
        """
        for part in step:
            own = self.share(part, lengths)
            yield (own, 1) if len(own) else (part[:1], 0)


def deal(rows: Rows, lengths: NDArray[np.int64], hands: int) -> list[Rows]:
    """Rows in `hands` parts of nearly as many rows and tokens, each row in one of them."""
    order = rows[np.argsort(-lengths[rows], kind="stable")]
    place = np.arange(len(order)) % (2 * hands)
    hand = np.minimum(place, 2 * hands - 1 - place)
    return [order[hand == i] for i in range(hands)]


def join(cpu: bool) -> Ranks:
    """Meet the other ranks; returns at once where there are none.

    Raises ConfigError where this machine has fewer GPUs than ranks.
    """
    rank, world = place_in_world()
    if world == 1:
        return Ranks()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not cpu and here > torch.cuda.device_count():
        what = f"{here} processes were started here, and there are {torch.cuda.device_count()} GPUs"
        raise ConfigError(Fault("torchrun", what, "Start as many as there are GPUs"))
    from accelerate import PartialState

    try:
        PartialState(cpu=cpu, timeout=timedelta(seconds=ARRIVAL_SECONDS))
    except RuntimeError as error:
        at = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        what = f"rank {rank} of {world} did not meet the others at {at}: {error}"
        remedy = 'See "If they do not find each other" in docs/several_devices.md'
        raise RunError(Fault("", what, remedy)) from error
    orders, group = (
        distributed.new_group(backend="gloo", timeout=t) for t in (ORDER_TIMEOUT, WORK_TIMEOUT)
    )
    return Ranks(rank, world, orders, group)
