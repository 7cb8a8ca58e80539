"""Runs side by side: paired where rows agree by id, content and truth, else refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ftev.core.catalog.run_facts import flatten
from ftev.core.compare.compare import compare_runs
from ftev.core.compare.compared import comparison_blocks
from ftev.core.config.config import ObjectiveConfig, TrainConfig
from ftev.core.errors import ConfigError, RunError
from ftev.core.metrics.comparisons import compare
from ftev.core.metrics.metric import METRICS
from ftev.core.report.formats.md import render_blocks
from ftev.core.run.runs import Run
from ftev.core.wording.names import name_metric
from ftev.tui.commands.compare import show_comparison
from ftev.tui.screens.compare.tables import metric_lines
from statsmodels.stats.multitest import multipletests
from stored_runs import LABELS, labelled, write_run, written

SAMPLES = Path(__file__).parents[1] / "sample_runs"


def made(folder: Path, name: str, frame: pl.DataFrame, **more: Any) -> Run:
    return write_run(folder / name, {"tuned": frame}, **more)


def unpaired_reason(*runs: Run) -> str:
    compared = compare_runs(runs)
    assert compared["comparisons"] == []
    (only,) = compared["unpaired"]
    return str(only["reason"])


def test_S3_runs_of_the_same_rows_are_paired(tmp_path: Path) -> None:
    before, after = labelled(seed=1), labelled(seed=2, skill=2)
    compared = compare_runs([made(tmp_path, "a", before), made(tmp_path, "b", after)])
    assert compared["unpaired"] == []
    found = {c.metric: c for c in compared["comparisons"]}
    expected = compare("test", "a", before, "b", after, LABELS, "yes", metrics=["accuracy"])[0]
    accuracy = found["accuracy"]
    assert (accuracy.from_model, accuracy.to_model) == ("a", "b")
    assert accuracy.difference == expected.difference
    assert (accuracy.fixed, accuracy.broke) == (expected.fixed, expected.broke)
    assert (accuracy.p, accuracy.low, accuracy.high) == (
        expected.p,
        expected.low,
        expected.high,
    )
    assert compared["metric"] == "macro_f1"
    assert any("choice of test rows only" in note for note in compared["notes"])


def test_the_order_of_stored_rows_does_not_matter(tmp_path: Path) -> None:
    frame = labelled(seed=1)
    runs = [
        made(tmp_path, "a", frame),
        made(tmp_path, "b", frame.sample(120, shuffle=True, seed=1)),
    ]
    compared = compare_runs(runs)
    assert compared["unpaired"] == []
    assert {c.difference for c in compared["comparisons"] if c.metric != "loss"} == {0.0}


def test_other_ids_are_not_paired_and_told(tmp_path: Path) -> None:
    a = made(tmp_path, "a", labelled(120))
    b = made(tmp_path, "b", labelled(120).with_columns(row_id=pl.col("row_id") + 2))
    assert unpaired_reason(a, b) == "2 rows (0, 1) only in a and 2 rows (120, 121) only in b"


def test_other_content_is_not_paired_and_told(tmp_path: Path) -> None:
    changed = labelled().with_columns(
        content=pl.when(pl.col("row_id") >= 113).then(1).otherwise("content").cast(pl.UInt64)
    )
    runs = made(tmp_path, "a", labelled()), made(tmp_path, "b", changed)
    expected = "the input differs on 7 rows (113, 114, 115, 116, 117, …)"
    assert unpaired_reason(*runs) == expected


def test_other_labels_of_a_row_are_not_paired_and_told(tmp_path: Path) -> None:
    first = labelled()
    other = {"no": "yes", "yes": "no"}[first["label"][0]]
    changed = first.with_columns(
        label=pl.when(pl.col("row_id") == 0).then(pl.lit(other)).otherwise("label")
    )
    runs = made(tmp_path, "a", first), made(tmp_path, "b", changed)
    assert unpaired_reason(*runs) == "the label differs on 1 row (0)"


def test_windows_of_documents_are_paired_only_from_the_same_file(tmp_path: Path) -> None:
    frame = written().with_columns(content=pl.lit(None, dtype=pl.UInt64))
    runs = [made(tmp_path, name, frame) for name in "ab"]
    assert compare_runs(runs)["unpaired"] == []
    events = runs[1].events_path
    events.write_text(events.read_text().replace("c" * 64, "d" * 64))
    assert unpaired_reason(*runs).startswith("the rows are windows of documents")


def test_predictions_without_a_content_hash_are_not_paired(tmp_path: Path) -> None:
    frame = labelled().drop("content")
    runs = made(tmp_path, "a", labelled()), made(tmp_path, "b", frame)
    assert unpaired_reason(*runs) == "no content hash is stored with the rows of b"


def test_S6_holm_is_over_the_runs_compared(tmp_path: Path) -> None:
    runs = [made(tmp_path, n, labelled(seed=i, skill=1 + i / 3)) for i, n in enumerate("abcd")]
    compared = compare_runs(runs, metric="accuracy")
    asked = [c for c in compared["comparisons"] if c.metric == "accuracy"]
    assert [c.to_model for c in asked] == ["b", "c", "d"]
    expected = multipletests([c.p for c in asked], method="holm")[1]
    assert [c.p_holm for c in asked] == pytest.approx(list(expected))
    assert all(c.p_holm is None for c in compared["comparisons"] if c.metric != "accuracy")


def test_another_task_is_refused() -> None:
    runs = [Run(SAMPLES / "classification"), Run(SAMPLES / "generation")]
    with pytest.raises(ConfigError, match="is a generation run, classification a classification"):
        compare_runs(runs)


def test_other_label_lists_are_refused_with_the_labels(tmp_path: Path) -> None:
    bare = labelled().drop("probabilities")
    more = made(tmp_path, "b", bare, labels=("no", "perhaps", "yes"))
    with pytest.raises(ConfigError, match="b: other labels than a: 'perhaps' only in b"):
        compare_runs([made(tmp_path, "a", labelled()), more])
    swapped = made(tmp_path, "c", labelled(), labels=("yes", "no"))
    with pytest.raises(ConfigError, match="the same labels in another order"):
        compare_runs([made(tmp_path, "a", labelled()), swapped])


def test_no_common_split_is_refused_with_those_there_are(tmp_path: Path) -> None:
    a, b = made(tmp_path, "a", labelled()), made(tmp_path, "b", labelled(), split="validation")
    with pytest.raises(ConfigError, match="no split that every run has") as caught:
        compare_runs([a, b])
    assert [f.where for f in caught.value.faults] == ["a", "b"]
    with pytest.raises(ConfigError, match="b: no predictions of tuned on test"):
        compare_runs([a, b], split="test")


def test_one_run_an_unknown_metric_and_a_missing_model_are_refused(tmp_path: Path) -> None:
    a, b = (made(tmp_path, name, labelled()) for name in "ab")
    with pytest.raises(ConfigError, match="two runs or more"):
        compare_runs([a])
    with pytest.raises(ConfigError, match="--metric: not every run has 'bleu'"):
        compare_runs([a, b], metric="bleu")
    with pytest.raises(ConfigError, match=r"nothing \(models: tuned\)"):
        compare_runs([a, b], model="base")
    (b.predictions / "test.tuned.parquet").write_bytes(b"no parquet")
    with pytest.raises(RunError, match="cannot be read"):
        compare_runs([a, b])


def test_the_models_compared_can_be_chosen(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / n, {"probe": labelled(seed=i), "tuned": labelled(seed=9)})
        for i, n in enumerate("ab")
    ]
    assert {c.difference for c in compare_runs(runs)["comparisons"]} == {0.0}
    assert {c.difference for c in compare_runs(runs, model="probe")["comparisons"]} != {0.0}


def test_only_settings_that_differ_are_told(tmp_path: Path) -> None:
    a = made(tmp_path, "a", labelled(), train=TrainConfig(learning_rate=1e-4))
    b = made(tmp_path, "b", labelled(), train=TrainConfig(learning_rate=2e-4, batch_tokens=512))
    compared = compare_runs([a, b])
    assert compared["config"] == {
        "train.learning_rate": [1e-4, 2e-4],
        "train.batch_tokens": [None, 512],
    }
    assert flatten({"a": {"b": 1}, "c": [2]}) == {"a.b": 1, "c": [2]}


def test_K4_other_tokens_leave_bits_per_byte_and_say_so(tmp_path: Path) -> None:
    other = written(seed=1).with_columns(tokens=pl.col("tokens") * 2)
    compared = compare_runs([made(tmp_path, "a", written()), made(tmp_path, "b", other)])
    assert {c.metric for c in compared["comparisons"]} == {"bits_per_byte"}
    assert any("only bits per byte can be compared" in note for note in compared["notes"])


def test_copies_of_a_name_stay_apart_and_verdicts_are_told(tmp_path: Path) -> None:
    objective = ObjectiveConfig(metric="accuracy", at_least=0.5)
    runs = [made(tmp_path / part, "same", labelled(skill=3), objective=objective) for part in "xy"]
    compared = compare_runs(runs)
    assert [r["name"] for r in compared["runs"]] == ["same (1)", "same (2)"]
    assert compared["runs"][0]["verdict"]["objective"] == "accuracy at least 50.0 %"
    assert compared["metric"] == "accuracy"


def test_what_is_printed_says_why_rows_are_not_paired(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = made(tmp_path, "a", labelled(120)), made(tmp_path, "b", labelled(100, seed=1))
    c = made(tmp_path, "c", labelled(120, seed=2))
    show_comparison(compare_runs([a, b, c]))
    printed = capsys.readouterr().out
    assert (
        "b is not paired with the baseline: 20 rows (100, 101, 102, 103, 104, …) only in a"
        in printed
    )
    assert "no evidence that one model is better" in printed
    assert "the baseline is a" in printed
    assert "p (Holm)" not in printed  # one run alone was paired
    assert "No setting differs" not in printed
    assert "rows of test" in printed


@pytest.mark.parametrize("name", ["classification", "generation"])
def test_metrics_have_their_names_and_never_their_keys(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    compared = compare_runs([Run(SAMPLES / name)] * 2)
    show_comparison(compared)
    page = render_blocks(comparison_blocks(compared))
    lines = metric_lines(compared, 200)
    screen = "\n".join("".join(text for text, _ in line) for line in lines)
    for text in (capsys.readouterr().out, page, screen):
        for key in compared["metrics"]:
            if "_" in key:
                assert key not in text
            if not METRICS[key].same_as:
                assert name_metric(key, compared["positive"]) in text
