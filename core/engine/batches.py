"""Which rows are computed together, in what order: little padding, and the same each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import TrainConfig

WINDOW = 50  # batches' worth of shuffled rows that are sorted by length together

Rows = NDArray[np.int64]
Step = list[Rows]  # the parts (micro-batches) of one optimizer step


def plan_epoch(lengths: NDArray[np.int64], settings: TrainConfig, epoch: int) -> list[Step]:
    """The optimizer steps of one epoch, every row exactly once.

    Rows are shuffled by (seed, epoch), sorted by length within windows, cut, and the batches
    shuffled: the order depends on nothing else, so a resumed run finds the same one.
    """
    random = np.random.Generator(np.random.PCG64([settings.seed, epoch]))
    order = random.permutation(len(lengths))
    batches: list[Rows] = []
    for window in _windows(order, lengths, settings):
        by_length = window[np.argsort(lengths[window], kind="stable")]
        if settings.batch_tokens:
            batches += cut_by_tokens(by_length, lengths, settings.batch_tokens)
        else:
            size = settings.batch_size
            batches += [by_length[i : i + size] for i in range(0, len(by_length), size)]
    parts = settings.gradient_accumulation_steps
    return [
        [part for part in np.array_split(batches[i], parts) if len(part)]
        for i in random.permutation(len(batches))
    ]


def _windows(order: Rows, lengths: NDArray[np.int64], settings: TrainConfig) -> Iterator[Rows]:
    """Shuffled rows in windows of whole batches, so that only the last batch is short."""
    rows = settings.batch_size
    if settings.batch_tokens:
        rows = max(1, int(settings.batch_tokens / max(1.0, float(lengths.mean()))))
    for i in range(0, len(order), rows * WINDOW):
        yield order[i : i + rows * WINDOW]


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


def padding_ratio(plan: Sequence[Step], lengths: NDArray[np.int64]) -> float:
    """Tokens computed for each real token."""
    computed = sum(int(lengths[part].max()) * len(part) for step in plan for part in step)
    return computed / max(1, int(lengths.sum()))


@dataclass(frozen=True)
class Batch:
    """Padded rows, and where their targets are."""

    ids: Tensor  # int64 [rows, tokens]
    mask: Tensor  # int64 [rows, tokens]
    before: Tensor | None = None  # int64 [targets]: flat places just before them, generation
    labels: Tensor | None = None  # int64 [rows], classification
    padded: bool = True

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
    for i, r in enumerate(rows):
        n = len(ids[r])
        place = slice(longest - n, longest) if pad_left else slice(0, n)
        tokens[i, place], mask[i, place] = ids[r], 1
        if scored is not None:
            targets[i, place] = scored[r]
    targets[:, 0] = False  # nothing stands before it
    return Batch(
        ids=to_device(tokens, device),
        mask=to_device(mask, device),
        # found here: looking for them on a GPU would wait for it
        before=to_device(np.flatnonzero(targets) - 1, device) if scored is not None else None,
        labels=to_device(labels[rows], device) if labels is not None else None,
        padded=not mask.all(),
    )


def to_device(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """The array as a tensor; a GPU is not waited for."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor
