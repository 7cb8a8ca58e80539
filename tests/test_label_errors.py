"""Suspect labels: the rule by hand, planted errors found again, and what is told of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import records
from ftev.core.analysis import Evaluation, analyse
from ftev.core.analysis.label_errors import (
    CAVEAT,
    LISTED,
    NOT_LEARNT,
    find_label_errors,
    fit_label_noise,
    suspect,
)
from ftev.core.config.config import ModelConfig, RunConfig
from ftev.core.judgement.findings import find
from ftev.core.report.blocks import Heading, Paragraph, Table
from ftev.core.report.sections.rows import show_label_errors
from ftev.core.run.events import RunStarted
from ftev.core.run.history import fold
from numpy.typing import NDArray
from scored_splits import softmax

CONFIG = RunConfig(task="classification", model=ModelConfig(base="m"))


def predictions(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64], labels: tuple[str, ...]
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "row_id": range(10, 10 + len(truth)),
            "label": [labels[i] for i in truth],
            "predicted": [labels[i] for i in probabilities.argmax(1)],
            "probabilities": probabilities.tolist(),
        }
    )


def evaluation(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Evaluation:
    labels = tuple("abc"[: probabilities.shape[1]])
    frame = predictions(truth, probabilities, labels)
    probe = frame.with_columns(predicted=pl.lit("b"))
    texts = [f"text {i} " + "x" * 300 for i in range(len(truth))]
    source = pl.DataFrame({"row_id": frame["row_id"], "text": texts})
    return Evaluation("test", {"probe": probe, "tuned": frame}, source, CONFIG, labels)


def test_the_rule_by_hand() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 1])
    p = np.array([0.9, 0.8, 0.4, 0.1, 0.2, 0.1, 0.6])  # of label 0
    found = suspect(truth, np.stack([p, 1 - p], axis=1))
    assert found.thresholds == pytest.approx([0.55, 0.7])
    # row 2: answers 1 with .6 < .7, no; row 3: 1 with .9 >= .7, and .1 < .55: suspect
    # row 6: answers 0 with .6 >= .55, and .4 < .7: suspect, though less
    assert found.places.tolist() == [3, 6]


def test_a_label_without_rows_is_never_suggested_and_never_divides() -> None:
    p = np.array([[0.6, 0.1, 0.3], [0.1, 0.2, 0.7], [0.2, 0.2, 0.6]])
    found = suspect(np.array([0, 0, 1]), p)
    assert np.isnan(found.thresholds[2])
    assert found.places.tolist() == []


@dataclass(frozen=True)
class Made:
    """A task, and a model of it that was made without the rows it is asked about."""

    skill: float = 8.0  # spread of the log odds: 8 is right on 95 % of two labels, 1.5 on 79 %
    labels: int = 2
    sharpness: float = 1.0  # above 1 the model is over-confident
    learnt_noise: bool = False  # trained on labels as wrong as these: never surer than they allow
    blur: float = 0.0  # noise on the log odds: the model errs beyond what the task asks

    def draw(self, n: int, share: float, seed: int) -> tuple[Any, Any]:
        """Given labels, of which a share is wrong, and probabilities."""
        rng = np.random.default_rng(seed)
        logits = self.skill * rng.normal(size=(n, self.labels))
        honest = softmax(logits).cumsum(axis=1)
        truth = (honest < rng.random(n)[:, None]).sum(axis=1).clip(0, self.labels - 1)
        seen = logits + self.blur * rng.normal(size=logits.shape)
        p = softmax(seen * self.sharpness)
        if self.learnt_noise:
            p = p * (1 - share) + (1 - p) * share / (self.labels - 1)
        wrong = rng.random(n) < share
        truth[wrong] = (truth[wrong] + rng.integers(1, self.labels, wrong.sum())) % self.labels
        return truth, p


SIZES = (200, 600, 2000)
GOOD = (
    Made(),
    Made(sharpness=4.0),
    Made(learnt_noise=True),
    Made(labels=4, learnt_noise=True),
    Made(labels=4, sharpness=4.0),
)
HARD = (
    Made(skill=1.5),
    Made(skill=1.5, sharpness=4.0),
    Made(skill=3.0, labels=4, sharpness=4.0),
    Made(skill=4.0, blur=4.0, sharpness=3.0),
)


def hints(made: Made, n: int, share: float, seed: int) -> dict[str, Any]:
    truth, p = made.draw(n, share, seed)
    labels = tuple("abcdefgh"[: made.labels])
    frame = predictions(truth, p, labels)
    source = pl.DataFrame({"row_id": frame["row_id"]})
    [found] = find_label_errors(Evaluation("test", {"tuned": frame}, source, CONFIG, labels))
    return msgspec.to_builtins(found.result)


def severity(text: dict[str, Any]) -> str | None:
    started = RunStarted(
        run="r", name="r", task="classification", pid=1, host="h", ftev_version="0"
    )
    event = records.analysis("label_errors", text)
    found = [f for f in find(fold([started, event])) if f.code == "label_errors"]
    return found[0].severity if found else None


def test_V12_no_planted_error_gives_no_hint_however_hard_the_task() -> None:
    runs = [
        hints(made, n, 0.0, seed) for made in (*GOOD, *HARD) for n in SIZES for seed in range(4)
    ]
    assert sum(text["suspected"] > 0 for text in runs) <= 0.02 * len(runs)
    assert all("why_not" in text for text in runs if not text["suspected"])


def test_V12_one_label_in_five_wrong_is_a_warning() -> None:
    runs = [hints(made, n, 0.2, seed) for made in GOOD for n in SIZES for seed in range(4)]
    assert sum(severity(text) == "warning" for text in runs) >= 0.95 * len(runs)
    assert np.mean([text["share"] for text in runs if "share" in text]) == pytest.approx(
        0.2, abs=0.02
    )


def test_V12_severity_grows_with_the_share() -> None:
    few = [severity(hints(Made(), 2000, 0.03, seed)) for seed in range(5)]
    assert few == ["info"] * 5
    many = [severity(hints(Made(), 2000, 0.4, seed)) for seed in range(5)]
    assert many.count("warning") >= 4


def test_V12_a_rare_label_that_is_never_answered_is_no_wrong_label() -> None:
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        odds = 1.5 * rng.normal(size=1000) - 3.0
        p = 1 / (1 + np.exp(-odds))
        truth = (rng.random(1000) < p).astype(np.int64)
        found.append(fit_label_noise(truth, np.stack([1 - p, p], axis=1)).p)
    assert sum(p < 0.02 for p in found) <= 1


def test_V12_nothing_learnt_gives_no_hint() -> None:
    why = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        p = rng.dirichlet([0.2, 0.2], size=300)  # sure of itself, and at chance
        truth = rng.integers(0, 2, 300)
        frame = predictions(truth, p, ("a", "b"))
        source = pl.DataFrame({"row_id": frame["row_id"]})
        e = Evaluation("test", {"tuned": frame}, source, CONFIG, ("a", "b"))
        [found] = find_label_errors(e)
        assert found.result.suspected == 0
        why.append(found.result.why_not)
    assert why.count(NOT_LEARNT) >= 18  # nominal: 2.5 % of runs at chance


def test_V12_the_better_of_tuned_and_probe_is_asked() -> None:
    truth, p = Made().draw(600, 0.2, 0)
    _, useless = Made().draw(600, 0.2, 1)
    labels = ("a", "b")
    good, poor = predictions(truth, p, labels), predictions(truth, useless, labels)
    source = pl.DataFrame({"row_id": good["row_id"]})
    asked = {}
    for frames in ({"tuned": good, "probe": poor}, {"tuned": poor, "probe": good}):
        [found] = find_label_errors(Evaluation("test", frames, source, CONFIG, labels))
        asked[found.result.model] = found.result
    assert asked["tuned"].suspected == asked["probe"].suspected > 60
    assert asked["tuned"].probe_agrees is not None
    assert asked["probe"].probe_agrees is None


def noisy(n: int = 600) -> Evaluation:
    return evaluation(*Made().draw(n, 0.2, 0))


def test_what_is_told_of_them() -> None:
    [found] = find_label_errors(noisy())
    result = found.result
    assert result.n == 600
    assert result.model == "tuned"
    assert 80 < result.suspected < 140
    assert result.estimated == pytest.approx(600 * result.share)
    assert result.low < 0.2 < result.high
    assert {(c.label, c.suggested) for c in result.cells} == {("a", "b"), ("b", "a")}
    first = result.rows[0]
    assert first.label != first.suggested
    assert first.probability > 0.99 > 0.01 > first.label_probability
    assert first.text.startswith(f"text {first.row_id - 10} x")
    assert len(first.text) == 200
    assert first.probe == "b"
    assert result.caveat == CAVEAT


def test_no_more_rows_are_listed_than_a_report_can_hold() -> None:
    [found] = find_label_errors(noisy(2000))
    assert found.result.suspected > 300
    assert len(found.result.rows) == LISTED


def test_training_rows_and_models_without_probabilities_say_nothing() -> None:
    from dataclasses import replace

    truth, p = np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])
    e = evaluation(truth, p)
    assert not list(find_label_errors(replace(e, split="train")))
    bare = {"tuned": e.frames["tuned"].drop("probabilities")}
    assert not list(find_label_errors(replace(e, frames=bare)))
    nan = evaluation(truth, np.array([[np.nan, 0.1], [0.2, 0.8]]))
    assert not list(find_label_errors(nan))


def test_it_is_written_down_with_every_other_analysis() -> None:
    truth, p = np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
    assert "label_errors" in {fact.name for fact in analyse(evaluation(truth, p))}


def test_its_section_of_the_report() -> None:
    [found] = find_label_errors(noisy())
    blocks = show_label_errors({"analyses": {"test": {"label_errors": {"": found.result}}}})
    assert [b.text for b in blocks if isinstance(b, Heading)] == [
        "Labels that may be wrong",
        "test",
    ]
    result = next(b.text for b in blocks if isinstance(b, Paragraph))
    assert f"{found.result.suspected:,} labels of the 600 rows of test are suspect." in result
    assert "By the errors where the tuned model is sure, " in result
    cells, rows = [b for b in blocks if isinstance(b, Table)]
    assert {row[:2] for row in cells.rows} == {("a", "b"), ("b", "a")}
    assert all(len(row) == len(rows.columns) for row in rows.rows)
    assert show_label_errors({"analyses": {}}) == []


def test_V14_the_interval_of_a_share_has_a_width_however_sure_it_is() -> None:
    """Ends lie between the shares that were tried, where the likelihood has fallen far enough."""
    for made in GOOD:
        for share in (0.0, 0.02, 0.2):
            truth, p = made.draw(8000, share, 0)
            found = fit_label_noise(truth, p)
            assert found.low <= found.share <= found.high
            assert found.high - found.low > 1e-4


def test_a_given_label_is_unlikely_below_5_percent_only() -> None:
    """Ten wrong labels stand out; the model gives three of them less than 0.05, three just that."""
    truth = np.arange(400) % 2
    p = np.where(truth == 0, 0.9, 0.1)
    p[:20:2] = [0.02, 0.03, 0.04, 0.05, 0.05, 0.05, 0.06, 0.07, 0.08, 0.09]
    [found] = find_label_errors(evaluation(truth, np.stack([p, 1 - p], axis=1)))
    assert found.result.suspected == 10
    assert found.result.unlikely == 3


@pytest.mark.parametrize("labels", [2, 5])
def test_V12_the_share_is_found_where_the_unsure_answers_are_at_chance(labels: int) -> None:
    """At chance one label of five is right one time in five, and not every other time."""
    inside, best = 0, []
    for seed in range(8):
        truth, p = Made(skill=4.0, labels=labels).draw(1500, 0.1, seed)
        noise = fit_label_noise(truth, p)
        inside += noise.low <= 0.1 <= noise.high
        best.append(noise.share)
    assert inside >= 6  # nominal: 95 %
    assert np.mean(best) == pytest.approx(0.1, abs=0.01)
