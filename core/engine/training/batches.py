"""Which rows are computed together, in what order: little padding, and the same each time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...config.config import TrainConfig
from ..models.choices import copies_ahead

Rows = NDArray[np.int64]
Parts = list[Rows]  # the parts (micro-batches) of one optimizer step
# What a padded part of a step costs beside its tokens, in tokens: weights are read and gradients
# added for each. Measured with MiniLM on a CPU: 128 to 256 are alike, 32 costs a third more time.
PART_PRICE = 256
# Tokens of a part on a CPU. A step of 2,300 tokens takes as long in two parts of a Llama of 14
# million parameters, with 0.4 GiB less; in three it takes 8 % longer.
MOST_ON_CPU = 1_280
TOO_MUCH = 1e12  # more than any part of rows costs


def plan_epoch(lengths: NDArray[np.int64], settings: TrainConfig, epoch: int) -> list[Rows]:
    """The rows of each optimizer step of one epoch, every row exactly once.

    Rows are shuffled by (seed, epoch) and taken in that order, whatever their length: where length
    predicts the label, steps of like length learn less from as many rows. The order depends on
    nothing else, so a resumed run finds the same one.
    """
    random = np.random.Generator(np.random.PCG64([settings.seed, epoch]))
    order = random.permutation(len(lengths))
    if settings.batch_tokens is None:
        return _at(order, np.arange(settings.batch_size, len(order), settings.batch_size))
    ends = np.cumsum(lengths[order])
    steps = max(1, math.ceil(ends[-1] / settings.batch_tokens)) if len(order) else 1
    shares = (ends - 1) * steps // max(1, int(ends[-1:].sum()))
    return [rows for rows in _at(order, np.searchsorted(shares, np.arange(1, steps))) if len(rows)]


def count_steps(lengths: NDArray[np.int64], settings: TrainConfig, epoch: int) -> int:
    """How many steps `plan_epoch` makes; drawn only where rows are longer than a step's share."""
    if settings.batch_tokens is None:
        return math.ceil(len(lengths) / settings.batch_size)
    total = int(lengths.sum())
    steps = math.ceil(total / settings.batch_tokens)
    if len(lengths) and int(lengths.max()) * steps <= total:
        return steps
    return len(plan_epoch(lengths, settings, epoch))


def _at(rows: Rows, places: NDArray[np.int64]) -> list[Rows]:
    return [part for part in np.split(rows, places) if len(part)]


def cut_by_length(
    rows: Rows, lengths: NDArray[np.int64], price: float, most: float = math.inf
) -> Parts:
    """Rows, those of like length together, in the parts that cost least when each is padded to its
    longest row: a token costs 1 and a part `price`. No part is of more than `most` tokens, padding
    counted, unless rows of one length are.
    """
    rows = rows[np.argsort(lengths[rows], kind="stable")]
    widths, starts = np.unique(lengths[rows], return_index=True)
    starts = np.append(starts, len(rows))
    cost, cut = np.zeros(len(starts)), np.zeros(len(starts), dtype=np.int64)
    for i in range(1, len(starts)):  # the least for the first i lengths
        tokens = widths[i - 1] * (starts[i] - starts[:i])
        over = (tokens > most) & (np.arange(i) < i - 1)
        tries = cost[:i] + tokens + np.where(over, TOO_MUCH, price)
        cut[i] = np.argmin(tries)
        cost[i] = tries[cut[i]]
    places, i = [], int(cut[-1])
    while i:
        places.append(starts[i])
        i = int(cut[i])
    return _at(rows, np.array(places[::-1], dtype=np.int64))


def split_by_tokens(rows: Rows, lengths: NDArray[np.int64], most: int) -> Parts:
    """Rows, in their order, in pieces of about as many tokens, as few as have `most` on average."""
    ends = np.cumsum(lengths[rows])
    pieces = -(-int(ends[-1]) // most)
    return _at(rows, np.searchsorted(ends, ends[-1] * np.arange(1, pieces) / pieces))


def cut_by_tokens(rows: Rows, lengths: NDArray[np.int64], budget: int) -> list[Rows]:
    """Cut rows, in their order, where rows x longest would pass the budget; none is split."""
    batches, start, longest = [], 0, 0
    for i, row in enumerate(rows):
        longest = max(longest, int(lengths[row]))
        if i > start and longest * (i - start + 1) > budget:
            batches.append(rows[start:i])
            start, longest = i, int(lengths[row])
    if start < len(rows):
        batches.append(rows[start:])
    return batches


def evaluation_batches(lengths: NDArray[np.int64], budget: int) -> list[Rows]:
    """All rows, longest first: what does not fit in memory fails at once and not after an hour."""
    return Layout().batches(lengths, budget)


@dataclass(frozen=True)
class Layout:
    """How rows are put into forward passes; no score may depend on it (L5).

    `rows` a batch (None: as many as the budget allows), shuffled by `seed` (None: longest first),
    padded on one side, `extra` tokens wider than the longest row where the model's length allows.
    """

    rows: int | None = None
    seed: int | None = None
    pad_left: bool = False
    extra: int = 0

    def batches(self, lengths: NDArray[np.int64], budget: int) -> list[Rows]:
        if self.seed is None:
            order = np.argsort(-lengths, kind="stable")
        else:
            order = np.random.Generator(np.random.PCG64(self.seed)).permutation(len(lengths))
        if self.rows is None:
            return cut_by_tokens(order, lengths, budget)
        return [order[i : i + self.rows] for i in range(0, len(order), self.rows)]


def padding_ratio(parts: Sequence[Rows], lengths: NDArray[np.int64]) -> float:
    """Tokens computed for each real token, where every part is padded to its longest row."""
    computed = sum(int(lengths[part].max()) * len(part) for part in parts)
    return computed / max(1, sum(int(lengths[part].sum()) for part in parts))


@dataclass(frozen=True)
class Batch:
    """Padded rows, and where their targets are."""

    ids: Tensor  # int64 [rows, tokens]
    mask: Tensor  # int64 [rows, tokens]
    before: Tensor | None = None  # int64 [targets]: flat places just before them, generation
    labels: Tensor | None = None  # int64 [rows]: one label per row
    wanted: Tensor | None = None  # [rows, outputs]: numbers per row
    padded: bool = True
    segments: Tensor | None = None  # int64 [rows, tokens]: 1 in the second text of a pair

    @property
    def inputs(self) -> dict[str, Tensor]:
        """What a model's forward takes."""
        found = {"input_ids": self.ids, "attention_mask": self.mask}
        return found if self.segments is None else found | {"token_type_ids": self.segments}

    @property
    def positions(self) -> Tensor:
        """Each token's place in its own row, which left padding would otherwise shift."""
        return (self.mask.cumsum(-1) - 1).clamp(min=0)


def collate(
    ids: Sequence[NDArray[np.int32]],
    rows: Rows,
    pad_id: int,
    device: torch.device,
    *,
    scored: Sequence[NDArray[np.bool_]] | None = None,
    labels: NDArray[np.int64] | None = None,
    wanted: NDArray[np.floating[Any]] | None = None,
    segments: Sequence[NDArray[np.int32]] | None = None,
    pad_left: bool = False,
    width: int = 0,
) -> Batch:
    """The rows as tensors on the device; masked by position, whatever the pad token is (M1).

    As wide as the longest row, or `width` where that is more.
    """
    longest = max(width, *(len(ids[r]) for r in rows))
    tokens = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    targets = np.zeros((len(rows), longest), dtype=bool)
    parts = np.zeros((len(rows) if segments else 0, longest), dtype=np.int64)
    for i, r in enumerate(rows):
        n = len(ids[r])
        place = slice(longest - n, longest) if pad_left else slice(0, n)
        tokens[i, place], mask[i, place] = ids[r], 1
        if scored is not None:
            targets[i, place] = scored[r]
        if segments is not None:
            parts[i, place] = segments[r]
    targets[:, 0] = False  # nothing stands before it
    return Batch(
        ids=to_device(tokens, device),
        mask=to_device(mask, device),
        # found here: looking for them on a GPU would wait for it
        before=to_device(np.flatnonzero(targets) - 1, device) if scored is not None else None,
        labels=to_device(labels[rows], device) if labels is not None else None,
        wanted=to_device(wanted[rows], device) if wanted is not None else None,
        padded=not mask.all(),
        segments=to_device(parts, device) if segments is not None else None,
    )


def to_device(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """The array as a tensor; a GPU is not waited for."""
    tensor = torch.from_numpy(array)
    if copies_ahead(device):
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor
