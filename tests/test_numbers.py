"""Numbers to predict: read, measured as SciPy and scikit-learn do, compared and judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import records
from data_files import faults, read, write_csv, write_jsonl
from ftev.core.analysis.flips import changes_of
from ftev.core.config.config import DataConfig, ModelConfig, RunConfig
from ftev.core.judgement.objective import against_chance
from ftev.core.metrics.metric import METRICS
from ftev.core.metrics.values.numbers import mean_frame
from ftev.core.run.events import RunStarted
from ftev.core.run.history import History, fold
from ftev.core.tasks import find_task
from ftev.core.wording.numbers import format_difference, format_value
from msgspec import to_builtins
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics as sk

TASK = find_task("regression")
LISTS = pl.List(pl.Float64)


def predicted(n: int = 200, noise: float = 1.0, targets: int = 1, seed: int = 0) -> pl.DataFrame:
    truth = np.random.default_rng(7).normal(1000, 50, (n, targets)).round(1)
    error = np.random.default_rng(seed).normal(0, 50 * noise, (n, targets))
    return pl.DataFrame(
        {
            "row_id": np.arange(n),
            "targets": pl.Series(truth.tolist(), dtype=LISTS),
            "predicted": pl.Series((truth + error).tolist(), dtype=LISTS),
            "nll": ((error / 50) ** 2).mean(1),
        }
    )


def matrix(frame: pl.DataFrame, name: str) -> np.ndarray:
    return np.array(frame[name].to_list())


@pytest.mark.parametrize("targets", [1, 3])
def test_metrics_are_those_of_other_libraries(targets: int) -> None:
    frame = predicted(120, 0.7, targets)
    truth, guess = matrix(frame, "targets"), matrix(frame, "predicted")
    found = TASK.evaluate(frame, ("a",), None, draws=300)
    ranks = [spearmanr(truth[:, i], guess[:, i]).statistic for i in range(targets)]
    squares = sk.root_mean_squared_error(truth, guess, multioutput="raw_values")
    expected = {
        "mae": sk.mean_absolute_error(truth, guess),
        "rmse": np.mean(squares),
        "r2": sk.r2_score(truth, guess),
        "spearman": np.mean(ranks),
        "loss": frame["nll"].mean(),
    }
    assert {n: e.value for n, e in found.metrics.items()} == pytest.approx(expected)
    assert set(TASK.metrics) == set(expected)
    for name, e in found.metrics.items():
        assert e.low < e.value < e.high, name
    assert not METRICS["mae"].higher_is_better
    assert METRICS["r2"].higher_is_better


def test_what_divides_nothing_by_nothing_is_absent() -> None:
    frame = predicted(50)
    constant = mean_frame(frame, [1000.0], [50.0])
    assert "spearman" not in TASK.evaluate(constant, (), None, draws=50).metrics
    level = frame.with_columns(targets=pl.Series([[3.0]] * 50, dtype=LISTS))
    assert not {"r2", "spearman"} & TASK.evaluate(level, (), None, draws=50).metrics.keys()
    compared = TASK.compare("test", ("mean", constant), ("tuned", frame), (), None)
    assert [c.metric for c in compared] == ["mae", "rmse", "r2", "loss"]


def test_a_prediction_that_is_no_number_is_none() -> None:
    frame = predicted(40).with_columns(
        predicted=pl.when(pl.col("row_id") == 9)
        .then(pl.Series([[float("nan")]] * 40, dtype=LISTS))
        .otherwise("predicted")
    )
    found = TASK.evaluate(frame, (), None, draws=50)
    assert found.no_prediction == [9]
    assert np.isnan(found.metrics["mae"].value)
    assert np.isnan(found.metrics["mae"].low)


def test_a_difference_is_paired_and_an_interval_covers_it() -> None:
    """Of two models whose errors go together the difference is known better than either."""
    base, tuned = predicted(300, 1.0, seed=1), predicted(300, 0.8, seed=1)
    [mae] = TASK.compare("test", ("base", base), ("tuned", tuned), (), None, ["mae"])
    whole = TASK.evaluate(base, (), None, draws=500).metrics["mae"]
    assert mae.difference == pytest.approx(-0.2 * whole.value)
    assert mae.low < mae.difference < mae.high < 0
    assert mae.high - mae.low < (whole.high - whole.low) / 2
    assert mae.p < 0.001


def history(**frames: pl.DataFrame) -> History:
    results = {m: TASK.evaluate(frame, (), None, draws=300) for m, frame in frames.items()}
    started = RunStarted(run="r", name="r", task="regression", pid=1, host="h", ftev_version="1")
    scored = [records.results("test", m, to_builtins(r)) for m, r in results.items()]
    return fold([started, *scored])


def test_who_answers_the_mean_explains_nothing() -> None:
    known = history(base=predicted(200, 1.0), tuned=predicted(200, 0.3))
    found = {m: against_chance(known, "test", m) for m in ("base", "tuned")}
    assert [s and s.outcome for s in found.values()] == ["cannot tell", "better"]


def test_rows_changed_by_their_absolute_error() -> None:
    before, after = predicted(60, 1.0, 2, seed=1), predicted(60, 0.5, 2, seed=2)
    found = changes_of(before, after)
    sides = [np.abs(matrix(f, "predicted") - matrix(f, "targets")).mean(1) for f in (before, after)]
    assert found["change"].to_numpy() == pytest.approx(sides[1] - sides[0])
    assert found["kind"].value_counts().height == 2
    assert found["unit"].unique().to_list() == ["absolute error"]


@pytest.mark.parametrize(
    ("column", "value"), [("score", 1.5), ("rating", 3), ("grade", "2.25"), ("depth", 0.5)]
)
def test_the_number_is_found(tmp_path: Path, column: str, value: object) -> None:
    rows = [{"text": f"the tea number {i}", "id": i, column: value} for i in range(6)]
    rows[0][column] = 1
    write_jsonl(tmp_path / "a.jsonl", rows)
    dataset = read(tmp_path, "regression", train="a.jsonl")
    assert dataset.columns.form == "text_numbers"
    assert dataset.labels == (column,)
    assert dataset.splits["train"].frame["targets"].to_list()[:2] == [[1.0], [float(str(value))]]


def test_several_numbers_to_a_row(tmp_path: Path) -> None:
    rows = [("one tea", "1", "2.5"), ("two teas", "2", "3"), ("more tea", "3", "1")]
    write_csv(tmp_path / "a.csv", rows, "text,clear,kind")
    dataset = read(tmp_path, "regression", train="a.csv", label=["clear", "kind"])
    assert dataset.labels == ("clear", "kind")
    assert dataset.splits["train"].frame["targets"].to_list() == [[1, 2.5], [2, 3], [3, 1]]
    assert any("clear: 1 to 3, mean 2" in remark for remark in dataset.remarks)


def test_what_is_no_number_is_named_with_its_line(tmp_path: Path) -> None:
    rows = [("a tea", "1.5"), ("b tea", "much"), ("c tea", ""), ("d tea", "nan"), ("e tea", "2")]
    write_csv(tmp_path / "a.csv", rows, "text,score")
    found = "\n".join(faults(tmp_path, "regression", train="a.csv", label="score"))
    assert "a.csv:3: column \"score\" holds 'much', not a number" in found
    assert "4 to 5" in found


def test_decimal_commas_are_one_fault_and_a_constant_is_nothing_to_learn(tmp_path: Path) -> None:
    commas = [(f"tea {i}", f'"{i},5"') for i in range(9)]
    write_csv(tmp_path / "a.csv", commas, "text,score")
    [fault] = faults(tmp_path, "regression", train="a.csv")
    assert "in 9 rows" in fault
    assert "Write them with a point" in fault
    write_csv(tmp_path / "b.csv", [(f"tea {i}", "4") for i in range(9)], "text,score")
    [fault] = faults(tmp_path, "regression", train="b.csv")
    assert "the same number in every row" in fault


def test_objectives_are_in_the_units_of_the_data() -> None:
    given = {"task": "regression", "model": ModelConfig(base="b"), "data": DataConfig(train="a")}
    from ftev.core.config.objective import ObjectiveConfig

    config = RunConfig(**given, objective=ObjectiveConfig(metric="mae", at_most=120.0))
    assert not list(config.faults())
    wrong = RunConfig(**given, objective=ObjectiveConfig(metric="accuracy", at_least=0.9))
    assert any("regression" in str(fault) for fault in wrong.faults())


@pytest.mark.parametrize(
    ("value", "shown", "change"),
    [(288.04, "288", "+288"), (31.576, "31.58", "+31.6"), (0.00123, "0.00123", "+0.00123")],
)
def test_errors_are_shown_with_the_digits_that_count(value: float, shown: str, change: str) -> None:
    assert format_value("mae", value) == shown
    assert format_difference("mae", value) == change


def test_ranks_are_those_of_pearson_over_ranks() -> None:
    frame = predicted(80, 0.5)
    truth, guess = (matrix(frame, n)[:, 0] for n in ("targets", "predicted"))
    order = [np.argsort(np.argsort(x)) for x in (truth, guess)]
    value = TASK.evaluate(frame, (), None, draws=10).metrics["spearman"].value
    assert value == pytest.approx(spearmanr(truth, guess).statistic)
    assert abs(value - pearsonr(*order).statistic) < 0.01
