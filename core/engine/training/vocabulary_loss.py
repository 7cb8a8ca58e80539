"""Cross entropy over a vocabulary without its logits: gradients are made chunk by chunk.

The logits of a batch are the widest thing a language model makes. A chunk's logits become its loss
and its gradients at once and are forgotten, so the projection is computed three times over (once
forward, twice backward) as with whole logits, where making them anew for the backward pass would
cost a fourth: 2,048 tokens of 50,000 words took 0.96 s of CPU time so, 1.34 s anew, 0.98 s whole.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ..models.models import ScoredPositions


def vocabulary_loss(head: ScoredPositions, states: Tensor, targets: Tensor) -> Tensor:
    """Sum of the negative log-likelihoods of `targets`, float32.

    `states` is [chosen, hidden]. A projection that is more than one matrix (an adapter on it, a
    bias) goes through autograd, in chunks where the positions are many (L4).
    """
    matrix = head.matrix
    if matrix is not None and len(targets):
        total: Tensor = _ChunkedLoss.apply(  # type: ignore[no-untyped-call]
            states, matrix, targets, head.chunk
        )
        return total

    def loss(states: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(head.logits(states), targets, reduction="sum")

    if len(targets) <= head.chunk:
        return loss(states, targets)
    starts = range(0, len(targets), head.chunk)
    pairs = [(states[i : i + head.chunk], targets[i : i + head.chunk]) for i in starts]
    return torch.stack([checkpoint(loss, *pair, use_reentrant=False) for pair in pairs]).sum()


class _ChunkedLoss(torch.autograd.Function):
    """Loss and, where they are asked for, the gradients of states and matrix in one pass."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, matrix: Tensor, targets: Tensor, chunk: int) -> Tensor:
        kind, wanted = states.device.type, ctx.needs_input_grad
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype
        with torch.autocast(kind, enabled=False):
            x, w = states.to(dtype), matrix.to(dtype)
            total = torch.zeros((), dtype=torch.float64, device=x.device)
            to_states = torch.empty_like(x) if wanted[0] else None
            to_matrix = torch.zeros_like(matrix) if wanted[1] else None
            for i in range(0, len(x), chunk):
                part, truth = x[i : i + chunk], targets[i : i + chunk, None]
                likelihoods = functional.log_softmax((part @ w.t()).float(), dim=-1)
                total -= likelihoods.gather(1, truth).sum(dtype=torch.float64)
                if to_states is None and to_matrix is None:
                    continue
                shares = likelihoods.exp_()
                shares.scatter_add_(1, truth, shares.new_full(truth.shape, -1.0))
                gradient = shares.to(dtype)
                if to_states is not None:
                    torch.mm(gradient, w, out=to_states[i : i + chunk])
                if to_matrix is not None:
                    to_matrix += gradient.t() @ part
        ctx.save_for_backward(to_states, to_matrix)
        ctx.dtype = states.dtype
        return total.float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        to_states, to_matrix = ctx.saved_tensors
        return (
            None if to_states is None else (to_states * outer).to(ctx.dtype),
            None if to_matrix is None else to_matrix * outer.to(to_matrix.dtype),
            None,
            None,
        )
