"""The sample runs are opened by today's reader."""

from pathlib import Path

import pytest
from ftev.core.judgement.observations import observe_epoch
from ftev.core.report.report import build_report
from ftev.core.run.history import read_history
from ftev.core.run.runs import Run

SAMPLES = Path(__file__).parents[1] / "sample_runs"


@pytest.mark.parametrize("task", ["classification", "generation"])
def test_a_sample_run_is_read_whole(task: str) -> None:
    run = Run(SAMPLES / task)
    history = read_history(run)
    assert history.unreadable_lines == 0
    assert history.status(alive=False) == "finished"
    assert [s.state for s in history.stages] == ["done"] * 5
    assert [e.epoch for e in history.epochs] == [1, 2, 3, 4, 5]
    assert all(observe_epoch(history, e) for e in history.epochs)
    report = build_report(run)
    assert report["schema"] == "ftev.report/1"
    assert report["verdict"]["decision"] == "ship"
    assert not list(run.path.rglob("*.safetensors"))


def test_the_classifier_sample_clearly_beats_its_probe() -> None:
    history = read_history(Run(SAMPLES / "classification"))
    accuracy = {m: r.metrics["accuracy"] for m, r in history.results["test"].items()}
    assert accuracy["tuned"].low > accuracy["probe"].value > accuracy["majority"].high
