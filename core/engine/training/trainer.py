"""What an optimizer step needs, set up once: plan, schedule, optimizer, ways to save memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...config.config import TrainConfig
from ..distributed.ranks import Ranks, Spread
from ..models.choices import fuses_optimizer
from ..models.imports import AdamW
from ..models.kernels import use_cpu_kernels
from ..models.logits import ScoredPositions
from ..models.models import Loaded, unwrapped, without_cache
from ..scoring.classification import SCORER as CLASSIFICATION
from ..scoring.rows import TokenRows
from ..scoring.scorer import Criterion
from .batches import (
    MOST_ON_CPU,
    PART_PRICE,
    Parts,
    Rows,
    count_steps,
    cut_by_length,
    padding_ratio,
    plan_epoch,
    split_by_tokens,
)
from .packing import PACKED_PRICE, way_of_packing

# Parameters without decay, by a part of their name; those of one dimension are spared as well.
NOT_DECAYED = ("bias", "norm", "LayerNorm", "ln_")
LARGE_TABLE = 1 << 20  # numbers in an embedding from which its gradient is kept by rows
SAMPLED = 100  # steps whose padding is counted


@dataclass
class Position:
    """Where training stands: the next step to take. Saved with a checkpoint."""

    step: int = 0  # optimizer steps taken
    epoch: int = 0  # whole epochs taken
    batch: int = 0  # steps taken in this epoch
    pieces: int = 1  # into which each part of a step is cut, since memory ran out
    twice: bool = False  # activation checkpointing, since single rows ran out of memory
    not_finite: int = 0  # steps in a row, up to the last, without a finite gradient and loss
    seconds: float = 0.0  # of training: pauses and evaluations left out
    epoch_seconds: float = 0.0  # the same in this epoch


class Epochs:
    """The steps of each epoch, drawn when they are taken: one epoch is held at a time."""

    def __init__(self, lengths: Rows, settings: TrainConfig, counts: Sequence[int]) -> None:
        self._lengths, self._settings, self._counts = lengths, settings, counts
        self._held: tuple[int, list[Rows]] = (-1, [])

    def __len__(self) -> int:
        return len(self._counts)

    def __getitem__(self, epoch: int) -> list[Rows]:
        count = self._counts[epoch]
        if self._held[0] != epoch:
            self._held = epoch, plan_epoch(self._lengths, self._settings, epoch)[:count]
        return self._held[1]


@dataclass(frozen=True)
class Plan:
    """The steps of every epoch: which rows, in which order."""

    epochs: Epochs | list[list[Rows]]
    counts: list[int]  # steps of each
    whole: list[int]  # steps that each of them has where it is not cut short

    @cached_property
    def max_steps(self) -> int:
        return sum(self.counts)

    @property
    def length(self) -> float:
        """Epochs that the steps come to."""
        return math.fsum(n / of for n, of in zip(self.counts, self.whole, strict=True))

    def tokens(self, steps: int, lengths: Rows) -> int:
        """Real tokens of the first steps; `lengths`: of each row, which a whole epoch has once."""
        found, of_all = 0, int(lengths.sum())
        for epoch, (count, whole) in enumerate(zip(self.counts, self.whole, strict=True)):
            if steps >= count == whole:
                found += of_all
            elif steps > 0:
                found += sum(int(lengths[rows].sum()) for rows in self.epochs[epoch][:steps])
            steps -= count
        return found

    def warmup_steps(self, settings: TrainConfig) -> int:
        return math.ceil(self.max_steps * settings.warmup_ratio)


def plan_training(rows: TokenRows, settings: TrainConfig) -> Plan:
    """Whole epochs and a part of one where `epochs` is no whole number; cut at max_steps.

    max_steps changes how far a run goes, never what an epoch or a step is. The learning rate's
    schedule ends with the run, as in transformers.
    """
    counts: list[int] = []
    whole: list[int] = []
    lengths, left = rows.lengths, settings.max_steps or math.inf
    for epoch in range(math.ceil(settings.epochs)):
        steps = count_steps(lengths, settings, epoch)
        part = min(1.0, settings.epochs - epoch)
        keep = int(min(steps, left, max(1, round(steps * part))))
        if not keep:
            break
        counts.append(keep)
        whole.append(steps)
        left -= keep
    return Plan(Epochs(lengths, settings, counts), counts, whole)


def learning_rate(step: int, plan: Plan, settings: TrainConfig) -> float:
    """The rate of the step-th update, counted from 0, as `transformers.get_scheduler` has it: from
    0 up to the peak, then the schedule down to 0 (E5)."""
    warmup, total = plan.warmup_steps(settings), plan.max_steps
    if step < warmup:
        return settings.learning_rate * step / warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    share = (step - warmup) / max(1, total - warmup)
    if settings.schedule == "cosine":
        return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
    return settings.learning_rate * (1 - share)


def make_optimizer(model: nn.Module, settings: TrainConfig) -> AdamW:
    """Fused AdamW; biases and norms are not decayed."""
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            plain = parameter.ndim < 2 or any(word in name for word in NOT_DECAYED)
            (spared if plain else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    fused = fuses_optimizer(next(model.parameters()).device)
    return AdamW([g for g in groups if g["params"]], lr=settings.learning_rate, fused=fused)


class RowGradients:
    """The gradient of an embedding whose rows are few beside its table: those rows, in one buffer.

    Its dense gradient is nearly all zeros. Making it anew for each step took 5 % of the steps of
    MiniLM (30,522 rows, 500 of them met), and its norm a second pass.
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        embedding.sparse = True
        self.weight = embedding.weight
        self._dense = torch.zeros_like(self.weight)
        self._met: Tensor | None = None  # rows of the buffer that are not 0

    def gathered(self) -> Tensor:
        """The gradient of the rows met, [rows, width]; the whole table's is left in `weight.grad`,
        for the optimizer: a row not met still moves by its momentum.
        """
        assert self.weight.grad is not None
        found = self.weight.grad.coalesce()
        if self._met is not None:
            self._dense.index_fill_(0, self._met, 0.0)
        self._met = found.indices()[0]
        self._dense.index_copy_(0, self._met, found.values())
        self.weight.grad = self._dense
        return found.values()


def row_gradients(model: nn.Module, ranks: Ranks) -> list[RowGradients]:
    """Those of the tables on a CPU that are trained, large, and used for nothing else."""
    if not ranks.alone:  # sums over ranks are of dense gradients
        return []
    users: dict[int, list[nn.Module]] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            users.setdefault(id(parameter), []).append(module)
    return [
        RowGradients(module)
        for module in model.modules()
        if type(module) is nn.Embedding
        and module.weight.requires_grad
        and module.weight.device.type == "cpu"
        and module.weight.numel() >= LARGE_TABLE
        and len(users[id(module.weight)]) == 1
    ]


@dataclass
class Trainer:
    """Model, rows, plan, optimizer and position of one training, set up before its first step."""

    loaded: Loaded
    rows: TokenRows
    plan: Plan
    settings: TrainConfig
    precision: str = "float32"
    ranks: Ranks = field(default_factory=Ranks)
    position: Position = field(default_factory=Position)
    optimizer: Any = None
    may_pack: bool = True  # rows end to end, where the model keeps them apart
    criterion: Criterion = field(default_factory=lambda: Criterion(CLASSIFICATION.loss))

    def __post_init__(self) -> None:
        on_cpu = self.loaded.device.type == "cpu"
        if on_cpu:
            use_cpu_kernels(self.loaded.model)
        causal = self.rows.scored is not None
        self.head = ScoredPositions(self.loaded.model) if causal else None
        self.packing = (
            way_of_packing(self.loaded, self.head, self.rows, self.precision)
            if self.may_pack
            else None
        )
        self.spread = Spread(self.loaded.model, on_cpu, self.ranks, self.settings.sharding)
        self.optimizer = self.optimizer or make_optimizer(self.loaded.model, self.settings)
        self.trained = [p for p in self.loaded.model.parameters() if p.requires_grad]
        self._by_rows = row_gradients(self.loaded.model, self.ranks)
        self.targets, self.lengths = self.rows.targets, self.rows.lengths
        self.uncached = without_cache(self.loaded.model)

    def parts(self, step: Rows) -> Parts:
        """The micro-batches of a step: what they add up to does not depend on them (T5)."""
        by_length = step[np.argsort(self.lengths[step], kind="stable")]
        pieces = np.array_split(by_length, self.settings.gradient_accumulation_steps)
        pieces = [piece for piece in pieces if len(piece)]
        price, most = PART_PRICE, float(self.settings.batch_tokens or math.inf)
        on_cpu = self.loaded.device.type == "cpu"
        if self.packing:  # only embeddings and head see padding
            price, most = PACKED_PRICE, math.inf
            if on_cpu:
                split = (split_by_tokens(piece, self.lengths, MOST_ON_CPU) for piece in pieces)
                pieces = list(chain.from_iterable(split))
        elif on_cpu:
            most = min(most, MOST_ON_CPU)
        cut = [cut_by_length(piece, self.lengths, price, most) for piece in pieces]
        return list(chain.from_iterable(cut))

    def padding(self) -> float:
        """Tokens that the layers compute for each real one, over the first steps."""
        parts = [part for step in self.plan.epochs[0][:SAMPLED] for part in self.parts(step)]
        if self.packing is not None and self.packing.by_bounds:
            return 1.0
        if self.packing is not None:
            cut = [cut_by_length(part, self.lengths, self.packing.price) for part in parts]
            parts = list(chain.from_iterable(cut))
        return padding_ratio(parts, self.lengths)

    def gradients(self) -> list[Tensor]:
        """Of every weight that has one; of large embeddings, the rows that the step met."""
        met = {
            id(rows.weight): rows.gathered()
            for rows in self._by_rows
            if rows.weight.grad is not None
        }
        return [met.get(id(p), p.grad) for p in self.trained if p.grad is not None]

    def spare_memory(self) -> bool:
        """Turn activation checkpointing on; False where it is on already or cannot be."""
        if self.position.twice:
            return False
        self.position.twice = checkpoint_activations(self.loaded.model)
        return self.position.twice


def cut_finer(parts: Parts, times: int) -> Parts:
    """Every part in so many pieces, as far as it has rows for them."""
    return [piece for part in parts for piece in np.array_split(part, times) if len(piece)]


def in_parts(
    parts: Parts,
    times: int,
    work: Callable[[Parts], Tensor],
    forget: Callable[[], None],
    spare: Callable[[], bool] = lambda: False,
) -> tuple[Tensor, int]:
    """What `work` makes of a step's parts, and into how many pieces each had to be cut for it.

    A step is the sum of its parts (T5), so cutting them finer changes no result. Where even single
    rows do not fit, `spare` makes the work need less; then the parts are tried as they came, as
    pieces that were too large before may fit now. Raises torch.OutOfMemoryError where `spare`
    returns False. `forget` drops what a failed try made.
    """
    came = times
    while True:
        pieces = cut_finer(parts, times)
        try:
            return work(pieces), times
        except torch.OutOfMemoryError:
            single = max(len(piece) for piece in pieces) == 1
            if single and not spare():
                raise
        # outside the handler: what the traceback holds on to is free by now
        times = came if single else times * 2
        forget()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def checkpoint_activations(model: Any) -> bool:
    """Let a model keep the inputs of its layers only, and compute the rest again when it trains.

    The results are the same, the random numbers of dropout included; each step is computed forward
    once more. False where the architecture does not support it.
    """
    inner = unwrapped(model)
    if not getattr(inner, "supports_gradient_checkpointing", False):
        return False
    enable = getattr(inner, "activation_checkpointing_enable", None)  # its name from 5.23 on
    (enable or inner.gradient_checkpointing_enable)({"use_reentrant": False})
    return True
