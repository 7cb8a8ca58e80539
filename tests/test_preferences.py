"""Pairs of a chosen and a rejected text: found, measured, compared and judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import records
from data_files import faults, read, write_jsonl
from ftev.core.judgement.findings.case import Case
from ftev.core.judgement.findings.scores import _length_decides
from ftev.core.judgement.objective import against_chance
from ftev.core.metrics.metric import METRICS
from ftev.core.run.events import ColumnsFound, RunStarted
from ftev.core.run.history import History, fold
from ftev.core.tasks import find_task
from msgspec import to_builtins
from stored_runs import preferred

TASK = find_task("generation", "preference")
USER = {"role": "user", "content": "why is tea hot"}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("it was boiled", "who knows"))


def pairs(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> list[tuple[Any, ...]]:
    write_jsonl(folder / "a.jsonl", rows)
    frame = read(folder, "generation", test="a.jsonl", **settings).splits["test"].frame
    return list(frame.select("prompt", "completion", "rejected").iter_rows())


@pytest.mark.parametrize(
    ("row", "pair"),
    [
        ({"prompt": "why", "chosen": "a b", "rejected": "c"}, ("why", "a b", "c")),
        ({"question": "why", "chosen": "a", "rejected": "c", "score": 8}, ("why", "a", "c")),
        (
            {"chosen": "H: why? A: so it is", "rejected": "H: why? A: some day"},
            ("H: why? A: ", "so it is", "some day"),
        ),
    ],
)
def test_pairs_of_texts(tmp_path: Path, row: dict[str, Any], pair: tuple[str, ...]) -> None:
    assert pairs(tmp_path, [row, row]) == [pair] * 2


def test_a_prompt_that_is_named_otherwise(tmp_path: Path) -> None:
    row = {"ask": "why", "chosen": "a", "rejected": "c"}
    assert pairs(tmp_path, [row, row], prompt="ask") == [("why", "a", "c")] * 2


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": USER["content"], "chosen": [USER, GOOD], "rejected": [USER, BAD], "id": 3},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": [USER], "chosen": GOOD["content"], "rejected": BAD["content"]},
    ],
)
def test_pairs_of_chats(tmp_path: Path, row: dict[str, Any]) -> None:
    """What both begin with is context: no answer in it is scored."""
    write_jsonl(tmp_path / "a.jsonl", [row, row])
    dataset = read(tmp_path, "generation", test="a.jsonl")
    assert dataset.columns.form == "preference_chats"
    found = dataset.splits["test"].frame
    for column, answer in (("messages", GOOD), ("rejected", BAD)):
        chat = found[column][0].to_list()
        assert [turn["content"] for turn in chat] == [USER["content"], answer["content"]]
        assert [turn["weight"] for turn in chat] == [0, None]


def test_equal_answers_are_left_out_and_pairs_are_not_trained_on(tmp_path: Path) -> None:
    row = {"prompt": "why", "chosen": "a b", "rejected": "c"}
    write_jsonl(tmp_path / "a.jsonl", [row, row | {"rejected": "a b"}, row])
    dataset = read(tmp_path, "generation", test="a.jsonl")
    assert dataset.splits["test"].frame.height == 2
    [reason] = dataset.not_learned["test"]
    assert "nothing to prefer" in reason
    [refused] = faults(tmp_path, "generation", train="a.jsonl")
    assert "does not train" in refused
    assert "DPOTrainer" in refused


def test_metrics_of_pairs_are_what_a_loop_gives() -> None:
    frame = preferred(50, gain=0.2)
    found = TASK.evaluate(frame, (), None, draws=200).metrics
    rows = list(frame.iter_rows(named=True))
    margins = [row["rejected_nll"] - row["nll"] for row in rows]
    per_token = [
        row["rejected_nll"] / row["rejected_tokens"] - row["nll"] / row["tokens"] for row in rows
    ]
    assert found["preference_accuracy"].value == np.mean([m > 0 for m in margins])
    assert found["preference_accuracy_per_token"].value == np.mean([m > 0 for m in per_token])
    assert found["preference_margin"].value == pytest.approx(np.mean(margins))
    assert found["loss"].value == pytest.approx(frame["nll"].sum() / frame["tokens"].sum())
    assert found["preference_accuracy"].method.startswith("Wilson")
    assert set(found) == set(TASK.metrics)


def test_pairs_that_cannot_be_scored() -> None:
    """A row without a token on one side is left out; one that is not finite counts as wrong."""
    frame = preferred(40, gain=2.0)
    frame = frame.with_columns(
        rejected_tokens=pl.when(pl.col("row_id") == 3).then(0).otherwise("rejected_tokens"),
        nll=pl.when(pl.col("row_id") == 5).then(float("nan")).otherwise("nll"),
    )
    found = TASK.evaluate(frame, (), None, draws=200)
    assert found.unscored == [3]
    assert found.no_prediction == [5]
    right = found.metrics["preference_accuracy"]
    apart = frame.filter(pl.col("row_id") != 3, pl.col("nll") < pl.col("rejected_nll"))
    assert (right.numerator, right.denominator) == (apart.height, 39)


def test_tuned_against_base_by_the_pairs_that_turned() -> None:
    base, tuned = preferred(80), preferred(80, gain=0.3)
    compared = TASK.compare("test", ("base", base), ("tuned", tuned), (), None)
    found = {c.metric: c for c in compared}
    margins = [frame["rejected_nll"] - frame["nll"] for frame in (base, tuned)]
    fixed = int(((margins[0] <= 0) & (margins[1] > 0)).sum())
    assert found["preference_accuracy"].fixed == fixed > 5
    assert found["preference_accuracy"].broke == 0
    assert found["preference_accuracy"].p == pytest.approx(2.0 ** (1 - fixed))
    assert found["loss"].difference == pytest.approx(-0.3)
    assert METRICS["preference_margin"].higher_is_better


def history(**frames: pl.DataFrame) -> History:
    results = {m: TASK.evaluate(frame, (), None, draws=300) for m, frame in frames.items()}
    started = RunStarted(run="r", name="r", task="generation", pid=1, host="h", ftev_version="1")
    found = ColumnsFound(form="preference", columns={})
    scored = [records.results("test", m, to_builtins(r)) for m, r in results.items()]
    return fold([started, found, *scored])


def test_a_coin_prefers_half_of_the_pairs() -> None:
    """The rows' form makes it another task than run.toml has."""
    known = history(base=preferred(400, seed=3), tuned=preferred(400, gain=0.5))
    assert known.task == "preference"
    assert known.task_type is TASK
    outcomes = {m: against_chance(known, "test", m) for m in ("base", "tuned")}
    assert [s and s.outcome for s in outcomes.values()] == ["cannot tell", "better"]
    assert {s.guessing for s in outcomes.values() if s} == {0.5}


def test_a_preference_of_the_shorter_text_is_found() -> None:
    even = preferred(200)
    longer = even.with_columns(
        rejected_nll=pl.col("rejected_nll") * 2, rejected_tokens=pl.col("rejected_tokens") * 2
    )
    case = Case(history(base=longer, tuned=longer))
    [finding] = _length_decides(case)
    assert "shorter" in finding.message
    assert "preference_accuracy_per_token" in finding.remedy
    assert not list(_length_decides(replace(case, history=history(base=even, tuned=even))))
