"""Guardrails: what must hold beside the objective, by metric and by rows."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import records
import story
from ftev.core.analysis import Evaluation, guardrails, measure
from ftev.core.config.config import (
    DataConfig,
    GuardrailConfig,
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
)
from ftev.core.config.config_file import check_config, dump_config, load_config
from ftev.core.config.draft import (
    Draft,
    check_draft,
    draft_of,
    draft_toml,
    form_path,
    form_settings,
    read_draft,
)
from ftev.core.config.fields import read_value, show_value
from ftev.core.data.data import read_run_data
from ftev.core.errors import ConfigError, DataError
from ftev.core.judgement.objective import against_margin
from ftev.core.judgement.verdict import Verdict, judge
from ftev.core.metrics.results import Comparison
from ftev.core.metrics.statistics import wilson
from ftev.core.report.report import build_report, render_markdown
from ftev.core.run.events import AnyEvent, LabelsFixed, LeakageFound, RunFinished, RunStarted
from ftev.core.run.history import fold
from msgspec import structs

LABELS = ("fine", "fraud")
ROWS = 1200
GOLD = GuardrailConfig(metric="recall", slice={"tier": "gold"}, no_worse_by=0.02)


def terms(*rails: GuardrailConfig, **objective: Any) -> RunConfig:
    return RunConfig(
        task="classification",
        name="fraud",
        model=ModelConfig(base="m"),
        data=DataConfig(train="t.csv", test="e.csv"),
        objective=ObjectiveConfig(**({"metric": "accuracy"} | objective)),
        guardrail=list(rails),
    )


def frame(right: Any, truth: Any) -> pl.DataFrame:
    """Predictions that are right where `right` says so."""
    answers = np.where(right, truth, 1 - truth)
    names = np.array(LABELS)
    return pl.DataFrame(
        {"row_id": range(len(truth)), "label": names[truth], "predicted": names[answers]}
    )


def evaluation(gold: tuple[float, float], others: tuple[float, float], config: RunConfig,
               rows: int = ROWS) -> Evaluation:  # fmt: skip
    """Base and tuned are right on these shares of the gold rows (a third) and of the others."""
    truth = np.arange(rows) % 2
    is_gold = np.arange(rows) // 2 % 3 == 0
    place = np.random.default_rng(0).permutation(rows) / rows
    frames = {}
    for i, model in enumerate(("base", "tuned")):
        share = np.where(is_gold, gold[i], others[i])
        frames[model] = frame(place < share, truth)
    source = pl.DataFrame(
        {
            "row_id": range(rows),
            "text": "x",
            "slice:tier": np.where(is_gold, "gold", "plain"),
            "slice:amount": np.where(is_gold, 3, 4),
        }
    )
    return Evaluation("test", frames, source, config, LABELS, "fraud")


def judged(e: Evaluation, leaked: tuple[int, ...] = ()) -> Verdict:
    events: list[AnyEvent] = [
        RunStarted(run="r", name="r", task="classification", pid=1, host="h", ftev_version="0"),
        LabelsFixed(labels=list(LABELS), positive="fraud"),
        *([LeakageFound(exact=len(leaked), near=0, ngram=0, leaked={"test": len(leaked)})]
          if leaked else []),
        *measure(e, leaked),
        RunFinished(status="finished"),
    ]  # fmt: skip
    return judge(fold(events), e.config)


def measured(e: Evaluation) -> list[dict[str, Any]]:
    [found] = guardrails(e)
    return list(found.result.guardrails)


def test_a_guardrail_that_fails_in_one_slice_holds_and_is_named_with_its_interval() -> None:
    e = evaluation((0.95, 0.70), (0.60, 0.95), terms(GOLD))
    assert judged(replace(e, config=terms())).decision == "ship"
    verdict = judged(e)
    assert verdict.decision == "hold"
    reason = verdict.reasons[0]
    assert reason.startswith(
        'guardrail: recall of "fraud" on 400 rows of test with tier = "gold" changes by -'
    )
    assert "against the base (paired 95 %: -" in reason
    assert reason.endswith("shown worse by more than the 2.0 points allowed")
    assert verdict.evidence[0]["at"][:3] == ["analyses", "test", "guardrails"]
    assert verdict.evidence[0]["high"] < -0.02


def test_a_guardrail_that_is_met_ships_and_is_told() -> None:
    verdict = judged(evaluation((0.80, 0.95), (0.60, 0.95), terms(GOLD)))
    assert verdict.decision == "ship"
    assert verdict.reasons[-1].endswith("shown no worse by more than 2.0 points")


def test_a_guardrail_that_cannot_be_shown_is_no_evidence() -> None:
    verdict = judged(evaluation((0.80, 0.80), (0.60, 0.95), terms(GOLD), rows=120))
    assert verdict.decision == "no evidence"
    assert verdict.reasons[0].endswith("that it is no worse by more than 2.0 points is not shown")


def test_every_guardrail_must_hold() -> None:
    broken = GuardrailConfig(metric="accuracy", slice={"tier": "plain"}, at_least=0.99)
    verdict = judged(evaluation((0.80, 0.95), (0.60, 0.95), terms(GOLD, broken)))
    assert verdict.decision == "hold"
    assert "target 99.0 %: the whole interval misses it" in verdict.reasons[0]


def test_a_guardrail_alone_is_no_reason_to_ship() -> None:
    verdict = judged(evaluation((0.90, 0.90), (0.90, 0.90), terms(GOLD)))
    assert verdict.decision == "no evidence"


def test_a_target_of_a_slice_has_wilsons_interval() -> None:
    rail = GuardrailConfig(metric="accuracy", slice={"tier": "gold"}, at_least=0.9)
    e = evaluation((0.80, 0.95), (0.60, 0.95), terms(rail))
    [found] = measured(e)
    right = e.frames["tuned"].filter(e.source["slice:tier"] == "gold")
    hits = int((right["label"] == right["predicted"]).sum())
    assert (found.low, found.high) == pytest.approx(wilson(hits, 400))
    assert (found.rows, found.outcome, found.condition) == (400, "met", "at_least")


@pytest.mark.parametrize(
    ("chosen", "rows"),
    [({"amount": 3}, 400), ({"amount": 3.0, "tier": "gold"}, 400), ({}, 1200),
     ({"amount": 5}, 0), ({"amount": 3, "tier": "plain"}, 0)],
)  # fmt: skip
def test_rows_are_chosen_by_the_values_of_columns(chosen: dict[str, Any], rows: int) -> None:
    rail = GuardrailConfig(metric="accuracy", slice=chosen, at_least=0.5)
    [found] = measured(evaluation((0.8, 0.9), (0.8, 0.9), terms(rail)))
    assert found.rows == rows
    if not rows:
        assert (found.outcome, found.why) == (
            "cannot tell",
            "no row of test has these values",
        )


def test_recall_of_one_class_of_many() -> None:
    labels = ("a", "b", "c")
    truth = np.array(labels)[np.arange(300) % 3]
    wrong = np.where((truth == "c") & (np.arange(300) < 60), "a", truth)
    predictions = pl.DataFrame({"row_id": range(300), "label": truth, "predicted": wrong})
    rail = GuardrailConfig(metric="recall", positive="c", at_least=0.9)
    source = predictions.select("row_id")
    e = Evaluation("test", {"tuned": predictions}, source, terms(rail), labels, None)
    [found] = measured(e)
    assert found.value == pytest.approx(0.8)
    assert (found.low, found.high) == pytest.approx(wilson(80, 100))
    assert (found.outcome, found.positive) == ("failed", "c")


def test_a_language_model_has_guardrails_too() -> None:
    rng = np.random.default_rng(1)
    tokens = rng.integers(5, 30, 300)
    nll = tokens * rng.gamma(9, 0.3, 300)

    def scored(factor: float) -> pl.DataFrame:
        return pl.DataFrame({"row_id": range(300), "nll": nll * factor, "tokens": tokens,
                             "correct": tokens // 3, "bytes": tokens * 4})  # fmt: skip

    source = pl.DataFrame({"row_id": range(300), "slice:kind": ["code", "prose"] * 150})
    rail = GuardrailConfig(metric="loss", slice={"kind": "code"}, no_worse_by=0.05, at_most=9.0)
    config = replace(terms(rail, metric="loss"), task="generation")
    worse = Evaluation("test", {"base": scored(1.0), "tuned": scored(1.2)}, source, config)
    found = {r.condition: r for r in measured(worse)}
    assert found["no_worse_by"].outcome == "failed"
    assert (found["at_most"].outcome, found["at_most"].rows) == ("met", 150)
    better = replace(worse, frames={"base": scored(1.0), "tuned": scored(0.9)})
    assert {r.outcome for r in measured(better)} == {"met"}
    windows = replace(worse, windows=source.select("row_id"))
    assert {r.outcome for r in measured(windows)} == {"cannot tell"}


def test_leaked_rows_are_left_out_of_guardrails() -> None:
    e = evaluation((0.80, 0.95), (0.60, 0.95), terms(GOLD))
    verdict = judged(e, leaked=tuple(range(300)))
    [reason] = [r for r in verdict.reasons if r.startswith("guardrail")]
    assert "on 300 rows of test_clean" in reason


def test_guardrails_that_were_not_measured_are_no_evidence() -> None:
    e = evaluation((0.80, 0.95), (0.60, 0.95), terms())
    verdict = judged(e)
    assert verdict.decision == "ship"
    events: list[AnyEvent] = [
        RunStarted(run="r", name="r", task="classification", pid=1, host="h", ftev_version="0"),
        LabelsFixed(labels=list(LABELS), positive="fraud"),
        *measure(e),
    ]
    early = judge(fold(events), terms(GOLD))
    assert early.decision == "no evidence"
    assert "guardrails" in early.preliminary


def test_the_report_lists_guardrails(tmp_path: Path) -> None:
    e = evaluation((0.95, 0.70), (0.60, 0.95), terms(GOLD))
    events: list[AnyEvent] = [
        RunStarted(run="r", name="r", task="classification", pid=1, host="h", ftev_version="0"),
        LabelsFixed(labels=list(LABELS), positive="fraud"),
        *measure(e),
        RunFinished(status="finished"),
    ]
    report = build_report(story.write_story(tmp_path / "run", events, terms(GOLD)))
    text = render_markdown(report)
    assert "## Guardrails" in text
    assert 'Failed: recall of "fraud" on 400 rows of test with tier = "gold" changes by' in text
    there = msgspec.to_builtins(report)
    for key in report["verdict"]["evidence"][0]["at"]:
        there = there[key]
    assert there["change"]["high"] == report["verdict"]["evidence"][0]["high"]


# Margins


def change(low: float, high: float, p: float = 0.001, metric: str = "accuracy") -> Comparison:
    middle = (low + high) / 2
    plain = {"metric": metric, "difference": middle, "low": low, "high": high, "p": p}
    return records.record(Comparison, plain)


@pytest.mark.parametrize(
    ("low", "high", "p", "vote"),
    [
        (0.021, 0.05, 0.001, 1),
        (0.02, 0.05, 0.001, 0),  # exactly at the margin
        (0.01, 0.05, 0.001, 0),
        (0.03, 0.06, 0.06, 0),  # its p does not show it
        (-0.02, 0.019, 0.5, -1),
        (-0.05, -0.01, 0.01, -1),
    ],
)
def test_better_by_is_shown_only_beyond_the_margin(
    low: float, high: float, p: float, vote: int
) -> None:
    assert against_margin(change(low, high, p), 500, better_by=0.02)[0] == vote
    loss = change(-high, -low, p, "loss")
    assert against_margin(loss, 500, better_by=0.02)[0] == vote


@pytest.mark.parametrize(
    ("low", "high", "p", "vote"),
    [
        (-0.009, 0.02, 0.5, 1),
        (-0.01, 0.02, 0.5, 0),
        (-0.03, 0.02, 0.5, 0),
        (-0.05, -0.02, 0.001, -1),
        (-0.05, -0.02, 0.06, 0),
        (0.5, 1.0, 0.0625, 0),  # 5 of 5 rows: the interval says more than the test
        (0.01, 0.03, 0.001, 1),
    ],
)
def test_no_worse_by_is_shown_by_the_interval(low: float, high: float, p: float, vote: int) -> None:
    assert against_margin(change(low, high, p), 500, no_worse_by=0.01)[0] == vote


def test_rows_that_all_stayed_show_as_much_as_their_number() -> None:
    nothing = change(0.0, 0.0, 1.0)
    assert against_margin(nothing, 5, no_worse_by=0.01)[0] == 0
    assert against_margin(nothing, 1000, no_worse_by=0.01)[0] == 1
    assert against_margin(change(0.0, 0.0, 1.0, "loss"), 1000, no_worse_by=0.01)[0] == 0
    without = structs.replace(nothing, low=math.nan, high=math.nan)
    assert against_margin(without, 1000, no_worse_by=0.01)[0] == 1
    assert against_margin(structs.replace(without, p=0.5), 1000, no_worse_by=0.01)[0] == 0


def test_margins_decide_the_verdict() -> None:
    e = evaluation((0.80, 0.90), (0.80, 0.90), terms())
    assert judged(e).decision == "ship"
    much = replace(e, config=terms(better_by=0.2))
    assert judged(much).decision == "hold"
    assert judged(much).reasons[0].endswith("gains less than the 20.0 points asked for")
    assert judged(replace(e, config=terms(better_by=0.05))).decision == "ship"
    assert judged(much).objective == "accuracy better than the reference by more than 20.0 points"
    level = evaluation((0.80, 0.80), (0.80, 0.80), terms())
    assert judged(level).decision == "no evidence"
    shown = judged(replace(level, config=terms(no_worse_by=0.02)))
    assert shown.decision == "ship"
    assert shown.reasons[0].endswith("shown no worse by more than 2.0 points")


# Configuration

TEXT = """\
task = "classification"
[model]
base = "tiny"
[data]
train = "train.csv"
[[guardrail]]
metric = "recall"
slice = { tier = "gold", amount = 3 }
no_worse_by = 0.02

[[guardrail]]
metric = "accuracy"
at_least = 0.8
"""
RAILS = [
    GuardrailConfig(metric="recall", slice={"tier": "gold", "amount": 3}, no_worse_by=0.02),
    GuardrailConfig(metric="accuracy", at_least=0.8),
]


def load(folder: Path, text: str, *overrides: str) -> RunConfig:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, list(overrides))


def faults(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, *overrides)
    return [str(fault) for fault in caught.value.faults]


def test_guardrails_are_read_and_written(tmp_path: Path) -> None:
    config = load(tmp_path, TEXT)
    assert config.guardrail == RAILS
    assert check_config(tomllib.loads(dump_config(config))) == config
    given = 'guardrail=[{ metric = "recall", no_worse_by = 0.02 }]'
    assert load(tmp_path, TEXT, given).guardrail == [
        GuardrailConfig(metric="recall", no_worse_by=0.02)
    ]


def test_a_draft_and_the_form_do_not_lose_guardrails(tmp_path: Path) -> None:
    config = load(tmp_path, TEXT)
    draft = draft_of(config)
    assert check_draft(draft).config == config
    again, unknown = read_draft(tomllib.loads(draft_toml(draft, tmp_path)), str(tmp_path))
    assert (again, unknown) == (draft, [])
    [setting] = [s for s in form_settings() if s.path == "guardrail"]
    shown = show_value(draft.given["guardrail"])
    assert shown.startswith('[{ "metric" = "recall", "slice" = { "tier" = "gold", "amount" = 3 }')
    written = Draft({**draft.given, "guardrail": read_value(setting.type, shown)}, draft.folder)
    assert check_draft(written).config == config
    wrong = Draft({**draft.given, "guardrail": [{"metric": "recal"}]}, draft.folder)
    assert {form_path(f) for f in check_draft(wrong).faults} == {"guardrail"}


def test_every_fault_of_a_guardrail_is_named_with_its_line(tmp_path: Path) -> None:
    text = TEXT.replace("no_worse_by = 0.02", "no_worse_by = 2\nat_most = 0.5").replace(
        "at_least = 0.8", "at_leest = 0.8"
    )
    found = faults(tmp_path, text)
    assert any(f.startswith("run.toml:14 guardrail[1].at_leest: unknown setting") for f in found)
    assert any("run.toml:10 guardrail[0].at_most: cannot be asked of recall" in f for f in found)
    assert any("run.toml:9 guardrail[0].no_worse_by: must be below 1" in f for f in found)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('[{ metric = "recall" }]', "guardrail[0]: asks for nothing"),
        ('[{ metric = "recal", at_least = 0.5 }]', "guardrail[0].metric: there is no metric"),
        ('[{ metric = "bleu", at_least = 5 }]', "guardrail[0].metric: bleu is measured for"),
        ('[{ at_least = 0.5 }]', "guardrail[0].metric: must be given"),
        ('[{ metric = "accuracy", at_least = nan }]', "guardrail[0].at_least: must be a number"),
        ('[{ metric = "accuracy", no_worse_by = -1 }]', "guardrail[0].no_worse_by: must be above"),
        ('[{ metric = "accuracy", no_worse_by = inf }]', "guardrail[0].no_worse_by: must be a n"),
        ('[{ metric = "accuracy", at_least = 0.5, positive = "x" }]', "guardrail[0].positive: bel"),
        ('[{ metric = "accuracy", at_least = 0.5, slice = { a = nan } }]', "guardrail[0].slice: "),
        ("3", "guardrail: must be a list of tables"),
        ("[3]", "guardrail[0]: must be a table"),
    ],
)  # fmt: skip
def test_a_guardrail_that_cannot_be_meant_is_refused(
    tmp_path: Path, given: str, expected: str
) -> None:
    head = TEXT.partition("[[")[0]
    [found] = faults(tmp_path, head, f"guardrail={given}")
    assert found.startswith(f"--set {expected}")


def test_margins_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    head = TEXT.partition("[[")[0]
    both = faults(tmp_path, head, "objective.better_by=0.1", "objective.no_worse_by=0.1")
    assert "cannot stand beside better_by" in both[0]
    [wide] = faults(tmp_path, head, "objective.better_by=2")
    assert wide.startswith("--set objective.better_by: must be below 1 for macro_f1")
    cost = "objective.cost={ fp = 1, fn = 20 }"
    [alone] = faults(tmp_path, head, cost, "objective.better_by=0.1")
    assert "has no metric beside cost" in alone


def test_a_guardrail_needs_its_columns_and_its_labels(tmp_path: Path) -> None:
    rows = "".join(f"text number {i},{'abc'[i % 3]},gold\n" for i in range(60))
    (tmp_path / "train.csv").write_text("text,label,tier\n" + rows, encoding="utf-8")
    head = TEXT.partition("[[")[0]

    def given(rail: str) -> RunConfig:
        return load(tmp_path, head, f"guardrail=[{rail}]")

    dataset = read_run_data(given('{ metric = "accuracy", at_least = 0.5, slice = { tier = 1 } }'))
    assert "slice:tier" in dataset.splits["train"].frame.columns
    with pytest.raises(DataError, match="has no column"):
        read_run_data(given('{ metric = "accuracy", at_least = 0.5, slice = { tir = 1 } }'))
    with pytest.raises(ConfigError, match="belongs to one class, and there are 3 labels"):
        read_run_data(given('{ metric = "recall", at_least = 0.5 }'))
    with pytest.raises(ConfigError, match=r"guardrail\[0\].positive: there is no label 'd'"):
        read_run_data(given('{ metric = "recall", at_least = 0.5, positive = "d" }'))
    assert read_run_data(given('{ metric = "recall", at_least = 0.5, positive = "c" }'))
