"""docs/report.schema.json describes report.json: every key of it, and nothing that is not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import story
from ftev.core.report.report import build_report, render_json
from ftev.core.run.events import RunFinished
from ftev.core.run.runs import Run
from stored_runs import labelled, write_run, written

ROOT = Path(__file__).parents[1]
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs" / "report.schema.json").read_text("utf-8"))
PROMISED = {  # what other people's programs read
    "run": "id name task status created finished ftev_version packages device config_sha256",
    "split": "rows columns sha256 labels",
    "leakage": "exact near ngram pairs",
    "stage": "name seconds rows_in columns_in rows_out columns_out note",
    "epoch": "epoch train_loss observation",
    "result": "n metrics",
    "estimate": "value low high method",
    "class": "precision recall f1 support",
    "confusion": "labels counts",
    "comparison": "split metric from to difference low high p method",
    "finding": "code severity message evidence rows",
    "verdict": "decision objective reasons",
}
WHERE_KNOWN = {
    "epoch": "validation_loss validation_accuracy",
    "result": "loss per_class confusion",
    "comparison": "fixed broke smallest_detectable",
}


def document(run: Run) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(render_json(build_report(run)))
    return report


def faults(report: Any) -> list[str]:
    found = jsonschema.Draft202012Validator(SCHEMA).iter_errors(report)
    return [f"{'.'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in found]


def objects(schema: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every part of the schema that names properties, with its place."""
    if isinstance(schema, dict):
        if "properties" in schema and isinstance(schema["properties"], dict):
            yield place, schema
        for key, inside in schema.items():
            yield from objects(inside, f"{place}/{key}")
    elif isinstance(schema, list):
        for i, inside in enumerate(schema):
            yield from objects(inside, f"{place}/{i}")


def test_the_schema_is_one_and_describes_every_key() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    undescribed = [
        f"{place}: {name}"
        for place, part in objects(SCHEMA)
        for name, text in part["properties"].items()
        if not isinstance(text, dict) or not text.get("description")
    ]
    assert not undescribed


def test_the_schema_holds_what_was_promised() -> None:
    for name, keys in PROMISED.items():
        part = SCHEMA["$defs"][name]
        assert set(keys.split()) <= set(part["required"]), name
    for name, keys in WHERE_KNOWN.items():
        assert set(keys.split()) <= set(SCHEMA["$defs"][name]["properties"]), name
    parts = "schema run data stages epochs results comparisons findings"
    assert set(SCHEMA["required"]) == set(parts.split())
    assert "verdict" in SCHEMA["properties"]


@pytest.mark.parametrize("task", ["classification", "generation"])
def test_reports_of_real_runs_hold(task: str) -> None:
    assert not faults(document(Run(ROOT / "sample_runs" / task)))


@pytest.mark.parametrize("ended", range(0, len(story.whole()) + 1, 3))
def test_reports_of_runs_under_way_hold(tmp_path: Path, ended: int) -> None:
    assert not faults(document(story.write_story(tmp_path / "run", story.whole()[:ended])))


def test_reports_of_other_runs_hold(tmp_path: Path) -> None:
    failed = [*story.beginning(), RunFinished(status="failed", error="no memory")]
    assert not faults(document(story.write_story(tmp_path / "failed", failed)))
    scored = write_run(tmp_path / "scored", {"tuned": labelled(), "probe": labelled(seed=1)})
    assert not faults(document(scored))
    language = write_run(tmp_path / "language", {"tuned": written(), "base": written(seed=1)})
    assert not faults(document(language))
    (scored.path / "run.toml").unlink()
    assert not faults(document(scored))


def test_what_is_missing_or_was_not_meant_is_found(tmp_path: Path) -> None:
    report = document(story.write_story(tmp_path / "run"))
    assert not faults(report)
    for change in (
        lambda r: r["run"].pop("status"),
        lambda r: r["run"].update(statu="finished"),
        lambda r: r["results"]["test"]["tuned"]["metrics"]["accuracy"].pop("low"),
        lambda r: r["comparisons"][0].update(p="small"),
        lambda r: r["findings"].append({"code": "leakage"}),
        lambda r: r["verdict"].update(decision="perhaps"),
        lambda r: r.update(extra=1),
    ):
        changed = json.loads(json.dumps(report))
        change(changed)
        assert faults(changed)
