"""The training loop: the third stage of a run, to be read from top to bottom.

`fine_tune` evaluates step 0, takes the planned steps and leaves the best model in the session.
`train` is one optimizer step after another: it yields after each, and whoever iterates decides what
happens in between. On several devices the first rank runs all of this and orders each piece of work
(`s.ranks.order`); the others do the same piece at the same time (`distributed.follow`).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from ...judgement.observations import chosen_by
from ...metrics.metric import METRICS
from ...run.events import (
    CheckpointChosen,
    CheckpointSaved,
    EpochDone,
    Evaluated,
    Paused,
    Resumed,
    StepDone,
    TrainingEnded,
    TrainingPlanned,
)
from ...run.runs import step_of
from ..answering.answer import answer_probes, answer_waiting, make_room_for_training
from ..distributed.ranks import Ranks, whole
from ..models.devices import READ_SECONDS, autocast
from ..models.kernels import memory_kept, padding_known
from ..models.logits import vocabulary_loss
from ..scoring.splits import evaluated, metric_value, score, start_from_probe
from ..worker.endings import Stopped
from ..worker.session import Session
from .batches import Batch, Parts
from .best import Best, out_of_patience, paired_p, update_best
from .checkpoints import (
    checkpoint_path,
    diverged,
    drop_old_checkpoints,
    read_state,
    restore_training,
    save_checkpoint,
)
from .packing import packed_batch, packing
from .trainer import (
    Position,
    Trainer,
    checkpoint_activations,
    cut_finer,
    in_parts,
    learning_rate,
    plan_training,
)

PAUSE_SECONDS = 0.05  # between two looks at the queue while training is paused
DIVERGED_STEPS = 20  # in a row without a finite gradient: no batch is to blame any more


def fine_tune(s: Session, resume: Path | None) -> str:
    """Train as planned and leave the best model in the session; returns a line about how it went.

    Raises Stopped where somebody asked for that, once the state is saved; RunError where training
    has diverged.
    """
    if resume is None and s.config.train.head == "probe":
        start_from_probe(s)
    s.ranks.order("start_training", step_of(resume) if resume else None)
    t, best = start_training(s, resume)
    if resume is None:
        with _all_weights(s, t):
            _evaluate_step_zero(s)
    s.interruptible = False  # from here on a stop saves the state first
    reason = between_steps(s, t, best)
    s.interruptible = True
    s.earlier = None  # what follows loads models of its own
    _refuse_diverged_end(s, t, best)
    kept = best.step or t.position.step
    if kept != t.position.step or t.spread.sharded:
        s.ranks.order("load_weights", kept)
        load_weights(s, checkpoint_path(s.run, kept))
    s.write(TrainingEnded(reason=reason, step=t.position.step, best_step=kept))
    s.step = kept
    s.trained_tokens = t.plan.tokens(t.position.step, t.lengths)
    seconds = f"{t.position.seconds:,.0f} s of training"
    return f"{t.position.step:,} steps in {seconds}, {reason}; kept step {kept:,}"


def start_training(s: Session, resume: Path | None) -> tuple[Trainer, Best]:
    """The plan and the state it starts from: seeds, or a checkpoint with all that resume needs."""
    settings, rows = s.config.train, s.rows_for(s.tuned, "train")
    if s.ranks.is_first:
        s.validation_rows.forget_after(step_of(resume) if resume else -1)
    if resume is None:
        seed = settings.seed + s.ranks.rank  # dropout draws for other rows on every rank
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
    else:
        load_weights(s, resume)
        s.precision = read_state(resume).precision
    plan = plan_training(rows, settings)
    criterion = s.scorer.criterion(s.tuned, rows, settings)
    t = Trainer(s.tuned, rows, plan, settings, s.precision, s.ranks, criterion=criterion)
    best = Best() if resume is None else restore_training(resume, t)
    s.step = t.position.step
    if criterion.words and resume is None:
        s.note(
            f"labels weigh {criterion.words} in the training loss, and the same in validation and "
            "test: the two losses are not compared, and probabilities lean to the heavier labels"
        )
    s.write(
        TrainingPlanned(
            max_steps=t.plan.max_steps,
            steps_per_epoch=t.plan.whole[0],
            epochs=t.plan.length,
            warmup_steps=t.plan.warmup_steps(settings),
            rows_per_step=len(rows) / t.plan.whole[0],
            padding=t.padding(),
        )
    )
    if resume is not None:  # the worker that saved it may not have come to what follows a save
        if s.ranks.is_first:
            _drop_old(s, best)
        s.write(_saved(s, t, best, 0.0))
    return t, best


def load_weights(s: Session, path: Path) -> None:
    """Put a checkpoint's weights in the place of the tuned model's."""
    s.tuned = s.load(str(path), trainable=True)
    s.forget_base()


def _evaluate_step_zero(s: Session) -> None:
    """Every metric has its delta from the start (T1): here base and tuned are the same model."""
    if "validation" not in s.rows:
        return
    event, _ = _validate(s, 0.0)
    if not s.task.has_head or s.base_has_head:
        s.write(replace(event, model="base", time=0.0))
    answer_probes(s)


# The loop


def between_steps(s: Session, t: Trainer, best: Best) -> str:
    """Take every step, and do between two of them what is due. Returns why training ended:
    completed or early stopping.
    """
    pending: list[TakenStep] = []  # steps whose losses are still on the device
    read = time.monotonic()
    s.listener.state = "training"
    for step in _ordered(s.ranks, train(t)):
        s.step = s.listener.step = step.done.step
        pending.append(step)
        if step.backed_off or step.twice:
            s.note(_less_memory(step), "warning")
        # read the losses: once in a while, and where something now depends on them
        ends = step.ends_epoch or step.is_last
        evaluates = "validation" in s.rows and _evaluation_due(s, t, step)
        late = time.monotonic() - read > READ_SECONDS
        if evaluates or ends or late or _may_have_diverged(t, pending):
            _write_steps(s, t, pending)
            pending, read = [], time.monotonic()
        # evaluate on validation, and keep the checkpoint if it may be the best
        needed, finite = _evaluate(s, t, best, step) if evaluates else (False, True)
        if step.ends_epoch:
            seconds, t.position.epoch_seconds = t.position.epoch_seconds, 0.0
            s.write(EpochDone(epoch=step.ends_epoch, step=s.step, seconds=seconds))
        finite = finite and not t.position.not_finite
        if needed or (ends and finite) or s.listener.checkpoint.is_set():
            _checkpoint(s, t, best)
        # do what somebody asked for: stop, pause, answer a prompt
        if s.listener.stop.is_set() or s.listener.pause.is_set():
            _write_steps(s, t, pending)
            pending = []
            _pause_or_stop(s, t, best)
        _answer(s, t, holding=True)
        make_room_for_training(s)
        if out_of_patience(best, s.config.train.early_stopping):
            return "early stopping"
        s.listener.state = "training"
    _write_steps(s, t, pending)
    return "completed"


def _ordered(ranks: Ranks, steps: Iterator[TakenStep]) -> Iterator[TakenStep]:
    """The steps, each ordered before it is taken; after the last there is nothing to do."""
    while True:
        ranks.order("step")
        if (step := next(steps, None)) is None:
            return
        yield step


def _evaluation_due(s: Session, t: Trainer, step: TakenStep) -> bool:
    every, done = s.config.train.eval_every, step.done
    if step.ends_epoch or step.is_last:
        return True
    if isinstance(every, int):
        return done.step % every == 0
    before = done.epoch - 1 / t.plan.whole[int(done.epoch)]
    return int(done.epoch / every + 1e-9) > int(before / every + 1e-9)


def _write_steps(s: Session, t: Trainer, steps: list[TakenStep]) -> None:
    """Write steps down: their sums come back from the devices, and from the other ranks.

    Raises RunError once training has diverged.
    """
    if not steps:
        return
    s.ranks.order("sum_losses")
    facts = read_steps(steps, s.ranks)
    s.write(*facts)
    took = math.fsum(fact.seconds for fact in facts)
    t.position.seconds += took
    t.position.epoch_seconds += took
    since = note_divergence(t.position, facts)
    if since is not None:
        why = f"{DIVERGED_STEPS} steps in a row had no finite gradient"
        raise diverged(s.run, since, why)


def _evaluate(s: Session, t: Trainer, best: Best, step: TakenStep) -> tuple[bool, bool]:
    """Validate and answer the config's prompts.

    Whether its checkpoint is needed (V11), and whether it has a prediction for every row.
    """
    with _all_weights(s, t):
        event, frame = _validate(s, step.done.epoch)
        answer_probes(s)
    metric = chosen_by(s.config)
    value = metric_value(s, metric, event, frame)
    loss = metric_value(s, "loss", event, frame)
    p_value = partial(paired_p, s.validation_rows, s.task, (s.labels, s.positive), metric)
    before = best.step, best.top_step
    stop = s.config.train.early_stopping
    needed = update_best(best, value, s.step, metric, stop, loss, p_value)
    if (best.step, best.top_step) != before:
        s.write(_chosen(best, s.step, metric))
    s.validation_rows.thin_out({best.step, best.top_step})
    s.validated = {k: f for k, f in s.validated.items() if k[0] in (0, best.step, best.top_step)}
    return needed, not event.no_prediction


def _validate(s: Session, epoch: float) -> tuple[Evaluated, pl.DataFrame]:
    """Score the tuned model on validation, write the sums down and keep the rows."""
    started = time.monotonic()
    s.listener.state = "evaluating"
    frame = score(s, s.tuned, "validation", "evaluating tuned", s.precision)
    s.validated[s.step, s.precision] = frame
    seconds = time.monotonic() - started
    event = evaluated(s, "validation", "tuned", frame, s.precision, epoch=epoch, seconds=seconds)
    event = replace(event, changes=s.validation_rows.changes(s.step, frame))
    # probabilities take most of the room: kept only where labels alone do not give the metric
    metric = chosen_by(s.config)
    by_labels = metric == "loss" or "counts" in METRICS[metric].of
    s.validation_rows.keep(s.step, epoch, frame, probabilities=not by_labels)
    s.write(event)
    return event, frame


def _chosen(best: Best, at: int, metric: str) -> CheckpointChosen:
    assert best.value is not None
    assert best.top_value is not None
    return CheckpointChosen(
        at=at,
        metric=metric,
        step=best.step,
        value=best.value,
        loss=math.nan if best.loss is None else best.loss,
        top_step=best.top_step,
        top_value=best.top_value,
        top_loss=math.nan if best.top_loss is None else best.top_loss,
        p=best.p,
    )


def _checkpoint(s: Session, t: Trainer, best: Best) -> None:
    """Save the state after the last step; one that is saved already is reported to who asked."""
    asked = s.listener.checkpoint.is_set()
    s.listener.checkpoint.clear()
    if s.saved_step == t.position.step:
        if asked:
            s.write(_saved(s, t, best, 0.0))
        return
    s.listener.state = "saving"
    s.flush()  # a resumed run does not take again the steps that lead here
    started = time.monotonic()
    s.ranks.order("save_checkpoint")
    save_checkpoint(s.run, t, best)
    s.saved_step = t.position.step
    _drop_old(s, best)
    s.write(_saved(s, t, best, time.monotonic() - started))


def _drop_old(s: Session, best: Best) -> None:
    drop_old_checkpoints(s.run, s.config.train.keep_checkpoints, {best.step, best.top_step})


def _saved(s: Session, t: Trainer, best: Best, seconds: float) -> CheckpointSaved:
    step = t.position.step
    path = str(checkpoint_path(s.run, step).relative_to(s.run.path))
    return CheckpointSaved(step=step, path=path, seconds=seconds, best=best.step == step)


def _pause_or_stop(s: Session, t: Trainer, best: Best) -> None:
    """Hold training and answer prompts meanwhile, until it is resumed; raises Stopped on a stop."""
    if not s.listener.stop.is_set():
        s.write(Paused(step=s.step))
        s.listener.state = "paused"
    while s.listener.pause.is_set() and not s.listener.stop.is_set():
        _answer(s, t, holding=False)
        if s.listener.checkpoint.is_set():
            _checkpoint(s, t, best)
            s.listener.state = "paused"
        time.sleep(PAUSE_SECONDS)
    if s.listener.stop.is_set():
        _checkpoint(s, t, best)
        raise Stopped
    make_room_for_training(s)
    s.write(Resumed(step=s.step))


def _answer(s: Session, t: Trainer, *, holding: bool) -> None:
    if not s.listener.questions.empty():
        with _all_weights(s, t):
            answer_waiting(s, holding=holding)


@contextmanager
def _all_weights(s: Session, t: Trainer) -> Iterator[None]:
    """Where weights are sharded, each rank has them all meanwhile, as evaluation needs them."""
    if t.spread.sharded:
        s.ranks.order("gather_weights")
        t.spread.gather_weights()
    yield
    if t.spread.sharded:
        s.ranks.order("scatter_weights")
        t.spread.scatter_weights()


def _less_memory(step: TakenStep) -> str:
    """What is done otherwise from a step on in which memory ran out."""
    ways = []
    if step.backed_off:
        ways.append(f"each batch is computed in {step.backed_off} pieces")
    if step.twice:
        ways.append("activation checkpointing is on")
    return (
        f"memory ran out in step {step.done.step:,}: from here on {' and '.join(ways)}, slower and "
        "with the same result"
    )


def _may_have_diverged(t: Trainer, pending: list[TakenStep]) -> bool:
    """Whether the steps not read yet could be the last that divergence needs (V5)."""
    return t.position.not_finite + len(pending) >= DIVERGED_STEPS


def note_divergence(position: Position, steps: Sequence[StepDone]) -> int | None:
    """The step since which training has diverged, once that is sure (V5); counts on until then."""
    for step in steps:
        finite = math.isfinite(step.grad_norm) and math.isfinite(step.loss_sum)
        position.not_finite = 0 if finite else position.not_finite + 1
        if position.not_finite >= DIVERGED_STEPS:
            return step.step - position.not_finite + 1
    return None


def _refuse_diverged_end(s: Session, t: Trainer, best: Best) -> None:
    """A model whose scores are not finite is not the result of a run (V5).

    Without validation, the last step decides.
    """
    last = t.position.step
    rows = s.validation_rows.read(last)
    broken = t.position.not_finite > 0 if rows is None else not rows["nll"].is_finite().all()
    since = last - max(0, t.position.not_finite - 1)
    if broken and not best.step:
        raise diverged(s.run, since, "the model's scores are not finite at the end of training")
    if t.position.not_finite:
        s.note(f"no gradient was finite from step {since:,} to the last, step {last:,}", "warning")


# One optimizer step


@dataclass(frozen=True)
class TakenStep:
    """An optimizer step whose loss and gradient norm are still on the device, NaN in `done`."""

    done: StepDone
    sums: Tensor  # float64 [2]: sum of this rank's losses in nats, norm of the gradient
    ends_epoch: int | None  # number of the whole epoch that this step completes
    is_last: bool
    backed_off: int  # pieces that its parts were cut into, where memory ran out in this step
    twice: bool  # whether activation checkpointing is on since this step


def train(t: Trainer) -> Iterator[TakenStep]:
    """Take the planned steps from the trainer's position on, yielding after each.

    The gradient of a step is that of (sum of losses) / (number of targets) over the whole step,
    however many parts it is computed in, on however many devices (T5). A step whose gradient is
    not finite changes no weight.
    """
    position, model = t.position, t.loaded.model
    if position.twice:  # as it was when this run was saved
        checkpoint_activations(model)
    with memory_kept(t.loaded.device):
        while position.epoch < len(t.plan.epochs):
            yield _take_step(t)


def _take_step(t: Trainer) -> TakenStep:
    """Compute, clip and apply the gradient of the next step. Nothing here waits for the device."""
    started, position = time.time(), t.position
    steps, whole_epoch = t.plan.epochs[position.epoch], t.plan.whole[position.epoch]
    rows = steps[position.batch]
    count = max(1, int(t.targets[rows].sum()))
    weights = t.criterion.row_weights
    weight = count if weights is None else float(weights[rows].sum())
    rate = learning_rate(position.step, t.plan, t.settings)
    pieces, twice = position.pieces, position.twice
    t.loaded.model.train()
    loss_sum = _gradients_in_memory(t, weight, t.parts(rows)) * (count / weight)
    norm = _clip(t)
    for group in t.optimizer.param_groups:
        group["lr"] = rate
    t.optimizer.found_inf = (~torch.isfinite(norm)).float()  # the fused step skips itself
    t.optimizer.step()
    t.optimizer.zero_grad(set_to_none=True)
    epoch, batch = position.epoch, position.batch + 1
    ends, ended = batch == len(steps), time.time()
    position.step += 1
    position.epoch, position.batch = (epoch + 1, 0) if ends else (epoch, batch)
    done = StepDone(
        time=ended,
        step=position.step,
        epoch=epoch + batch / whole_epoch,
        loss_sum=math.nan,
        loss_count=count,
        learning_rate=rate,
        grad_norm=math.nan,
        tokens=int(t.lengths[rows].sum()),
        seconds=ended - started,
    )
    return TakenStep(
        done,
        torch.stack([loss_sum, norm.double()]),
        ends_epoch=epoch + 1 if batch == whole_epoch else None,
        is_last=ends and epoch + 1 == len(t.plan.epochs),
        backed_off=position.pieces if position.pieces > pieces else 0,
        twice=position.twice and not twice,
    )


def _gradients_in_memory(t: Trainer, count: float, parts: Parts) -> Tensor:
    """The gradients of a step, its parts cut finer where the device has no memory for them."""
    position = t.position
    if not t.ranks.alone:  # what one rank did again alone, the others would wait for
        return _gradients(t, count, cut_finer(parts, position.pieces))
    work = partial(_gradients, t, count)
    loss_sum, position.pieces = in_parts(
        parts, position.pieces, work, t.optimizer.zero_grad, t.spare_memory
    )
    return loss_sum


def _gradients(t: Trainer, count: float, step: Parts) -> Tensor:
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
    with autocast(t.loaded.device, t.precision), padding_known(padded):
        if t.head is None:
            out = t.loaded.model(**batch.inputs, **t.uncached)
            return t.criterion.loss(out.logits.float(), batch)
        assert batch.before is not None
        states = t.head.hidden(batch.ids, batch.mask).flatten(0, 1)
        states = states.index_select(0, batch.before)
        return vocabulary_loss(t.head, states, batch.ids.flatten()[batch.before + 1])


def _clip(t: Trainer) -> Tensor:
    """Have the optimizer divide gradients down to max_grad_norm; returns the norm they have.

    Its fused step does that on the way: scaling them before costs a pass over all of them.
    """
    norm = whole(nn.utils.get_total_norm(t.gradients()))
    most = t.settings.max_grad_norm
    t.optimizer.grad_scale = ((norm + 1e-6) / most).clamp(min=1).float() if most else None
    return norm


def read_steps(steps: Sequence[TakenStep], ranks: Ranks | None = None) -> list[StepDone]:
    """Facts about steps, in one transfer: reading each by itself would wait for the GPU.

    With several ranks each must call it, and the losses are summed over all of them. What a GPU had
    still to compute is waited for here: it belongs to the time of these steps.
    """
    if not steps:
        return []
    started = time.time()
    sums = torch.stack([step.sums for step in steps]).cpu()
    if ranks is not None:
        sums[:, 0] = ranks.sum(sums[:, 0].contiguous())
    waited = (time.time() - started) / len(steps)
    return [
        replace(
            step.done,
            loss_sum=loss,
            grad_norm=norm,
            seconds=step.done.seconds + waited,
            skipped=not math.isfinite(norm),
        )
        for step, (loss, norm) in zip(steps, sums.tolist(), strict=True)
    ]
