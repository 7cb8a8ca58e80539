"""Training on a CPU, faster than torch's own kernels: dropout and attention.

Measured with MiniLM in bfloat16 (`tests/bench/classifier.py`): torch draws one Bernoulli number an
element at 5 ns each, 18 % of a step, and its attention of 32 rows of 64 tokens takes 46 ms with
dropout and 61 ms without, most of it in the backward pass. Drawing 16 bits an element takes a
fifth; plain matrix products of the same numbers 18 and 11 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .models import unwrapped

NAME = "ftev_cpu"  # what transformers knows this attention by
MOST_SCORES = 1 << 25  # attention scores of a layer that are kept: 64 MB in bfloat16
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

        AttentionInterface.register(NAME, attend)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        inner.set_attn_implementation(NAME)


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
    told = any(more.get(name) is not None for name in ("position_bias", "cache", "softcap"))
    if worse or told or not torch.is_grad_enabled():
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


def _causal(module: nn.Module, told: bool | None, query: Tensor) -> bool:
    own = getattr(module, "is_causal", True) if told is None else told
    return bool(own) and query.shape[2] > 1


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where attention is allowed, else the least number; one row where all rows are the same."""
    if mask.stride(2) == 0:
        mask = mask[:, :, :1]
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
