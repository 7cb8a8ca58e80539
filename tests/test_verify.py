"""`verify`: it agrees with an untouched run, and fails loudly at whatever was changed."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from ftev.core.errors import RunError
from ftev.core.metrics import comparisons, evaluate
from ftev.core.metrics.comparisons import adjust_secondary
from ftev.core.report.report import write_report
from ftev.core.report.verify import analysed
from ftev.core.report.verify.analysed import analyse_again, check_analyses
from ftev.core.report.verify.stored import Check, StoredRun, find_disagreements, is_same
from ftev.core.report.verify.verify import verify
from ftev.core.run.events import ComparisonsComputed, decode_event, encode_event
from ftev.core.run.history import read_history
from ftev.core.run.runs import Run
from ftev.tui.cli import main
from msgspec.structs import replace

SAMPLES = Path(__file__).parents[1] / "sample_runs"


@pytest.fixture(params=["classification", "generation"])
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def once(compute: Callable[..., Any]) -> Callable[..., Any]:
    """The same of equal arguments, computed at their first call only; what it yields, in a list."""
    known: dict[bytes, bytes] = {}

    def look_up(*arguments: Any, **settings: Any) -> Any:
        key = pickle.dumps((arguments, settings))
        if key not in known:
            found = compute(*arguments, **settings)
            known[key] = pickle.dumps(list(found) if isinstance(found, Iterator) else found)
        return pickle.loads(known[key])

    return look_up


@pytest.fixture(scope="module", autouse=True)
def computed_once() -> Iterator[None]:
    """Most rows of most copies are those of the sample, and most of the time goes into these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparisons, "compare", once(comparisons.compare))
        for name in ("evaluate_classification", "evaluate_text"):
            patch.setattr(evaluate, name, once(getattr(evaluate, name)))
        patch.setattr(analysed, "ANALYSES", [once(look) for look in analysed.ANALYSES])
        yield


@cache
def with_report(place: Path, task: str, signed: bool) -> Path:
    run = Run(place / f"signed {signed}" / task)
    shutil.copytree(SAMPLES / task, run.path)
    if not signed:
        lines = run.events_path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if b'"PredictionsStored"' not in line]
        assert len(kept) < len(lines)
        run.events_path.write_bytes(b"".join(kept))
    write_report(run)
    return run.path


Copied = Callable[..., Run]


@pytest.fixture
def copied(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Copied:
    """A sample run of one's own, without the sha256 of its files unless it is to be signed."""

    def copy(task: str, *, signed: bool = False) -> Run:
        place = tmp_path_factory.getbasetemp() / "verified"
        run = Run(tmp_path / task)
        shutil.copytree(with_report(place, task, signed), run.path)
        return run

    return copy


@pytest.mark.parametrize("task", ["classification", "generation"])
def test_the_sample_runs_agree_as_they_stand(task: str) -> None:
    """Their reports too: whoever changes a number or a sentence makes them again."""
    assert not [c.message for c in verify(Run(SAMPLES / task)) if c.ok is False]


def rewrite(run: Run, name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = run.predictions / name
    change(pl.read_parquet(path)).write_parquet(path)


def failures(run: Run) -> list[Check]:
    return [c for c in verify(run) if c.ok is False]


def told(run: Run) -> str:
    return "\n".join(c.message for c in failures(run))


def set_in(column: str, row_id: int, value: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    chosen = pl.when(pl.col("row_id") == row_id).then(pl.lit(value))
    return lambda frame: frame.with_columns(chosen.otherwise(pl.col(column)).alias(column))


def test_an_untouched_run_agrees_in_everything(copied: Copied, task: str) -> None:
    checks = verify(copied(task, signed=True))
    assert not [c.message for c in checks if c.ok is False]
    metrics = {"classification": "macro_f1", "generation": "bits_per_byte"}
    told = {c.what: c for c in checks}[f"test tuned {metrics[task]}"]
    assert told.stored.split()[0] == told.again.split()[0]  # the interval may be of another method
    assert any(c.ok and c.what.startswith("sums of test tuned") for c in checks)
    assert any(c.ok is not False and "→ tuned" in c.what for c in checks)
    known = ("needs a model", "another rule", "another method", "another form")  # of the sample
    unchecked = [c.what for c in checks if c.ok is None and not any(k in c.message for k in known)]
    assert unchecked == ["data files"]  # the made-up data is gone with its folder


def test_older_runs_are_said_to_be_unchecked_in_their_files(copied: Copied, task: str) -> None:
    checks = verify(copied(task))
    unchecked = [c.message for c in checks if c.ok is None]
    assert any("test.tuned.parquet: the worker wrote no sha256" in text for text in unchecked)
    assert not [c.message for c in checks if c.ok is False]


def test_a_changed_prediction_is_named_with_file_row_and_number(copied: Copied) -> None:
    run = copied("classification")
    frame = pl.read_parquet(run.predictions / "test.tuned.parquet")
    was = frame.filter(pl.col("row_id") == 17)["predicted"][0]
    other = next(x for x in ("negative", "positive") if x != was)
    rewrite(run, "test.tuned.parquet", set_in("predicted", 17, other))
    found = told(run)
    assert "predictions/test.tuned.parquet, row 17: the prediction is not the label" in found
    assert "test tuned accuracy: value: 0.9 stored, 0." in found
    assert "confusion.counts[" in found


def test_a_change_that_moves_no_number_is_seen_by_the_sha256(copied: Copied) -> None:
    run = copied("classification", signed=True)
    rewrite(run, "test.probe.parquet", lambda frame: frame.with_columns(note=pl.lit("")))
    assert [c.what for c in failures(run)] == ["predictions/test.probe.parquet"]
    assert "is not the file that the worker stored" in told(run)


def test_a_changed_loss_is_named(copied: Copied) -> None:
    run = copied("generation")
    rewrite(run, "test.tuned.parquet", set_in("nll", 3, 1.5))
    found = told(run)
    assert "sums of test tuned: loss_sum:" in found
    assert "test tuned perplexity: value:" in found
    assert "test base → tuned loss: difference:" in found


def test_a_changed_content_hash_is_named(copied: Copied, task: str) -> None:
    run = copied(task)
    rewrite(run, "test.tuned.parquet", set_in("content", 5, pl.Series([7], dtype=pl.UInt64)[0]))
    assert "test.tuned.parquet, row 5: the content hash is not that of" in told(run)


def test_a_removed_row_is_named(copied: Copied) -> None:
    run = copied("classification")
    rewrite(run, "test.majority.parquet", lambda f: f.filter(pl.col("row_id") != 9))
    found = told(run)
    assert "row 9: not among the rows of test.majority.parquet" in found
    assert "test majority → tuned" in found


@pytest.mark.parametrize("model", ["tuned", "probe"])
def test_removed_rows_fail_the_checks_and_break_nothing_off(copied: Copied, model: str) -> None:
    run = copied("classification")
    name = f"test.{model}.parquet"
    rewrite(run, name, lambda f: f.filter(pl.col("row_id") > 5))
    checks = {c.what: c for c in failures(run)}
    title = "test probe → tuned"
    assert checks[title].again == "cannot be computed"
    assert f"predictions/{name} (" in checks[title].message
    assert main(["verify", str(run.path)]) == 1


def test_removed_rows_fail_the_analyses_that_need_them(copied: Copied) -> None:
    run = copied("classification")
    kept = pl.read_parquet(run.predictions / "test.tuned.parquet").select("row_id", "label")
    stored = StoredRun(run, read_history(run))
    for path in run.predictions.glob("test.*.parquet"):
        stored.frames.setdefault("test", {})[path.name.split(".")[1]] = pl.read_parquet(path)
    stored.frames["test"]["tuned"] = stored.frames["test"]["tuned"].filter(pl.col("row_id") > 5)
    source = kept.with_columns(text=pl.lit("words"))
    split = SimpleNamespace(frame=source)
    stored.dataset = SimpleNamespace(splits={"test": split})  # type: ignore[assignment]
    stored.history.analyses = {"test": {"flips": {"tuned": {"rows": 1}}}}
    broken, *rest = check_analyses(stored)
    assert broken.ok is False
    assert "predictions/test.tuned.parquet (" in broken.message
    assert [c.ok for c in rest] == [None]


def test_a_removed_column_is_named(copied: Copied, task: str) -> None:
    run = copied(task)
    rewrite(run, "test.tuned.parquet", lambda f: f.drop("nll"))
    assert "predictions/test.tuned.parquet: " in told(run)


@pytest.mark.parametrize("name", ["report.md", "report.html"])
def test_an_edited_page_is_named_with_its_line(copied: Copied, task: str, name: str) -> None:
    run = copied(task)
    write_report(run, ("md", "html"))
    rename_version(run, metadata.version("ftev"))
    write_report(run, ("json", "md", "html"))
    assert {c.what: c.ok for c in verify(run)}[name] is True
    path = run.path / name
    lines = path.read_text().split("\n")
    lines[4] += " 99.9 %"
    path.write_text("\n".join(lines))
    assert f"{name}, line 5: 99.9 is not what the events give" in told(run)


@pytest.mark.parametrize("name", ["report.md", "report.html"])
def test_another_number_is_wrong_and_other_words_are_not(
    copied: Copied, task: str, name: str
) -> None:
    run = copied(task)
    path = run.path / name
    whole = path.read_text()
    shown = re.search(r"95 %: \S*?(\d\d\.\d|\d\.\d\d\d)", whole)
    assert shown is not None
    path.write_text(whole[: shown.start(1)] + "77.7" + whole[shown.end(1) :])
    assert f"77.7 written, {shown[1]} computed" in told(run)
    path.write_text(whole.replace("Both models were scored", "The two models were scored"))
    [check] = [c for c in verify(run) if c.what == name]
    assert check.ok is None
    assert "1 of its lines are worded differently" in check.message
    assert check.unchecked > 0


def test_a_report_of_an_earlier_version_is_no_wrong_number(copied: Copied, task: str) -> None:
    run = copied(task)

    def edit(document: dict[str, Any]) -> None:
        del document["written_by"]
        document["verdict"]["decision"] = "no evidence"
        document["findings"].append({"code": "by another rule", "message": "99 rows"})
        document["comparisons"][1]["fixed"] = 3

    edit_report(run, edit)
    assert not failures(run)
    unchecked = {c.what: c.message for c in verify(run) if c.ok is None}
    assert "written by an earlier version of ftev" in unchecked["report.json verdict"]
    assert "report.json findings" in unchecked
    edit_report(run, lambda d: d["comparisons"][1].update(difference=0.5))
    assert "comparisons[1].difference: 0.5 stored" in told(run)


def test_a_sentence_in_other_words_is_no_wrong_number(copied: Copied, task: str) -> None:
    run = copied(task)

    def reword(document: dict[str, Any]) -> None:
        reasons = document["verdict"]["reasons"]
        reasons[0] = reasons[0].replace(" is ", " was measured as ", 1)

    def renumber(document: dict[str, Any]) -> None:
        reasons = document["verdict"]["reasons"]
        reasons[0] = re.sub(r"\d+\.\d", "12.3", reasons[0], count=1)

    edit_report(run, reword)
    (check,) = [c for c in verify(run) if c.what == "report.json verdict"]
    assert check.ok is None
    assert "the same is said in other words" in check.message
    write_report(run)
    edit_report(run, renumber)
    assert "verdict.reasons[0]" in told(run)


def test_a_report_written_while_the_run_went_on_is_said_to_be_one(copied: Copied) -> None:
    run = copied("classification")
    edit_report(run, lambda d: (d["run"].update(status="running"), d.update(results={})))
    assert not failures(run)
    assert any("written while the run was running" in c.message for c in verify(run))


def rename_version(run: Run, version: str) -> None:
    text = run.events_path.read_text()
    run.events_path.write_text(
        re.sub(r'"ftev_version":"[^"]*"', f'"ftev_version":"{version}"', text)
    )


def test_the_majority_is_made_again_from_train(copied: Copied) -> None:
    run = copied("classification")
    rewrite(run, "test.majority.parquet", set_in("predicted", 2, "negative"))
    assert "row 2: the commonest label of train is 'positive'" in told(run)


def test_a_missing_file_is_named(copied: Copied, task: str) -> None:
    run = copied(task)
    (run.predictions / "test.tuned.parquet").unlink()
    assert "predictions/test.tuned.parquet is missing" in told(run)


def test_a_damaged_file_is_named(copied: Copied) -> None:
    run = copied("generation")
    (run.predictions / "test.base.parquet").write_bytes(b"PAR1 nothing")
    assert "predictions/test.base.parquet cannot be read" in told(run)


def edit_report(run: Run, edit: Callable[[dict[str, Any]], object]) -> None:
    path = run.path / "report.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def test_an_edited_report_is_named_with_both_numbers(copied: Copied) -> None:
    run = copied("classification")

    def edit(document: dict[str, Any]) -> None:
        document["results"]["test"]["tuned"]["metrics"]["accuracy"]["value"] = 0.97
        document["verdict"]["decision"] = "hold"
        del document["findings"]

    edit_report(run, edit)
    found = told(run)
    assert "results.test.tuned.metrics.accuracy.value: 0.97 stored, 0.9 computed" in found
    assert "verdict.decision: 'hold' stored, 'ship' computed" in found
    assert "findings: 'absent' stored" in found


def test_edited_results_in_the_events_do_not_pass(copied: Copied) -> None:
    run = copied("classification")
    lines = run.events_path.read_text().splitlines()
    edited = [
        line.replace('"value":0.9,', '"value":0.95,') if '"ResultsComputed"' in line else line
        for line in lines
    ]
    assert edited != lines
    run.events_path.write_text("\n".join(edited) + "\n")
    assert "0.95 stored, 0.9 computed" in told(run)


def test_an_interval_of_another_method_is_unchecked_and_its_number_is_not(copied: Copied) -> None:
    run = copied("generation")
    text = run.events_path.read_text()
    run.events_path.write_text(text.replace("percentile bootstrap", "studentised bootstrap"))
    (run.path / "report.json").unlink()
    checks = {c.what: c for c in verify(run)}
    loss = checks["test tuned loss"]
    assert loss.ok is None
    assert "the number agrees; its interval was made by another method" in loss.message
    rewrite(run, "test.tuned.parquet", set_in("nll", 3, 1.5))
    assert {c.what: c for c in verify(run)}["test tuned loss"].ok is False


@pytest.mark.parametrize("name", ["another", "with a space", "näme_*x*|`", "latest"])
def test_a_copy_under_any_name_is_the_same_run(
    copied: Copied, tmp_path: Path, task: str, name: str
) -> None:
    first = copied(task, signed=True)
    shutil.copytree(first.path, tmp_path / name)
    assert not [c.message for c in verify(Run(tmp_path / name)) if c.ok is False]
    write_report(Run(tmp_path / name))  # and a copy of that one
    shutil.copytree(tmp_path / name, tmp_path / "copy of a copy")
    checks = {c.what: c for c in verify(Run(tmp_path / "copy of a copy"))}
    assert not [c.message for c in checks.values() if c.ok is False]
    assert checks["report.md"].ok is checks["report.html"].ok is True


def numbers_of(document: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all numbers that are not 0."""
    if isinstance(document, dict | list):
        items = document.items() if isinstance(document, dict) else enumerate(document)
        for key, value in items:
            yield from numbers_of(value, (*place, key))
    elif isinstance(document, int | float) and not isinstance(document, bool) and document:
        yield place


def as_this_version_makes_it(run: Run, analysis: str, model: str) -> Any:
    """The sample may be of an earlier version, whose methods are not checked."""
    stored = StoredRun(run, read_history(run))
    for path in run.predictions.glob("*.*.parquet"):
        split, name, _ = path.name.split(".")
        stored.frames.setdefault(split, {})[name] = pl.read_parquet(path)
    return analyse_again(stored, "test")[0][analysis, model]


def moved(document: Any, place: tuple[Any, ...]) -> None:
    *way, last = place
    for key in way:
        document = document[key]
    document[last] *= 1.01


@pytest.mark.parametrize("analysis", ["flips", "calibration", "thresholds", "slices"])
@pytest.mark.parametrize("at", [0.0, 0.3, 0.6, 0.99])
def test_one_changed_number_of_an_analysis_is_found_from_the_rows_alone(
    copied: Copied, analysis: str, at: float
) -> None:
    run = copied("classification")  # its data file is gone with its folder
    lines = run.events_path.read_text().splitlines()
    of_test = '"kind":"AnalysisComputed"', '"split":"test"', f'"name":"{analysis}"'
    place = next(i for i, line in enumerate(lines) if all(part in line for part in of_test))
    event = json.loads(lines[place])
    event["result"] = as_this_version_makes_it(run, analysis, event["model"])
    places = list(numbers_of(event["result"]))
    moved(event["result"], places[int(at * len(places))])
    lines[place] = json.dumps(event)
    run.events_path.write_text("\n".join(lines) + "\n")
    write_report(run)
    [found] = failures(run)
    if found.again == "unreadable":  # a row or a count that is no whole number any more
        assert found.what == f"events.jsonl line {place + 1:,}"
        assert "Expected `int`, got `float`" in found.message
    else:
        assert found.what == f"test {analysis} {event['model']}"


def test_the_numbers_that_could_not_be_checked_are_counted(
    copied: Copied, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied("classification", signed=True)
    assert main(["verify", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"[\d,]+ numbers compared, 0 of them differ; \d+ could not be checked", out)
    assert re.search(r"unchecked \(\d+ numbers\): test parity tuned: needs a model", out)
    edit_report(run, lambda d: d["results"]["test"]["tuned"].update(n=201))
    assert main(["verify", str(run.path), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["numbers"]["differing"] == 1
    assert document["numbers"]["numbers"] > 5_000


def test_a_run_without_results_cannot_be_verified(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with pytest.raises(RunError, match="no results to check"):
        verify(run)


def test_numbers_agree_to_their_last_bits_only() -> None:
    assert is_same(0.1 + 0.2, 0.3)
    assert is_same("NaN", float("nan"))
    assert is_same("Infinity", float("inf"))
    assert not is_same(0.3, 0.3 + 1e-9)
    assert not is_same("NaN", 0.0)
    assert not is_same(True, 0)
    found = find_disagreements({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}], "c": 0})
    assert [(d.place, d.stored, d.again) for d in found] == [
        ("a[1].b", 2, 3),
        ("c", "absent", 0),
    ]


def test_the_command_exits_with_0_or_1(copied: Copied, capsys: pytest.CaptureFixture[str]) -> None:
    run = copied("generation")
    assert main(["verify", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "what" in out.splitlines()[0]
    assert " 0 do not" in out
    (run.predictions / "test.tuned.parquet").unlink()
    assert main(["verify", str(run.path), "--json"]) == 1
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["ok"] is False
    assert "test.tuned.parquet is missing" in printed.err


def test_a_metric_that_is_newer_than_the_run_changes_no_adjusted_p(copied: Copied) -> None:
    """Holm's family is that of the metrics which the run compared, as it is stored."""
    run = copied("classification")
    lines = []
    for line in run.events_path.read_bytes().splitlines(keepends=True):
        event = decode_event(line)
        if isinstance(event, ComparisonsComputed):
            known = [c for c in event.comparisons if c.metric != "mcc"]
            pairs = {(c.split, c.from_model): [] for c in known}
            for c in known:
                pairs[c.split, c.from_model].append(c)
            older = [c for pair in pairs.values() for c in adjust_secondary(pair, "accuracy")]
            assert [c.p_holm for c in older] != [c.p_holm for c in known]
            line = encode_event(replace(event, comparisons=older))
        lines.append(line)
    run.events_path.write_bytes(b"".join(lines))
    write_report(run)
    assert not [c.message for c in failures(run)]
