import math
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import story
import torch
from ftev.core.config.config import EarlyStopping, ModelConfig, RunConfig, TrainConfig
from ftev.core.engine.models import logits
from ftev.core.engine.models.load import load
from ftev.core.engine.models.models import Loaded
from ftev.core.engine.scoring.classification import most_likely
from ftev.core.engine.scoring.rows import TokenRows, classification_rows, completion_rows
from ftev.core.engine.training.best import (
    Best,
    out_of_patience,
    update_best,
)
from ftev.core.engine.training.checkpoints import (
    read_state,
    restore_training,
    save_checkpoint,
)
from ftev.core.engine.training.train import (
    DIVERGED_STEPS,
    _evaluation_due,
    note_divergence,
    read_steps,
    train,
)
from ftev.core.engine.training.trainer import Position, Trainer, learning_rate, plan_training
from ftev.core.run.events import StepDone
from ftev.core.run.runs import Run
from msgspec.structs import replace
from scoring import scores
from tensors import Seen
from transformers import get_scheduler

PROMPTS = [
    "a cold day",
    "tea",
    "this kettle is broken and",
    "what a good",
    "the",
    "warm",
    "a",
    "cup",
]
COMPLETIONS = [
    "is warm",
    "was bad and the day was worse",
    "gone",
    "day",
    "kettle boils",
    "a",
    "b",
    "c d",
]


def causal(folder: Path) -> Loaded:
    torch.manual_seed(0)
    config = RunConfig(task="generation", model=ModelConfig(base=str(folder)))
    return load(config, str(folder))


def rows_of(loaded: Loaded) -> TokenRows:
    frame = pl.DataFrame({"row_id": range(8), "prompt": PROMPTS, "completion": COMPLETIONS})
    *_, rows = completion_rows(frame, loaded)
    assert isinstance(rows, TokenRows)
    return rows


def trainer(folder: Path, settings: TrainConfig) -> Trainer:
    loaded = causal(folder)
    rows = rows_of(loaded)
    return Trainer(loaded, rows, plan_training(rows, settings), settings)


def weights(t: Trainer) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in t.loaded.model.state_dict().items()}


def test_T5_accumulated_parts_are_weighted_by_tokens(causal_folder: Path) -> None:
    common = {"batch_size": 8, "epochs": 2.0, "learning_rate": 1e-3}
    whole = trainer(causal_folder, TrainConfig(**common))
    parts = trainer(causal_folder, TrainConfig(**common, gradient_accumulation_steps=4))
    one = read_steps(list(train(whole)))
    four = read_steps(list(train(parts)))
    assert [s.loss_count for s in one] == [s.loss_count for s in four]
    for a, b in zip(one, four, strict=True):
        assert a.loss_sum == pytest.approx(b.loss_sum, rel=1e-5)
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-4)
    for name, value in weights(whole).items():
        assert torch.allclose(value, weights(parts)[name], atol=2e-5), name


def test_the_loss_falls_on_what_is_repeated(causal_folder: Path) -> None:
    settings = TrainConfig(batch_size=4, epochs=30, learning_rate=5e-3)
    steps = read_steps(list(train(trainer(causal_folder, settings))))
    assert steps[-1].loss_sum / steps[-1].loss_count < 0.5 * steps[0].loss_sum / steps[0].loss_count
    assert steps[-1].step == len(steps) == 60
    assert steps[-1].epoch == pytest.approx(30)


def test_a_step_whose_gradient_is_not_finite_leaves_the_weights_alone(causal_folder: Path) -> None:
    t = trainer(causal_folder, TrainConfig(batch_size=8, epochs=3, weight_decay=0.1))
    with torch.no_grad():
        t.loaded.model.model.norm.weight[0] = math.inf
    before = weights(t)
    (step,) = read_steps(list(islice(train(t), 1)))
    assert step.skipped
    assert not math.isfinite(step.grad_norm)
    for name, value in weights(t).items():
        assert torch.equal(value, before[name]), name


def test_gradients_are_scaled_down_to_the_norm_given(causal_folder: Path) -> None:
    settings = TrainConfig(batch_size=8, epochs=1, max_grad_norm=1e-9, weight_decay=0.0)
    t = trainer(causal_folder, settings)
    t.optimizer = torch.optim.SGD(t.trained, lr=1.0, fused=True)
    before = weights(t)
    (step,) = read_steps(list(train(t)))
    assert step.grad_norm > 1e-3
    moved = max(float((v - before[k]).abs().max()) for k, v in weights(t).items())
    assert moved < 1e-6


@pytest.mark.parametrize("warmup", [0.0, 0.06, 0.25])
@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_E5_the_learning_rate_is_that_of_transformers(
    causal_folder: Path, schedule: str, warmup: float
) -> None:
    settings = TrainConfig(batch_size=1, epochs=5, warmup_ratio=warmup, schedule=schedule)  # type: ignore[arg-type]
    plan = trainer(causal_folder, settings).plan
    assert plan.max_steps == 40
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=settings.learning_rate)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    oracle = get_scheduler(name, optimizer, plan.warmup_steps(settings), plan.max_steps)
    for step in range(40):
        expected = optimizer.param_groups[0]["lr"]
        assert learning_rate(step, plan, settings) == pytest.approx(expected, rel=1e-12, abs=1e-20)
        optimizer.step()
        oracle.step()
    assert (learning_rate(0, plan, settings) == 0.0) == (warmup > 0)


def test_E5_max_steps_changes_how_far_a_run_goes_and_nothing_else(causal_folder: Path) -> None:
    common = {"batch_size": 3, "epochs": 4.0, "learning_rate": 1e-3, "schedule": "constant"}
    whole = trainer(causal_folder, TrainConfig(**common, warmup_ratio=0.0))  # type: ignore[arg-type]
    every = read_steps(list(train(whole)))
    for limit in (2, 3, 7):
        settings = TrainConfig(**common, warmup_ratio=0.0, max_steps=limit)  # type: ignore[arg-type]
        t = trainer(causal_folder, settings)
        assert t.plan.whole[0] == 3
        assert t.plan.length == pytest.approx(limit / 3)
        taken = list(train(t))
        assert [s.ends_epoch for s in taken] == [None, None, 1, None, None, 2, None][:limit]
        assert [s.is_last for s in taken] == [False] * (limit - 1) + [True]
        for cut, full in zip(read_steps(taken), every[:limit], strict=True):
            assert (cut.loss_sum, cut.epoch) == (full.loss_sum, full.epoch)


def test_E5_an_epoch_of_a_token_budget_is_not_shortened_by_max_steps(causal_folder: Path) -> None:
    full = trainer(causal_folder, TrainConfig(batch_tokens=20, epochs=2)).plan
    cut = trainer(causal_folder, TrainConfig(batch_tokens=20, epochs=2, max_steps=2)).plan
    assert cut.max_steps == 2 < len(full.epochs[0])
    assert cut.whole[0] == full.whole[0] == len(full.epochs[0])
    assert all(np.array_equal(a, b) for a, b in zip(cut.epochs[0], full.epochs[0], strict=False))


def test_a_part_of_an_epoch_and_max_steps_cut_the_plan(causal_folder: Path) -> None:
    steps = {}
    for epochs, limit in ((1.5, None), (0.25, None), (3.0, 5)):
        settings = TrainConfig(batch_size=2, epochs=epochs, max_steps=limit)
        steps[epochs] = trainer(causal_folder, settings).plan.max_steps
    assert steps == {1.5: 6, 0.25: 1, 3.0: 5}


def test_a_classifier_learns_its_rows(encoder_folder: Path) -> None:
    torch.manual_seed(0)
    config = RunConfig(task="classification", model=ModelConfig(base=str(encoder_folder)))
    loaded = load(config, str(encoder_folder), ("good", "bad"))
    texts = ["the tea was bad", "what a good day", "bad kettle", "good cup"] * 4
    frame = pl.DataFrame({"row_id": range(16), "text": texts, "label": ["bad", "good"] * 8})
    *_, rows = classification_rows(frame, loaded)
    assert isinstance(rows, TokenRows)
    settings = TrainConfig(batch_size=8, epochs=30, learning_rate=3e-3)
    steps = read_steps(list(train(Trainer(loaded, rows, plan_training(rows, settings), settings))))
    assert steps[0].loss_count == 8
    assert steps[-1].loss_sum / 8 < 0.1


def test_T2_counter_and_best_are_saved(causal_folder: Path, tmp_path: Path) -> None:
    t = trainer(causal_folder, TrainConfig(batch_size=8, epochs=2))
    list(islice(train(t), 1))
    best = Best(value=0.5, step=1, loss=0.7, reference=0.6, since=2)
    path = save_checkpoint(Run(tmp_path), t, best)
    again = trainer(causal_folder, TrainConfig(batch_size=8, epochs=2))
    assert restore_training(path, again) == best
    assert again.position == t.position
    stop = EarlyStopping(patience=3)
    restored = read_state(path).best
    assert not out_of_patience(restored, stop)
    update_best(restored, 0.4, 2, "accuracy", stop)
    assert out_of_patience(restored, stop)  # the third evaluation without a gain, two before


@pytest.mark.parametrize("parts", [1, 2])
def test_L4_training_projects_in_chunks_and_learns_the_same(
    causal_folder: Path, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = TrainConfig(
        batch_size=8, epochs=2, learning_rate=1e-3, gradient_accumulation_steps=parts
    )
    whole, cut = trainer(causal_folder, common), trainer(causal_folder, common)
    vocabulary = cut.loaded.model.config.vocab_size
    one = read_steps(list(train(whole)))
    monkeypatch.setattr(logits, "CHUNK_ELEMENTS", 5 * vocabulary)
    with Seen() as seen:
        two = read_steps(list(train(cut)))
    for a, b in zip(one, two, strict=True):
        assert a.loss_sum == pytest.approx(b.loss_sum, rel=1e-5)
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-4)
    for name, value in weights(whole).items():
        assert torch.allclose(value, weights(cut)[name], atol=2e-5), name
    tall = [s for s in seen.wide(vocabulary) if s[0] not in (32, 1)]  # not the weights
    assert tall
    assert all(len(s) == 2 and s[0] <= 5 for s in tall), tall


def test_T5_the_loss_of_a_step_is_one_division_over_its_parts(causal_folder: Path) -> None:
    """4 parts of 2 rows with unequal tokens: a mean of the parts' means would be another loss."""
    settings = TrainConfig(batch_size=8, epochs=1, gradient_accumulation_steps=4)
    t = trainer(causal_folder, settings)
    planned = t.parts(t.plan.epochs[0][0])
    assert [len(part) for part in planned] == [2, 2, 2, 2]
    targets = [int(t.targets[part].sum()) for part in planned]
    assert len(set(targets)) > 1
    frame = scores(t.loaded, t.rows)
    (step,) = read_steps(list(train(t)))
    assert step.loss_count == sum(targets)
    assert step.loss_sum == pytest.approx(frame["nll"].sum(), rel=1e-5)
    means = [frame[p]["nll"].sum() / n for p, n in zip(planned, targets, strict=True)]
    assert abs(float(np.mean(means)) - step.loss_sum / step.loss_count) > 1e-4


def test_plans_of_the_same_seed_are_the_same(causal_folder: Path) -> None:
    a = trainer(causal_folder, TrainConfig(batch_size=2, epochs=2)).plan
    b = trainer(causal_folder, TrainConfig(batch_size=2, epochs=2)).plan
    for x, y in zip(a.epochs, b.epochs, strict=True):
        assert all(np.array_equal(p, q) for p, q in zip(x, y, strict=True))


def test_V5_twenty_steps_in_a_row_without_a_finite_gradient_are_divergence() -> None:
    def steps(first: int, finite: list[bool]) -> list[StepDone]:
        norms = [1.0 if ok else math.nan for ok in finite]
        return [replace(story.step(first + i), grad_norm=norm) for i, norm in enumerate(norms)]

    position = Position()
    assert note_divergence(position, steps(1, [True, *[False] * (DIVERGED_STEPS - 1)])) is None
    assert note_divergence(position, steps(21, [True])) is None
    assert position.not_finite == 0
    assert note_divergence(position, steps(22, [False] * 12)) is None
    assert note_divergence(position, steps(34, [False] * 8)) == 22
    position = Position()
    lost = [replace(s, loss_sum=math.inf) for s in steps(1, [True] * 20)]
    assert note_divergence(position, lost) == 1


def test_V5_a_row_whose_scores_are_not_finite_has_no_prediction() -> None:
    scores = np.log(np.array([[0.2, 0.8], [0.5, 0.5]]))
    assert most_likely(("no", "yes"), scores) == ["yes", "no"]
    scores[0, 0] = math.nan
    scores[1, 1] = math.inf
    assert most_likely(("no", "yes"), scores) == [None, None]


def test_evaluations_are_due_at_each_part_of_an_epoch_that_was_asked_for(
    causal_folder: Path,
) -> None:
    """Four steps an epoch: every half epoch is every second step, and 0.75 is steps 3 and 6."""
    due = {}
    for every in (0.5, 0.75, 3):
        settings = TrainConfig(batch_size=2, epochs=2, eval_every=every)
        t = trainer(causal_folder, settings)
        s: Any = SimpleNamespace(config=SimpleNamespace(train=settings))
        steps = list(train(t))
        assert [step.done.epoch for step in steps] == [n / 4 for n in range(1, 9)]
        due[every] = [step.done.step for step in steps if _evaluation_due(s, t, step)]
    assert due == {0.5: [2, 4, 6, 8], 0.75: [3, 4, 6, 8], 3: [3, 4, 6, 8]}
