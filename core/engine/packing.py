"""Rows of a language model one after another in one sequence, none seeing another (M5).

Positions begin anew with each row and attention stays within it. Nothing is padded, but it needs
attention that takes the rows' bounds: torch's variable-length kernel, on CUDA only. On a CPU the
same would need a mask over all pairs of tokens, so there rows of like length are padded. Whether a
model keeps its rows apart is tried on real rows before any is packed; one that does not is trained
on padded batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .batches import Rows, to_device
from .devices import autocast
from .models import ScoredPositions, unwrapped
from .rows import TokenRows

NAME = "ftev_packed"  # what transformers knows this attention by
DROPOUTS = ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob")
UNKNOWN = ("softcap", "s_aux", "position_bias", "sliding_window", "cache")  # not in the kernel here
CLOSE = {"float32": 1e-4, "bfloat16": 3e-2}  # share of the states' norm


@dataclass(frozen=True)
class Packed:
    """Rows laid end to end: tensors are [1, tokens]."""

    ids: Tensor
    positions: Tensor
    bounds: Tensor  # int32 [rows + 1]: where each row begins, and the end
    longest: int
    before: Tensor  # int64 [targets]: places just before the targets


def pack(rows: TokenRows, chosen: Rows, device: torch.device) -> Packed:
    assert rows.scored is not None
    lengths = np.array([len(rows.ids[r]) for r in chosen])
    places = [np.arange(n) for n in lengths]
    targets = np.flatnonzero(np.concatenate([rows.scored[r] for r in chosen]))
    ids = np.concatenate([rows.ids[r] for r in chosen]).astype(np.int64)
    return Packed(
        ids=to_device(ids[None], device),
        positions=to_device(np.concatenate(places)[None], device),
        bounds=to_device(np.concatenate([[0], lengths.cumsum()]).astype(np.int32), device),
        longest=int(lengths.max()),
        before=to_device(targets - 1, device),  # a row's first token is never one (L2)
    )


def packed_states(head: ScoredPositions, packed: Packed) -> Tensor:
    """Last hidden states of packed rows: [tokens, hidden]."""
    causal = unwrapped(head.model)
    bounds: dict[str, Any] = {}
    if causal.config._attn_implementation == NAME:
        bounds = {"cu_seq_lens_q": packed.bounds, "max_length_q": packed.longest}
    with _rows_are_bounds(bool(bounds)):
        out = getattr(causal, causal.base_model_prefix)(
            input_ids=packed.ids, position_ids=packed.positions, use_cache=False, **bounds
        )
    return out.last_hidden_state[0]


def use_packing(head: ScoredPositions, rows: TokenRows, precision: str) -> bool:
    """Give a model on CUDA the attention that packed rows need; whether it keeps them apart."""
    causal = unwrapped(head.model)
    before = getattr(causal.config, "_attn_implementation", None)
    dropout = any(getattr(causal.config, name, 0) for name in DROPOUTS)  # not in the kernel
    device = next(causal.parameters()).device
    if device.type != "cuda" or precision != "bfloat16" or before != "sdpa" or dropout:
        return False
    try:
        from torch.nn.attention import varlen  # noqa: F401  (torch 2.10)
    except ImportError:
        return False
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, _mask)
    causal.set_attn_implementation(NAME)
    if keeps_rows_apart(head, rows, precision):
        return True
    causal.set_attn_implementation(before)
    return False


@torch.no_grad()
def keeps_rows_apart(head: ScoredPositions, rows: TokenRows, precision: str) -> bool:
    """A row's states are its own: after one row, after another, and alone."""
    if not head.short_way or len(rows) < 3:
        return False
    device = next(head.model.parameters()).device
    first, other, row = np.argsort(rows.lengths, kind="stable")[np.array([-1, -2, len(rows) // 2])]
    was_training = head.model.training
    head.model.eval()
    try:
        with autocast(device, precision):
            after = [_last_row(head, rows, [r, row], device) for r in (first, other)]
            alone = to_device(rows.ids[row].astype(np.int64)[None], device)
            wanted = head.hidden(alone, torch.ones_like(alone))[0].float()
    except (RuntimeError, TypeError, ValueError, AttributeError):  # what it cannot, it need not
        return False
    finally:
        head.model.train(was_training)
    close = CLOSE[precision] * float(wanted.norm())
    apart = float((after[0] - after[1]).norm()) <= 0.1 * close
    return apart and float((after[0] - wanted).norm()) <= close


def _last_row(
    head: ScoredPositions, rows: TokenRows, chosen: Sequence[int], device: torch.device
) -> Tensor:
    numbers: NDArray[np.int64] = np.asarray(chosen, dtype=np.int64)
    return packed_states(head, pack(rows, numbers, device))[-len(rows.ids[chosen[-1]]) :].float()


_bounded = False  # whether the forward pass under way is told the bounds of its rows


@contextlib.contextmanager
def _rows_are_bounds(told: bool) -> Iterator[None]:
    global _bounded
    _bounded = told
    try:
        yield
    finally:
        _bounded = False


def _mask(*given: Any, **named: Any) -> Tensor | None:
    """Packed rows need no mask; padded ones, as in evaluation, torch's usual one."""
    from transformers.masking_utils import sdpa_mask

    return None if _bounded else sdpa_mask(*given, **named)


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
    """Causal attention of packed rows, [1, heads, tokens, size]; of others, torch's own."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    bounds, longest = more.pop("cu_seq_lens_q", None), more.pop("max_length_q", None)
    if bounds is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **more
        )
    from torch.nn.attention.varlen import varlen_attn

    if dropout or any(more.get(name) is not None for name in UNKNOWN):
        raise ValueError("this model's attention is more than the packed kernel knows")
    dtype = torch.get_autocast_dtype("cuda")
    q, k, v = (x[0].transpose(0, 1).to(dtype) for x in (query, key, value))
    out = varlen_attn(
        q,
        k,
        v,
        bounds,
        bounds,
        longest,
        longest,
        scale=scaling,
        window_size=(-1, 0),  # causal
        enable_gqa=q.shape[1] != k.shape[1],
    )
    assert isinstance(out, Tensor)
    return out[None], None
