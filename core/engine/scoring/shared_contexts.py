"""Rows that begin alike are read as a tree: their context once, then each of their endings.

A choice among labels or completions asks a model about one context many times. In a tree the
endings stand side by side after the context: each gets the positions it has in its own row, and
the attention mask lets it see the context and itself. Every score is that of the row alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..models.kernels import SDPA
from ..models.logits import ScoredPositions
from ..models.models import takes
from .rows import TokenRows

LEAST_CONTEXT = 8  # tokens: what a shorter context saves is not worth a mask
TOLERANCE = 2e-5  # of the states' norm: float32 over other kernels stays well below

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Tree:
    """Some rows of a split with one context. Arrays but the last three have one entry per token."""

    rows: Places
    ids: NDArray[np.int32]
    positions: Places
    branch: Places  # 0 for the context, else which ending a token belongs to
    at: Places  # where the state stands that predicts each target
    targets: NDArray[np.int64]
    owners: Places  # the row of each target


def trees(rows: TokenRows, widest: int) -> list[Tree]:
    """Rows that share what stands before their first scored token, as far as it saves reading.

    `widest`: tokens of a tree at most, where a context with a single ending does not take more.
    """
    assert rows.scored is not None
    alike: defaultdict[bytes, list[int]] = defaultdict(list)
    for row, (ids, scored) in enumerate(zip(rows.ids, rows.scored, strict=True)):
        start = int(scored.argmax())
        if start >= LEAST_CONTEXT:  # 0 where nothing is scored
            alike[ids[:start].tobytes()].append(row)
    found = []
    for same in alike.values():
        start = int(rows.scored[same[0]].argmax())
        found += [_tree(rows, part, start) for part in _cut(rows, same, start, widest)]
    return [tree for tree in found if len(tree.rows) > 1]


def _cut(rows: TokenRows, same: list[int], start: int, widest: int) -> Iterator[list[int]]:
    """Rows of one context in parts that are no wider than that."""
    part: list[int] = []
    width = start
    for row in sorted(same, key=lambda r: len(rows.ids[r])):
        added = len(rows.ids[row]) - start - 1  # nobody reads on from the last token
        if part and width + added > widest:
            yield part
            part, width = [], start
        part.append(row)
        width += added
    yield part


def _tree(rows: TokenRows, members: list[int], start: int) -> Tree:
    assert rows.scored is not None
    ids, positions = [rows.ids[members[0]][:start]], [np.arange(start)]
    branch = [np.zeros(start, dtype=np.int64)]
    at, targets, owners = [], [], []
    width = start
    for number, row in enumerate(members, 1):
        ending, length = rows.ids[row][start:-1], len(rows.ids[row])
        wanted = np.flatnonzero(rows.scored[row])
        at.append(np.where(wanted == start, start - 1, wanted - 1 - start + width))
        targets.append(rows.ids[row][wanted].astype(np.int64))
        owners.append(np.full(len(wanted), row))
        ids.append(ending)
        positions.append(np.arange(start, length - 1))
        branch.append(np.full(len(ending), number))
        width += len(ending)
    joined = [np.concatenate(part) for part in (ids, positions, branch, at, targets, owners)]
    return Tree(np.asarray(members), *joined)


@dataclass(frozen=True)
class TreeBatch:
    """Trees padded on the right, and where in their states the targets are predicted."""

    ids: Tensor  # int64 [trees, tokens]
    mask: Tensor  # bool [trees, 1, tokens, tokens]: who sees whom
    positions: Tensor  # int64 [trees, tokens]
    at: tuple[Tensor, Tensor]  # of each target: tree, token
    targets: Tensor
    owners: Places


def collate_trees(part: list[Tree], pad_id: int, device: torch.device) -> TreeBatch:
    """Trees as tensors on the device, padded to the widest, with the mask of who sees whom."""
    width = max(len(tree.ids) for tree in part)
    ids, positions = (np.full((len(part), width), fill, dtype=np.int64) for fill in (pad_id, 0))
    branch = np.zeros((len(part), width), dtype=np.int64)
    for i, tree in enumerate(part):
        n = len(tree.ids)
        ids[i, :n], positions[i, :n], branch[i, :n] = tree.ids, tree.positions, tree.branch
    which = np.repeat(np.arange(len(part)), [len(tree.at) for tree in part])
    at = np.concatenate([tree.at for tree in part])
    targets = np.concatenate([tree.targets for tree in part])

    def move(array: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(device)

    return TreeBatch(
        ids=move(ids),
        mask=_seen(move(branch)),
        positions=move(positions),
        at=(move(which), move(at)),
        targets=move(targets),
        owners=np.concatenate([tree.owners for tree in part]),
    )


def _seen(branch: Tensor) -> Tensor:
    """Each token sees what stands before it in the context and in its own ending."""
    own = (branch[:, None, :] == branch[:, :, None]) | (branch[:, None, :] == 0)
    return own.tril()[:, None]


@torch.no_grad()
def can_share(head: ScoredPositions, widest: int) -> bool:
    """Whether this model reads a tree as it reads the rows alone: tried on a small one.

    A recurrent model, one without positions or one that looks back over a window does not.
    """
    config = head.model.config
    windows = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    if not head.short_way or getattr(config, "_attn_implementation", "") not in SDPA:
        return False
    if not takes(head.model, "position_ids") or any(w and w < widest for w in windows):
        return False
    tree, plain = _small_tree(int(config.vocab_size))
    device = next(head.model.parameters()).device
    batch = collate_trees([tree], 0, device)
    try:
        found = head.hidden(batch.ids, batch.mask, batch.positions)[batch.at]
        rows = [torch.from_numpy(ids.astype(np.int64))[None].to(device) for ids in plain.ids]
        alone = [head.hidden(ids, torch.ones_like(ids))[0, LEAST_CONTEXT - 1 : -1] for ids in rows]
    except (RuntimeError, TypeError, ValueError, IndexError):  # a mask it does not know
        return False
    expected = torch.cat(alone)
    return bool((found - expected).norm() <= TOLERANCE * expected.norm())


def _small_tree(vocabulary: int) -> tuple[Tree, TokenRows]:
    rows = TokenRows(scored=[])
    assert rows.scored is not None
    for number in range(1, 4):
        ending = np.arange(4) * number * 7 + number
        whole = np.concatenate([np.arange(LEAST_CONTEXT) * 3 + 1, ending]) % vocabulary
        rows.ids.append(whole.astype(np.int32))
        rows.scored.append(np.arange(len(whole)) >= LEAST_CONTEXT)
        rows.row_ids.append(number)
    return _tree(rows, [0, 1, 2], LEAST_CONTEXT), rows
