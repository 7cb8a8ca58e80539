"""What continuous integration reads of a run: JUnit XML, a step of a workflow, flat metrics."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from ftev.core.config.objective import ObjectiveConfig
from ftev.core.judgement.selection import read_difference
from ftev.core.report.report import build_report, write_report
from ftev.core.run.runs import Run
from ftev.tui import cli
from stored_runs import labelled, write_run

SAMPLES = Path(__file__).parents[1] / "sample_runs"
GATED = Run(SAMPLES / "classification")


def gate(tmp_path: Path, name: str, run: Run = GATED) -> str:
    [path] = write_report(run, [name], tmp_path)
    return path.read_text(encoding="utf-8")


def cases(text: str) -> dict[str, dict[str, str]]:
    """The outcome of each case by its suite: failure, skipped or passed."""
    return {
        suite.get("name", ""): {
            case.get("name", ""): next(
                (c.tag for c in case if c.tag in ("failure", "skipped")), "passed"
            )
            for case in suite
        }
        for suite in ElementTree.fromstring(text)
    }


def test_a_build_passes_where_the_verdict_is_ship(tmp_path: Path) -> None:
    report = build_report(GATED)
    assert report["verdict"]["decision"] == "ship"
    found = cases(gate(tmp_path, "junit"))
    assert found["verdict"] == {report["verdict"]["objective"]: "passed"}
    assert len(found["differences"]) == len(report["comparisons"])
    assert "failure" not in found["differences"].values()
    outcomes = {read_difference(c) == "cannot tell" for c in report["comparisons"]}
    assert outcomes == {o == "skipped" for o in found["differences"].values()}


def judged(tmp_path: Path, name: str = "made", **settings: Any) -> Run:
    """A run whose tuned model is worse than its base."""
    frames = {"base": labelled(400, skill=3.0), "tuned": labelled(400, skill=0.5)}
    run = write_run(tmp_path / "run", frames, compared=True, **settings)
    path = run.events_path
    path.write_text(path.read_text().replace('"name":"made"', f'"name":{json.dumps(name)}'))
    return run


def test_a_build_fails_by_what_forbids_shipping_and_by_nothing_else(tmp_path: Path) -> None:
    run = judged(tmp_path, objective=ObjectiveConfig(metric="accuracy", at_least=0.9))
    text = gate(tmp_path, "junit", run)
    found = cases(text)
    assert set(found["verdict"].values()) == {"failure"}
    failed = [n for n, outcome in found["differences"].items() if outcome == "failure"]
    assert failed == ["accuracy on test, base to tuned"]
    worse = [c.metric for c in build_report(run)["comparisons"] if read_difference(c) == "worse"]
    assert len(worse) > 1  # others are worse too, and were not declared
    totals = ElementTree.fromstring(text).find("testsuite[@name='differences']")
    assert totals is not None
    assert totals.get("failures") == "1"


def test_a_workflow_gets_a_summary_annotations_and_outputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that a run is called can begin a command or another output."""
    hostile = "a\n::error::b\nship=true, 100%"
    run = judged(tmp_path, hostile, objective=ObjectiveConfig(metric="accuracy", at_least=0.9))
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
        (tmp_path / name).write_text("before\n")
        monkeypatch.setenv(name, str(tmp_path / name))
    assert cli.main(["report", str(run.path), "--format", "github", "--gate"]) == 3
    printed = capsys.readouterr().out.splitlines()
    [path, *commands] = printed
    assert path.endswith("report.github.md")
    assert all(
        line.startswith(("::error title=", "::warning title=", "::notice title="))
        for line in commands
    )
    assert "100%25" in commands[0]
    assert "%3A hold" in commands[0]
    summary = (tmp_path / "GITHUB_STEP_SUMMARY").read_text()
    assert summary == "before\n" + Path(path).read_text()
    assert "Verdict: hold" in summary
    lines = (tmp_path / "GITHUB_OUTPUT").read_text().splitlines()
    assert lines[0] == "before"
    outputs = dict(line.split("=", 1) for line in lines[1:])
    assert outputs["verdict"] == "hold"
    assert outputs["ship"] == "false"
    [primary] = [c for c in build_report(run)["comparisons"] if c.metric == "accuracy"]
    assert float(outputs["difference"]) == primary.difference


def test_metrics_are_one_flat_object_of_finite_numbers(tmp_path: Path) -> None:
    report = build_report(GATED)
    found = json.loads(gate(tmp_path, "metrics"))
    tuned = report["results"]["test"]["tuned"]
    assert found["ship"] is True
    assert found["test/tuned/accuracy"] == tuned.metrics["accuracy"].value
    assert found["test/tuned/rows"] == tuned.n
    assert all(isinstance(value, bool | int | float | str) for value in found.values())
    assert not any(
        isinstance(value, float) and not math.isfinite(value) for value in found.values()
    )
    assert any(key.endswith("/difference") for key in found)


def test_the_page_on_gates_shows_what_is_written(tmp_path: Path) -> None:
    """Its workflows are YAML, their commands are commands, and their files are those of formats."""
    page = (SAMPLES.parent / "docs" / "ci.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    assert [next(iter(block)) for block in blocks] == ["jobs", "gate", "stages"]
    for command in re.findall(r"ftev-tui (report runs/latest .*?)\n", page):
        options = command.split()[2:]
        out = str(tmp_path / str(len(options)))
        options[options.index("--out") + 1] = out
        assert cli.main(["report", str(GATED.path), *options]) == 0
        for file in re.findall(r"report/([\w.]+\.(?:xml|json|html))", page):
            if Path(file).suffix[1:] in command:
                assert (Path(out) / file).exists()
