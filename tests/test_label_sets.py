"""Rows with several labels each: read, measured, compared, decided and judged, without a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from ftev.core.analysis import Evaluation, at_own_thresholds, measure
from ftev.core.analysis.flips import label_flips
from ftev.core.analysis.label_sets import choose_thresholds
from ftev.core.config.config import DataConfig, ModelConfig, RunConfig
from ftev.core.config.objective import ObjectiveConfig
from ftev.core.data.data import Dataset, read_dataset
from ftev.core.errors import ConfigError, DataError
from ftev.core.judgement.objective import against_chance
from ftev.core.judgement.verdict import judge
from ftev.core.metrics.bootstrap import Resampling
from ftev.core.metrics.label_sets.results import (
    compare_label_sets,
    evaluate_label_sets,
    majority_sets,
)
from ftev.core.metrics.statistics import mcnemar, wilson
from ftev.core.report.verify.stored import contradictions_within
from ftev.core.run.events import ColumnsFound, LabelsFixed, RunFinished, RunStarted
from ftev.core.run.history import History, fold
from label_sets import LABELS, frame_of, scored, truth_of
from sklearn import metrics as sk

AGREES = pytest.approx


def marks_of(frame: pl.DataFrame, column: str) -> np.ndarray:
    return np.array([[label in own for label in LABELS] for own in frame[column].to_list()])


def test_metrics_equal_scikit_learn() -> None:
    frame = scored(0.9)
    truth, given = marks_of(frame, "labels"), marks_of(frame, "predicted")
    p = np.array(frame["probabilities"].to_list())
    found = {k: e.value for k, e in evaluate_label_sets(frame, LABELS, draws=50).metrics.items()}
    for average in ("macro", "micro", "weighted"):
        assert found[f"{average}_f1"] == AGREES(sk.f1_score(truth, given, average=average))
    for average in ("macro", "micro"):
        expected = sk.precision_score(truth, given, average=average)
        assert found[f"{average}_precision"] == AGREES(expected)
        assert found[f"{average}_recall"] == AGREES(sk.recall_score(truth, given, average=average))
    samples = sk.f1_score(truth, given, average="samples", zero_division=1)
    assert found["samples_f1"] == AGREES(samples)
    assert found["subset_accuracy"] == AGREES(sk.accuracy_score(truth, given))
    assert found["hamming_loss"] == AGREES(sk.hamming_loss(truth, given))
    assert found["roc_auc"] == AGREES(sk.roc_auc_score(truth, p))
    assert found["average_precision"] == AGREES(sk.average_precision_score(truth, p))
    assert found["loss"] == AGREES(sk.log_loss(truth.ravel(), p.ravel()))
    balanced = [sk.balanced_accuracy_score(truth[:, i], given[:, i]) for i in range(3)]
    assert found["macro_balanced_accuracy"] == AGREES(np.mean(balanced))


def test_the_positive_label_has_the_figures_of_a_task_of_two_labels() -> None:
    frame = scored(0.9)
    truth, given = marks_of(frame, "labels")[:, 1], marks_of(frame, "predicted")[:, 1]
    found = evaluate_label_sets(frame, LABELS, "insult", draws=50)
    assert found.metrics["recall"].value == AGREES(sk.recall_score(truth, given))
    low, high = wilson(float((truth & given).sum()), float(truth.sum()))
    assert (found.metrics["recall"].low, found.metrics["recall"].high) == AGREES((low, high))
    expected = sk.balanced_accuracy_score(truth, given)
    assert found.metrics["label_balanced_accuracy"].value == AGREES(expected)
    assert found.per_class is not None
    assert found.per_class["insult"].recall == AGREES(found.metrics["recall"].value)


def test_rows_without_any_label_are_right_and_rows_without_a_prediction_wrong() -> None:
    lists = pl.List(pl.String)
    frame = pl.DataFrame(
        {
            "row_id": [0, 1, 2, 3],
            "labels": pl.Series([[], [], ["toxic"], ["toxic"]], dtype=lists),
            "predicted": pl.Series([[], None, ["toxic"], ["insult"]], dtype=lists),
        }
    )
    found = evaluate_label_sets(frame, LABELS, draws=50)
    assert found.metrics["subset_accuracy"].numerator == 2
    assert found.no_prediction == [1]
    assert found.metrics["samples_f1"].value == 0.5
    assert found.metrics["hamming_loss"].value == AGREES((3 + 2) / 12)
    assert found.undefined == ["threat"]


def test_a_difference_has_mcnemars_p_and_clusters_are_one_unit() -> None:
    """S9: every row four times within its group widens nothing and sharpens nothing."""
    before, after, r = scored(0.5, seed=1), scored(1.2, seed=2), Resampling(draws=2_000)
    pair = ("base", before), ("tuned", after)
    found = {c.metric: c for c in compare_label_sets("test", *pair, LABELS, resampling=r)}
    exact = found["subset_accuracy"]
    assert exact.fixed is not None
    assert exact.broke is not None
    assert exact.p == mcnemar(exact.broke, exact.fixed).exact
    assert exact.difference == AGREES((exact.fixed - exact.broke) / 150)
    assert found["macro_f1"].low < found["macro_f1"].difference < found["macro_f1"].high
    assert found["macro_f1"].p < 0.01

    def four_times(frame: pl.DataFrame) -> pl.DataFrame:
        rows = pl.concat([frame.with_columns(cluster=pl.col("row_id"))] * 4)
        return rows.with_columns(row_id=pl.Series(range(rows.height)))

    pair = ("base", four_times(before)), ("tuned", four_times(after))
    names = ["micro_f1", "hamming_loss"]
    again = compare_label_sets("test", *pair, LABELS, None, names, r)
    for c in again:
        single = found[c.metric]
        assert c.high - c.low == pytest.approx(single.high - single.low, rel=0.05)
        assert c.clusters == 150


def test_the_majority_and_a_coin_are_not_better_than_guessing() -> None:
    truth = truth_of(400)
    always = majority_sets(scored(1, 400), LABELS, {"toxic": 300}, 400)
    found = evaluate_label_sets(always, LABELS, draws=200).metrics["macro_balanced_accuracy"]
    assert found.value == 0.5
    coin = frame_of(truth, np.random.default_rng(5).uniform(size=truth.shape))
    found = evaluate_label_sets(coin, LABELS, draws=2_000).metrics["macro_balanced_accuracy"]
    assert found.low < 0.5


# Thresholds


def test_thresholds_are_chosen_on_validation_and_frozen() -> None:
    validation, test = scored(0.8, 300, seed=3), scored(0.8, 150, seed=4)
    asked = ObjectiveConfig(positive="threat", recall_at_least=0.9)
    [decided] = at_own_thresholds(
        {"tuned": test}, {"tuned": validation}, LABELS, "threat", asked
    ).values()
    limits = decided["thresholds"][0].to_list()
    p, truth = np.array(validation["probabilities"].to_list()), marks_of(validation, "labels")
    for i in (0, 1):  # the most F1, of every threshold that there is
        best = max(sk.f1_score(truth[:, i], p[:, i] >= t) for t in p[:, i])
        assert sk.f1_score(truth[:, i], p[:, i] >= limits[i]) == AGREES(best)
    assert sk.recall_score(truth[:, 2], p[:, 2] >= limits[2]) >= 0.9
    own = np.array(test["probabilities"].to_list()) >= limits
    assert (marks_of(decided, "predicted") == own).all()
    assert decided["predicted_at_half"].to_list() == test["predicted"].to_list()
    assert not list(contradictions_within(decided, LABELS))
    shares = np.array(test["probabilities"].to_list())
    sure = np.where(own, shares, 1 - shares).prod(axis=1)
    assert label_flips(test, decided)["to_confidence"].to_numpy() == AGREES(sure)


def test_a_label_with_few_rows_stays_at_one_half_with_the_reason() -> None:
    truth = truth_of(150)
    truth[4:, 2] = False
    few = choose_thresholds(scored(0.8, truth=truth), LABELS, None, ObjectiveConfig())
    assert few[2].threshold == 0.5
    assert "too few" in few[2].why_not
    none = choose_thresholds(None, LABELS, None, ObjectiveConfig())
    assert [c.threshold for c in none] == [0.5] * 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nll": pl.col("nll") + 0.01}, "the loss is not that of the true labels"),
        ({"predicted": pl.col("labels")}, "the labels given are not those of the thresholds"),
    ],
)
def test_rows_that_were_changed_contradict_themselves(
    change: dict[str, pl.Expr], said: str
) -> None:
    assert [c.what for c in contradictions_within(scored(0.2).with_columns(**change), LABELS)] == [
        said
    ]


# The verdict


def history_of(frames: dict[str, pl.DataFrame], objective: ObjectiveConfig) -> History:
    started = RunStarted(
        run="x", name="x", task="classification", pid=1, host="h", ftev_version="0"
    )
    events: list[object] = [
        started,
        ColumnsFound(form="text_labels", columns={"text": "text", "label": "labels"}),
        LabelsFixed(labels=list(LABELS), positive=objective.positive),
    ]
    e = Evaluation(
        split="test",
        frames=frames,
        source=next(iter(frames.values())).select("row_id", text="input"),
        config=config_of(objective).for_form("text_labels"),
        labels=LABELS,
        positive=objective.positive,
        validation={"tuned": scored(1.5, seed=9), "base": scored(0.2, seed=10)},
    )
    return fold([*events, *measure(e), RunFinished(status="finished")])  # type: ignore[list-item]


def config_of(objective: ObjectiveConfig) -> RunConfig:
    return RunConfig(
        task="classification",
        model=ModelConfig(base="tiny"),
        data=DataConfig(train="train.csv", test="test.csv"),
        objective=objective,
    )


def test_a_better_model_ships_and_one_that_knows_nothing_does_not() -> None:
    good = {"base": scored(0.6, 100, seed=1), "tuned": scored(1.6, 100, seed=2)}
    history = history_of(good, ObjectiveConfig())
    assert history.task == "multi_label"
    assert judge(history, config_of(ObjectiveConfig())).decision == "ship"
    standing = against_chance(history, "test", "tuned")
    assert standing is not None
    assert (standing.metric, standing.outcome) == ("macro_balanced_accuracy", "better")
    nothing = {"base": scored(-0.5, 100, seed=1), "tuned": scored(0.0, 100, seed=2)}
    verdict = judge(history_of(nothing, ObjectiveConfig()), config_of(ObjectiveConfig()))
    assert verdict.decision != "ship"
    assert any("not shown better than guessing" in reason for reason in verdict.reasons)


def test_a_recall_target_of_one_label_is_answered_at_its_threshold() -> None:
    objective = ObjectiveConfig(positive="toxic", recall_at_least=0.5)
    tuned, base = scored(2.0, 100, seed=2), scored(0.2, 100, seed=1)
    validation = {"tuned": scored(2.0, seed=9), "base": scored(0.2, seed=10)}
    frames = at_own_thresholds(
        {"base": base, "tuned": tuned}, validation, LABELS, "toxic", objective
    )
    verdict = judge(history_of(frames, objective), config_of(objective))
    assert any('recall of "toxic" on test' in reason for reason in verdict.reasons)


# What is read


def read(folder: Path, **data: object) -> Dataset:
    return read_dataset(
        DataConfig(train="train.csv", validation=None, **data),  # type: ignore[arg-type]
        "classification",
        1,
        folder,
    )


def lists_of(dataset: Dataset) -> list[list[str]]:
    found: list[list[str]] = dataset.splits["train"].frame["labels"].to_list()
    return found


def test_columns_of_yes_and_no_are_labels_in_the_order_given(tmp_path: Path) -> None:
    rows = "text,toxic,id,insult\na b c,1,5,no\nd e f,0,6,0\ng h i,true,7,YES\n"
    (tmp_path / "train.csv").write_text(rows)
    dataset = read(tmp_path, text="text", label=["toxic", "insult"])
    assert dataset.labels == ("toxic", "insult")
    assert lists_of(dataset) == [["toxic"], [], ["toxic", "insult"]]
    assert dataset.splits["train"].label_counts() == {"insult": 1, "toxic": 2}
    assert dataset.unread == ("id",)
    (tmp_path / "train.csv").write_text(rows + "j,0.3,8,1\nk,1,9,\n")
    with pytest.raises(DataError) as error:
        read(tmp_path, text="text", label=["toxic", "insult"])
    listed = "\n".join(map(str, error.value.faults))
    assert "train.csv:5" in listed
    assert "column \"toxic\" holds '0.3', not 0 or 1" in listed
    assert 'train.csv:6: column "insult" is empty' in listed


@pytest.mark.parametrize(
    "values",
    [
        [["b", "a"], [], ["a"], ["b"]],
        ['["b", "a"]', "[]", '["a"]', '["b"]'],
        ["['b', 'a']", "[]", "['a']", "['b']"],
    ],
    ids=["lists", "JSON", "Python"],
)
def test_a_column_of_lists(tmp_path: Path, values: list[object]) -> None:
    rows = [json.dumps({"text": f"row {i}", "labels": v}) for i, v in enumerate(values)]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    dataset = read(tmp_path, format="jsonl")
    assert lists_of(dataset) == [["a", "b"], [], ["a"], ["b"]]


def test_separated_labels_are_asked_for_where_there_is_doubt(tmp_path: Path) -> None:
    rows = 'text,label\none,"good,cheap"\ntwo,good\nthree,\nfour,cheap\nfive,good\n'
    (tmp_path / "train.csv").write_text(rows)
    with pytest.raises(DataError, match="one label or several is not certain"):
        read(tmp_path, text="text", label="label")
    dataset = read(tmp_path, text="text", label="label", label_separator=",")
    assert lists_of(dataset) == [["cheap", "good"], ["good"], [], ["cheap"], ["good"]]
    one = read(tmp_path, text="text", label="label", label_separator="none", bad_rows="skip")
    assert "good,cheap" in one.labels
    hint = 'label_separator = "," under [data] reads several per row'
    assert any(hint in remark for remark in one.remarks)
    (tmp_path / "train.csv").write_text('text,label\none,"Paris, France"\ntwo,Rome\nthree,Rome\n')
    one = read(tmp_path, text="text", label="label")
    assert (one.labels, one.remarks) == (("Paris, France", "Rome"), ())


def test_columns_of_yes_and_no_are_offered_where_no_label_is_found(tmp_path: Path) -> None:
    rows = "text,good,bad\n" + "".join(f"some text {i},{i % 2},{1 - i % 2}\n" for i in range(30))
    (tmp_path / "train.csv").write_text(rows)
    with pytest.raises(DataError, match=r'label = \["good", "bad"\], several per row'):
        read(tmp_path)


def test_a_rare_label_is_on_both_sides_of_a_split(tmp_path: Path) -> None:
    """However many sets of labels there are: each row counts by the rarest that it has."""
    common = [[name for k, name in enumerate("abcd") if i // 20 >> k & 1] for i in range(200)]
    rows = [
        json.dumps({"text": f"row {i}", "labels": own + ["rare"] * (i % 20 == 0)})
        for i, own in enumerate(common)
    ]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    data = DataConfig(train="train.csv", format="jsonl", validation=0.2)
    splits = read_dataset(data, "classification", 1, tmp_path).splits
    assert [splits[name].label_counts()["rare"] for name in ("train", "validation")] == [8, 2]


def test_settings_that_rows_with_several_labels_do_not_allow(tmp_path: Path) -> None:
    def faults(**objective: object) -> str:
        config = config_of(ObjectiveConfig(**objective))  # type: ignore[arg-type]
        with pytest.raises(ConfigError) as error:
            config.for_form("text_labels").check_labels(LABELS)
        return "\n".join(map(str, error.value.faults))

    assert "must name the label of recall" in faults(metric="recall")
    assert "must name the label of precision_at_least" in faults(precision_at_least=0.5)
    assert "accuracy is measured for classification" in faults(metric="accuracy")
    assert "there is no label 'toxid'" in faults(positive="toxid")
    config_of(ObjectiveConfig(metric="subset_accuracy")).for_form("text_labels").check_labels(
        LABELS
    )
