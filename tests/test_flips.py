"""The flip list: what was fixed and broken adds up, and the most confident come first."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import polars as pl
import pytest
from ftev.core.analysis import ANALYSES, Evaluation
from ftev.core.analysis.flips import LISTED, find_flips, label_flips, loss_changes
from ftev.core.analysis.predictions import read_inputs, read_predictions
from ftev.core.config.config import ModelConfig, RunConfig
from ftev.core.errors import ConfigError, DataError
from ftev.core.metrics.comparisons import compare
from ftev.core.report.blocks import Table
from ftev.core.report.sections.rows import show_flips
from ftev.core.run.history import read_history
from ftev.core.run.runs import Run
from ftev.tui.commands.flips import flip_list
from scipy.stats import binomtest
from stored_runs import LABELS, labelled, write_run, written

SAMPLES = Path(__file__).parents[1] / "sample_runs"


def evaluation(frames: dict[str, pl.DataFrame]) -> Evaluation:
    tuned = frames["tuned"]
    task = "classification" if "label" in tuned.columns else "generation"
    return Evaluation(
        split="test",
        frames=frames,
        source=pl.DataFrame(
            {"row_id": tuned["row_id"], "text": [f"text {i}" for i in tuned["row_id"]]}
        ),
        config=RunConfig(task=task, model=ModelConfig(base="tiny")),  # type: ignore[arg-type]
        labels=LABELS,
    )


@pytest.mark.parametrize("seed", range(5))
def test_kinds_add_up_to_n_and_agree_with_the_comparison(seed: int) -> None:
    before, after = labelled(seed=seed), labelled(seed=seed + 50, skill=2)
    (found,) = find_flips(evaluation({"base": before, "tuned": after}))
    counts = found.result.counts
    assert sum(counts.values()) == found.result.n == 120
    accuracy = compare("test", "base", before, "tuned", after, LABELS, metrics=["accuracy"])[0]
    assert (counts["fixed"], counts["broke"]) == (accuracy.fixed, accuracy.broke)
    right = (after["label"] == after["predicted"]).sum()
    assert counts["right"] + counts["fixed"] == right


def test_the_most_confident_come_first_with_label_and_both_answers() -> None:
    (found,) = find_flips(evaluation({"base": labelled(), "tuned": labelled(seed=3)}))
    fixed, broke = (found.result.rows[kind] for kind in ("fixed", "broke"))
    for rows in (fixed, broke):
        confidences = [row.after_confidence for row in rows]
        assert confidences == sorted(confidences, reverse=True)
        assert all(0.5 <= c <= 1 for c in confidences)
    assert all(row.before != row.label == row.after for row in fixed)
    assert all(row.before == row.label != row.after for row in broke)
    assert fixed[0].input == f"text {fixed[0].row_id}"


def test_long_lists_are_cut_and_their_counts_are_not() -> None:
    n = LISTED * 4
    wrong = labelled(n).with_columns(predicted=pl.lit("maybe"))
    right = labelled(n).with_columns(predicted="label")
    (found,) = find_flips(evaluation({"probe": wrong, "tuned": right}))
    assert found.result.counts["fixed"] == n
    assert len(found.result.rows["fixed"]) == LISTED
    assert sum(row.input is not None for row in found.result.rows["fixed"]) == 10


def test_the_reference_is_base_else_probe_else_majority() -> None:
    majority = labelled().select("row_id", "label", predicted=pl.lit("no"))
    tuned = labelled(seed=3)
    frames = {"majority": majority, "probe": labelled(seed=1), "tuned": tuned}
    assert next(find_flips(evaluation(frames))).result.from_model == "probe"
    (found,) = find_flips(evaluation({"majority": majority, "tuned": tuned}))
    assert found.result.from_model == "majority"
    assert found.result.rows["fixed"][0].before_confidence is None
    assert not list(find_flips(evaluation({"tuned": tuned})))
    assert find_flips in ANALYSES


def test_rows_wrong_in_both_with_another_wrong_label_are_told() -> None:
    before = labelled(3).with_columns(predicted=pl.Series(["a", "a", "a"]))
    after = before.with_columns(predicted=pl.Series(["a", "b", "b"]))
    (found,) = find_flips(evaluation({"base": before, "tuned": after}))
    assert found.result.counts["wrong"] == 3
    assert found.result.wrong_otherwise == 2


def test_other_rows_are_an_error() -> None:
    with pytest.raises(DataError, match="agree on the row_id and label of 100 rows only"):
        label_flips(labelled(120), labelled(120).head(100))


def test_losses_fall_rise_and_add_up() -> None:
    before, after = written(), written(gain=0.3, seed=1)
    odd = pl.col("row_id")
    after = after.with_columns(
        nll=pl.when(odd == 4).then(math.nan).when(odd == 5).then(before["nll"]).otherwise("nll"),
        tokens=pl.when(odd == 9).then(0).otherwise("tokens"),
    )
    before = before.with_columns(tokens=pl.when(odd == 9).then(0).otherwise("tokens"))
    (found,) = find_flips(evaluation({"base": before, "tuned": after}))
    result, counts = found.result, found.result.counts
    assert sum(counts.values()) == result.n == 60
    assert (counts["undefined"], counts["same"], counts["unscored"]) == (1, 1, 1)
    assert result.unit == "nats a token"
    n = counts["fell"] + counts["rose"]
    assert result.p == pytest.approx(binomtest(counts["fell"], n).pvalue)
    for kind, sign in (("fell", -1), ("rose", 1)):
        changes = [row.change * sign for row in result.rows[kind]]
        assert changes == sorted(changes, reverse=True)
        assert changes[-1] > 0


def test_K4_other_tokens_are_told_in_bits_a_byte() -> None:
    other = written(seed=1).with_columns(tokens=pl.col("tokens") * 2)
    rows = loss_changes(written(), other)
    assert rows["unit"].unique().to_list() == ["bits a byte"]
    first = written().row(0, named=True)
    assert rows["from"][0] == pytest.approx(first["nll"] / (math.log(2) * first["bytes"]))


def test_the_section_shows_ten_rows_of_each_changed_kind() -> None:
    (found,) = find_flips(evaluation({"base": labelled(400), "tuned": labelled(400, seed=3)}))
    report = {"analyses": {"test": {"flips": {"tuned": found.result}}}}
    tables = [b for b in show_flips(report) if isinstance(b, Table)]
    assert [len(t.rows) for t in tables] == [10, 10]
    assert tables[0].columns == ["row", "label", "base", "tuned", "input"]
    assert show_flips({"analyses": {}}) == []


@pytest.mark.parametrize("task", ["classification", "generation"])
def test_runs_that_stored_no_text_still_open(task: str, tmp_path: Path) -> None:
    run = Run(tmp_path / task)
    shutil.copytree(SAMPLES / task, run.path)
    for path in run.predictions.iterdir():
        pl.read_parquet(path).drop("input").write_parquet(path)
    found = flip_list(run, limit=5).to_dict()
    assert sum(found["counts"].values()) == found["n"]
    assert "text_missing" in found
    assert all("input" not in row for rows in found["rows"].values() for row in rows)


def test_stored_text_is_shown_and_any_kind_can_be_listed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", {"base": labelled(), "tuned": labelled(seed=3)})
    found = flip_list(run, kind="wrong", limit=1000).to_dict()
    assert len(found["rows"]["wrong"]) == found["counts"]["wrong"]
    row = found["rows"]["wrong"][0]
    assert row["input"] == f"text number {row['row_id']}"
    with pytest.raises(ConfigError, match="there is no 'fell' for a classifier"):
        flip_list(run, kind="fell")


def test_text_comes_from_the_data_file_only_while_it_is_the_same(tmp_path: Path) -> None:
    from ftev.core.data.data import read_dataset
    from ftev.core.run.events import EventWriter, SplitPrepared

    rows = ["text,label", *(f"text {i},{'yes' if i % 2 else 'no'}" for i in range(20))]
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("\n".join(rows) + "\n")
    frame = labelled(20).drop("input", "content", "label")
    run = write_run(tmp_path / "a", {"tuned": labelled(20)})
    config = run.config()
    split = read_dataset(config.data, config.task, config.train.seed, tmp_path).splits["test"]
    frame = frame.join(split.frame.select("row_id", "content", "label"), on="row_id")
    text = (run.path / "run.toml").read_text()
    (run.path / "run.toml").write_text(text.replace('folder = "."', f'folder = "{tmp_path}"'))
    writer = EventWriter(run.events_path)
    writer.write(SplitPrepared(split="test", rows=20, columns=2, sha256=split.sha256))
    writer.close()
    found = read_inputs(run, read_history(run), "test", frame)
    assert (found.missing, found.texts[3]) == ("", "text 3")
    (tmp_path / "test.csv").write_text("\n".join([*rows, "one more,no"]) + "\n")
    found = read_inputs(run, read_history(run), "test", frame)
    assert found.texts == {}
    assert "has changed since the run" in found.missing


def test_nothing_stored_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", {"tuned": labelled()})
    with pytest.raises(ConfigError, match="only tuned was scored on test"):
        flip_list(run)
    with pytest.raises(Exception, match="no predictions on train are stored"):
        read_predictions(run, read_history(run), "train")


def test_the_order_of_rows_does_not_matter() -> None:
    before, after = labelled(), labelled(seed=3)
    shuffled = label_flips(before, after.sample(120, shuffle=True, seed=1))
    assert shuffled.sort("row_id").equals(label_flips(before, after).sort("row_id"))
