"""Where memory runs out: finer parts and activation checkpointing give the same result."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from ftev.core.config.config import ModelConfig, RunConfig, TrainConfig
from ftev.core.engine.__main__ import work
from ftev.core.engine.models.load import add_adapter, load
from ftev.core.engine.models.models import Loaded, at_precision
from ftev.core.engine.scoring.rows import TokenRows, classification_rows
from ftev.core.engine.training.best import Best
from ftev.core.engine.training.checkpoints import restore_training, save_checkpoint
from ftev.core.engine.training.train import _gradients, read_steps, train
from ftev.core.engine.training.trainer import (
    Trainer,
    checkpoint_activations,
    cut_finer,
    plan_training,
)
from ftev.core.run.history import read_history
from ftev.core.run.listen import Listener
from ftev.core.run.runs import Run, create_run
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


def causal(folder: Path, adapter: bool = False, **more: Any) -> Trainer:
    torch.manual_seed(0)
    model = ModelConfig(base=str(folder), adapter="lora" if adapter else "none")
    config = RunConfig(task="generation", model=model)
    loaded = load(config, str(folder))
    if adapter:
        add_adapter(loaded, config)
    rows = rows_of(loaded)
    return Trainer(loaded, rows, plan_training(rows, SETTINGS), SETTINGS, **more)


def classifier(folder: Path, **more: Any) -> Trainer:
    """With the dropout of every BERT: the second computation has to draw what the first drew."""
    torch.manual_seed(0)
    config = RunConfig(task="classification", model=ModelConfig(base=str(folder)))
    loaded = load(config, str(folder), ("good", "bad"))
    texts = ["the tea was bad and the day was worse", "good", "a bad kettle", "what a good cup"] * 2
    labels = ["bad", "good"] * 4
    frame = pl.DataFrame({"row_id": range(8), "text": texts, "label": labels})
    *_, rows = classification_rows(frame, loaded)
    assert isinstance(rows, TokenRows)
    return Trainer(loaded, rows, plan_training(rows, SETTINGS), SETTINGS, **more)


CASES: dict[str, tuple[str, Callable[[Path], Trainer]]] = {
    "classifier": ("encoder_folder", classifier),
    "classifier, bfloat16": ("encoder_folder", lambda f: classifier(f, precision="bfloat16")),
    "causal": ("causal_folder", causal),
    "causal, bfloat16": ("causal_folder", lambda f: causal(f, precision="bfloat16")),
    "causal, padded": ("causal_folder", lambda f: causal(f, may_pack=False)),
    "causal, LoRA": ("causal_folder", lambda f: causal(f, adapter=True)),
}


class Kept:
    """Counts the bytes that autograd keeps for the backward pass, weights left out."""

    def __init__(self, t: Trainer) -> None:
        self.weights = {p.data_ptr() for p in t.loaded.model.parameters()}
        self.places: dict[int, int] = {}

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in self.weights:
            self.places[tensor.data_ptr()] = tensor.nbytes
        return tensor

    @property
    def bytes(self) -> int:
        return sum(self.places.values())


def one_step(t: Trainer) -> tuple[float, dict[str, torch.Tensor], int, int]:
    """Loss and gradients of the first step, bytes kept, and how often a first layer computed."""
    model, kept, calls = t.loaded.model, Kept(t), []
    model.train()
    names = ("mlp", "attention")  # Llama's, BERT's
    inside = next(m for n, m in model.named_modules() if n.split(".")[-1] in names)
    inside.register_forward_pre_hook(lambda *_: calls.append(1))
    torch.manual_seed(5)
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda x: x):
        loss = _gradients(t, 8, [np.arange(8)])
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return float(loss), found, kept.bytes, len(calls)


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_the_same_and_less_is_kept(
    case: str, request: pytest.FixtureRequest
) -> None:
    name, make = CASES[case]
    folder = request.getfixturevalue(name)
    loss, gradients, kept, calls = one_step(make(folder))
    t = make(folder)
    assert t.spare_memory()
    again, found, less, twice = one_step(t)
    assert again == pytest.approx(loss, rel=1e-6)
    assert found.keys() == gradients.keys()
    for weight, value in gradients.items():
        assert torch.allclose(found[weight], value, rtol=1e-6, atol=1e-6), weight
    assert (calls, twice) == (1, 2)
    assert less < 0.6 * kept


class Full:
    """Memory that runs out at single rows, until nothing of a layer is kept; then at `room` rows.

    What it holds: rows that the embedding was given.
    """

    def __init__(self, t: Trainer, room: int = 99) -> None:
        self.seen: list[int] = []
        self.room = room
        self.layer = t.loaded.model.model.layers[1]
        t.loaded.model.model.embed_tokens.register_forward_pre_hook(self.check)

    def check(self, _: Any, given: tuple[torch.Tensor, ...]) -> None:
        self.seen.append(len(given[0]))
        if len(given[0]) > (self.room if self.layer.gradient_checkpointing else 0):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def test_a_row_that_does_not_fit_is_computed_without_keeping(causal_folder: Path) -> None:
    whole = read_steps(list(train(causal(causal_folder))))
    t = causal(causal_folder)
    full = Full(t)
    steps = list(train(t))
    assert [(s.twice, s.backed_off) for s in steps] == [(True, 0), (False, 0), (False, 0)]
    assert full.seen == [8, 4, 2, 1, 8, 8, 8]  # what was too large fits again, and later too
    for a, b in zip(read_steps(steps), whole, strict=True):
        assert a.loss_sum == pytest.approx(b.loss_sum, rel=1e-6)
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-5)


def test_both_ways_are_taken_where_one_is_not_enough(causal_folder: Path) -> None:
    t = causal(causal_folder)
    full = Full(t, room=3)
    steps = list(train(t))
    assert [(s.twice, s.backed_off) for s in steps] == [(True, 4), (False, 0), (False, 0)]
    assert full.seen[:7] == [8, 4, 2, 1, 8, 4, 2]


def test_an_architecture_that_cannot_ends_the_run(
    causal_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    t = causal(causal_folder)
    monkeypatch.setattr(type(t.loaded.model), "supports_gradient_checkpointing", False)
    full = Full(t)
    with pytest.raises(torch.OutOfMemoryError):
        list(train(t))
    assert full.seen == [8, 4, 2, 1]
    assert not t.position.twice


def test_a_resumed_run_knows_it(causal_folder: Path, tmp_path: Path) -> None:
    t = causal(causal_folder)
    Full(t)
    next(train(t))
    path = save_checkpoint(Run(tmp_path), t, Best())
    again = causal(causal_folder)
    restore_training(path, again)
    full = Full(again)
    assert [s.twice for s in train(again)] == [False, False]
    assert full.seen == [8, 8]


@torch.inference_mode()
def logits(loaded: Loaded) -> torch.Tensor:
    with loaded.active() as model:
        out: torch.Tensor = model(input_ids=torch.arange(8)[None], use_cache=True).logits
    return out


@pytest.mark.parametrize("adapter", [False, True])
def test_answers_in_between_are_not_touched(causal_folder: Path, adapter: bool) -> None:
    loaded = causal(causal_folder, adapter).loaded
    before = logits(loaded)
    assert checkpoint_activations(loaded.model)
    loaded.model.train()
    assert torch.equal(logits(loaded), before)
    assert logits(at_precision(loaded, "bfloat16")).dtype == torch.bfloat16
    assert loaded.model.training


def test_the_run_tells_it(
    verses: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Trainer.__post_init__

    def with_little_memory(t: Trainer) -> None:
        before(t)
        layer = t.loaded.model.model.layers[1]

        def check(*_: Any) -> None:
            if layer.training and not layer.gradient_checkpointing:
                raise torch.OutOfMemoryError("CUDA out of memory")

        layer.register_forward_pre_hook(check)

    monkeypatch.setattr(Trainer, "__post_init__", with_little_memory)
    run = create_run(replace(verses, train=replace(verses.train, epochs=1)), tmp_path / "runs")
    with Listener(run) as listener:
        work(run, listener, argparse.Namespace(resume=False, serve_minutes=0.0))
    history = read_history(run)
    assert history.finished is not None
    assert history.finished.status == "finished"
    lines = [note for note in history.notes if "memory ran out" in note.text]
    assert [(note.level, note.text) for note in lines] == [
        (
            "warning",
            "memory ran out in step 1: from here on activation checkpointing is on, slower and "
            "with the same result",
        )
    ]
