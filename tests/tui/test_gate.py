"""`--gate`: 0 only where the verdict is to ship, 3 where it is hold or no evidence."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import story
from ftev.core.report.report import build_report
from ftev.core.run.events import RunFinished
from ftev.core.run.history import read_history
from ftev.tui.cli import build_parser, main
from ftev.tui.commands.follow import exit_code
from ftev.tui.commands.train import after_screen

DECISIONS = [(0.80, "ship", 0), (0.95, "hold", 3), (0.85, "no evidence", 3)]


@pytest.mark.parametrize(("target", "decision", "code"), DECISIONS)
def test_report_gates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], target: float, decision: str, code: int
) -> None:
    settings = story.config(metric="macro_f1", at_least=target)
    run = story.write_story(tmp_path / "2026-01-01_story", settings=settings)
    where = ["report", "latest", "--runs-dir", str(tmp_path)]
    assert build_report(run)["verdict"]["decision"] == decision
    assert main([*where, "--gate"]) == code
    assert main(where) == 0
    assert f"## Verdict: {decision}" in capsys.readouterr().out


@pytest.mark.parametrize(("target", "decision", "code"), DECISIONS)
def test_train_and_eval_end_with_the_gates_code(
    tmp_path: Path, target: float, decision: str, code: int
) -> None:
    settings = story.config(metric="macro_f1", at_least=target)
    run = story.write_story(tmp_path / "run", settings=settings)
    history, report = read_history(run), build_report(run)
    assert report["verdict"]["decision"] == decision
    assert exit_code(history, report, gate=True) == code
    assert exit_code(history, report, gate=False) == 0


@pytest.mark.parametrize("command", ["train run.toml", "eval run.toml", "report latest"])
def test_every_command_that_ends_in_a_verdict_has_the_gate(command: str) -> None:
    assert build_parser().parse_args([*command.split(), "--gate"]).gate
    assert not build_parser().parse_args(command.split()).gate


def test_a_failed_run_fails_before_it_is_gated(tmp_path: Path) -> None:
    failed = RunFinished(status="failed", error="no memory", exit_code=1)
    run = story.write_story(tmp_path / "run", [*story.beginning(), failed])
    assert exit_code(read_history(run), build_report(run), gate=True) == 1


def test_leaving_a_screen_before_the_verdict_does_not_pass_the_gate(tmp_path: Path) -> None:
    run = story.write_story(tmp_path / "run", [*story.beginning(), *story.epoch(1)])
    assert after_screen(run, argparse.Namespace(gate=True)) == 3
    assert after_screen(run, argparse.Namespace(gate=False)) == 0


def test_a_detached_run_cannot_be_gated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.toml"
    path.write_text('task = "classification"\n[model]\nbase = "m"\n[data]\ntrain = "t.csv"\n')
    assert main(["train", str(path), "--detach", "--gate", "--runs-dir", str(tmp_path)]) == 2
    assert "cannot be answered with --detach" in capsys.readouterr().err
