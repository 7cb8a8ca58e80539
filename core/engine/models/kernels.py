"""Faster kernels around a transformers model: CPU dropout and attention, few rows, masks.

Measured with MiniLM in bfloat16 (`tests/bench/classifier.py`): torch draws one Bernoulli number per
element at 5 ns each, 18 % of a step, and its attention of 32 rows of 64 tokens takes 46 ms with
dropout and 61 ms without, most of it in the backward pass. Drawing 16 bits per element takes a
fifth; plain matrix products of the same numbers 18 and 11 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

from .models import unwrapped

ON_CPU = "ftev_cpu"  # what transformers knows the attention here by
PACKED = "ftev_packed"  # and that of packed rows
SDPA = ("sdpa", ON_CPU, PACKED)  # all of them torch's own outside a training step
MOST_SCORES = 1 << 25  # attention scores of a layer that are kept: 64 MB in bfloat16
MOST_ROWS = 4  # of more, both ways round a product takes the same time
BITS = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}


def use_cpu_kernels(model: nn.Module) -> None:
    """Let a model that is trained on a CPU use them; its outputs in evaluation stay as they are."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))
    inner = unwrapped(model)
    if getattr(inner.config, "_attn_implementation", None) == "sdpa":
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import sdpa_mask

        AttentionInterface.register(ON_CPU, attend)
        AttentionMaskInterface.register(ON_CPU, sdpa_mask)
        inner.set_attn_implementation(ON_CPU)


@contextlib.contextmanager
def memory_kept(device: torch.device) -> Iterator[None]:
    """Freed memory is used again instead of being given back and zeroed anew at every step.

    glibc gives each large tensor's pages back when it is freed: 5 to 30 % of the time on a CPU.
    """
    libc: Any = ctypes.CDLL(None)
    if device.type != "cpu" or not hasattr(libc, "mallopt"):  # not glibc
        yield
        return
    most_mapped, trim_threshold = -4, -1  # names of settings, from malloc.h
    libc.mallopt(most_mapped, 0)
    libc.mallopt(trim_threshold, -1)
    try:
        yield
    finally:
        libc.mallopt(most_mapped, 65_536)  # what they are by default
        libc.mallopt(trim_threshold, 128 * 1024)
        give_back_memory()


def give_back_memory() -> None:
    """Freed memory to the system, where glibc keeps it: what comes next settles in other holes."""
    libc: Any = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def kept(shape: tuple[int, ...], p: float, dtype: torch.dtype) -> Tensor:
    """What dropout multiplies by: 0 with probability p, else 1 / (1 - p).

    p is met to 2^-16 in 16-bit types. The bits that torch's generator makes are compared as
    integers and turned into the number by multiplying its bit pattern with 0 or 1.
    """
    bits = BITS[dtype]
    count, width = math.prod(shape), torch.iinfo(bits).bits
    drawn = torch.empty(-(-count * width // 64), dtype=torch.int64).random_(-(2**63), None)
    lots = drawn.view(bits)[:count]
    lots.ge_(round(p * 2**width) - 2 ** (width - 1))
    one = torch.tensor(1 / (1 - p), dtype=dtype).view(bits)
    return lots.mul_(one).view(dtype).view(shape)


class Dropout(nn.Dropout):
    """As torch's, of the same share and scale, its numbers drawn faster."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not 0 < self.p < 1 or input.dtype not in BITS:
            return super().forward(input)
        return input * kept(tuple(input.shape), self.p, input.dtype)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attention of [rows, heads, tokens, size]; without gradients, and in float32 without
    dropout, torch's own is the faster one."""
    from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

    dtype = query.dtype
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
    scores = math.prod(query.shape[:3]) * key.shape[2]
    worse = not dropout and (dtype == torch.float32 or scores > MOST_SCORES)
    unknown = any(more.get(name) is not None for name in ("position_bias", "cache", "softcap"))
    if worse or unknown or not torch.is_grad_enabled():
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **more
        )
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    weights = torch.matmul(query, (key * (scaling or query.shape[-1] ** -0.5)).transpose(2, 3))
    if attention_mask is None and _causal(module, is_causal, query):
        places = torch.arange(query.shape[2])
        attention_mask = (places[:, None] >= places)[None, None]
    if attention_mask is not None:
        weights += _additive(attention_mask, weights.dtype)
    weights = functional.softmax(weights, dim=-1)
    if dropout:
        weights = weights * kept(tuple(weights.shape), dropout, weights.dtype)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), None


def _causal(module: nn.Module, given: bool | None, query: Tensor) -> bool:
    own = getattr(module, "is_causal", True) if given is None else given
    return bool(own) and query.shape[2] > 1


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where attention is allowed, else the least number; one row where all rows are the same."""
    if mask.stride(2) == 0:
        mask = mask[:, :, :1]
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)


@contextlib.contextmanager
def few_rows(model: Any, rows: int) -> Iterator[None]:
    """The model's linear layers take so many rows at a time as columns, where that is quicker.

    In float32 a product of two rows with a layer's weights takes a CPU as long as two products of
    one, though the weights need be read only once; the weights with the rows as columns take as
    long as one.
    """
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


def make_room(cache: Any, most: int) -> None:
    """Give the plain layers of a cache, where it has such, room for so many tokens in all."""
    layers = getattr(cache, "layers", [])
    for i, layer in enumerate(layers):
        if type(layer) is DynamicLayer:
            layers[i] = RoomyLayer(layer, most)


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values [rows, heads, tokens, size], each new token written behind them.

    transformers copies all of them for each token: most of the time of 18 answers of 256 tokens.
    """

    keys: Tensor
    values: Tensor

    def __init__(self, layer: DynamicLayer, most: int) -> None:
        super().__init__()
        self.__dict__.update(layer.__dict__)
        self._most = most
        self._rooms: dict[str, Tensor] = {}

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Both with the new tokens behind them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys = self._longer("keys", self.keys, key_states)
        self.values = self._longer("values", self.values, value_states)
        return self.keys, self.values

    def _longer(self, name: str, kept: Tensor, new: Tensor) -> Tensor:
        start = kept.shape[-2] if kept.numel() else 0
        end, room = start + new.shape[-2], self._rooms.get(name)
        # rows that were taken out left a tensor without room
        if room is None or room.data_ptr() != kept.data_ptr() or room.shape[-2] < end:
            room = new.new_empty(*new.shape[:-2], max(end, self._most), new.shape[-1])
            if start:
                room[..., :start, :] = kept
            self._rooms[name] = room
        room[..., start:end, :] = new
        return room[..., :end, :]


@contextlib.contextmanager
def padding_known(padded: bool, *, left: bool = False) -> Iterator[None]:
    """While entered, SDPA's masks are those of batches padded on one side, or not padded at all.

    transformers omits a mask where a batch has no padding, and asks the device to find that out:
    every forward pass then waits for the GPU, which has nothing queued meanwhile. Whoever made the
    batch knows, and says so. A causal model padded on the right needs no mask: what a token sees
    stands before it, and padding stands behind. `left`: the padding stands before.
    """

    def mask(
        *args: Any,
        attention_mask: Tensor | None = None,
        allow_is_causal_skip: bool = True,
        allow_is_bidirectional_skip: bool = False,
        **more: Any,
    ) -> Tensor | None:
        needed = padded and (left or not allow_is_causal_skip)
        return sdpa_mask(
            *args,
            attention_mask=attention_mask if needed else None,
            allow_is_causal_skip=allow_is_causal_skip and not needed,
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
