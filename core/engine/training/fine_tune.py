"""The third stage: step 0, the loop and what happens between its steps, the best model."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ...errors import Fault, RunError
from ...judgement.kept import chosen_by
from ...run.events import (
    CheckpointChosen,
    CheckpointSaved,
    EpochDone,
    Paused,
    Resumed,
    TrainingEnded,
    TrainingPlanned,
)
from ...run.runs import TRAINING_STATE, step_of
from ..answering.answer import answer_probes, answer_waiting
from ..answering.travel import make_room_for_training
from ..distributed.ranks import Ranks
from ..distributed.shares import read_features
from ..worker.errors import Stopped
from ..worker.session import PROBE_FILE, Session
from .checkpoints import (
    Best,
    checkpoint_path,
    drop_old_checkpoints,
    read_state,
    restore_training,
    save_checkpoint,
)
from .probe import fit_probe
from .train import (
    DIVERGED_STEPS,
    Stepped,
    Trainer,
    note_divergence,
    plan_training,
    read_steps,
    sum_losses,
    train,
)
from .validate import metric_value, out_of_patience, paired_p, update_best, validate

FLUSH_SECONDS = 0.25  # how often losses come back from the device
PAUSE_SECONDS = 0.05


def fit_probe_on_base(s: Session) -> None:
    """The linear probe on the base, before its weights change (C6)."""
    if not s.config.task_type.has_labels or not s.config.evaluate.probe or "train" not in s.rows:
        return
    base = s.tuned.as_base() if s.adapts_base else s.untrained
    found = {}
    for split in ("train", "validation"):
        if split in s.rows:
            labels = s.rows[split].labels
            assert labels is not None
            found[split] = (read_features(s, base, split), labels)
    fitting = fit_probe(found["train"], found.get("validation"), s.labels)
    s.probe = s.drive(fitting, "fitting the probe", 1)
    s.probe.save(s.run.path / PROBE_FILE)


def train_to_the_best(s: Session, resume: Path | None) -> str:
    """Train as planned, leave the best model in the session, and say in a line how it went."""
    s.ranks.order("start_training", step_of(resume) if resume else None)
    t, best = start_training(s, resume)
    if resume is None:
        with _all_weights(s, t):
            _evaluate_step_zero(s)
    s.interruptible = False
    reason = _between_steps(s, t, best)
    s.interruptible = True
    s.earlier = None  # what follows loads models of its own
    _refuse_a_diverged_end(s, t, best)
    kept = best.step or t.position.step
    if kept != t.position.step or t.spread.sharded:
        s.ranks.order("load_weights", kept)
        load_weights(s, checkpoint_path(s.run, kept))
    s.write(TrainingEnded(reason=reason, step=t.position.step, best_step=kept))
    s.step = kept
    seconds = f"{t.position.seconds:,.0f} s of training"
    return f"{t.position.step:,} steps in {seconds}, {reason}; kept step {kept:,}"


def start_training(s: Session, resume: Path | None) -> tuple[Trainer, Best]:
    settings, rows = s.config.train, s.rows_for(s.tuned, "train")
    best = Best()
    if s.ranks.is_first:
        s.validation_rows.forget_after(step_of(resume) if resume else -1)
    if resume is None:
        _seed(settings.seed + s.ranks.rank)  # dropout draws for other rows on every rank
    else:
        load_weights(s, resume)
        s.precision = read_state(resume).precision
    plan = plan_training(rows, settings)
    t = Trainer(s.tuned, rows, plan, settings, s.precision, s.ranks)
    if resume is not None:
        best = restore_training(resume, t)
    s.step = t.position.step
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


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def load_weights(s: Session, path: Path) -> None:
    """Put a checkpoint's weights in the place of the tuned model's."""
    s.tuned = s.load(str(path), trainable=True)
    s.forget_base()


def _evaluate_step_zero(s: Session) -> None:
    """Every metric has its delta from the start (T1): here base and tuned are the same model."""
    if "validation" not in s.rows:
        return
    event, _ = validate(s, "tuned", s.tuned, 0.0)
    if not s.config.task_type.has_labels or s.base_has_head:
        from msgspec.structs import replace

        s.write(replace(event, model="base", time=0.0))
    answer_probes(s)


def _between_steps(s: Session, t: Trainer, best: Best) -> str:
    """The loop. Returns why it ended: completed or early stopping; raises Stopped when asked to."""
    pending: list[Stepped] = []
    flushed = time.monotonic()
    s.listener.state = "training"
    for step in _led(s.ranks, train(t)):
        pending.append(step)
        s.step = s.listener.step = step.step
        if step.backed_off or step.twice:
            s.note(_backed_off(step), "warning")
        evaluate = "validation" in s.rows and _evaluation_due(s, t, step)
        due = time.monotonic() - flushed > FLUSH_SECONDS or _may_have_diverged(t, pending)
        if evaluate or step.ends_epoch or step.is_last or due:
            _tell(s, t, pending)
            pending, flushed = [], time.monotonic()
        needed, finite = _evaluate(s, t, best, step) if evaluate else (False, True)
        if step.ends_epoch:
            seconds, t.position.epoch_seconds = t.position.epoch_seconds, 0.0
            s.write(EpochDone(epoch=step.ends_epoch, step=step.step, seconds=seconds))
        finite = finite and not t.position.not_finite
        ends = step.ends_epoch or step.is_last
        if needed or (ends and finite) or s.listener.checkpoint.is_set():
            _checkpoint(s, t, best)
        if s.listener.stop.is_set():
            _tell(s, t, pending)
            _checkpoint(s, t, best)
            raise Stopped
        if s.listener.pause.is_set():
            _tell(s, t, pending)
            pending = []
            _pause(s, t, best)
        _answer(s, t, holding=True)
        make_room_for_training(s)
        if out_of_patience(best, s.config.train.early_stopping):
            return "early stopping"
        s.listener.state = "training"
    _tell(s, t, pending)
    return "completed"


def _may_have_diverged(t: Trainer, pending: list[Stepped]) -> bool:
    """Whether the steps not read yet could be the last that divergence needs (V5)."""
    return t.position.not_finite + len(pending) >= DIVERGED_STEPS


def _diverged(s: Session, since: int, why: str) -> RunError:
    """The end of a run whose model computes nothing any more, with the checkpoint to go back to."""
    kept = max((step for step in _checkpoints(s) if _is_finite(s, step, since)), default=None)
    if kept is None:
        there = "No checkpoint with finite scores was saved before"
    else:
        path = checkpoint_path(s.run, kept).relative_to(s.run.path)
        there = f"The last checkpoint with finite scores is that of step {kept:,}, in {path}"
    return RunError(
        Fault("", f"diverged since step {since:,}: {why}. {there}", "Lower train.learning_rate")
    )


def _checkpoints(s: Session) -> list[int]:
    return [step_of(p.parent) for p in s.run.checkpoints.glob(f"step_*/{TRAINING_STATE}")]


def _is_finite(s: Session, step: int, since: int) -> bool:
    """By its own evaluation; without one, by the step that was taken from it."""
    rows = s.validation_rows.read(step)
    return step < since - 1 if rows is None else bool(rows["nll"].is_finite().all())


def _refuse_a_diverged_end(s: Session, t: Trainer, best: Best) -> None:
    """A model whose scores are not finite is not the result of a run (V5).

    Without validation, the last step decides.
    """
    last = t.position.step
    rows = s.validation_rows.read(last)
    broken = t.position.not_finite > 0 if rows is None else not rows["nll"].is_finite().all()
    since = last - max(0, t.position.not_finite - 1)
    if broken and not best.step:
        raise _diverged(s, since, "the model's scores are not finite at the end of training")
    if t.position.not_finite:
        s.note(f"no gradient was finite from step {since:,} to the last, step {last:,}", "warning")


def _backed_off(step: Stepped) -> str:
    """What is done otherwise from a step on in which memory ran out."""
    ways = []
    if step.backed_off:
        ways.append(f"each batch is computed in {step.backed_off} pieces")
    if step.twice:
        ways.append("activation checkpointing is on")
    return (
        f"memory ran out in step {step.step:,}: from here on {' and '.join(ways)}, slower and with "
        "the same result"
    )


def _led(ranks: Ranks, steps: Iterator[Stepped]) -> Iterator[Stepped]:
    """The steps, each ordered before it is taken; after the last there is nothing to do."""
    while True:
        ranks.order("step")
        if (step := next(steps, None)) is None:
            return
        yield step


def _tell(s: Session, t: Trainer, steps: list[Stepped]) -> None:
    """Write steps down: their sums come back from the devices, and from the other ranks.

    Raises RunError once training has diverged.
    """
    if not steps:
        return
    s.ranks.order("sum_losses")
    facts = read_steps(sum_losses(s.ranks, steps))
    s.write(*facts)
    took = math.fsum(fact.seconds for fact in facts)
    t.position.seconds += took
    t.position.epoch_seconds += took
    since = note_divergence(t.position, facts)
    if since is not None:
        why = f"{DIVERGED_STEPS} steps in a row had no finite gradient"
        raise _diverged(s, since, why)


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


def _evaluation_due(s: Session, t: Trainer, step: Stepped) -> bool:
    every = s.config.train.eval_every
    if step.ends_epoch or step.is_last:
        return True
    if isinstance(every, int):
        return step.step % every == 0
    before = step.epoch - 1 / t.plan.whole[int(step.epoch)]
    return int(step.epoch / every + 1e-9) > int(before / every + 1e-9)


def _evaluate(s: Session, t: Trainer, best: Best, step: Stepped) -> tuple[bool, bool]:
    """Validate and answer the config's prompts.

    Whether its checkpoint is needed (V11), and whether it has a prediction for every row.
    """
    with _all_weights(s, t):
        event, frame = validate(s, "tuned", s.tuned, step.epoch)
        answer_probes(s)
    metric = chosen_by(s.config)
    value = metric_value(s, metric, event, frame)
    loss = metric_value(s, "loss", event, frame)
    before = best.step, best.top_step
    stop, paired = s.config.train.early_stopping, partial(paired_p, s, metric)
    needed = update_best(best, value, step.step, metric, stop, loss, paired)
    if (best.step, best.top_step) != before:
        s.write(_chosen(best, step.step, metric))
    s.validation_rows.thin_out({best.step, best.top_step})
    return needed, not event.no_prediction


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
    """Save the state after the last step; what is saved already is only told to who asked."""
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


def _pause(s: Session, t: Trainer, best: Best) -> None:
    """Hold training, answer prompts meanwhile, until told to go on or to stop."""
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
