"""A model in training on one device or several: whole on each (DDP) or sharded (FSDP2)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from ..models.models import unwrapped
from .ranks import Ranks

Work = Callable[[], Tensor]


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
        # and then; the price is a walk through the graph a step. Buffers here are constants.
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

        Asked for that itself, it would share them out again, and the gathered ones would be freed.
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
        return [m for m in self.outer.modules() if isinstance(m, FSDPModule)]


def _saved_with_adapter(model: nn.Module) -> set[nn.Parameter]:
    """What is trained, and embeddings, which peft saves too where an adapter is on them."""
    embeddings = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    return {p for p in model.parameters() if p.requires_grad} | {
        p for m in embeddings for p in m.parameters()
    }


def _shard(outer: Under, device: str, world: int) -> Under:
    """Share out weights, gradients and optimizer, a layer at a time.

    Accelerate does the same on GPUs alone; torch's own call is one that CPUs can test.
    """
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


def whole(tensor: Tensor) -> Tensor:
    """A tensor as if it were on one device: every rank has to ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """What this rank holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def placed_like(parameter: Tensor, value: Tensor) -> Tensor:
    """A whole tensor where its parameter is: this rank's part of it, where that is sharded."""
    value = value.to(parameter.device)
    if not isinstance(parameter, DTensor) or not value.ndim:
        return value
    mesh, placements = parameter.device_mesh, parameter.placements
    return distribute_tensor(value, mesh, placements, src_data_rank=None)
