"""Logits of a causal model at chosen positions only, and the cross entropy over its vocabulary.

The vocabulary is by far the widest thing a language model makes: logits are projected for scored
positions alone, chunk by chunk.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .kernels import padding_known
from .models import unwrapped

CHUNK_ELEMENTS = 1 << 26  # logits computed at a time: 256 MB in float32
_short: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()  # what `_agrees` found
CPU_CHUNK_ELEMENTS = 7 << 20  # 28 MiB: of more than 32 each chunk is new memory from the kernel


class ScoredPositions(nn.Module):
    """Logits of a causal model at chosen positions only: [rows, tokens] -> [chosen, vocabulary].

    The vocabulary is by far the widest thing a language model makes, so prompt and padding
    positions are not projected (L4). Some architectures scale or cap logits after the projection;
    whether the short way gives the model's own logits is therefore checked on a real row, and where
    it does not, the model's full forward is used.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._room: Tensor | None = None
        if model not in _short:
            with padding_known(False):
                _short[model] = self._agrees()
        self.short_way = _short[model]

    @property
    def _causal(self) -> Any:
        return unwrapped(self.model)

    @property
    def chunk(self) -> int:
        """Positions projected at a time, so that their logits stay within CHUNK_ELEMENTS."""
        on_cpu = next(self.model.parameters()).device.type == "cpu"
        elements = min(CHUNK_ELEMENTS, CPU_CHUNK_ELEMENTS) if on_cpu else CHUNK_ELEMENTS
        return max(1, elements // int(self.model.config.vocab_size))

    def hidden(self, ids: Tensor, mask: Tensor, positions: Tensor | None = None) -> Tensor:
        """Last hidden states, or logits where the short way is closed."""
        places = {} if positions is None else {"position_ids": positions}
        if self.short_way:
            backbone = getattr(self._causal, self._causal.base_model_prefix)
            out = backbone(input_ids=ids, attention_mask=mask, use_cache=False, **places)
            return out.last_hidden_state
        return self.model(input_ids=ids, attention_mask=mask, use_cache=False, **places).logits

    @property
    def matrix(self) -> Tensor | None:
        """The projection's weight, [vocabulary, hidden], where it is one matrix and no more."""
        head = self._causal.get_output_embeddings()
        plain = self.short_way and type(head) is nn.Linear and head.bias is None
        return head.weight if plain else None

    def logits(self, states: Tensor) -> Tensor:
        """float32 logits of the states given: [chosen, hidden] -> [chosen, vocabulary] (L3)."""
        return self.projected(states).float()

    def projected(self, states: Tensor, room: Tensor | None = None) -> Tensor:
        """The same in the precision that the model computes in, in `room` if there is one."""
        if room is not None and self.matrix is not None:
            return torch.mm(states, self.matrix.t(), out=room[: len(states)])
        return self._causal.get_output_embeddings()(states) if self.short_way else states

    def room(self, states: Tensor) -> Tensor | None:
        """For the logits of a chunk, to be used again and again; None where they need their own.

        A chunk of new memory each time leaves holes that small tensors settle in.
        """
        matrix = self.matrix
        if matrix is None or matrix.dtype != states.dtype or states.requires_grad:
            return None
        if torch.is_autocast_enabled(states.device.type):  # it knows nothing of given memory
            return None
        if self._room is None or self._room.dtype != states.dtype:
            self._room = states.new_empty(self.chunk, len(matrix))
        return self._room

    @torch.no_grad()
    def _agrees(self) -> bool:
        causal = self._causal
        if causal.get_output_embeddings() is None or not hasattr(causal, causal.base_model_prefix):
            return False
        was_training = self.model.training
        self.model.eval()
        device = next(self.model.parameters()).device
        ids = torch.arange(8, device=device)[None] % causal.config.vocab_size
        mask = torch.ones_like(ids)
        full = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits.float()
        self.short_way = True
        try:
            short = self.logits(self.hidden(ids, mask))
        except (AttributeError, TypeError):
            return False
        finally:
            self.model.train(was_training)
        return bool(torch.allclose(full, short, rtol=1e-4, atol=1e-4))


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
    """Loss and, where they are asked for, the gradients of states and matrix in one pass.

    A chunk's logits become its loss and its gradients at once and are forgotten, so the projection
    is computed three times over (once forward, twice backward) as with whole logits, where making
    them anew for the backward pass would cost a fourth: 2,048 tokens of 50,000 words took 0.96 s of
    CPU time so, 1.34 s anew, 0.98 s whole.
    """

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
