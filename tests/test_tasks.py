"""A task is one file in `core/tasks`: a toy is put beside the others, and is found everywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ftev.core.tasks import TASKS, find_task
from waiting import patience

ROOT = Path(__file__).parents[1]
TOY = """
from .classification import Classification

TASK = Classification(
    name="mood",
    does="choose a mood",
    model_kind="mood reader",
    hub_type="text-classification",
    auto_class="AutoModelForSequenceClassification",
    adapter_type="SEQ_CLS",
    architectures=("MoodReader",),
    has_labels=True,
    forms=("text_label",),
    settings=("data.label", "data.labels"),
    stored={"row_id": "whole numbers", "label": "text", "predicted": "text"},
    truth="label",
    measures="classification",
    default_metric="balanced_accuracy",
    guess_formula="ln of the moods",
)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ftev as it is, by links, with one file more."""
    place = tmp_path_factory.mktemp("tree")
    core = place / "ftev" / "core"
    core.mkdir(parents=True)
    (place / "ftev" / "tui").symlink_to(ROOT / "tui")
    for entry in (ROOT / "core").iterdir():
        if entry.name not in ("tasks", "__pycache__"):
            (core / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / "core" / "tasks", core / "tasks")
    (core / "tasks" / "mood.py").write_text(TOY)
    return place


@pytest.fixture(scope="module")
def run(tree: Path) -> Path:
    """The sample run of a classifier, as if it were one of the toy task."""
    folder = shutil.copytree(ROOT / "sample_runs" / "classification", tree / "runs" / "a-mood")
    for name in ("run.toml", "events.jsonl"):
        text = (folder / name).read_text()
        text = text.replace('task = "classification"', 'task = "mood"')
        text = text.replace('"task":"classification"', '"task":"mood"')
        kept = [line for line in text.splitlines() if not line.startswith("metric = ")]
        (folder / name).write_text("\n".join(kept) + "\n")
    return folder


def python(tree: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(tree), "FTEV_NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        timeout=patience(120),
    )
    assert done.returncode == 0, done.stderr[-2_000:] + done.stdout[-2_000:]
    return done.stdout


def test_the_command_line_and_the_form_know_the_task(tree: Path) -> None:
    assert "mood" in python(tree, "-m", "ftev.tui.cli", "eval", "--help")
    code = (
        "from ftev.core.config.draft import Draft, form_settings\n"
        "from ftev.core.config.config import RunConfig\n"
        "print([s for s in form_settings() if s.path == 'task'])\n"
    )
    assert "mood" in python(tree, "-c", code)


def test_its_runs_are_judged_and_reported_by_what_its_file_says(tree: Path, run: Path) -> None:
    python(tree, "-m", "ftev.tui.cli", "report", str(run), "--format", "md,html,json,card")
    report = json.loads((run / "report.json").read_text())
    assert report["run"]["task"] == "mood"
    assert "balanced accuracy" in report["verdict"]["reasons"][0]
    text = (run / "report.md").read_text()
    assert "random guessing (ln of the moods)" in (run / "report.html").read_text()
    assert "mood" in text
    assert "A mood reader" in (run / "README.md").read_text()


def test_an_unknown_task_has_no_labels_and_no_metrics_of_its_own() -> None:
    unknown = find_task("telepathy")
    assert not unknown.has_labels
    assert unknown.metrics == ["loss"]
    assert unknown.guessing_loss(2, 100) is None
    assert set(TASKS) == {"classification", "generation"}
