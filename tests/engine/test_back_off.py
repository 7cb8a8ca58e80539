"""Out of memory, a step is done again in more parts, and the run goes on to the same result."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ftev.core.config.config import ModelConfig, RunConfig, TrainConfig
from ftev.core.engine.models.load import load
from ftev.core.engine.training.best import Best
from ftev.core.engine.training.checkpoints import restore_training, save_checkpoint
from ftev.core.engine.training.train import read_steps, train
from ftev.core.engine.training.trainer import Trainer, cut_finer, plan_training
from ftev.core.run.runs import Run
from test_train import rows_of, weights

SETTINGS = TrainConfig(batch_size=8, epochs=3, learning_rate=1e-3)


def trainer(folder: Path) -> Trainer:
    torch.manual_seed(0)
    config = RunConfig(task="generation", model=ModelConfig(base=str(folder)))
    loaded = load(config, str(folder))
    rows = rows_of(loaded)
    return Trainer(loaded, rows, plan_training(rows, SETTINGS), SETTINGS)


class Small:
    """A model whose forward runs out of memory when it gets more rows than it has room for."""

    def __init__(self, t: Trainer, room: int) -> None:
        self.seen: list[int] = []
        self.room = room
        self.hook = t.loaded.model.model.embed_tokens.register_forward_pre_hook(self.check)

    def check(self, module: Any, given: tuple[torch.Tensor, ...]) -> None:
        self.seen.append(len(given[0]))
        if len(given[0]) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


@pytest.fixture
def whole(causal_folder: Path) -> Trainer:
    t = trainer(causal_folder)
    t.told = read_steps(list(train(t)))  # type: ignore[attr-defined]
    return t


def test_a_step_is_done_again_in_finer_parts_with_the_same_result(
    causal_folder: Path, whole: Trainer
) -> None:
    t = trainer(causal_folder)
    small = Small(t, room=2)
    steps = list(train(t))
    assert [s.backed_off for s in steps] == [4, 0, 0]
    assert small.seen[:3] == [8, 4, 2]
    assert max(small.seen[3:]) == 2  # the later steps do not try again
    for a, b in zip(read_steps(steps), whole.told, strict=True):  # type: ignore[attr-defined]
        assert a.loss_sum == pytest.approx(b.loss_sum, rel=1e-5)
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-4)
    for name, value in weights(whole).items():
        assert torch.allclose(value, weights(t)[name], atol=2e-5), name


def test_memory_that_runs_out_in_the_second_part_leaves_nothing_of_the_first(
    causal_folder: Path, whole: Trainer
) -> None:
    t = trainer(causal_folder)
    small, failed = Small(t, room=99), []

    def late(module: Any, given: Any) -> None:
        if t.position.step == 1 and not failed:
            failed.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory")

    t.loaded.model.lm_head.weight.register_hook(lambda g: late(None, None))  # in backward
    steps = list(train(t))
    assert failed
    assert [s.backed_off for s in steps] == [0, 2, 0]
    assert small.seen == [8, 8, 4, 4, 4, 4]
    for name, value in weights(whole).items():
        assert torch.allclose(value, weights(t)[name], atol=2e-5), name


def test_a_row_that_does_not_fit_alone_ends_the_run(causal_folder: Path) -> None:
    t = trainer(causal_folder)
    small = Small(t, room=0)
    with pytest.raises(torch.OutOfMemoryError):
        list(train(t))
    assert small.seen == [8, 4, 2, 1] * 2  # the second time without keeping activations


def test_a_resumed_run_knows_how_finely_it_has_to_cut(causal_folder: Path, tmp_path: Path) -> None:
    t = trainer(causal_folder)
    Small(t, room=4)
    next(train(t))
    path = save_checkpoint(Run(tmp_path), t, Best())
    again = trainer(causal_folder)
    restore_training(path, again)
    small = Small(again, room=4)
    assert [s.backed_off for s in train(again)] == [0, 0]
    assert max(small.seen) == 4


def test_no_row_is_lost_in_cutting() -> None:
    parts = [np.arange(5), np.arange(5, 6)]
    finer = cut_finer(parts, 4)
    assert np.concatenate(finer).tolist() == list(range(6))
    assert [len(p) for p in finer] == [2, 1, 1, 1, 1]
