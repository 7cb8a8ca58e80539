"""Kernels around a model give its numbers, and no training step asks the device for a number.

Reading one back would wait for the GPU. On a processor the same operations are called and wait for
nothing: it is enough to see them called."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from device_waits import Waits
from ftev.core.config.config import ModelConfig, RunConfig, TrainConfig
from ftev.core.engine.models.kernels import (
    ON_CPU,
    Dropout,
    kept,
    make_room,
    memory_kept,
    padding_known,
    use_cpu_kernels,
)
from ftev.core.engine.models.load import load
from ftev.core.engine.models.models import save
from ftev.core.engine.scoring.rows import TokenRows, classification_rows, completion_rows
from ftev.core.engine.training.train import read_steps, train
from ftev.core.engine.training.trainer import Trainer, plan_training
from torch import Tensor, nn
from transformers import AutoConfig, DynamicCache, LlamaConfig, LlamaForCausalLM


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_share_and_the_scale_that_it_was_told(
    dtype: torch.dtype, p: float
) -> None:
    torch.manual_seed(0)
    factors = kept((1_000, 333), p, dtype)
    assert factors.shape == (1_000, 333)
    zero = factors == 0
    assert float(zero.double().mean()) == pytest.approx(p, abs=0.004)  # 4 standard errors and more
    assert set(factors[~zero].tolist()) == {float(torch.tensor(1 / (1 - p), dtype=dtype))}
    neighbours = zero[:, 1:].flatten().double(), zero[:, :-1].flatten().double()
    assert abs(float(torch.corrcoef(torch.stack(neighbours))[0, 1])) < 0.01


def test_dropout_follows_torchs_seed_and_is_nothing_in_evaluation() -> None:
    drop, x = Dropout(0.3), torch.ones(50, 50)
    torch.manual_seed(4)
    first = drop(x)
    second = drop(x)
    torch.manual_seed(4)
    assert torch.equal(drop(x), first)
    assert not torch.equal(first, second)
    assert torch.equal(drop.eval()(x), x)


def llama(groups: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4 // groups,
    )
    return LlamaForCausalLM(config)


def passed(model: nn.Module, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    """Logits of real places and the gradients of all weights."""
    ids = torch.arange(24).reshape(2, 12) % 50
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(input_ids=ids, attention_mask=mask).logits.float()
    real = logits if mask is None else logits[mask.bool()]
    model.zero_grad()
    (real**2).sum().backward()
    return real.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_attention_gives_what_torchs_own_gives(padded: bool, groups: int) -> None:
    model = llama(groups)
    mask = torch.ones(2, 12, dtype=torch.int64)
    mask[1, 7:] = 0
    wanted, gradients = passed(model, mask if padded else None)
    use_cpu_kernels(model)
    assert model.config._attn_implementation == ON_CPU
    found, own = passed(model, mask if padded else None)
    scale = float(wanted.abs().max())
    assert torch.allclose(found, wanted, atol=0.02 * scale)
    for a, b in zip(own, gradients, strict=True):
        assert float((a - b).norm()) <= 0.03 * float(b.norm()) + 1e-6


def test_evaluation_and_what_is_saved_do_not_know_of_them(
    encoder_folder: Path, tmp_path: Path
) -> None:
    config = RunConfig(task="classification", model=ModelConfig(base=str(encoder_folder)))
    torch.manual_seed(0)
    loaded = load(config, str(encoder_folder), ("a", "b"))
    ids = torch.arange(20).reshape(2, 10)
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    loaded.model.eval()
    with torch.inference_mode():
        before = loaded.model(input_ids=ids, attention_mask=mask).logits
    use_cpu_kernels(loaded.model)
    assert any(type(m) is Dropout for m in loaded.model.modules())
    assert not any(type(m) is nn.Dropout for m in loaded.model.modules())
    with torch.inference_mode():
        after = loaded.model(input_ids=ids, attention_mask=mask).logits
    assert torch.equal(before, after)
    save(loaded, tmp_path)
    assert ON_CPU not in (tmp_path / "config.json").read_text()
    assert AutoConfig.from_pretrained(tmp_path).architectures == ["BertForSequenceClassification"]


def test_memory_is_kept_only_while_training() -> None:
    with memory_kept(torch.device("cpu")):
        x = torch.ones(4 << 20)
        del x
    with memory_kept(torch.device("cuda")):  # another allocator's business
        pass


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
        with padding_known(padded):
            unread = model(input_ids=ids, attention_mask=mask).logits
        alone = model(input_ids=ids[1:, : lengths[1]]).logits
    if task == "generation":
        read, unread = (logits[mask.bool()] for logits in (read, unread))
        alone = alone[0]
    torch.testing.assert_close(unread, read, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(unread[-len(alone) :], alone, atol=1e-5, rtol=1e-5)


def test_a_cache_with_room_holds_what_one_without_holds_and_copies_nothing() -> None:
    torch.manual_seed(0)
    plain, roomy = DynamicCache(), DynamicCache()
    for step in range(1, 90):
        if step == 40:  # two answers have ended
            for cache in (plain, roomy):
                cache.batch_select_indices(torch.tensor([0, 2]))
        rows, length = 4 if step < 40 else 2, 7 if step == 1 else 1
        states = [torch.randn(rows, 2, length, 8) for _ in range(4)]
        before = roomy.layers[0].keys if step > 1 else None
        for layer in (0, 1):
            wanted = plain.update(*states[2 * layer : 2 * layer + 2], layer)
            found = roomy.update(*states[2 * layer : 2 * layer + 2], layer)
            assert all(map(torch.equal, found, wanted))
        if step in (20, 60):
            assert before is not None
            assert roomy.layers[0].keys.data_ptr() == before.data_ptr()
        if step == 1:
            make_room(roomy, 80)  # fewer than come
        assert roomy.get_seq_length() == plain.get_seq_length() == 6 + step


class Memory(ctypes.Structure):
    """What glibc says of its memory, in bytes: `struct mallinfo2` of malloc.h."""

    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = tuple((name, ctypes.c_size_t) for name in names.split())


def memory_held() -> float:
    """MiB that are allocated and not freed, large blocks among them."""
    libc: Any = ctypes.CDLL(None)
    libc.mallinfo2.restype = Memory
    found = libc.mallinfo2()
    return float(found.uordblks + found.hblkhd) / 2**20


only_glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="asks glibc for the memory in use"
)
SHAPES = """
from ftev.core.engine.models.imports import import_models

import_models(alone=True, weights=False)
import torch
from test_kernels import memory_held

for n in range(1, 401):
    x = torch.zeros(2, n, 64, dtype=torch.bfloat16)
    torch.matmul(x, x.transpose(1, 2))
    torch.matmul(x[0], x[0, :64].t())
    if n % 100 == 0:
        print(memory_held())
"""


@only_glibc
def test_memory_does_not_grow_with_the_shapes_that_steps_have() -> None:
    """In a process of its own: how much is kept of shapes is settled when the first is met."""
    done = subprocess.run(
        [sys.executable, "-c", SHAPES],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        check=True,
    )
    first, *_, last = map(float, done.stdout.split())
    assert last - first < 100  # of 400 shapes; without bounds 300 MiB where bfloat16 is computed


@only_glibc
def test_memory_does_not_grow_with_steps(causal_folder: Path) -> None:
    config = RunConfig(task="generation", model=ModelConfig(base=str(causal_folder)))
    loaded = load(config, str(causal_folder), trainable=True)
    ids = [np.arange(3, 19, dtype=np.int32) + i for i in range(4)]
    rows = TokenRows(ids=ids, row_ids=list(range(4)), scored=[np.arange(16) > 0] * 4)
    settings = TrainConfig(batch_size=4, epochs=60)
    steps = train(Trainer(loaded, rows, plan_training(rows, settings), settings))
    held = [memory_held() for _ in steps]
    assert len(held) == 60
    assert held[-1] - min(held[20:30]) < 1  # MiB; the gradients of 40 steps would be 5
