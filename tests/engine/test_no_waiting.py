"""Nothing in a training step asks the device for a number: that would wait for the GPU.

On a processor the same operations are called and wait for nothing: it is enough to see them called.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from device_waits import Waits
from ftev.core.config.config import ModelConfig, RunConfig, TrainConfig
from ftev.core.engine.models.kernels import padded_right
from ftev.core.engine.models.load import load
from ftev.core.engine.scoring.rows import TokenRows, classification_rows, completion_rows
from ftev.core.engine.training.train import read_steps, train
from ftev.core.engine.training.trainer import Trainer, plan_training

TEXTS = ["a cold day", "tea", "the kettle boils and the cup is warm", "what a good day"] * 6


def trainer(task: str, folder: Path, **settings: int) -> Trainer:
    labels = ("bad", "good") if task == "classification" else ()
    config = RunConfig(task=task, model=ModelConfig(base=str(folder)))
    loaded = load(config, str(folder), labels)
    frame = pl.DataFrame({"row_id": range(len(TEXTS)), "text": TEXTS})
    if labels:
        frame = frame.with_columns(label=pl.Series(np.tile(labels, len(TEXTS) // 2)))
        *_, rows = classification_rows(frame, loaded)
    else:
        frame = frame.select("row_id", prompt="text", completion=pl.col("text").reverse())
        *_, rows = completion_rows(frame, loaded)
    assert isinstance(rows, TokenRows)
    asked = TrainConfig(epochs=1.0, **settings)
    return Trainer(loaded, rows, plan_training(rows, asked), asked)


@pytest.mark.parametrize("task", ["classification", "generation"])
@pytest.mark.parametrize("rows", [1, 5])  # without padding, and with it
def test_a_step_reads_nothing_back(
    task: str, rows: int, causal_folder: Path, encoder_folder: Path
) -> None:
    folder = encoder_folder if task == "classification" else causal_folder
    t = trainer(task, folder, batch_size=rows, gradient_accumulation_steps=2)
    with Waits() as waits:
        taken = list(train(t))
    assert waits.calls > 100
    assert not waits.found
    assert all(np.isfinite(s.loss_sum) for s in read_steps(taken))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("task", ["classification", "generation"])
def test_a_gpu_is_never_waited_for(task: str, causal_folder: Path, encoder_folder: Path) -> None:
    t = trainer(task, encoder_folder if task == "classification" else causal_folder, batch_size=5)
    t.loaded.model.to("cuda")
    t = Trainer(t.loaded, t.rows, t.plan, t.settings)
    steps = train(t)
    next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        rest = list(steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert rest


def test_what_would_wait_is_seen() -> None:
    numbers = torch.arange(4)
    with Waits() as waits:
        numbers[0].item()
        numbers[numbers > 1]
        bool(numbers.sum() == 6)
    assert waits.found == {"_local_scalar_dense": 2, "index": 1}


@pytest.mark.parametrize("task", ["classification", "generation"])
@pytest.mark.parametrize("lengths", [(7, 7), (9, 3)])
def test_masks_that_are_not_read_change_no_answer(
    task: str, lengths: tuple[int, int], causal_folder: Path, encoder_folder: Path
) -> None:
    folder = encoder_folder if task == "classification" else causal_folder
    model = trainer(task, folder, batch_size=1).loaded.model.eval()
    mask = torch.tensor([[n < length for n in range(max(lengths))] for length in lengths]).long()
    ids = torch.arange(mask.numel()).view(mask.shape) + 5
    padded = len(set(lengths)) > 1
    with torch.no_grad():
        read = model(input_ids=ids, attention_mask=mask).logits
        with padded_right(padded):
            unread = model(input_ids=ids, attention_mask=mask).logits
        alone = model(input_ids=ids[1:, : lengths[1]]).logits
    if task == "generation":
        read, unread = (logits[mask.bool()] for logits in (read, unread))
        alone = alone[0]
    torch.testing.assert_close(unread, read, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(unread[-len(alone) :], alone, atol=1e-5, rtol=1e-5)
