"""A step's rows in one pass without padding, none seeing another (M5).

The layers of a model take the tokens of all rows end to end; around them, embeddings and head see
the padded batch as ever. So it works for encoders and language models alike, whatever their heads.
Only attention has to know the rows. torch's variable-length kernel (CUDA, causal, bfloat16) takes
their bounds; elsewhere rows of like length lie side by side and attend together, padded to the
longest of their group. Whether a model keeps its rows apart that way is tried on real rows before
any is packed; one that does not is trained on padded batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..models import kernels
from ..models.choices import lacks_variable_length
from ..models.devices import autocast
from ..models.kernels import PACKED, SDPA, padding_known
from ..models.logits import ScoredPositions
from ..models.models import Loaded, unwrapped
from ..scoring.rows import TokenRows
from .batches import Batch, Rows, collate, cut_by_length, to_device

# What a group of rows costs beside its tokens: its attention is a few small operations, as long as
# so many floating-point operations of a layer. On a CPU that is 32 tokens of MiniLM: of 8 to 256
# they took the least time, and of a model of 48 columns 128. Matrix tiles (AMX) compute 6 times as
# many meanwhile. On CUDA an estimate, in tokens, from kernel launches.
GROUP_OPERATIONS = 3.4e8
AMX = 6
LEAST_PRICE, MOST_PRICE = 8, 128
CUDA_PRICE = 512
# On a CPU a pass is filled up to a multiple of this: oneDNN keeps a program for each shape it met,
# and so many of them scattered over memory cost 0.6 GiB in 40 steps and a fifth of the time.
WHOLE = 64
DROPOUTS = ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob")
UNKNOWN = ("softcap", "s_aux", "position_bias", "cache")  # what attention here does not know
CLOSE = {"float32": 1e-4, "bfloat16": 3e-2}  # share of the outputs' norm
# On a CPU attention of groups so narrow is in float32: there is a shape for every few of them.
SHORT = 64
# What one more pass costs, in places of the padded batch, which embeddings and head alone compute.
PACKED_PRICE = 8_192


@dataclass(frozen=True)
class Group:
    """Rows that lie side by side, padded to the same width."""

    rows: int
    width: int
    mask: Tensor | None  # bool [rows, 1, 1, width]: where there are tokens; None where everywhere


@dataclass(frozen=True)
class Packed:
    """How the rows of a padded batch, [rows, width], lie end to end as [1, tokens]."""

    rows: int
    width: int
    places: Tensor  # int64 [tokens]: flat places in the padded batch
    tokens: int  # of the rows and their groups; what comes behind fills up
    groups: list[Group] = field(default_factory=list)
    bounds: Tensor | None = None  # int32 [rows + 1]: where each row begins, and the end
    firsts: Tensor | None = None  # int64 [rows]: where each row begins, if only that is read later
    _laid_out: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)  # same for each layer

    def pack(self, value: Any) -> Any:
        """What is laid out as the padded batch, end to end; anything else as it is."""
        if isinstance(value, tuple):
            return tuple(map(self.pack, value))
        if not isinstance(value, Tensor) or value.ndim < 2 or value.shape[1] != self.width:
            return value
        if value.shape[0] not in (1, self.rows):
            return value
        if id(value) not in self._laid_out:
            alike = value.shape[0] == 1  # the same for every row, as positions are
            places = self.places % self.width if alike else self.places
            self._laid_out[id(value)] = (value, value.flatten(0, 1).index_select(0, places)[None])
        return self._laid_out[id(value)][1]

    def unpack(self, tokens: Tensor) -> Tensor:
        """[1, tokens, hidden] as the padded batch; padding is 0, as is what nothing reads."""
        empty = tokens.new_zeros(self.rows * self.width, tokens.shape[-1])
        places = self.places[: self.tokens]
        if self.firsts is not None and tokens.shape[1] == self.rows:
            places = places.index_select(0, self.firsts)
        filled = empty.index_copy(0, places, tokens[0, : len(places)])
        return filled.view(self.rows, self.width, -1)


@dataclass(frozen=True)
class Packing:
    """How rows are laid end to end for the layers of one model."""

    price: float = 32  # of one group beside its tokens, in tokens
    by_bounds: bool = False  # for a kernel that takes where each row begins; else by groups
    first_only: bool = False  # the last layer's output is computed at each row's first token alone

    def lay_out(self, lengths: NDArray[np.int64], device: torch.device) -> Packed:
        """Rows so long, shortest first."""
        if self.by_bounds:
            return _by_bounds(lengths, device)
        packed = _by_groups(lengths, device, self.price)
        if not self.first_only:
            return packed
        starts = np.cumsum([0] + [group.rows * group.width for group in packed.groups])
        firsts = [
            start + np.arange(group.rows) * group.width
            for start, group in zip(starts, packed.groups, strict=False)
        ]
        return replace(packed, firsts=to_device(np.concatenate(firsts)[: packed.rows], device))


def group_price(layers: nn.ModuleList, device: torch.device, precision: str) -> float:
    """What one group costs, in tokens of this model: fixed for a model and a kind of device, so
    that a resumed run groups its rows as before.
    """
    if device.type == "cuda":
        return CUDA_PRICE
    token = 6 * sum(p.numel() for p in layers[0].parameters())  # forward, and backward twice that
    faster = AMX if precision == "bfloat16" and torch.cpu._is_amx_tile_supported() else 1
    return float(np.clip(faster * GROUP_OPERATIONS / token, LEAST_PRICE, MOST_PRICE))


def _by_bounds(lengths: NDArray[np.int64], device: torch.device) -> Packed:
    width = int(lengths[-1])
    places = np.concatenate([i * width + np.arange(n) for i, n in enumerate(lengths)])
    bounds = np.concatenate([[0], lengths.cumsum()]).astype(np.int32)
    return Packed(
        len(lengths),
        width,
        to_device(places, device),
        len(places),
        bounds=to_device(bounds, device),
    )


def _by_groups(lengths: NDArray[np.int64], device: torch.device, price: float) -> Packed:
    """In groups of like length."""
    width, parts, groups = int(lengths[-1]), [], []
    for rows in cut_by_length(np.arange(len(lengths)), lengths, price):
        wide = int(lengths[rows[-1]])
        parts.append((rows[:, None] * width + np.arange(wide)).ravel())
        mask = np.arange(wide) < lengths[rows, None]
        needed = None if mask.all() else to_device(mask, device)[:, None, None]
        groups.append(Group(len(rows), wide, needed))
    tokens = sum(map(len, parts))
    if device.type == "cpu" and tokens % WHOLE:
        parts.append(np.zeros(WHOLE - tokens % WHOLE, dtype=np.int64))
        groups.append(Group(1, len(parts[-1]), None))
    return Packed(len(lengths), width, to_device(np.concatenate(parts), device), tokens, groups)


def _behind_attention(layers: nn.ModuleList) -> nn.Module | None:
    """What in the last layer takes the attention's output and the residual, as in a BERT's."""
    found = getattr(getattr(layers[-1], "attention", None), "output", None)
    return found if isinstance(found, nn.Module) else None


def layers_of(model: nn.Module) -> nn.ModuleList | None:
    """The stack of layers that a model's tokens go through; None where it is not one stack."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    inner = unwrapped(model)
    if inner.config.is_encoder_decoder or getattr(inner.config, "layerdrop", 0):
        return None
    found = [
        module
        for module in inner.modules()
        if isinstance(module, nn.ModuleList)
        and len(module)
        and all(isinstance(layer, GradientCheckpointingLayer) for layer in module)
    ]
    return found[0] if len(found) == 1 else None


_packed: Packed | None = None  # how the batch under way lies in the layers; None: padded


@contextlib.contextmanager
def packing(model: nn.Module, packed: Packed | None) -> Iterator[None]:
    """While entered, the model's layers take a batch's tokens end to end. Its backward pass belongs
    here too, under activation checkpointing.
    """
    global _packed
    layers = layers_of(model) if packed else None
    if packed is None or layers is None:
        yield
        return

    def before(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return packed.pack(given), {name: packed.pack(value) for name, value in named.items()}

    def after(_: nn.Module, __: Any, out: Any) -> Any:
        return (packed.unpack(out[0]), *out[1:]) if isinstance(out, tuple) else packed.unpack(out)

    def only_first(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        assert packed.firsts is not None
        return tuple(x.index_select(1, packed.firsts) for x in given)

    hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    hooks.append(layers[-1].register_forward_hook(after))
    if packed.firsts is not None and (behind := _behind_attention(layers)) is not None:
        hooks.append(behind.register_forward_pre_hook(only_first))
    _packed = packed
    try:
        yield
    finally:
        _packed = None
        for hook in hooks:
            hook.remove()


def way_of_packing(
    loaded: Loaded, head: ScoredPositions | None, rows: TokenRows, precision: str
) -> Packing | None:
    """Give a model the attention that packed rows need, and return which; None where it does not
    keep them apart.
    """
    inner = unwrapped(loaded.model)
    before = getattr(inner.config, "_attn_implementation", None)
    layers = layers_of(loaded.model)
    if before not in SDPA or layers is None or loaded.device.type not in ("cpu", "cuda"):
        return None
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(PACKED, attend)
    AttentionMaskInterface.register(PACKED, sdpa_mask)
    inner.set_attn_implementation(PACKED)
    on_cpu = loaded.device.type == "cpu"
    drops = any(getattr(inner.config, name, 0) for name in DROPOUTS)  # not in the kernel
    kernel = head is not None and not drops and not lacks_variable_length(loaded.device, precision)
    price = group_price(layers, loaded.device, precision)
    ways = [Packing(by_bounds=True)] if kernel else []
    if head is None and _behind_attention(layers) is not None:
        ways.append(Packing(price, first_only=True))
    for way in (*ways, Packing(price)):
        if keeps_rows_apart(loaded, head, rows, "float32" if on_cpu else precision, way):
            return way
    inner.set_attn_implementation(before)
    return None


@torch.no_grad()
def keeps_rows_apart(
    loaded: Loaded, head: ScoredPositions | None, rows: TokenRows, precision: str, way: Packing
) -> bool:
    """What a model makes of a row is the row's own: after one row, after another, and alone."""
    by_length = np.argsort(rows.lengths, kind="stable")
    if len(rows) < 4 or (head is not None and not head.short_way):
        return False
    row, others = by_length[-1], (by_length[:2], by_length[1:3])
    model, was_training = loaded.model, loaded.model.training
    model.eval()
    try:
        with autocast(loaded.device, precision):
            one, two = (_last_row(loaded, head, rows, [*r, row], way) for r in others)
            wanted = _last_row(loaded, head, rows, [row], None)
    except Exception:  # whatever a model's code cannot do with packed rows, it need not
        return False
    finally:
        model.train(was_training)
    close = CLOSE[precision] * float(wanted.norm())
    apart = float((one - two).norm()) <= 0.1 * close
    return apart and float((one - wanted).norm()) <= close


def _last_row(
    loaded: Loaded,
    head: ScoredPositions | None,
    rows: TokenRows,
    chosen: Sequence[int],
    way: Packing | None,
) -> Tensor:
    """What a model makes of the last row: the states of its tokens, or the scores of its labels."""
    batch, packed = packed_batch(loaded, rows, np.asarray(chosen, dtype=np.int64), way)
    with packing(loaded.model, packed), padding_known(batch.padded and packed is None):
        if head is not None:
            return head.hidden(batch.ids, batch.mask)[-1].float()
        return loaded.model(**batch.inputs).logits[-1].float()


def packed_batch(
    loaded: Loaded, rows: TokenRows, chosen: Rows, way: Packing | None
) -> tuple[Batch, Packed | None]:
    """Rows as a padded batch, shortest first, and how they lie end to end where they differ."""
    lengths = np.array([len(rows.ids[r]) for r in chosen])
    by_length = np.argsort(lengths, kind="stable")
    pad, device = loaded.tokenizer.pad_token_id, loaded.device
    own = chosen[by_length]
    batch = collate(
        *(rows.ids, own, pad, device),
        scored=rows.scored,
        labels=rows.labels,
        wanted=rows.wanted,
        segments=rows.segments,
    )
    if way is None or not batch.padded:
        return batch, None
    return batch, way.lay_out(lengths[by_length], device)


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
    """Attention within packed rows, [1, heads, tokens, size]; of padded ones, the usual."""
    usual: Any = kernels.attend if query.device.type == "cpu" else _torchs()
    if _packed is None:
        return usual(module, query, key, value, attention_mask, dropout, scaling, is_causal, **more)
    window = more.pop("sliding_window", None)
    narrow = window is not None and window < _packed.width
    if narrow or attention_mask is not None or any(more.get(n) is not None for n in UNKNOWN):
        raise ValueError("this model's attention is more than packed rows know")
    if _packed.bounds is not None:
        return _within_bounds(_packed, query, key, value, dropout, scaling), None
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    found = []
    for group, *states in _by_group(_packed.groups, query, key, value):
        # where a token sees only what stands before it, padding behind a row needs no mask
        mask = None if causal else group.mask
        small = query.device.type == "cpu" and group.width <= SHORT
        with torch.autocast("cpu", enabled=False) if small else contextlib.nullcontext():
            given = [x.float() for x in states] if small else states
            out, _ = usual(module, *given, mask, dropout, scaling, is_causal, **more)
        found.append(out.flatten(0, 1).to(value.dtype))
    return torch.cat(found)[None], None


def _torchs() -> Any:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    return sdpa_attention_forward


def _by_group(groups: Sequence[Group], *states: Tensor) -> Iterator[Any]:
    """Each group with its share of the states, [rows, heads, width, size] each."""
    sizes = [group.rows * group.width for group in groups]
    for group, *shares in zip(groups, *(torch.split(x[0], sizes, 1) for x in states), strict=True):
        shape = (group.rows, group.width)
        yield group, *(x.unflatten(1, shape).transpose(0, 1) for x in shares)


def _within_bounds(
    packed: Packed, query: Tensor, key: Tensor, value: Tensor, dropout: float, scaling: float | None
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    if dropout:
        raise ValueError("the packed kernel knows no dropout")
    dtype = torch.get_autocast_dtype("cuda")
    q, k, v = (x[0].transpose(0, 1).to(dtype) for x in (query, key, value))
    assert packed.bounds is not None
    out = varlen_attn(
        q,
        k,
        v,
        packed.bounds,
        packed.bounds,
        packed.width,
        packed.width,
        scale=scaling,
        window_size=(-1, 0),  # causal
        enable_gqa=q.shape[1] != k.shape[1],
    )
    assert isinstance(out, Tensor)
    return out[None]
