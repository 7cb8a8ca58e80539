"""A run on several processes: the numbers of one, one story, an end where one of them is lost."""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import forked
import numpy as np
import polars as pl
import pytest
import torch
from ftev.core.config.config import DataConfig, EvaluateConfig, ModelConfig, RunConfig, TrainConfig
from ftev.core.config.config_file import dump_config
from ftev.core.engine.__main__ import work
from ftev.core.engine.distributed.follow import hash_of_tokenizer, hash_of_weights
from ftev.core.engine.distributed.ranks import deal
from ftev.core.engine.models.load import load_causal
from ftev.core.run.events import EventReader
from ftev.core.run.history import History, read_history
from ftev.core.run.launch import WORKER, child_environment, python_command, start_worker
from ftev.core.run.listen import Listener
from ftev.core.run.lock import hold_run
from ftev.core.run.runs import Run, create_run, step_of
from safetensors.torch import load_file
from waiting import patience, wait_for

PATIENCE = patience(120.0)


@pytest.fixture(autouse=True)
def _no_gpu_and_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes on the CPU, also where there is a GPU: what is tested is the same everywhere."""
    if torch.cuda.is_available():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def alone(run: Run, *, resume: bool = False) -> History:
    """The run in this very process, which has torch already."""
    with Listener(run) as listener:
        work(run, listener, argparse.Namespace(resume=resume, serve_minutes=0.0))
    return finished(run)


def started(run: Run, *arguments: str) -> subprocess.Popen[bytes]:
    return start_worker(run, "--serve-minutes", "0", *arguments)


def ended(run: Run, process: subprocess.Popen[bytes]) -> History:
    process.wait(timeout=PATIENCE)
    return finished(run)


def finished(run: Run) -> History:
    history = read_history(run)
    assert history.finished is not None, run.log_path.read_text()
    assert history.finished.status == "finished", run.log_path.read_text()
    return history


def without_dropout(folder: Path, to: Path) -> Path:
    """A copy of a model: dropout would draw for other rows on every rank."""
    shutil.copytree(folder, to)
    values = json.loads((to / "config.json").read_text())
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        values[name] = 0.0
    (to / "config.json").write_text(json.dumps(values))
    return to


@pytest.fixture
def reviews(tmp_path: Path, encoder_folder: Path) -> RunConfig:
    """A classifier; the last step of an epoch has one row, which is fewer than there are ranks."""
    rows = [("what a good cup", "good"), ("the tea was bad", "bad"), ("a warm day and", "good")]
    for name, count in (("train.csv", 33), ("validation.csv", 9), ("test.csv", 15)):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            for i in range(count):
                text, label = rows[i % 3]
                writer.writerow([f"{text} {'warm ' * (i % 5)}{name[:2]} {i}", label])
    return RunConfig(
        task="classification",
        name="reviews",
        model=ModelConfig(base=str(without_dropout(encoder_folder, tmp_path / "base"))),
        data=DataConfig(train="train.csv", validation="validation.csv", test="test.csv"),
        train=TrainConfig(epochs=2, batch_size=8, learning_rate=3e-3, devices="cpu"),
        evaluate=EvaluateConfig(parity_rows=0),
        folder=str(tmp_path),
    )


@pytest.fixture(scope="module")
def verses(tmp_path_factory: pytest.TempPathFactory, causal_folder: Path) -> RunConfig:
    """A language model: rows of unequal numbers of targets, in parts of a step."""
    folder = tmp_path_factory.mktemp("verses")
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "completion"])
        for i in range(45):
            writer.writerow([f"cup number {i} is", "warm tea " * (1 + i % 4) + f"of day {i % 7}"])
    return RunConfig(
        task="generation",
        name="verses",
        model=ModelConfig(base=str(causal_folder), precision="float32"),
        data=DataConfig(train="train.csv", validation=0.2),
        train=TrainConfig(
            epochs=3,
            batch_size=10,
            learning_rate=1e-3,
            gradient_accumulation_steps=2,
            keep_checkpoints=3,
            devices="cpu",
        ),
        evaluate=EvaluateConfig(
            completions=4, completion_tokens=4, self_test_rows=4, parity_rows=0
        ),
        folder=str(folder),
    )


def on(config: RunConfig, devices: int, sharding: str = "none") -> RunConfig:
    settings = replace(config.train, devices=devices, sharding=sharding)  # type: ignore[arg-type]
    return replace(config, train=settings)


def losses(history: History) -> list[float]:
    return list(history.steps.loss)


def assert_same_numbers(one: Run, two: Run) -> None:
    """Every step, every evaluation, every stored row."""
    a, b = read_history(one), read_history(two)
    assert losses(b) == pytest.approx(losses(a), abs=1e-5)
    assert list(b.steps.loss_count) == list(a.steps.loss_count)
    assert list(b.steps.tokens) == list(a.steps.tokens)
    assert list(b.steps.grad_norm) == pytest.approx(list(a.steps.grad_norm), rel=1e-3)
    pairs = [[(e.split, e.model, e.step, e.rows) for e in h.evaluations] for h in (a, b)]
    assert pairs[0] == pairs[1]
    for x, y in zip(a.evaluations, b.evaluations, strict=True):
        assert y.loss_sum / y.loss_count == pytest.approx(x.loss_sum / x.loss_count, abs=1e-5)
    assert set(a.stored) == set(b.stored)
    assert a.stored
    for name in a.stored:
        rows = [pl.read_parquet(run.path / name) for run in (one, two)]
        assert rows[0]["row_id"].to_list() == rows[1]["row_id"].to_list()
        assert rows[1]["row_id"].n_unique() == rows[1].height
        for column in {"nll"} & set(rows[0].columns):  # the majority has none
            assert np.allclose(rows[0][column], rows[1][column], atol=1e-4)


def kinds(run: Run) -> list[str]:
    """What a run tells, without what is told every so many seconds."""
    result = (type(e).__name__ for e in EventReader(run.events_path).read_all())
    return [kind for kind in result if kind not in ("Progress", "SystemSampled")]


def test_rows_are_dealt_out_once_and_evenly() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, size=101)
    rows = np.arange(0, 101)
    hands = deal(rows, lengths, 4)
    assert sorted(np.concatenate(hands)) == rows.tolist()
    tokens = [int(lengths[hand].sum()) for hand in hands]
    assert max(tokens) < 1.05 * min(tokens)
    assert [len(hand) for hand in deal(rows[:2], lengths, 4)] == [1, 1, 0, 0]


def test_a_classifier_on_two_processes_is_that_of_one(reviews: RunConfig, tmp_path: Path) -> None:
    one, two = (create_run(config, tmp_path / "runs") for config in (reviews, on(reviews, 2)))
    process = started(two)
    alone(one)
    ended(two, process)
    assert_same_numbers(one, two)
    assert kinds(one) == kinds(two)  # one event log, whose story is the same
    found = read_history(two).device
    assert found is not None
    assert found.devices == 2


@pytest.fixture(scope="module")
def whole(verses: RunConfig) -> Run:
    """A language model's run in one process, with the checkpoints of its three epochs."""
    run = create_run(verses, Path(verses.folder) / "runs")
    alone(run)
    return run


def as_of(run: Run, step: int, to: Path, config: RunConfig) -> Run:
    """A copy of a run whose newest checkpoint is that of a step, configured otherwise."""
    shutil.copytree(run.path, to)
    copy = Run(to)
    copy.worker_path.unlink()  # it names this process, which lives
    for path in copy.checkpoints.iterdir():
        if step_of(path) > step:
            shutil.rmtree(path)
    (to / "run.toml").write_text(dump_config(config), encoding="utf-8")
    return copy


def test_one_two_and_shared_out_over_two_go_on_from_each_others_checkpoints(
    verses: RunConfig, whole: Run, tmp_path: Path
) -> None:
    shared = as_of(whole, 4, tmp_path / "shared", on(verses, 2, "full"))
    history = ended(shared, started(shared, "--resume"))
    assert history.started is not None
    assert history.started.resumed_from_step == 4
    assert_same_numbers(whole, shared)
    names = {path.name for path in (shared.checkpoints / "step_000008").iterdir()}
    assert {f"optimizer.0000{i}-of-00002.safetensors" for i in (0, 1)} < names
    assert "model.safetensors" in names

    again = as_of(shared, 8, tmp_path / "again", verses)
    alone(again, resume=True)
    assert_same_numbers(whole, again)


def test_a_lost_rank_ends_the_run_and_it_goes_on_in_one_process(
    verses: RunConfig, whole: Run, tmp_path: Path
) -> None:
    run = create_run(on(verses, 2), tmp_path / "runs")
    process = started(run)
    wait_for(lambda: bool(read_history(run).checkpoints), "a checkpoint")
    pid = json.loads((run.path / "ranks" / "1.json").read_bytes())["pid"]
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    wait_for(lambda: not run.worker_alive(), "the end of the run")
    assert time.monotonic() - killed < patience(20)  # heartbeats are not waited for on one host
    assert process.wait(timeout=PATIENCE) != 0
    lost = read_history(run)
    assert lost.finished is not None
    assert lost.finished.status == "failed"
    assert f"rank 1 of 2 (process {pid} on " in lost.finished.error
    assert f"`ftev-tui resume {run.id}` goes on from step " in lost.finished.error
    again = as_of(run, lost.step, tmp_path / "again", verses)
    alone(again, resume=True)
    assert_same_numbers(whole, again)


def test_a_killed_first_rank_leaves_word_of_how_the_run_ended(
    verses: RunConfig, tmp_path: Path
) -> None:
    """It cannot say so itself: another rank does, once nobody has the run any more."""
    run = create_run(on(verses, 2), tmp_path / "runs")
    process = started(run)
    wait_for(lambda: bool(read_history(run).checkpoints), "a checkpoint")
    worker = run.worker()
    assert worker is not None
    os.kill(worker.pid, signal.SIGKILL)
    process.wait(timeout=PATIENCE)
    lost = read_history(run).finished
    assert lost is not None
    assert lost.status == "failed"
    assert f"rank 0 of 2 (process {worker.pid} on " in lost.error
    assert f"`ftev-tui resume {run.id}` goes on from step " in lost.error
    hold_run(run).release()  # and the next one has it


def test_an_adapter_of_a_classifier_is_saved_from_shared_out_weights(
    reviews: RunConfig, tmp_path: Path
) -> None:
    """Its checkpoint and its model are those of one process, and it goes on from the checkpoint."""
    lora = replace(reviews, model=replace(reviews.model, adapter="lora"))
    lora = replace(lora, train=replace(lora.train, epochs=1))
    one, two = (create_run(config, tmp_path / "runs") for config in (lora, on(lora, 2, "full")))
    process = started(two)
    alone(one)
    ended(two, process)
    assert_same_numbers(one, two)
    for place in ("model", "checkpoints/step_000005"):
        ours, theirs = (load_file(r.path / place / "adapter_model.safetensors") for r in (one, two))
        assert ours.keys() == theirs.keys()
        assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in ours)


def by_hand(run: Run, rank: int, port: int, place: Path) -> subprocess.Popen[bytes]:
    """One of two ranks, each from a directory of its own, as on nodes."""
    as_torchrun = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    as_torchrun |= {"MASTER_PORT": port}
    values = {name: str(value) for name, value in as_torchrun.items()}
    return forked.start(
        python_command(WORKER, str(run.path), "--serve-minutes", "0"),
        cwd=place,
        env={**child_environment(), **values, "MASTER_ADDR": "127.0.0.1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def free_port() -> int:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return int(line.getsockname()[1])


def test_a_rank_that_reads_other_rows_under_the_same_name_is_refused(
    reviews: RunConfig, tmp_path: Path
) -> None:
    """Its labels may be others, and nothing else would show it."""
    here = "/proc/self/cwd/train.csv"
    config = on(replace(reviews, data=replace(reviews.data, train=here)), 2)
    run = create_run(config, tmp_path / "runs")
    port, ranks = free_port(), []
    for rank, label in enumerate((",good", ",bad")):
        place = tmp_path / f"node{rank}"
        place.mkdir()
        rows = (tmp_path / "train.csv").read_text()
        (place / "train.csv").write_text(rows.replace(",good", label, 1))
        ranks.append(by_hand(run, rank, port, place))
    assert ranks[0].wait(PATIENCE) == 2
    ranks[1].wait(PATIENCE)
    ended = read_history(run).finished
    assert ended is not None
    assert ended.error.startswith(f"rank 1 of 2 on {socket.gethostname()}: its train split is not ")
    assert read_history(run).step == 0


def test_other_weights_and_other_tokenizers_have_other_hashes(
    causal_folder: Path, encoder_folder: Path
) -> None:
    one, two = load_causal(str(causal_folder)), load_causal(str(causal_folder))
    assert hash_of_weights(one) == hash_of_weights(two)
    assert hash_of_tokenizer(one) == hash_of_tokenizer(two)
    weights = next(two.model.parameters())
    with torch.no_grad():
        weights[:] = weights.flip(0)  # the same numbers in other rows
        assert hash_of_weights(one) != hash_of_weights(two)
        weights[:] = weights.flip(0)
        assert hash_of_weights(one) == hash_of_weights(two)
        weights[0, 0] += 1e-6
    two.tokenizer.add_tokens(["tea"])
    assert hash_of_weights(one) != hash_of_weights(two)
    assert hash_of_tokenizer(one) != hash_of_tokenizer(two)
