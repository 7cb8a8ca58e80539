"""Runs as tasks of a Ray cluster; the cluster is a real one, of this machine alone."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest
from ftev.core.errors import ConfigError
from ftev.core.sweep.machines import RayCluster
from ftev.core.sweep.runs import Ended, read_entries, work_through
from ftev.core.sweep.sweep_file import Sweep, load_sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """Two runs that fail as soon as their model is looked for."""
    lines = [f"cup {i},{'good' if i % 2 else 'bad'}" for i in range(20)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    path = tmp_path / "sweep.toml"
    path.write_text(
        f"""
task = "classification"
model.base = "{tmp_path}"
data.train = "train.csv"
[sweep]
at_once = 2
[sweep.over]
"train.learning_rate" = [1e-5, 5e-5]
"""
    )
    return load_sweep(path)


def test_without_ray_one_sentence_says_how_to_get_it(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError) as error:
        RayCluster(sweep, "auto")
    assert str(error.value) == "--ray: ray is not installed. Install it: pip install 'ftev[ray]'"


def test_runs_are_tasks_and_a_failing_one_does_not_stop_the_other(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install 'ftev[ray]'")
    pytest.importorskip("torch", reason="the workers need torch")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with closing(RayCluster(sweep, "local")) as machine:
        entries = read_entries(sweep, tmp_path / "runs")
        lines = list(work_through(sweep, entries, tmp_path / "runs", machine, retry=False))
    assert len(machine.places) == 2
    assert sum(isinstance(t, Ended) for t in lines) == 2
    assert [e.status for e in entries] == ["failed"] * 2
    assert all(e.error for e in entries)
