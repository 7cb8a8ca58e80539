"""A base and its LoRA adapter as two rows of one batch: the weights are read once for both.

The adapter adds what its B matrices give; for the base's row that is set to nothing, so that every
other part of peft (scaling, casts, several active adapters) does as it always does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..models.few_rows import few_rows
from ..models.models import Loaded, unwrapped

_apart: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()  # what `_keeps_rows` found


def can_pair(a: Loaded, b: Loaded) -> bool:
    """Whether the two are one model, with its adapter and without, that can be told row by row."""
    if a.model is not b.model or a.adapter_off == b.adapter_off or not a.has_adapter:
        return False
    if a.model not in _apart:
        with (b if a.adapter_off else a).active():
            _apart[a.model] = _is_plain(a.model) and _keeps_rows(a.model)
    return _apart[a.model]


def _is_plain(model: Any) -> bool:
    """Nothing is trained but LoRA matrices beside linear layers, none of them merged or DoRA."""
    from peft.tuners.lora import Linear
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    modules = list(model.modules())
    layers = [m for m in modules if isinstance(m, BaseTunerLayer)]
    if not layers or any(isinstance(m, AuxiliaryTrainingWrapper) for m in modules):
        return False
    return all(type(m) is Linear and not m.lora_variant and not m.merged for m in layers)


@torch.inference_mode()
def _keeps_rows(model: Any) -> bool:
    """Whether each adapted layer is given whole rows: experts are given tokens of any row."""
    shapes: list[tuple[int, ...]] = []

    def look(_: nn.Module, __: Any, out: Tensor) -> None:
        shapes.append(tuple(out.shape[:-1]))

    ids = torch.arange(6, device=next(model.parameters()).device).reshape(2, 3)
    with _hooked(model, look):
        unwrapped(model)(input_ids=ids, use_cache=False)
    return bool(shapes) and all(shape == (2, 3) for shape in shapes)


@contextlib.contextmanager
def without_adapter(model: Any, row: int) -> Iterator[None]:
    """The adapter acts on every row but this one."""

    def silence(_: nn.Module, __: Any, out: Tensor) -> Tensor:
        out[row] = 0.0
        return out

    with _hooked(model, silence):
        yield


@contextlib.contextmanager
def _hooked(model: Any, hook: Any) -> Iterator[None]:
    found = [b for m in model.modules() if hasattr(m, "lora_B") for b in m.lora_B.values()]
    handles = [module.register_forward_hook(hook) for module in found]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def join_caches(caches: list[Any]) -> Any:
    """The caches of single rows as one of a batch; None where they are not plain ones of a length.

    The first is changed and returned.
    """
    from transformers.cache_utils import DynamicLayer

    layers = [getattr(cache, "layers", ()) for cache in caches]
    flat = [layer for part in layers for layer in part]
    if not flat or len({len(part) for part in layers}) > 1:
        return None
    if any(type(layer) is not DynamicLayer or not layer.is_initialized for layer in flat):
        return None
    if len({layer.get_seq_length() for layer in flat}) > 1:
        return None
    for first, *others in zip(*layers, strict=True):
        first.keys = torch.cat([first.keys, *(layer.keys for layer in others)])
        first.values = torch.cat([first.values, *(layer.values for layer in others)])
    return caches[0]


@contextlib.contextmanager
def reading_together(pair: list[Loaded], cache: Any) -> Iterator[Callable[[list[int]], Tensor]]:
    """Gives what reads one more token of each into the cache: logits of [2, vocabulary].

    The model stays as it is made here between two tokens: to walk its modules at every token would
    cost a sixth of the time.
    """
    off = next(row for row, loaded in enumerate(pair) if loaded.adapter_off)
    tuned = pair[1 - off]
    device = tuned.device
    with tuned.active() as model, without_adapter(model, off), few_rows(model, len(pair)):

        def read(tokens: list[int]) -> Tensor:
            ids = torch.tensor(tokens, device=device)[:, None]
            out = model(input_ids=ids, past_key_values=cache, use_cache=True)
            logits: Tensor = out.logits[:, -1]
            return logits

        yield read
