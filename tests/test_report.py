"""The report: its shape, its verdict, its findings, and text that stays text."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import records
import story
from ftev.core.catalog.summary import describe_status, headline
from ftev.core.config.config import DataConfig, ModelConfig, RunConfig
from ftev.core.errors import ConfigError, RunError
from ftev.core.judgement.findings import Finding, find
from ftev.core.judgement.verdict import judge
from ftev.core.metrics.results import Comparison
from ftev.core.report.formats.md import escape
from ftev.core.report.report import build_report, render_json, render_markdown, write_report
from ftev.core.report.sections.verdict import headline_figures
from ftev.core.run.events import (
    AnyEvent,
    ComparisonsComputed,
    Evaluated,
    LeakageFound,
    ModelLoaded,
    RunFinished,
    RunStarted,
    SplitPrepared,
    spell_numbers,
)
from ftev.core.run.history import History, fold
from ftev.core.run.runs import Run
from ftev.core.wording.numbers import format_difference, format_seconds, format_value
from msgspec.structs import replace

NASTY = "a|b `c` <img src=x onerror=alert(1)> [x](http://y) **z** \x1b[31m\x07\u202e_q_\nnext"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return story.write_story(tmp_path / "2026-01-01_story")


def told(*events: AnyEvent) -> History:
    """The story's beginning and end around other results."""
    return fold([*story.beginning(), *story.epoch(1), *events, RunFinished(status="finished")])


def results(tuned: dict[str, Any], split: str = "test", **others: dict[str, Any]) -> list[AnyEvent]:
    models = {"majority": story.result((0, 100)), **others, "tuned": tuned}
    return [records.results(split, m, r) for m, r in models.items()]


def compared(*rows: dict[str, Any]) -> ComparisonsComputed:
    return records.comparisons(list(rows))


def better(difference: float = 0.2, half: float = 0.05) -> ComparisonsComputed:
    return compared(
        *(
            story.comparison(metric, difference, half, "majority")
            for metric in ("accuracy", "macro_f1", "recall")
        )
    )


def codes(history: History) -> set[str]:
    return {f.code for f in find(history)}


# Shape


def test_the_document_has_the_promised_parts(run: Run) -> None:
    report = build_report(run)
    assert report["schema"] == "ftev.report/1"
    promised = "schema run data stages epochs results comparisons findings verdict"
    assert set(promised.split()) <= set(report)
    about = "id name task status created finished ftev_version packages device config_sha256"
    assert set(about.split()) <= set(report["run"])
    assert report["run"]["status"] == "finished"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", report["run"]["created"])
    assert set(report["data"]) == {"train", "validation", "test", "leakage"}
    assert {"rows", "columns", "sha256", "labels"} <= set(report["data"]["train"])
    assert {"exact", "near", "ngram", "pairs"} <= set(report["data"]["leakage"])
    stage = "name seconds rows_in columns_in rows_out columns_out note"
    assert set(report["stages"][0]) == set(stage.split())
    epoch = "epoch train_loss validation_loss validation_accuracy observation"
    assert set(epoch.split()) <= set(report["epochs"][0])
    tuned = msgspec.to_builtins(report["results"]["test"]["tuned"])
    assert {"n", "loss", "metrics", "per_class", "confusion"} <= set(tuned)
    assert set(tuned["metrics"]["accuracy"]) == {"value", "low", "high", "method"}
    assert {"code", "severity", "message", "evidence", "rows"} <= set(report["findings"][0])
    assert set(report["verdict"]) == {"decision", "objective", "reasons", "evidence"}


def test_the_numbers_are_those_of_the_events(run: Run) -> None:
    report = build_report(run)
    assert spell_numbers(report["results"]["test"]) == story.RESULTS
    assert [c.difference for c in report["comparisons"]] == [
        c["difference"] for c in story.COMPARISONS
    ]
    assert report["epochs"][1]["validation_loss"] == pytest.approx(0.40)
    assert report["epochs"][1]["train_loss"] == pytest.approx(0.425)
    assert report["references"]["random_loss"] == pytest.approx(math.log(2))


def test_V15_older_runs_lose_the_counts_that_do_not_add_up_to_a_metric(run: Run) -> None:
    assert any("fixed" in c and c["metric"] != "accuracy" for c in story.COMPARISONS)
    counted = {c.metric for c in build_report(run)["comparisons"] if c.fixed is not None}
    assert counted == {c["metric"] for c in story.COMPARISONS} & {"accuracy"}


def test_json_spells_what_it_cannot_say(run: Run) -> None:
    report = build_report(run)
    models = report["results"]["test"]
    models["tuned"] = replace(models["tuned"], loss=math.nan)
    report["comparisons"] = [{"low": -math.inf, "high": math.inf}]
    report["run"]["name"] = "\x9b31m"
    text = render_json(report)
    assert "\x9b" not in text
    back = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert back["results"]["test"]["tuned"]["loss"] == "NaN"
    assert back["run"]["name"] == "\x9b31m"
    assert back["comparisons"] == [{"low": "-Infinity", "high": "Infinity"}]


@pytest.mark.parametrize("ended", range(len(story.whole()) + 1))
def test_a_run_cut_anywhere_still_gives_a_report(tmp_path: Path, ended: int) -> None:
    run = story.write_story(tmp_path / "run", story.whole()[:ended])
    report = build_report(run)
    assert render_markdown(report).startswith("# story")
    msgspec.json.decode(render_json(report).encode())
    describe_status(run)


def test_a_copy_without_its_configuration_gives_a_report(run: Run) -> None:
    (run.path / "run.toml").unlink()
    report = build_report(run)
    assert "verdict" not in report
    assert "## Metrics" in render_markdown(report)


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    events = [*story.beginning(), RunFinished(status="failed", error="out of | memory")]
    report = build_report(story.write_story(tmp_path / "run", events))
    assert report["verdict"]["decision"] == "no evidence"
    assert "The run failed: out of \\| memory" in render_markdown(report)


# Files


def test_files_are_written_whole(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "there" / "deeper"
    paths = write_report(run, ("md", "json"), out)
    assert [p.name for p in paths] == ["report.md", "report.json"]
    assert sorted(p.name for p in out.iterdir()) == ["report.json", "report.md"]
    assert json.loads(paths[1].read_text())["schema"] == "ftev.report/1"
    assert write_report(run)[0] == run.path / "report.md"


@pytest.mark.parametrize(("name", "told"), [("pdf", "no format"), ("", "Known: md, html, json")])
def test_other_formats_are_refused(run: Run, name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        write_report(run, ["md", name])
    assert not (run.path / "report.md").exists()


def test_a_place_that_cannot_be_written_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        write_report(run, ["md"], tmp_path / "file")


# Markdown


def test_user_text_cannot_break_out() -> None:
    shown = escape(NASTY)
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "<img" not in shown
    for mark in "|`*[]":
        assert not re.search(rf"(?<!\\){re.escape(mark)}", shown), mark
    assert escape("card_arrival") == "card_arrival"
    assert escape("_x_ 1_000") == r"\_x\_ 1_000"
    assert escape("# title").startswith("\\#")
    assert escape("1. item").startswith("1\\.")
    assert escape("x" * 1000).endswith("…")


def test_nasty_labels_keep_their_tables(tmp_path: Path) -> None:
    text = render_markdown(build_report(story.write_story(tmp_path / "run", nasty_story())))
    assert "\x1b" not in text
    assert "<img" not in text
    widths: list[int] = []
    for line in text.splitlines():
        if line.startswith("|"):
            widths.append(len(re.findall(r"(?<!\\)\|", line)))
        elif widths:
            assert len(set(widths)) == 1, text
            widths = []


def nasty_story() -> list[AnyEvent]:
    def rename(event: AnyEvent) -> AnyEvent:
        swapped = msgspec.json.encode(event).replace(b'"positive"', json.dumps(NASTY).encode())
        return msgspec.json.decode(swapped, type=type(event))  # type: ignore[no-any-return]

    def rename_kept(event: AnyEvent) -> AnyEvent:
        return event if isinstance(event, SplitPrepared | Evaluated) else rename(event)

    return [rename_kept(e) for e in story.whole()]


def test_a_matrix_of_many_labels_becomes_its_worst_confusions(tmp_path: Path) -> None:
    labels = [f"label_{i}" for i in range(30)]
    counts = [[9 if i == j else int(j == i + 1) * i for j in range(30)] for i in range(30)]
    wide = {**story.result((88, 92)), "confusion": {"labels": labels, "counts": counts}}
    run = story.write_story(tmp_path / "run", [*story.beginning(), *results(wide)])
    text = render_markdown(build_report(run))
    assert "## Confusion matrix" not in text
    assert "| label_28 | label_29 | 28 | 75.7 % |" in text
    assert text.count("| label_") >= 20


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        (format_value("accuracy", 0.9123), "91.2 %"),
        (format_value("loss", "NaN"), "NaN"),
        (format_value("perplexity", math.inf), "∞"),
        (format_value("mcc", -0.5), "-0.500"),
        (format_difference("accuracy", 0.031), "+3.1 points"),
        (format_difference("accuracy", -0.0004), "-0.04 points"),
        (format_difference("loss", -0.25), "-0.250"),
        (format_seconds(0.44), "0.4 s"),
        (format_seconds(59.7), "1 min 00 s"),
        (format_seconds(3725), "1 h 02 min"),
        (format_seconds(math.inf), "–"),
    ],
)
def test_numbers_as_words(shown: str, told: str) -> None:
    assert shown == told


# Verdict


def test_better_without_a_target_ships() -> None:
    verdict = judge(fold(story.whole()), story.config())
    assert verdict.decision == "ship"
    assert "fixed" not in verdict.reasons[0]
    assert "linear probe" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("target", "decision", "told"),
    [
        (0.80, "ship", "the whole interval meets it"),
        (0.85, "no evidence", "the interval contains the target"),
        (0.95, "hold", "the whole interval misses it"),
    ],
)
def test_a_target_is_judged_by_the_interval(target: float, decision: str, told: str) -> None:
    history = fold([*story.whole()])
    verdict = judge(history, story.config(metric="macro_f1", at_least=target))
    assert verdict.decision == decision
    assert told in verdict.reasons[0]
    assert "90.0 % (95 %: 85.0 % to 95.0 %)" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("difference", "half", "decision"),
    [(0.1, 0.05, "ship"), (0.1, 0.15, "no evidence"), (-0.1, 0.05, "hold")],
)
def test_a_difference_is_judged_by_its_interval(
    difference: float, half: float, decision: str
) -> None:
    history = told(*results(story.result((88, 92))), better(difference, half))
    assert judge(history, story.config()).decision == decision


def test_where_less_is_better_a_fall_is_a_gain() -> None:
    lower = compared(story.comparison("loss", -0.3, 0.1, "majority"))
    history = told(*results(story.result((88, 92))), lower)
    assert judge(history, story.config(metric="loss")).decision == "ship"


def test_a_metric_that_was_not_computed_proves_nothing() -> None:
    history = told(*results(story.result((88, 92))), better())
    verdict = judge(history, story.config(metric="roc_auc", at_least=0.9))
    assert verdict.decision == "no evidence"
    assert "ROC AUC was not computed on test" in " ".join(verdict.reasons)


def test_C7_high_accuracy_with_poor_recall_is_held() -> None:
    fraud = story.result((980, 12), rows=(1000, 100))
    history = told(*results(fraud), better())
    assert history.results["test"]["tuned"].metrics["accuracy"].value > 0.9
    verdict = judge(history, story.config(metric="accuracy", at_least=0.8))
    assert verdict.decision == "hold"
    assert 'only 12.0 % of the rows that are "positive" are found' in verdict.reasons[0]


def test_validation_alone_is_no_evidence() -> None:
    validation = compared(
        {**story.comparison("macro_f1", 0.2, 0.05, "majority"), "split": "validation"}
    )
    history = told(*results(story.result((88, 92)), split="validation"), validation)
    verdict = judge(history, story.config())
    assert verdict.decision == "no evidence"
    assert "no test split" in verdict.reasons[0]
    assert "no_test_set" in codes(history)


def test_leaked_rows_are_judged_on_the_clean_ones() -> None:
    leak = LeakageFound(exact=40, near=0, ngram=0, leaked={"test": 40})
    events = [leak, *results(story.result((88, 92))), better()]
    assert judge(told(*events), story.config()).decision == "no evidence"
    clean = {**story.comparison("macro_f1", 0.0, 0.05, "majority"), "split": "test_clean"}
    events += results(story.result((60, 60)), split="test_clean")
    told_clean = judge(told(*events), story.config()).reasons[0]
    assert "40 of 200 test rows repeat a row of an earlier split" in told_clean
    assert "On the other 200 rows macro F1 is 60.0 % [55.0, 65.0]" in told_clean
    events.append(compared(clean))
    verdict = judge(told(*events), story.config())
    assert verdict.decision == "no evidence"
    assert "test_clean" in verdict.reasons[0]
    good = [{**clean, "difference": 0.2, "low": 0.1, "high": 0.3}]
    events[-1] = compared(*good)
    verdict = judge(told(*events), story.config())
    assert verdict.decision == "ship"
    assert len(verdict.reasons) == len(verdict.evidence)


def test_D2_the_verdict_says_why_it_judges_clean_rows_and_what_all_rows_give() -> None:
    leak = LeakageFound(exact=40, near=0, ngram=0, leaked={"test": 40})
    clean = {**story.comparison("macro_f1", 0.2, 0.05, "majority"), "split": "test_clean"}
    kept = results(story.result((70, 75), rows=(80, 80)), split="test_clean")
    verdict = judge(
        told(leak, *results(story.result((88, 92))), *kept, better(), compared(clean)),
        story.config(),
    )
    assert verdict.decision == "ship"
    assert verdict.reasons[-1] == (
        "40 of 200 test rows repeat a row of an earlier split, so the 160 others are judged; "
        "on all rows macro F1 is 90.0 % [85.0, 95.0]"
    )
    assert verdict.evidence[-1]["leaked"] == 40
    alone = judge(told(*results(story.result((88, 92))), better()), story.config())
    assert not any("earlier split" in reason for reason in alone.reasons)


def test_a_run_without_results_proves_nothing() -> None:
    verdict = judge(fold(story.beginning()), story.config(metric="recall", at_least=0.9))
    assert verdict.decision == "no evidence"
    assert verdict.objective == 'recall of "positive" at least 90.0 %'


# Findings


def found(history: History, code: str) -> Finding:
    return next(f for f in find(history) if f.code == code)


def test_a_sound_run_has_no_grave_findings() -> None:
    assert not [f for f in find(fold(story.whole())) if f.severity != "info"]


def test_leakage_is_told_with_its_rows() -> None:
    pairs = [("train", 3, "test", 7, "exact", 1.0), ("train", 1, "train", 2, "exact", 1.0)]
    leak = LeakageFound(
        exact=1, near=0, ngram=0, conflicting_labels=2, pairs=pairs, leaked={"test": 1}
    )
    history = told(leak)
    assert found(history, "leakage").severity == "warning", "there are clean rows to judge by"
    assert found(history, "leakage").rows == [("test", 7)]
    assert "conflicting_labels" in codes(history)
    assert "leakage" not in codes(told(LeakageFound(exact=0, near=0, ngram=0)))


def test_D1_the_rows_that_leak_are_counted_once_a_split(tmp_path: Path) -> None:
    leak = LeakageFound(
        exact=0,
        near=55,
        ngram=81,
        leaked={"validation": 30, "test": 60},
        pairs=[("train", i, "test", i, "near", 0.9) for i in range(60)],
        splits=["train", "validation", "test"],
        pairs_found=136,
    )
    events = [*story.whole()[:-1], leak]
    message = found(fold(events), "leakage").message
    told_rows = "60 test rows and 30 validation rows repeat a row of an earlier split"
    assert message.startswith(f"{told_rows}: 0 exactly, 55 nearly")
    text = " ".join(render_markdown(build_report(story.write_story(tmp_path, events))).split())
    assert f"{told_rows}; the layers overlap." in text
    assert "The table shows the first 10 pairs of 136" in text
    assert "and 45 more" not in text


def test_the_data_section_tells_distinct_inputs_where_they_differ(tmp_path: Path) -> None:
    test = SplitPrepared(split="test", rows=1115, columns=2, distinct_rows=1033)
    train = SplitPrepared(split="train", rows=160, columns=2, distinct_rows=160)
    run = story.write_story(tmp_path, [*story.whole()[:-1], test, train])
    text = " ".join(render_markdown(build_report(run)).split())
    assert "test: 1,115 rows, 1,033 distinct inputs." in text
    assert "160 distinct" not in text


def test_one_split_alone_is_compared_with_nothing(tmp_path: Path) -> None:
    alone = LeakageFound(exact=0, near=0, ngram=0, splits=["test"])
    for leak, compared_any in ((alone, False), (replace(alone, splits=["train", "test"]), True)):
        run = story.write_story(tmp_path / str(compared_any), [*story.whole()[:-1], leak])
        text = " ".join(render_markdown(build_report(run)).split())
        assert ("nothing could be compared between splits" in text) is not compared_any
        assert ("0 exactly" in text) is compared_any


def test_imbalance_and_small_classes() -> None:
    uneven = SplitPrepared(split="train", rows=100, columns=2, labels={"a": 90, "b": 10})
    assert "9.0 rows" in found(told(uneven), "class_imbalance").message
    even = SplitPrepared(split="train", rows=100, columns=2, labels={"a": 50, "b": 50})
    assert "class_imbalance" not in codes(told(even))
    history = told(*results(story.result((88, 5), rows=(100, 5))))
    assert '"positive" (5)' in found(history, "small_classes").message


def test_overfitting_names_its_epoch_and_what_was_kept() -> None:
    history = fold(story.whole())
    finding = found(history, "overfitting")
    since = finding.evidence["epoch"] + 1
    assert finding.message.startswith(f"overfitting since epoch {since:.0f}: ")
    best = min(history.epochs, key=lambda e: e.validation_loss).epoch
    assert since == best + 1  # as the line of each later epoch says
    assert "0.400 (epoch 2, step 8) to 0.450" in finding.message
    assert "the checkpoint of step 8 was kept" in finding.message
    assert finding.severity == "info"
    unsaved = [e for e in story.whole() if type(e).__name__ not in ("TrainingEnded",)]
    late = [e for e in unsaved if not getattr(e, "best", False)]
    assert found(fold(late), "overfitting").severity == "warning"
    assert "overfitting" not in codes(fold([*story.beginning(), *story.epoch(1), *story.epoch(2)]))


def test_a_small_test_set_is_told_unless_the_difference_is_plain() -> None:
    unclear = better(0.01, 0.05)
    history = told(*results(story.result((88, 92))), unclear)
    assert (
        "differences in macro F1 below 6.0 points cannot be shown reliably"
        in found(history, "test_too_small").message
    )
    assert "test_too_small" not in codes(told(*results(story.result((88, 92))), better()))
    few = told(*results(story.result((20, 20), rows=(25, 25))), better())
    assert "test_too_small" in codes(few)


def test_unsteady_training() -> None:
    skipped = replace(story.step(5), skipped=True)
    assert "1 of 5 steps" in found(told(skipped), "steps_skipped").message
    assert "from step 5 on" in found(told(story.step(5, math.nan)), "loss_not_finite").message


def test_masking_faults_are_told() -> None:
    split = SplitPrepared(
        split="train",
        rows=100,
        columns=2,
        truncated_rows=5,
        truncated_tokens=50,
        unscored_rows=1,
        rows_without_eos=3,
        skipped_rows=2,
    )
    masking = {"truncation", "nothing_to_score", "end_not_scored", "rows_skipped"}
    assert masking <= codes(told(split))
    assert not masking & codes(told(replace(split, truncated_rows=1, unscored_rows=0,
                                            rows_without_eos=0, skipped_rows=0)))  # fmt: skip


def generation_story(loss: float) -> list[AnyEvent]:
    estimate = {"value": loss, "low": loss - 0.1, "high": loss + 0.1, "method": "bootstrap"}
    tuned = {"n": 500, "loss": loss, "metrics": {"loss": estimate}}
    base = {"n": 500, "loss": 7.0, "metrics": {"loss": {**estimate, "value": 7.0}}}
    return [
        RunStarted(run="g", name="g", task="generation", pid=1, host="here", ftev_version="0.1.0"),
        ModelLoaded(
            name="m",
            architecture="LlamaForCausalLM",
            parameters=1,
            trainable=1,
            layers=1,
            vocab_size=512,
            max_length=512,
            prefix="<s>",
        ),
        records.results("test", "base", base),
        records.results("test", "tuned", tuned),
        compared({**story.comparison("loss", loss - 7.0, 0.1, "base"), "fixed": None}),
        RunFinished(status="finished"),
    ]


def test_L7_a_loss_above_guessing_is_held(tmp_path: Path) -> None:
    config = RunConfig(
        task="generation", name="g", model=ModelConfig(base="m"), data=DataConfig(train="t")
    )
    guess = fold(generation_story(6.5))
    assert guess.random_loss == pytest.approx(6.238, abs=1e-3)
    assert judge(guess, config).decision == "hold"
    assert judge(fold(generation_story(5.0)), config).decision == "ship"
    run = story.write_story(tmp_path / "run", generation_story(5.0), config)
    assert "Random guessing has a loss of 6.238" in render_markdown(build_report(run))


def test_S8_the_report_says_what_its_intervals_cover(tmp_path: Path) -> None:
    text = render_markdown(build_report(story.write_story(tmp_path / "run")))
    told = " ".join(text.split())
    assert "not another fine-tuning run" in told


def test_D2_the_headline_is_printed_on_all_rows_and_on_the_clean_ones(tmp_path: Path) -> None:
    leak = LeakageFound(exact=40, near=0, ngram=0, leaked={"test": 40})
    clean = story.result((60, 60), rows=(80, 80))
    events = [*story.whole()[:-1], leak, *results(clean, split="test_clean")]
    text = render_markdown(build_report(story.write_story(tmp_path / "run", events)))
    assert "90.0 % [85.0, 95.0]" in text
    assert "75.0 % [70.0, 80.0]" in text
    assert "40 of 200 test rows repeat a row of an earlier split" in text
    whole = "Of 200 test rows 40 repeat a row of an earlier split. Macro F1 of tuned on all rows"
    assert whole in " ".join(text.split())
    figures = headline_figures(build_report(Run(tmp_path / "run")))
    assert ("macro_f1, tuned on test", "90.0 %") in [f[:2] for f in figures]
    assert ("macro_f1, tuned on test_clean", "75.0 %") in [f[:2] for f in figures]


# Headline


def test_the_headline_is_the_primary_metric_or_the_last_validation(tmp_path: Path) -> None:
    run = story.write_story(tmp_path / "a")
    told_whole = headline(run, fold(story.whole()))
    assert told_whole is not None
    assert told_whole.text == "macro F1 probe 74.9 % → 90.0 % (test)"
    clean = results(story.result((60, 60), rows=(80, 80)), split="test_clean")
    told_clean = headline(run, fold([*story.whole(), *clean]))
    assert told_clean is not None
    assert told_clean.text == "macro F1 probe 74.9 % → 90.0 % (test; 75.0 % on clean rows)"
    assert told_clean.to_dict()["to_on_clean_rows"] == 0.75
    half = headline(run, fold([*story.beginning(), *story.epoch(1)]))
    assert half is not None
    assert half.text == "accuracy majority 50.0 % → 75.0 % (validation, step 4)"
    assert headline(run, History()) is None


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"low": 0.01, "high": 0.05, "p": 0.01}, "better"),
        ({"low": -0.05, "high": -0.01, "p": 0.01}, "worse"),
        ({"low": -0.01, "high": 0.05, "p": 0.2}, "cannot tell"),
        ({"low": 0.001, "high": 0.05, "p": 0.06}, "cannot tell"),  # the exact test disagrees
        ({"low": 0.01, "high": 0.05, "p": 0.01, "p_holm": 0.2}, "cannot tell"),
        ({"low": 0.01, "high": 0.05, "p": math.nan}, "cannot tell"),  # both must show it (S2b)
    ],
)
def test_S6_a_difference_reads_by_its_interval_and_its_corrected_p(
    numbers: dict[str, float], said: str
) -> None:
    from ftev.core.judgement.selection import read_difference

    middle = (numbers["low"] + numbers["high"]) / 2
    c = records.record(Comparison, {"metric": "accuracy", "difference": middle, **numbers})
    assert read_difference(c) == said


@pytest.mark.parametrize("unseen", ["\x7f", "\x9b", "\u202e", "\u200b", "\ufeff", "\U000e0041"])
def test_json_spells_what_a_terminal_obeys_or_nobody_sees(unseen: str) -> None:
    text = render_json({f"a{unseen}": f"\n{unseen}é"})
    assert unseen not in text
    assert json.loads(text) == {f"a{unseen}": f"\n{unseen}é"}
    assert "\n  " in text


def test_the_report_tells_which_evaluation_chose_the_model() -> None:
    from ftev.core.report.sections.metrics import describe_windows
    from ftev.core.report.sections.training import describe_choice

    kept = {"step": 244, "metric": "f1", "epoch": 1.5, "value": 0.966}
    told = describe_choice({"run": {"kept": kept}})
    assert told.startswith("The model of step 244 was kept: best F1 on validation (96.6 %).")
    assert "inside epoch 2" in told
    assert "inside" not in describe_choice({"run": {"kept": kept | {"epoch": 2.0}}})
    assert describe_choice({"run": {}}) == ""
    model = {"max_length": 256, "prefix": "<s>"}
    windows = describe_windows({"run": {"form": "text", "model": model}})
    assert "at most 256 tokens, each the prefix <s> and up to 255 tokens" in windows
    assert describe_windows({"run": {"form": "messages", "model": model}}) == ""


def test_V2_a_report_says_whose_head_is_new(tmp_path: Path) -> None:
    from ftev.core.report.sections.verdict import describe_run

    run = build_report(story.write_story(tmp_path / "run", story.whole()))["run"]
    assert "The base has no head for these labels: it is new." in describe_run(run)
    run["model"]["replaced_labels"] = ["1 star", "2 stars"]
    assert "replaced the base's own, which answers with 1 star, 2 stars." in describe_run(run)
    run["model"]["new_head"] = False
    assert "head" not in describe_run(run)
