"""Events that an earlier version wrote: they decode whole, and the report says what they say.

`once_written/` holds those of two sample runs as they were on 30 November 2026, their long lists
shortened.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ftev.core.report.report import build_report, render_json
from ftev.core.run.events import decode_event, decode_events, encode_event
from ftev.core.run.runs import Run

WRITTEN = Path(__file__).parent / "once_written"
SAMPLES = Path(__file__).parents[1] / "sample_runs"
TASKS = ("classification", "generation")


def lines_of(task: str) -> list[bytes]:
    return (WRITTEN / f"{task}.jsonl").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("task", TASKS)
def test_every_line_decodes_and_is_written_again_as_it_was(task: str) -> None:
    lines = lines_of(task)
    assert decode_events(b"".join(lines))[1] == 0
    for line in lines:
        event = decode_event(line)
        assert event is not None
        assert encode_event(event) == line


@pytest.mark.parametrize("task", TASKS)
def test_the_report_has_their_results_comparisons_and_analyses(task: str, tmp_path: Path) -> None:
    shutil.copyfile(WRITTEN / f"{task}.jsonl", tmp_path / "events.jsonl")
    shutil.copyfile(SAMPLES / task / "run.toml", tmp_path / "run.toml")
    report = json.loads(render_json(build_report(Run(tmp_path))))
    assert report["run"]["unreadable_lines"] == 0
    results: dict[str, Any] = {}
    analyses: dict[str, Any] = {}
    comparisons: list[Any] = []
    for event in map(json.loads, lines_of(task)):
        if event["kind"] == "ResultsComputed":
            results.setdefault(event["split"], {})[event["model"]] = event["result"]
        elif event["kind"] == "AnalysisComputed":
            named = analyses.setdefault(event["split"], {}).setdefault(event["name"], {})
            named[event.get("model", "")] = event["result"]
        elif event["kind"] == "ComparisonsComputed":
            comparisons += event["comparisons"]
    assert results
    assert analyses
    assert report["results"] == results
    assert report["analyses"] == analyses
    assert [{**c, "fixed": 0, "broke": 0} for c in report["comparisons"]] == [
        {**c, "fixed": 0, "broke": 0} for c in comparisons
    ]
