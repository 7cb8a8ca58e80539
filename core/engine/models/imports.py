"""What the libraries import for purposes that a worker does not have, put off until it is used.

A model of transformers brings torch's compiler along (2 s of processor time with sympy and the
tensors of several devices), and so does the first step of an optimizer, though nothing here is
compiled: half of what a worker spends before its first step. Each part below is left out on its
own, for the time of the import; where a library changes its names, the plain import does.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

COMPILER = "torch._dynamo"
VMAPPED = "torch._dynamo._trace_wrapped_higher_order_op"
# oneDNN and torch each keep a program, half a MiB, for each of the last 1,024 shapes that they met.
# Packed steps hardly ever repeat a shape: within one its layers do, and have some 40.
PROGRAMS = 128
CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
# Of transformers: what every model imports.
MODELS = (
    "transformers.masking_utils",
    "transformers.modeling_layers",
    "transformers.generation.utils",
    "transformers.models.auto.modeling_auto",
)


def import_models(*, alone: bool, weights: bool = True) -> None:
    """Import what all models of transformers share, without torch's compiler.

    `alone`: no other process trains with this one, so that tensors over several devices are left
    out too, as on a torch that was built without them. Without `weights` none will be loaded, and
    what loading them imports, half a second of sympy, is left out.
    """
    for name in CACHES:  # read when the first program is made
        os.environ.setdefault(name, str(PROGRAMS))
    if COMPILER in sys.modules or MODELS[0] in sys.modules:
        return
    import transformers.utils as utils
    from transformers.utils import import_utils

    absent = ["is_scipy_available"]  # for losses of object detection
    absent += ["is_torch_distributed_available"] if alone else []
    before = {name: getattr(utils, name) for name in absent}
    try:
        for name in absent:
            setattr(utils, name, _no)
            setattr(import_utils, name, _no)
        with _without_compiler():
            for name in MODELS:
                importlib.import_module(name)
            if weights:
                _call_once()
    except (ImportError, AttributeError, NameError):  # a version that needs one of them
        for name in absent:
            setattr(utils, name, before[name])
            setattr(import_utils, name, before[name])
        for name in MODELS:
            importlib.import_module(name)


def import_adapters() -> None:
    """peft, which asks of each weight whether it is one over several devices: 0.2 s for these."""
    if torch.distributed.is_available():
        importlib.import_module("torch.distributed.tensor")
    importlib.import_module("peft")


def _no(*_: object) -> bool:
    return False


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Meanwhile what marks functions for the compiler leaves them as they are."""
    compiler, vmapped = ModuleType(COMPILER), ModuleType(VMAPPED)
    compiler.__path__ = []
    for mark in ("allow_in_graph", "assume_constant_result", "disable"):
        setattr(compiler, mark, _unmarked)
    vmapped.TransformGetItemToIndex = _index_with_tensors  # type: ignore[attr-defined]
    sys.modules |= {COMPILER: compiler, VMAPPED: vmapped}
    try:
        yield
    finally:
        del sys.modules[COMPILER], sys.modules[VMAPPED]
        vars(torch).pop(COMPILER.rpartition(".")[2], None)


def _call_once() -> None:
    """Of torch what asks for the compiler at its first call and never again: here, for nothing."""
    with torch.device("meta"):  # as `from_pretrained` makes a model
        weights = (*torch.nn.Embedding(2, 2).parameters(), *torch.nn.Linear(2, 2).parameters())
        torch.nn.LayerNorm(2)
        torch.nn.Parameter(torch.empty(2, 2)).data.normal_().uniform_().zero_().fill_(1.0)
    optimizer = torch.optim.AdamW(weights)
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())


def _unmarked(function: Any = None, *_: object, **__: object) -> Any:
    return _unmarked if function is None else function


def _index_with_tensors() -> Any:
    """The real one: some masks are made with it."""
    return importlib.import_module(VMAPPED).TransformGetItemToIndex()


class AdamW(torch.optim.AdamW):
    """torch's own, whose step imports the compiler for two marks around it."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        taken: float | None = inspect.unwrap(torch.optim.AdamW.step)(self, closure)
        return taken
