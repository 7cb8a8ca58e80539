"""A run that is made here and started elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from ftev.core.run.runs import list_runs
from ftev.tui.cli import main

RUN = """
task = "classification"
[model]
base = "tiny"
[data]
train = "train.csv"
[train]
devices = 4096
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    rows = "".join(f"text number {i},{'ab'[i % 2]}\n" for i in range(30))
    (tmp_path / "train.csv").write_text("text,label\n" + rows)
    path = tmp_path / "run.toml"
    path.write_text(RUN)
    return path


def test_a_prepared_run_has_its_directory_and_no_worker(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = config.parent / "runs"
    assert main(["--runs-dir", str(runs), "train", str(config), "--prepare"]) == 0
    (run,) = list_runs(runs)
    assert capsys.readouterr().out == f"{run.path.resolve()}\n"
    assert [path.name for path in run.path.iterdir()] == ["run.toml"]
    assert run.config().train.devices == 4096  # for machines other than this one


def test_a_run_asking_for_gpus_that_are_not_there_is_refused_before_it_is_made(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    runs = config.parent / "runs"
    assert main(["--runs-dir", str(runs), "train", str(config), "--headless"]) == 2
    assert "train.devices: asks for 4096 devices" in capsys.readouterr().err
    assert not list_runs(runs)


def test_what_is_only_prepared_passes_no_gate(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(config), "--prepare", "--gate"]) == 2
    assert "--gate: cannot be answered with --prepare" in capsys.readouterr().err
