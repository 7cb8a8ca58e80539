"""The loop: one optimizer step at a time. Whoever iterates decides what happens in between."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...config.config import TrainConfig
from ...run.events import StepDone
from ..distributed.ranks import Ranks
from ..distributed.spread import Spread, whole
from ..models.cpu_kernels import memory_kept, use_cpu_kernels
from ..models.devices import autocast
from ..models.models import Loaded, ScoredPositions, without_cache
from ..scoring.rows import TokenRows
from .back_off import compute_twice, cut_finer, in_parts
from .batches import PART_PRICE, Batch, Rows, Step, cut_by_length, padding_ratio, plan_epoch
from .masks import padded_right
from .packed_layout import GROUP_PRICE, by_bounds, by_groups
from .packing import PACKED_PRICE, packed_batch, packing, way_of_packing
from .vocabulary_loss import vocabulary_loss

# Parameters without decay, by a part of their name; those of one dimension are spared as well.
NOT_DECAYED = ("bias", "norm", "LayerNorm", "ln_")
DIVERGED_STEPS = 20  # in a row without a finite gradient: no batch is to blame any more
SAMPLED = 100  # steps whose padding is counted


@dataclass
class Position:
    """Where training stands: the next step to take. Saved with a checkpoint."""

    step: int = 0  # optimizer steps taken
    epoch: int = 0  # whole epochs taken
    batch: int = 0  # steps taken in this epoch
    pieces: int = 1  # into which each part of a step is cut, since memory ran out
    twice: bool = False  # activation checkpointing, since single rows ran out
    not_finite: int = 0  # steps in a row, up to the last, without a finite gradient and loss
    seconds: float = 0.0  # of training: pauses and evaluations left out
    epoch_seconds: float = 0.0  # the same in this epoch


@dataclass(frozen=True)
class Plan:
    """The steps of every epoch: which rows, in which order."""

    epochs: list[list[Rows]]
    whole: list[int]  # steps that each of them has where it is not cut short

    @property
    def max_steps(self) -> int:
        return sum(len(e) for e in self.epochs)

    @property
    def length(self) -> float:
        """Epochs that the steps come to."""
        return math.fsum(len(e) / n for e, n in zip(self.epochs, self.whole, strict=True))

    def warmup_steps(self, settings: TrainConfig) -> int:
        return math.ceil(self.max_steps * settings.warmup_ratio)


def plan_training(rows: TokenRows, settings: TrainConfig) -> Plan:
    """Whole epochs and a part of one where `epochs` is no whole number; cut at max_steps.

    max_steps changes how far a run goes, never what an epoch or a step is. The learning rate's
    schedule ends with the run, as in transformers.
    """
    epochs: list[list[Rows]] = []
    whole: list[int] = []
    lengths, left = rows.lengths, settings.max_steps or math.inf
    for epoch in range(math.ceil(settings.epochs)):
        steps = plan_epoch(lengths, settings, epoch)
        part = min(1.0, settings.epochs - epoch)
        keep = min(len(steps), left, max(1, round(len(steps) * part)))
        if keep:
            epochs.append(steps[: int(keep)])
            whole.append(len(steps))
        left -= keep
    return Plan(epochs, whole)


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


def make_optimizer(model: nn.Module, settings: TrainConfig) -> torch.optim.AdamW:
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
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=settings.learning_rate, fused=True
    )


@dataclass
class Stepped:
    """An optimizer step whose sums are still on the device."""

    step: int
    epoch: float
    loss_sum: Tensor
    loss_count: int
    learning_rate: float
    grad_norm: Tensor
    tokens: int
    started: float
    ended: float
    ends_epoch: int | None = None  # number of the whole epoch that this step completes
    is_last: bool = False
    backed_off: int = 0  # pieces that its parts were cut into, where memory ran out in this step
    twice: bool = False  # whether it is the first whose activations were not kept

    def seconds(self) -> float:
        return self.ended - self.started


def sum_losses(ranks: Ranks, steps: Sequence[Stepped]) -> list[Stepped]:
    """The steps with the losses of all ranks: each has told its own share's so far."""
    if ranks.alone or not steps:
        return list(steps)
    device = steps[0].loss_sum.device
    sums = ranks.sum(torch.stack([s.loss_sum for s in steps])).to(device)
    return [replace(s, loss_sum=loss) for s, loss in zip(steps, sums, strict=True)]


def read_steps(steps: Sequence[Stepped]) -> list[StepDone]:
    """Facts about steps, in one transfer: reading each by itself would wait for the GPU.

    What a GPU had still to compute is waited for here: it belongs to the time of these steps.
    """
    if not steps:
        return []
    started = time.time()
    numbers = torch.stack([torch.stack([s.loss_sum, s.grad_norm.double()]) for s in steps]).tolist()
    waited = (time.time() - started) / len(steps)
    return [
        StepDone(
            time=s.ended,
            step=s.step,
            epoch=s.epoch,
            loss_sum=loss,
            loss_count=s.loss_count,
            learning_rate=s.learning_rate,
            grad_norm=norm,
            tokens=s.tokens,
            seconds=s.seconds() + waited,
            skipped=not math.isfinite(norm),
        )
        for s, (loss, norm) in zip(steps, numbers, strict=True)
    ]


def note_divergence(position: Position, steps: Sequence[StepDone]) -> int | None:
    """The step since which training has diverged, once that is sure (V5); counts on until then."""
    for step in steps:
        finite = math.isfinite(step.grad_norm) and math.isfinite(step.loss_sum)
        position.not_finite = 0 if finite else position.not_finite + 1
        if position.not_finite >= DIVERGED_STEPS:
            return step.step - position.not_finite + 1
    return None


@dataclass
class Trainer:
    """What a step needs, set up once."""

    loaded: Loaded
    rows: TokenRows
    plan: Plan
    settings: TrainConfig
    precision: str = "float32"
    ranks: Ranks = field(default_factory=Ranks)
    position: Position = field(default_factory=Position)
    optimizer: Any = None
    may_pack: bool = True  # rows end to end, where the model keeps them apart

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
        self.targets, self.lengths = self.rows.targets, self.rows.lengths
        self.uncached = without_cache(self.loaded.model)

    def parts(self, step: Rows) -> Step:
        """The micro-batches of a step: what they add up to does not depend on them (T5)."""
        by_length = step[np.argsort(self.lengths[step], kind="stable")]
        pieces = np.array_split(by_length, self.settings.gradient_accumulation_steps)
        pieces = [piece for piece in pieces if len(piece)]
        price, most = PART_PRICE, float(self.settings.batch_tokens or math.inf)
        if self.packing:  # only embeddings and head see padding
            price, most = PACKED_PRICE, math.inf
        cut = [cut_by_length(piece, self.lengths, price, most) for piece in pieces]
        return list(chain.from_iterable(cut))

    def padding(self) -> float:
        """Tokens that the layers compute for each real one, over the first steps."""
        parts = [part for step in self.plan.epochs[0][:SAMPLED] for part in self.parts(step)]
        if self.packing is by_bounds:
            return 1.0
        if self.packing is by_groups:
            price = GROUP_PRICE[self.loaded.device.type]
            cut = [cut_by_length(part, self.lengths, price) for part in parts]
            parts = list(chain.from_iterable(cut))
        return padding_ratio(parts, self.lengths)

    def spare_memory(self) -> bool:
        """Keep no activations from here on; False where that is so already or cannot be."""
        if self.position.twice:
            return False
        self.position.twice = compute_twice(self.loaded.model)
        return self.position.twice


def train(t: Trainer) -> Iterator[Stepped]:
    """Take the planned steps from the trainer's position on, yielding after each."""
    with memory_kept(t.loaded.device):
        yield from _take_steps(t)


def _take_steps(t: Trainer) -> Iterator[Stepped]:
    """The gradient of a step is that of (sum of losses) / (number of targets) over the whole step,
    however many parts it is computed in, on however many devices (T5). A step whose gradient is
    not finite changes no weight.
    """
    position, model = t.position, t.loaded.model
    if position.twice:  # as it was when this run was saved
        compute_twice(model)
    for epoch in range(position.epoch, len(t.plan.epochs)):
        steps = t.plan.epochs[epoch]
        for batch in range(position.batch, len(steps)):
            started = time.time()
            model.train()
            rows = steps[batch]
            parts = t.parts(rows)
            count = max(1, int(t.targets[rows].sum()))
            rate = learning_rate(position.step, t.plan, t.settings)
            before, twice = position.pieces, position.twice
            if t.ranks.alone:
                loss_sum, position.pieces = in_parts(
                    parts,
                    before,
                    partial(_gradients, t, count),
                    t.optimizer.zero_grad,
                    t.spare_memory,
                )
            else:  # what one rank did again alone, the others would wait for
                loss_sum = _gradients(t, count, cut_finer(parts, before))
            norm = _clip(t)
            for group in t.optimizer.param_groups:
                group["lr"] = rate
            t.optimizer.found_inf = (~torch.isfinite(norm)).float()  # the fused step skips itself
            t.optimizer.grad_scale = None
            t.optimizer.step()
            t.optimizer.zero_grad(set_to_none=True)
            position.step += 1
            ends, whole = batch + 1 == len(steps), t.plan.whole[epoch]
            position.epoch, position.batch = (epoch + 1, 0) if ends else (epoch, batch + 1)
            yield Stepped(
                step=position.step,
                epoch=epoch + (batch + 1) / whole,
                loss_sum=loss_sum,
                loss_count=count,
                learning_rate=rate,
                grad_norm=norm,
                tokens=int(t.lengths[rows].sum()),
                started=started,
                ended=time.time(),
                ends_epoch=epoch + 1 if batch + 1 == whole else None,
                is_last=ends and epoch + 1 == len(t.plan.epochs),
                backed_off=position.pieces if position.pieces > before else 0,
                twice=position.twice and not twice,
            )


def _gradients(t: Trainer, count: int, step: Step) -> Tensor:
    """Add the gradients of a step's parts; returns the sum of this rank's losses, float64."""
    loss_sum = torch.zeros((), dtype=torch.float64, device=t.loaded.device)
    parts = list(t.ranks.parts(step, t.lengths))
    for i, (part, weight) in enumerate(parts, 1):
        batch, packed = packed_batch(t.loaded, t.rows, part, t.packing)
        with t.spread.part(last=i == len(parts)), packing(t.loaded.model, packed):
            padded = batch.padded and packed is None
            loss = t.spread.loss(partial(_summed_loss, t, batch, padded), weight)
            t.spread.accelerator.backward(loss / (count / t.ranks.world))
        loss_sum += loss.detach().double()
    return loss_sum


def _summed_loss(t: Trainer, batch: Batch, padded: bool) -> Tensor:
    """Sum of the negative log-likelihoods of a part, in float32 (L3)."""
    with autocast(t.loaded.device, t.precision), padded_right(padded):
        if t.head is None:
            assert batch.labels is not None
            out = t.loaded.model(input_ids=batch.ids, attention_mask=batch.mask, **t.uncached)
            return functional.cross_entropy(out.logits.float(), batch.labels, reduction="sum")
        assert batch.before is not None
        states = t.head.hidden(batch.ids, batch.mask).flatten(0, 1)
        states = states.index_select(0, batch.before)
        return vocabulary_loss(t.head, states, batch.ids.flatten()[batch.before + 1])


def _clip(t: Trainer) -> Tensor:
    """Scale gradients down to max_grad_norm; returns the norm they had."""
    gradients = [p.grad for p in t.trained if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if t.settings.max_grad_norm:
        nn.utils.clip_grads_with_norm_(t.trained, t.settings.max_grad_norm, norm)
    return whole(norm)
