"""The report's other files: CSV that a spreadsheet does not run, a card that the hub reads."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
import records
import story
from ftev.core.config.config import DataConfig, ModelConfig, RunConfig
from ftev.core.data.data import read_dataset
from ftev.core.report.formats.card import CARD_FOLDER, render_card
from ftev.core.report.formats.csv import safe_text
from ftev.core.report.report import build_report, render_json, write_report
from ftev.core.run.events import (
    LabelsFixed,
    ModelLoaded,
    RunFinished,
    SplitPrepared,
    spell_numbers,
)
from ftev.core.run.runs import Run
from ftev.core.tasks import find_task
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard import metadata_load
from huggingface_hub.repocard_data import eval_results_to_model_index
from msgspec.structs import replace

SAMPLES = Path(__file__).parents[1] / "sample_runs"
TEXTS = ["=1+1", "+49 30 1", "-5 degrees", "@here", "plain", "two\nlines \x1b[31m", 'say "hi", ok']


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose data are still there: one text a row, truth and answers in turns."""
    data = pl.DataFrame({"text": TEXTS, "label": [["no", "yes"][i % 2] for i in range(len(TEXTS))]})
    data.write_csv(tmp_path / "test.csv")
    settings = RunConfig(
        task="classification",
        name="story",
        model=ModelConfig(base="org/model"),
        data=DataConfig(train="test.csv", test="test.csv"),
        folder=str(tmp_path),
    )
    dataset = read_dataset(settings.data, "classification", 0, tmp_path)
    source = dataset.splits["test"].frame
    events = [
        *story.beginning(),
        LabelsFixed(labels=["no", "yes"], positive="yes"),
        SplitPrepared(split="test", rows=len(TEXTS), columns=2, source="test.csv"),
        *(records.results("test", m, r) for m, r in story.RESULTS.items()),
        records.comparisons(story.COMPARISONS),
        RunFinished(status="finished"),
    ]
    found = story.write_story(tmp_path / "run", events, settings)
    found.predictions.mkdir()
    answers = {"probe": ["no"] * 4 + ["yes"] * 3, "tuned": ["no", "yes"] * 3 + ["yes"]}
    for model, predicted in answers.items():
        frame = source.select("row_id", "label", "content").with_columns(
            predicted=pl.Series(predicted),
            probabilities=pl.Series([[0.25, 0.75]] * len(TEXTS)),
            nll=pl.Series([0.5] * len(TEXTS)),
        )
        frame.write_parquet(found.predictions / f"test.{model}.parquet")
    return found


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_metric_is_a_row_with_its_interval(run: Run, tmp_path: Path) -> None:
    paths = write_report(run, ["csv"], tmp_path / "out")
    assert [p.name for p in paths] == ["report.csv", "rows.test.csv"]
    rows = read(paths[0])
    assert len(rows) == sum(len(r["metrics"]) for r in story.RESULTS.values())
    row = next(r for r in rows if (r["model"], r["metric"]) == ("tuned", "accuracy"))
    estimate = story.RESULTS["tuned"]["metrics"]["accuracy"]
    assert float(row["value"]) == estimate["value"]
    assert (float(row["low"]), float(row["high"])) == (estimate["low"], estimate["high"])
    assert (row["split"], row["n"], row["method"]) == ("test", "200", "Wilson 95 %")


def test_every_row_says_what_became_of_it(run: Run) -> None:
    rows = read(write_report(run, ["csv"])[1])
    assert [r["truth"] for r in rows] == ["no", "yes", "no", "yes", "no", "yes", "no"]
    assert [r["probe_to_tuned"] for r in rows] == [
        *("both right", "fixed", "both right", "fixed"),
        *("fixed", "both right", "both wrong"),
    ]
    assert rows[1]["probe_correct"] == "false"
    assert rows[1]["tuned_prediction"] == "yes"
    assert float(rows[1]["tuned_confidence"]) == 0.75
    assert float(rows[1]["tuned_nll"]) == 0.5


def test_no_text_is_a_formula_and_every_text_is_visible(run: Run) -> None:
    texts = [r["input"] for r in read(write_report(run, ["csv"])[1])]
    assert texts[:4] == ["'=1+1", "'+49 30 1", "'-5 degrees", "'@here"]
    assert texts[4:] == ["plain", "two↵lines ␛[31m", 'say "hi", ok']


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "  =1", "\t=1", "＝1", "-", "@x", "\r=1"])
def test_formulas_are_kept_from_running(text: str) -> None:
    assert safe_text(text)[0] not in "=+-@＝ "


@pytest.mark.parametrize("text", ["a=b", "1-2", "me@here", "", "–"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert safe_text(text) == text


def test_a_text_whose_data_changed_is_not_shown_beside_its_row(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    path.write_text(path.read_text().replace("plain", "another"))
    rows = read(write_report(run, ["csv"])[1])
    assert [r["input"] for r in rows][4:5] == [""]
    assert rows[3]["input"] == "'@here"
    path.unlink()
    assert {r["input"] for r in read(write_report(run, ["csv"])[1])} == {""}


def test_rows_of_a_language_model(tmp_path: Path) -> None:
    rows = read(write_report(Run(SAMPLES / "generation"), ["csv"], tmp_path)[1])
    assert {"base_nll", "base_tokens", "tuned_nll", "tuned_correct_tokens"} <= set(rows[0])
    frame = pl.read_parquet(SAMPLES / "generation/predictions/validation.tuned.parquet")
    ordered = frame.sort("row_id")
    assert [float(r["tuned_nll"]) for r in rows] == ordered["nll"].to_list()


# The model card


def test_the_hub_reads_the_results_of_a_card(run: Run, tmp_path: Path) -> None:
    path = write_report(run, ["card"], tmp_path / "out")[0]
    assert path.name == "README.md"
    metadata = metadata_load(path)
    assert metadata is not None
    data = ModelCardData(**metadata)
    assert data.eval_results is not None
    assert eval_results_to_model_index("story", data.eval_results) == metadata["model-index"]
    values = {(r.metric_type, str(r.metric_args)): r.metric_value for r in data.eval_results}
    metrics = story.RESULTS["tuned"]["metrics"]
    assert values["accuracy", "None"] == metrics["accuracy"]["value"]
    assert values["f1", "{'average': 'macro'}"] == metrics["macro_f1"]["value"]
    assert {r.dataset_split for r in data.eval_results} == {"test"}
    assert data.base_model == "org/model"
    assert data.pipeline_tag == "text-classification"
    assert ModelCard.load(path).data.to_dict() == data.to_dict()


def test_a_card_is_honest_about_what_it_does_not_know(run: Run) -> None:
    text = write_report(run, ["card"])[0].read_text()
    body = text.partition("\n---\n")[2]
    for title in ("Intended use", "Training procedure", "Evaluation", "Limitations", "Risks"):
        assert f"\n## {title}\n" in body
    assert body.count("To be written by the author") == 2
    assert "90.0 % [85.0, 95.0]" in body
    assert "## Verdict: ship" in body
    assert "license" not in text.partition("\n---\n")[0]


def test_what_an_author_wrote_into_a_card_stays(run: Run) -> None:
    path = write_report(run, ["card"])[0]
    text = path.read_text()
    start = text.index("To be written by the author: who")
    end = text.index("\n", start)
    written = "For *sorting* mail.\n\n- not for people"
    text = text[:start] + written + text[end:]
    path.write_text(text.replace("library_name:", "license: mit\nlibrary_name:", 1))
    for _ in range(2):
        write_report(run, ["card"])
    after = path.read_text()
    assert after.count(written) == 1
    assert after.count("To be written by the author") == 1
    assert ModelCardData(**(metadata_load(path) or {})).license == "mit"


def test_a_card_stands_beside_the_model(run: Run) -> None:
    run.model_path.mkdir()
    assert write_report(run, ["card"]) == [run.model_path / "README.md"]


@pytest.mark.parametrize("base", ["ftev-demo/encoder", "/models/x", "./x", "a/b/c", "a b"])
def test_a_base_that_the_hub_does_not_know_is_no_base_model(tmp_path: Path, base: str) -> None:
    settings = RunConfig(
        task="classification",
        name="x",
        model=ModelConfig(base=base),
        data=DataConfig(train="train.csv"),
    )
    run = story.write_story(tmp_path / "run", settings=settings)
    assert "base_model" not in (metadata_load(write_report(run, ["card"])[0]) or {})


@pytest.mark.parametrize(
    ("base", "local", "named"),
    [
        ("models/mine", True, None),  # a relative folder, and the card is made somewhere else
        ("org/model", False, "org/model"),  # a folder of that name may lie here by chance
        ("tests", False, "tests"),
    ],
)
def test_the_card_names_the_base_that_the_run_loaded(
    tmp_path: Path, base: str, local: bool, named: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org" / "model").mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    monkeypatch.chdir(tmp_path)
    settings = RunConfig(
        task="classification",
        name="x",
        model=ModelConfig(base=base),
        data=DataConfig(train="train.csv"),
    )
    events = [
        replace(e, name=base, local=local) if isinstance(e, ModelLoaded) else e
        for e in story.whole()
    ]
    run = story.write_story(tmp_path / "run", events, settings=settings)
    path = write_report(run, ["card"])[0]
    assert (metadata_load(path) or {}).get("base_model") == named
    shown = "mine" if local else base
    assert f"fine-tuned from {shown}." in path.read_text()


def test_a_card_of_hostile_texts_is_still_metadata(tmp_path: Path) -> None:
    name = "x\n---\nevil: 1 \x1b[31m: <script> [/]"
    settings = RunConfig(
        task="classification",
        name=name,
        model=ModelConfig(base="org/model"),
        data=DataConfig(train="train.csv"),
    )
    events = [e for e in story.whole() if type(e).__name__ != "RunStarted"]
    path = write_report(story.write_story(tmp_path / "run", events, settings), ["card"])[0]
    metadata: dict[str, Any] = metadata_load(path) or {}
    assert "evil" not in metadata
    assert "<script>" not in path.read_text().partition("\n---\n")[2]


def test_a_sample_run_gives_every_format(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "classification", tmp_path / "run")
    run = Run(tmp_path / "run")
    names = {p.name for p in write_report(run, ("md", "html", "json", "csv", "card"))}
    assert names == {"report.md", "report.html", "report.json", "report.csv", "README.md"} | {
        "rows.test.csv",
        "rows.validation.csv",
    }
    results = build_report(run)["results"]
    assert json.loads(render_json({"results": results})) == {"results": spell_numbers(results)}


@pytest.mark.parametrize("adapter", [False, True])
def test_V3_a_card_prints_the_calls_that_parity_runs(run: Run, adapter: bool) -> None:
    report = build_report(run)
    parity = records.analysis("parity", {"adapter": adapter}).result
    report["analyses"] = {"test": {"parity": {"tuned": parity}}}
    text = render_card(report | {"findings": []}, None)
    code = find_task(report["run"]["task"]).loading_code(CARD_FOLDER, adapter=adapter)
    assert f"```python\n{code}```" in text
    assert ("PeftModel" in code) == adapter
    compile(code, "card", "exec")


def test_V13_a_card_says_the_threshold_that_its_figures_are_at(run: Run) -> None:
    report = build_report(run)
    assert "Answer “positive” where" not in render_card(report, run.config())
    split = report["headline"]["split"]
    models = report["results"][split]
    models["tuned"] = msgspec.structs.replace(models["tuned"], threshold=0.0557)
    card = render_card(report, run.config())
    assert "Answer “positive” where its probability is at least 0.0557" in card


def test_a_card_names_no_folder_of_this_machine(run: Run, tmp_path: Path) -> None:
    report = build_report(run)
    report["run"] |= {"base": "/home/someone/models/gone", "tuned": "./models/mine"}
    for found in report["data"].values():
        if "source" in found:
            found["source"] = "/home/someone/data/test.csv"
    before = "---\nbase_model: /home/someone/models/gone\n---\n"
    text = render_card(report, None, before)
    assert "/home/someone" not in text
    assert "base_model" not in text
    assert "test.csv" in text
    assert "judged against gone" in text
