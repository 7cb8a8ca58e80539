"""How many processes a run gets, by its config and the GPUs there are."""

from __future__ import annotations

import pytest
from ftev.core.config.config import ModelConfig, RunConfig, TrainConfig
from ftev.core.errors import ConfigError
from ftev.core.run.launch import _threads, count_gpus, module_command, processes_of


def asking(devices: int | str) -> RunConfig:
    train = TrainConfig(devices=devices)  # type: ignore[arg-type]
    return RunConfig(task="generation", model=ModelConfig(base="tiny"), train=train)


@pytest.mark.parametrize(
    ("devices", "gpus", "expected"),
    [
        ("auto", 0, 1),
        ("auto", 1, 1),
        ("auto", 8, 8),
        ("cpu", 8, 1),
        (1, 8, 1),
        (4, 8, 4),
        (8, 8, 8),
        (2, 0, 2),  # two processes on the CPU
    ],
)
def test_one_process_a_device(devices: int | str, gpus: int, expected: int) -> None:
    assert processes_of(asking(devices), gpus=gpus) == expected


def test_more_gpus_than_there_are_is_told() -> None:
    with pytest.raises(ConfigError, match="asks for 4 devices") as e:
        processes_of(asking(4), gpus=2)
    assert "has 2 GPUs. Write 2" in str(e.value)
    assert processes_of(asking(4), 2, gpus=2) == 2  # as a resumed run may be asked for
    with pytest.raises(ConfigError, match="at least 1"):
        processes_of(asking("auto"), 0, gpus=2)


def test_hidden_gpus_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert count_gpus() == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert count_gpus() == 2


def test_one_process_is_started_without_torchrun_and_several_are_never_started_again() -> None:
    assert "torch.distributed.run" not in module_command("m", 1)
    assert {"--nproc-per-node=3", "--max-restarts=0"} < set(module_command("m", 3))
    assert not _threads(1)
    assert int(_threads(2)["OMP_NUM_THREADS"]) >= 1
