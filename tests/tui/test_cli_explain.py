"""`explain`, `report --explain` and `quiz`, as real processes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import forked
import pytest
from ftev.core.metrics.metric import METRICS
from ftev.core.report.quiz import make_quiz
from ftev.core.run.history import read_history
from ftev.core.run.runs import Run

SAMPLES = Path(__file__).parents[2] / "sample_runs"
CLASSIFICATION = str(SAMPLES / "classification")
GENERATION = str(SAMPLES / "generation")


def ftev(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return forked.completed("ftev.tui.cli", *arguments, input=typed)


def document(*arguments: str) -> Any:
    done = ftev(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_explain_lists_every_term_and_json_their_meanings() -> None:
    done = ftev("explain")
    assert done.returncode == 0
    assert all(name in done.stdout for name in METRICS)
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    listed = document("explain", "--json")
    assert {"name", "kind", "title", "meaning", "aliases"} == set(listed[0])
    assert {e["kind"] for e in listed} == {"metric", "finding", "term"}


def test_explain_tells_one_term_of_several_words() -> None:
    printed = ftev("explain", "smallest", "detectable", "difference").stdout
    assert printed.startswith("smallest detectable difference (term)")
    for label in ("meaning", "reading", "trap", "see also"):
        assert f"\n{label}" in printed
    assert document("explain", "overfitting", "--json")["kind"] == "finding"


def test_explain_names_what_is_near_a_miss() -> None:
    done = ftev("explain", "perplexty")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "Nearest: perplexity" in done.stderr


def test_report_explains_a_metric_of_the_judged_split() -> None:
    done = ftev("report", CLASSIFICATION, "--explain", "Accuracy")
    assert done.returncode == 0, done.stderr
    for line in (
        "numerator    180: right rows",
        "denominator  200: rows",
        "of           tuned on test",
        "difference   +10.0 points, probe to tuned",
        "beside it  probe 80.0 %, majority 52.5 %",
    ):
        assert line in done.stdout
    assert "fixed 29, broke 9" in done.stdout
    assert "At 95 rows to 5" not in done.stdout.splitlines()[0]


def test_report_explains_another_split_and_model_as_json() -> None:
    arguments = ("--explain", "loss", "--split", "validation", "--model", "base", "--json")
    found = document("report", GENERATION, *arguments)
    assert set(found) == {"receipt", "differences", "beside", "glossary"}
    r = found["receipt"]
    assert (r["split"], r["model"], r["rows"]["scored"]) == ("validation", "base", 40)
    assert r["numerator"] / r["denominator"] == pytest.approx(r["value"])
    assert list(found["beside"]) == ["tuned", "random guessing"]
    assert found["glossary"]["name"] == "loss"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--explain", "acuracy"), "--explain: there is no metric 'acuracy'. Nearest: accuracy"),
        (("--explain", "bleu"), "bleu was not computed for tuned on test. There: accuracy"),
        (("--explain", "f1", "--split", "dev"), "--split: the run has no results of 'dev'"),
        (("--explain", "f1", "--model", "base"), "--model: the run has no results of 'base'"),
    ],
)
def test_report_says_in_one_error_what_there_is(arguments: tuple[str, ...], says: str) -> None:
    done = ftev("report", CLASSIFICATION, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"ftev: {says}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("run", [CLASSIFICATION, GENERATION])
def test_quiz_marks_answers_that_are_given(run: str) -> None:
    questions = document("quiz", run, "--json")["questions"]
    right = [q["right"] for q in questions]
    assert len(right) == 3
    found = document("quiz", run, "--json", "--answers", ",".join(right))
    assert (found["answers"], found["score"]) == (right, 3)
    printed = ftev("quiz", run, "--answers", ",".join(right)).stdout
    assert printed.endswith("score: 3 of 3\n")
    assert printed.count(": right\n") == 3
    assert "`ftev-tui explain " in printed


def test_quiz_reads_answers_from_stdin_and_asks_again() -> None:
    history = read_history(Run(SAMPLES / "classification"))
    first, second, _ = make_quiz(history, Run(SAMPLES / "classification").config())
    wrong = next(letter for letter in second.choices if letter != second.right)
    done = ftev("quiz", CLASSIFICATION, typed=f"maybe\n{first.right.upper()}\n{wrong}\n")
    assert done.returncode == 0
    assert "answer with one of a, b, c, d" in done.stderr
    assert f"{first.right}: right" in done.stdout
    assert f"{wrong}: wrong: it is {second.right}" in done.stdout
    assert "no answer: it is" in done.stdout
    assert done.stdout.endswith("score: 1 of 3\n")
    assert "\x1b" not in done.stdout


def test_quiz_refuses_answers_that_do_not_fit() -> None:
    done = ftev("quiz", CLASSIFICATION, "--answers", "a,z")
    assert done.returncode == 2
    assert done.stderr.count("ftev: --answers:") == 2
