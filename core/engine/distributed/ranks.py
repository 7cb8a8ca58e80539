"""Several processes on one run: the first one leads, the others carry out its orders.

The first rank runs the story of the run, decides everything and alone writes events and listens.
Where a piece of work is for all, it gives an order first; the others wait for orders, and nothing
else. In one process there is nobody to order, and nothing here does anything. A model in training
is whole on each device (DDP), or sharded over all of them (FSDP2).
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from numpy.typing import NDArray
from torch import Tensor, distributed, nn

from ...errors import ConfigError, Fault, RunError
from ..models.models import unwrapped
from .members import ARRIVAL_SECONDS, place_in_world

if TYPE_CHECKING:  # sympy and half a second: where nothing is sharded, nobody imports them
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor
    from typing_extensions import TypeIs

Rows = NDArray[np.int64]
ORDER_BYTES = 256
# What ranks exchange within a piece of work must come soon; an order may be long in coming, while
# the first rank searches for leakage or answers a prompt: its heartbeat shows that it lives.
WORK_TIMEOUT = timedelta(minutes=30)
ORDER_TIMEOUT = timedelta(days=30)
Work = Callable[[], Tensor]


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
        """Broadcast what is to be done next; on a rank that is not the first, nothing."""
        if self.alone or not self.is_first:
            return
        order = msgspec.json.encode(Order(name, list(values)))
        line = torch.zeros(ORDER_BYTES, dtype=torch.uint8)
        line[: len(order)] = torch.frombuffer(bytearray(order), dtype=torch.uint8)
        distributed.broadcast(line, 0, group=self.orders)

    def receive(self) -> Order:
        """Wait for the next order of the first rank."""
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


class Under(nn.Module):
    """Whatever is computed in its forward is computed under the wrapper around it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Work) -> Tensor:
        return work()


class Spread:
    """How a loss is computed so that its gradients are those of all ranks; in one process, plainly.

    Gradients come out as the mean over the ranks: losses are to be multiplied by their number.
    """

    def __init__(self, model: Any, cpu: bool, ranks: Ranks, sharding: str) -> None:
        # A weight without a gradient would otherwise stop DDP, which a mixture of experts has now
        # and then; the price is a walk through the graph per step. Buffers here are constants.
        ddp = DistributedDataParallelKwargs(
            find_unused_parameters=True, broadcast_buffers=False, gradient_as_bucket_view=True
        )
        self.accelerator = Accelerator(cpu=cpu, kwargs_handlers=[ddp])
        self.world = ranks.world
        self.sharded = not ranks.alone and sharding == "full"
        self.outer: Any = None
        if self.sharded:
            self.outer = _shard(Under(model), "cpu" if cpu else "cuda", ranks.world)
        elif not ranks.alone:
            with warnings.catch_warnings():  # Accelerate and torch differ on the name of a flag
                warnings.simplefilter("ignore", FutureWarning)
                self.outer = self.accelerator.prepare_model(Under(model))

    def loss(self, work: Work, weight: int = 1) -> Tensor:
        """The loss that `work` computes; with weight 0 it changes no gradient."""
        loss = work() if self.outer is None else self.outer(work)
        return loss if weight else loss * 0.0

    @contextlib.contextmanager
    def part(self, last: bool) -> Iterator[None]:
        """Around a part of a step: DDP exchanges gradients in the last one alone."""
        held = not last and self.outer is not None and not self.sharded
        with self.accelerator.no_sync(self.outer) if held else contextlib.nullcontext():
            yield

    def gather_weights(self) -> None:
        """Every rank gets all weights, until they are scattered: each can then compute alone."""
        for module in self._shards():
            module.set_reshard_after_forward(False, recurse=False)
            module.unshard()

    def gathered(self, model: nn.Module) -> dict[str, Tensor] | None:
        """What is saved of a model whose weights are gathered; None where its own state dict is.

        Asked for that itself, it would shard them again, and the gathered ones would be freed.
        peft asks a head that it saves whole for its state dict meanwhile: what is saved of an
        adapter is therefore copied.
        """
        if not self.sharded:
            return None
        copied = _saved_with_adapter(model) if hasattr(model, "peft_config") else set()
        found: dict[str, Tensor] = {
            name: p.detach().clone() if p in copied else p.detach()
            for name, p in model.named_parameters(remove_duplicate=False)
        }
        for path, module in model.named_modules():
            passing = module._non_persistent_buffers_set
            for name, buffer in module.named_buffers(prefix=path, recurse=False):
                if name.rpartition(".")[2] not in passing:
                    found[name] = buffer
        return found

    def scatter_weights(self) -> None:
        for module in self._shards():
            module.reshard()
            module.set_reshard_after_forward(module is not self.outer, recurse=False)

    def _shards(self) -> list[FSDPModule]:
        if not self.sharded:
            return []
        from torch.distributed.fsdp import FSDPModule

        return [m for m in self.outer.modules() if isinstance(m, FSDPModule)]


def _saved_with_adapter(model: nn.Module) -> set[nn.Parameter]:
    """What is trained, and embeddings, which peft saves too where an adapter is on them."""
    embeddings = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    return {p for p in model.parameters() if p.requires_grad} | {
        p for m in embeddings for p in m.parameters()
    }


def _shard(outer: Under, device: str, world: int) -> Under:
    """Shard weights, gradients and optimizer, a layer at a time.

    Accelerate does the same on GPUs alone; torch's own call is one that CPUs can test.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device, (world,))
    layers = set(getattr(unwrapped(outer.model), "_no_split_modules", None) or ())
    for module in reversed(list(outer.modules())):  # what lies within before what is around it
        if type(module).__name__ in layers:
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
    root = fully_shard(
        outer, mesh=mesh, reshard_after_forward=False
    )  # wanted again at once, backwards
    with torch.no_grad():  # the first forward fixes what is the root: a layer alone must not be it
        outer(lambda: torch.zeros(()))
    root.reshard()  # the optimizer is to be given this rank's part
    return outer


def _is_sharded(tensor: Tensor) -> TypeIs[DTensor]:
    """Whether a tensor is one over several devices; where no such type is imported, none is."""
    kinds = sys.modules.get("torch.distributed.tensor")
    return kinds is not None and isinstance(tensor, kinds.DTensor)


def whole(tensor: Tensor) -> Tensor:
    """A tensor as if it were on one device: every rank has to ask for it."""
    return tensor.full_tensor() if _is_sharded(tensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor."""
    return tensor.to_local() if _is_sharded(tensor) else tensor


def placed_like(parameter: Tensor, value: Tensor) -> Tensor:
    """A whole tensor where its parameter is: this rank's part of it, where that is sharded."""
    value = value.to(parameter.device)
    if not _is_sharded(parameter) or not value.ndim:
        return value
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = parameter.device_mesh, parameter.placements
    return distribute_tensor(value, mesh, placements, src_data_rank=None)
