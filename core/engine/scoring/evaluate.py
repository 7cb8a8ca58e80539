"""Scores rows: outputs of a head and log-likelihoods of tokens, never the logits of a split.

Rows that begin alike are read as a tree: their context once, then each of their endings. A choice
among labels or completions asks a model about one context many times. In a tree the endings stand
side by side after the context: each gets the positions it has in its own row, and the attention
mask lets it see the context and itself. Every score is that of the row alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..models.devices import Readings, autocast
from ..models.kernels import SDPA, padding_known
from ..models.logits import ScoredPositions
from ..models.models import Loaded, at_precision, takes, without_cache
from ..training.batches import Batch, Layout, collate, to_device
from .rows import TokenRows

BY_BUDGET = Layout()
CPU_TOKENS = 512  # of a forward pass: a CPU gains nothing from more and pays in memory
CPU_BLOCK = 4  # positions whose logits are made float32 at a time: 200 kB each at 50,000 tokens
Scores = pl.DataFrame
FloatArray = NDArray[np.float64]


@torch.inference_mode()
def score_outputs(
    loaded: Loaded,
    rows: TokenRows,
    precision: str,
    budget: int,
    layout: Layout,
    of_logits: Callable[[Tensor], Tensor],
) -> Iterator[int | FloatArray]:
    """Yields rows done, at last what `of_logits` makes of a head's, float64 [rows, outputs]."""
    scores: FloatArray = np.empty((len(rows), 0))

    def keep(part: NDArray[np.int64], found: FloatArray) -> None:
        nonlocal scores
        if not scores.shape[1]:
            scores = np.empty((len(rows), found.shape[1]))
        scores[part] = found

    loaded = at_precision(loaded, precision)
    readings = Readings(loaded.device, keep)
    with loaded.active() as model, autocast(loaded.device, precision):
        uncached = without_cache(model)
        for done, part, batch in _batches(loaded, rows, budget, layout):
            places = {"position_ids": batch.positions} if layout.pad_left else {}
            with padding_known(batch.padded, left=layout.pad_left):
                out = model(**batch.inputs, **places, **uncached)
            readings.add(part, of_logits(out.logits.float().double()))
            yield done
        readings.read()  # the last quarter of a second
    yield scores


@dataclass(frozen=True)
class Asked:
    """What is scored of one batch: the state before each target, the target, the row it is of."""

    done: int  # rows
    states: Tensor
    targets: Tensor
    owners: NDArray[np.int64]


@torch.inference_mode()
def score_tokens(
    loaded: Loaded, rows: TokenRows, precision: str, budget: int, layout: Layout = BY_BUDGET
) -> Iterator[int | Scores]:
    """Yields rows done, at last a frame: row_id, nll (nats), tokens, correct, bytes.

    Where the rows know their ends also end_nll: nats at the end token, null where none is scored.
    A context that rows share is read once, where the model allows it and no layout is asked for.
    """
    nll, correct = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
    end_nll, before_end = np.full(len(rows), np.nan), _targets_before_end(rows)
    with loaded.active():  # what the model can do is tried in its own precision
        head = ScoredPositions(loaded.model)
        shared = _trees(head, rows, loaded.max_length) if layout == BY_BUDGET else []
    if not head.short_way:  # every position is projected: the batch shall be no wider than a chunk
        budget = min(budget, head.chunk)
    loaded = at_precision(loaded, precision)
    head.model = loaded.model
    done = 0

    def keep(owners: NDArray[np.int64], found: FloatArray) -> None:
        costs = -found[:, 0]
        np.add.at(nll, owners, costs)
        _keep_ends(end_nll, before_end, owners, costs)
        np.add.at(correct, owners, found[:, 1].astype(np.int64))

    readings = Readings(loaded.device, keep)
    with loaded.active(), autocast(loaded.device, precision):
        alone = np.setdiff1d(np.arange(len(rows)), [row for tree in shared for row in tree.rows])
        for asked in chain(
            _ask_trees(loaded, head, shared, budget),
            _ask_rows(loaded, head, rows, alone, layout, budget),
        ):
            found, first, _ = score_positions(head, asked.states, asked.targets)
            readings.add(asked.owners, torch.stack([found, first.double()], 1))
            done += asked.done
            yield done
        readings.read()
    yield _token_frame(rows, nll, correct, end_nll, before_end)


def _targets_before_end(rows: TokenRows) -> NDArray[np.int64]:
    """Of each row how many scored tokens stand before its scored end token; -1 without one."""
    assert rows.scored is not None
    if not rows.ends:
        return np.full(len(rows), -1)
    pairs = zip(rows.scored, rows.ends, strict=True)
    return np.array([int(s[:end].sum()) if end >= 0 else -1 for s, end in pairs], dtype=np.int64)


def _token_frame(
    rows: TokenRows,
    nll: FloatArray,
    correct: NDArray[np.int64],
    end_nll: FloatArray,
    before_end: NDArray[np.int64],
) -> Scores:
    scored = pl.DataFrame(
        {
            "row_id": rows.row_ids,
            "nll": nll,
            "tokens": rows.targets,
            "correct": correct,
            "bytes": rows.bytes,
        },
        schema_overrides={"row_id": pl.Int64, "bytes": pl.Int64},
    )
    if not rows.ends:
        return scored
    ended = pl.Series("end_nll", end_nll).set(pl.Series(before_end < 0), None)
    return scored.with_columns(ended)


def _keep_ends(
    end_nll: FloatArray, before_end: NDArray[np.int64], owners: NDArray[np.int64], costs: FloatArray
) -> None:
    """Put down what the end tokens cost. The targets of a row come together, in their order."""
    first = np.flatnonzero(np.diff(owners, prepend=-1))
    rows = owners[first]
    ended = before_end[rows] >= 0
    end_nll[rows[ended]] = costs[first[ended] + before_end[rows[ended]]]


def _trees(head: ScoredPositions, rows: TokenRows, widest: int) -> list[Tree]:
    found = trees(rows, widest)
    return found if found and can_share(head, widest) else []


def _ask_trees(
    loaded: Loaded, head: ScoredPositions, shared: list[Tree], budget: int
) -> Iterator[Asked]:
    lengths = np.array([len(tree.ids) for tree in shared], dtype=np.int64)
    for part in BY_BUDGET.batches(lengths, fitting(budget, loaded)):
        chosen = [shared[i] for i in part]
        batch = collate_trees(chosen, loaded.tokenizer.pad_token_id, loaded.device)
        states = head.hidden(batch.ids, batch.mask, batch.positions)[batch.at]
        count = sum(len(tree.rows) for tree in chosen)
        yield Asked(count, states, batch.targets, batch.owners)


def _ask_rows(
    loaded: Loaded,
    head: ScoredPositions,
    rows: TokenRows,
    alone: NDArray[np.int64],
    layout: Layout,
    budget: int,
) -> Iterator[Asked]:
    assert rows.scored is not None
    counts = np.array([int(scored[1:].sum()) for scored in rows.scored])  # of targets
    for _, part, batch in _batches(loaded, rows, budget, layout, alone):
        assert batch.before is not None
        with padding_known(batch.padded and layout.pad_left, left=True):
            if layout.pad_left:
                states = head.hidden(batch.ids, batch.mask, batch.positions)
            else:  # what stands behind a row is seen by none of its tokens
                states = head.hidden(batch.ids, torch.ones_like(batch.mask))
        owners = np.repeat(part, counts[part])
        targets = batch.ids.flatten()[batch.before + 1]
        yield Asked(len(part), states.flatten(0, 1)[batch.before], targets, owners)


def fitting(budget: int, loaded: Loaded) -> int:
    """Tokens of a forward pass on the model's device, at most `budget`."""
    return min(budget, CPU_TOKENS) if loaded.device.type == "cpu" else budget


def _batches(
    loaded: Loaded,
    rows: TokenRows,
    budget: int,
    layout: Layout,
    chosen: NDArray[np.int64] | None = None,
) -> Iterator[tuple[int, NDArray[np.int64], Batch]]:
    """Rows done, the rows of a batch, and the batch: of all rows or of those chosen."""
    chosen = np.arange(len(rows)) if chosen is None else chosen
    done, lengths, pad = 0, rows.lengths, loaded.tokenizer.pad_token_id
    for places in layout.batches(lengths[chosen], fitting(budget, loaded)):
        part = chosen[places]
        done += len(part)
        width = min(int(lengths[part].max()) + layout.extra, loaded.max_length)
        yield (
            done,
            part,
            collate(
                rows.ids,
                part,
                pad,
                loaded.device,
                scored=rows.scored,
                segments=rows.segments,
                pad_left=layout.pad_left,
                width=width,
            ),
        )


def score_positions(
    head: ScoredPositions, states: Tensor, targets: Tensor, *, ranked: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Of each target its log-likelihood (float64), whether it was the first choice, its rank.

    Ranks only where they are wanted. Logits are made chunk by chunk, always in the same memory; on
    the CPU a chunk is gone through in blocks that its caches hold. What is found has its place
    beforehand: a small tensor kept from each block would keep the holes of the large ones apart,
    and 48 documents took up to 270 MiB where they need 40.
    """
    likelihoods = torch.empty(len(targets), dtype=torch.float64, device=targets.device)
    first = torch.empty_like(likelihoods, dtype=torch.bool)
    ranks = torch.empty_like(likelihoods, dtype=torch.int64)
    room = head.room(states)
    for start in range(0, len(targets), head.chunk):
        logits = head.projected(states[start : start + head.chunk], room)
        size = CPU_BLOCK if logits.device.type == "cpu" else len(logits)
        for i in range(0, len(logits), size):
            at = slice(start + i, start + min(i + size, len(logits)))
            block, wanted = logits[i : i + size].float(), targets[at, None]
            _score_block(block, wanted, likelihoods[at], first[at], ranks[at] if ranked else None)
        del logits  # or the next chunk stands beside it
    return likelihoods, first, ranks


def _score_block(
    logits: Tensor, targets: Tensor, likelihoods: Tensor, first: Tensor, ranks: Tensor | None
) -> None:
    """`logits`: float32 [targets, vocabulary]. Of equal logits the first is the model's choice."""
    wanted = logits.gather(1, targets)
    if logits.device.type != "cpu":  # which rows are equal would have to be waited for
        first.copy_(logits.argmax(-1) == targets[:, 0])
    else:
        first.copy_(wanted[:, 0] == logits.amax(-1))
        if len(equal := first.nonzero()[:, 0]):  # to find its place costs more than the most
            first[equal] = logits[equal].argmax(-1) == targets[equal, 0]
    if ranks is not None:
        ranks.copy_((logits > wanted).sum(-1) + 1)
    likelihoods.copy_(logits.log_softmax(-1).gather(1, targets)[:, 0])


LEAST_CONTEXT = 8  # tokens: what a shorter context saves is not worth a mask
_share: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()  # what `_reads_trees` found
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
    return TreeBatch(
        ids=to_device(ids, device),
        mask=_seen(to_device(branch, device)),
        positions=to_device(positions, device),
        at=(to_device(which, device), to_device(at, device)),
        targets=to_device(targets, device),
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
    if head.model not in _share:
        with padding_known(False):
            _share[head.model] = _reads_trees(head)
    return _share[head.model]


def _reads_trees(head: ScoredPositions) -> bool:
    tree, plain = _small_tree(int(head.model.config.vocab_size))
    device = next(head.model.parameters()).device
    batch = collate_trees([tree], 0, device)
    try:
        found = head.hidden(batch.ids, batch.mask, batch.positions)[batch.at]
        rows = [to_device(ids.astype(np.int64), device)[None] for ids in plain.ids]
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
