"""Blind review: nobody is told who said what, nothing judged is lost, and the sums are right."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import forked
import msgspec
import polars as pl
import pytest
from ftev.core.errors import ConfigError, RunError
from ftev.core.files.disk import process_start
from ftev.core.metrics.statistics import wilson
from ftev.core.report.blocks import Bullets, Table
from ftev.core.report.report import build_report
from ftev.core.report.review.review import (
    Judgement,
    Review,
    check_writable,
    count_broken_lines,
    find_pairs,
    read_judgements,
    tuned_is_left,
)
from ftev.core.report.review.summary import kappa, summarize, summarize_reviews
from ftev.core.report.sections.reviews import show_reviews
from ftev.core.run.runs import Run, WorkerInfo
from ftev.tui.cli import main
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score
from stored_runs import labelled, write_run, written
from waiting import patience, wait_for

PROGRAM = "ftev.tui.cli"
ANSWERS = [(f"question {i}", f"plain words {i}", f"other words {i}") for i in range(12)]
NAMES = re.compile(r"base|tuned|tiny|secret", re.IGNORECASE)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return write_run(tmp_path / "2026_secret-tuned-run", {}, answers=ANSWERS)


def judge_all(run: Run, reviewer: str, choices: str, seed: int = 0) -> None:
    """l r t s for each pair in turn; T and B choose the tuned and the base answer."""
    review = Review(run, reviewer, seed)
    words = {"l": "left", "r": "right", "t": "tie", "s": "skip"}
    for letter in choices:
        pair = review.next()
        assert pair is not None
        if letter in "TB":
            tuned_side = "left" if pair.left.startswith("other") else "right"
            letter = tuned_side[0] if letter == "T" else "lr"[tuned_side == "left"]
        review.judge(pair.pair, words[letter])  # type: ignore[arg-type]


def ftev(run: Run, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return forked.completed(PROGRAM, "review", str(run.path), *arguments, input=typed)


# Blindness


def test_nothing_shown_or_written_names_a_model_or_the_run(run: Run) -> None:
    shown = [
        ftev(run, "--json"),
        ftev(run, typed="rate left 5 4 3 2\nl\nhelp\nt\nu\nr\ns\n" + "l\n" * 5),
        ftev(run, "--reviewer", "ben", "--plain", typed="q\n"),
        ftev(run, typed="r\n" * 20),
        ftev(run, "--json"),
    ]
    for text in shown:
        assert text.returncode == 0, text.stderr
        assert not NAMES.search(text.stdout + text.stderr), text.stdout + text.stderr
    assert json.loads(shown[-1].stdout)["waiting"] == []
    assert "words 3" in shown[1].stdout + shown[3].stdout
    assert not NAMES.search((run.path / "reviews.jsonl").read_text())


def test_a_pair_has_the_same_id_whichever_model_said_what(tmp_path: Path) -> None:
    swapped = [(prompt, b, a) for prompt, a, b in ANSWERS]
    one = write_run(tmp_path / "a", {}, answers=ANSWERS)
    other = write_run(tmp_path / "b", {}, answers=swapped)
    assert {p.pair for p in find_pairs(one).pairs} == {p.pair for p in find_pairs(other).pairs}


def test_sides_and_order_are_drawn_for_each_pair_and_reviewer(tmp_path: Path) -> None:
    answers = [(f"question {i}", f"plain {i}", f"other {i}") for i in range(200)]
    run = write_run(tmp_path / "a", {}, answers=answers)
    seen = {}
    for who, seed in (("anna", 0), ("anna", 1), ("ben", 0)):
        pairs = Review(run, who, seed).waiting()
        left = [pair.left.startswith("other") for pair in pairs]
        assert binomtest(sum(left), 200).pvalue > 1e-4
        seen[who, seed] = [(pair.pair, side) for pair, side in zip(pairs, left, strict=True)]
    assert len({tuple(x) for x in seen.values()}) == 3
    assert seen["anna", 0] != sorted(seen["anna", 0])
    again = Review(run, "anna", 0).waiting()
    assert [(p.pair, p.left.startswith("other")) for p in again] == seen["anna", 0]


def test_unblinding_early_takes_a_yes(run: Run) -> None:
    judge_all(run, "anna", "TTB")
    done = ftev(run, "--summary")
    assert done.returncode == 2
    assert "anna 3" in done.stderr
    assert "--yes" in done.stderr
    assert not done.stdout
    assert ftev(run, "--summary", "--yes").returncode == 0
    document = json.loads(ftev(run, "--summary", "--yes", "--json").stdout)
    assert document["wins"] == {"tuned": 2, "base": 1, "tie": 0}
    assert document["complete"] is False


def test_a_report_stays_blind_until_all_is_judged(run: Run) -> None:
    assert "reviews" not in build_report(run)
    judge_all(run, "anna", "TTTTTT")
    result = build_report(run)["reviews"]
    assert result == {
        "pairs": 12,
        "reviewers": {"anna": {"judged": 6, "waiting": 6}},
        "complete": False,
    }
    judge_all(run, "anna", "TTTTBt")
    report = build_report(run)
    assert report["reviews"]["wins"] == {"tuned": 10, "base": 1, "tie": 1}
    bullets = next(b for b in show_reviews(report) if isinstance(b, Bullets))
    assert bullets.items[0] == "The tuned model won 10 pairs, the base 1; ties: 1."
    assert "the tuned model is preferred" in bullets.items[1]


# What can be judged


def test_a_classifier_has_nothing_to_judge_blind(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", {"tuned": labelled()})
    with pytest.raises(ConfigError, match="there is nothing to judge blind"):
        find_pairs(run)
    assert ftev(run).returncode == 2


def test_equal_answers_are_left_out_and_counted(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", {}, answers=[*ANSWERS[:2], ("same", "yes", " yes\n")])
    material = find_pairs(run)
    assert (len(material.pairs), material.identical) == (2, 1)


def test_no_answers_and_a_run_that_goes_on_are_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no answers of both models"):
        find_pairs(write_run(tmp_path / "a", {"tuned": written()}))
    run = write_run(tmp_path / "b", {}, answers=ANSWERS)
    lines = run.events_path.read_text().splitlines(keepends=True)
    run.events_path.write_text("".join(line for line in lines if "RunFinished" not in line))
    assert find_pairs(run).pairs  # its worker has died: nothing will change
    here = WorkerInfo(os.getpid(), process_start(os.getpid()), socket.gethostname())
    run.worker_path.write_bytes(msgspec.json.encode(here))
    with pytest.raises(RunError, match="its answers still change"):
        find_pairs(run)


def test_answers_of_other_steps_are_not_the_models(run: Run) -> None:
    text = run.events_path.read_text()
    run.events_path.write_text(text.replace('"best_step":4', '"best_step":3'))
    with pytest.raises(RunError, match="no answers"):
        find_pairs(run)


def test_stored_completions_are_judged_too(tmp_path: Path) -> None:
    frame = written(3).with_columns(input=pl.Series(["p", "q", "r"]))
    frames = {
        "base": frame.with_columns(completion=pl.Series(["one", "two", None])),
        "tuned": frame.with_columns(completion=pl.Series(["uno", "due", "tre"])),
    }
    run = write_run(tmp_path / "a", frames)
    assert len(find_pairs(run).pairs) == 2
    for model, frame in frames.items():  # the whole prompt, where it is stored
        path = run.predictions / f"test.{model}.parquet"
        frame.with_columns(prompt="input", input=pl.lit("cut")).write_parquet(path)
    found = find_pairs(run).pairs
    assert [(p.prompt, p.base, p.tuned) for p in found] == [
        ("p", "one", "uno"),
        ("q", "two", "due"),
    ]


# Nothing is lost


def test_a_review_goes_on_after_a_kill(run: Run) -> None:
    with forked.start_module(
        PROGRAM,
        *("review", str(run.path), "--reviewer", "anna"),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    ) as process:
        assert process.stdin
        process.stdin.write(b"l\nt\n")
        process.stdin.flush()
        wait_for(lambda: len(read_judgements(run)) == 2, "two judgements")
        process.send_signal(signal.SIGKILL)
    first = Review(run, "anna")
    assert first.judged == 2
    with (run.path / "reviews.jsonl").open("ab") as file:
        file.write(b'{"pair":"half a li')  # a writer died here
    asked = [p.pair for p in Review(run, "anna").waiting()]
    assert len(asked) == 10
    assert not set(asked) & {j.pair for j in read_judgements(run)}
    judge_all(run, "anna", "l" * 10)
    assert Review(run, "anna").next() is None
    assert len(read_judgements(run)) == 12


def test_the_last_judgement_can_be_taken_back_after_a_restart(run: Run) -> None:
    judge_all(run, "anna", "lr")
    review = Review(run, "anna")
    first, second = [j.pair for j in read_judgements(run)]
    assert review.undo() == second
    waiting = review.next()
    assert waiting is not None
    assert waiting.pair == second
    assert Review(run, "anna").judged == 1
    assert review.undo() == first
    assert review.undo() is None
    assert Review(run, "ben").undo() is None


def test_ratings_outside_one_to_five_are_not_read(run: Run) -> None:
    judge_all(run, "anna", "l")
    line = (run.path / "reviews.jsonl").read_text()
    bad = line.replace('"choice":"left"', '"choice":"left","ratings":{"left":{"style":6}}')
    (run.path / "reviews.jsonl").write_text(line + bad)
    assert len(read_judgements(run)) == 1


# The numbers


def judgement(
    pair: int, winner: str, reviewer: str = "anna", **ratings: dict[str, int]
) -> Judgement:
    """A choice of a model, told as the side on which it stood."""
    left = tuned_is_left(0, reviewer, str(pair))
    choice = winner
    if winner in ("tuned", "base"):
        choice = "left" if (winner == "tuned") == left else "right"
    sides = {("left" if (m == "tuned") == left else "right"): r for m, r in ratings.items()}
    return msgspec.convert(
        {"pair": str(pair), "reviewer": reviewer, "seed": 0, "choice": choice, "ratings": sides},
        Judgement,
    )


@pytest.mark.parametrize(("won", "lost", "ties"), [(9, 3, 2), (0, 5, 0), (7, 7, 1), (1, 0, 9)])
def test_win_rate_and_sign_test(won: int, lost: int, ties: int) -> None:
    winners = ["tuned"] * won + ["base"] * lost + ["tie"] * ties + ["skip"] * 2
    summary = summarize([judgement(i, w) for i, w in enumerate(winners)])
    assert summary["sign_test_p"] == pytest.approx(binomtest(won, won + lost).pvalue)
    interval = binomtest(won, won + lost).proportion_ci(method="wilson")
    rate = summary["win_rate"]
    assert (rate["value"], rate["n"]) == (won / (won + lost), won + lost)
    assert (rate["low"], rate["high"]) == pytest.approx((interval.low, interval.high))
    half = summary["win_rate_ties_half"]
    assert half["value"] == (won + ties / 2) / (won + lost + ties)
    assert (half["low"], half["high"]) == tuple(wilson(won + ties / 2, won + lost + ties))
    assert summary["skipped"] == 2
    assert summary["wins"] == {"tuned": won, "base": lost, "tie": ties}


def test_whoever_always_chooses_left_is_found_out(run: Run) -> None:
    judge_all(run, "anna", "l" * 11 + "t")
    summary = summarize_reviews(run)
    assert summary is not None
    side = summary["position"]
    assert (side["left"], side["right"]) == (11, 0)
    assert side["p"] == pytest.approx(binomtest(11, 11).pvalue)
    bullets = next(b for b in show_reviews({"reviews": summary}) if isinstance(b, Bullets))
    assert "the side itself was preferred" in bullets.items[-1]
    fair = summarize([judgement(i, "tuned") for i in range(40)])["position"]
    assert fair["p"] > 0.01


def test_ratings_are_compared_by_pair() -> None:
    rated = [
        judgement(i, "tuned", tuned={"style": 4 + i % 2, "relevance": 3}, base={"style": 2 + i % 3})
        for i in range(30)
    ]
    found = summarize(rated)["ratings"]
    assert set(found) == {"style"}  # relevance was rated on one side only
    style = found["style"]
    assert (style["n"], style["base"], style["tuned"]) == (30, 3.0, 4.5)
    assert style["difference"] == 1.5
    assert 1.5 - 0.5 < style["low"] < 1.5 < style["high"] < 1.5 + 0.5
    assert style["p"] < 0.001


def test_the_majority_decides_a_pair_and_agreement_is_told() -> None:
    anna = ["tuned", "tuned", "base", "tie", "tuned", "base"]
    ben = ["tuned", "base", "base", "tuned", "tuned", "tie"]
    cleo = ["tuned", "tuned"]
    judged = [
        judgement(i, winner, who)
        for who, winners in (("anna", anna), ("ben", ben), ("cleo", cleo))
        for i, winner in enumerate(winners)
    ]
    summary = summarize(judged)
    assert summary["decided"] == 6
    assert summary["wins"] == {"tuned": 4, "base": 2, "tie": 0}
    pair = summary["agreement"][0]
    assert pair["reviewers"] == ["anna", "ben"]
    assert (pair["same"], pair["n"]) == (3, 6)
    assert pair["kappa"] == pytest.approx(cohen_kappa_score(anna, ben))
    assert kappa([("a", "a")] * 4) != kappa([("a", "a")] * 4)  # NaN: chance alone would agree
    report = {"reviews": {**summary, **_progress(["anna", "ben", "cleo"])}}
    tables = [b for b in show_reviews(report) if isinstance(b, Table)]
    assert [row[0] for row in tables[-1].rows] == ["anna and ben", "anna and cleo", "ben and cleo"]


def _progress(names: list[str]) -> dict[str, object]:
    return {
        "pairs": 6,
        "reviewers": {name: {"judged": 6, "waiting": 0} for name in names},
        "complete": True,
        "identical": 0,
        "outdated": 0,
    }


def test_judgements_of_answers_that_are_gone_are_counted_apart(run: Run) -> None:
    judge_all(run, "anna", "l" * 12)
    text = run.events_path.read_text()
    run.events_path.write_text(text.replace("other words 3", "new words"))
    summary = summarize_reviews(run)
    assert summary is not None
    assert (summary["outdated"], summary["decided"]) == (1, 11)
    assert summary["reviewers"]["anna"] == {"judged": 11, "waiting": 1}


@pytest.mark.parametrize("reviewer", ["", "  ", "a\udcff"])
def test_a_reviewer_without_a_name_is_bad_usage(
    tmp_path: Path, reviewer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["review", str(tmp_path), "--reviewer", reviewer]) == 2
    assert "--reviewer" in capsys.readouterr().err


ASKED = [("a question", "the base says this", "the tuned says that")]


def test_a_review_that_cannot_be_written_asks_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "r", {}, answers=ASKED)
    (run.path / "reviews.jsonl").mkdir()
    assert main(["review", str(run.path), "--plain"]) == 1
    shown = capsys.readouterr()
    assert "Pair 1" not in shown.out
    assert "reviews.jsonl: cannot be read" in shown.err
    assert main(["report", str(run.path)]) == 0


def test_a_folder_that_takes_no_file_is_told_before_the_first_pair(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {}, answers=ASKED)
    check_writable(run)
    assert not (run.path / "reviews.jsonl").exists()
    with pytest.raises(RunError, match="cannot be written"):
        check_writable(Run(tmp_path / "gone"))


def test_broken_lines_are_counted_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "r", {}, answers=ASKED)
    (run.path / "reviews.jsonl").write_bytes(b'{"pair": 1}\n\xff\n\n')
    assert count_broken_lines(run) == 2
    assert main(["review", str(run.path), "--json"]) == 0
    assert "2 lines cannot be read" in capsys.readouterr().err


def wait_until_asked(asking: Any) -> None:
    printed = b""
    while b"rate>" not in printed:
        block = asking.stdout.read1()
        assert block, printed  # it has ended
        printed += block


def test_an_interrupt_ends_the_wait_for_an_answer(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {}, answers=ASKED)
    command = [sys.executable, "-m", PROGRAM, "review", str(run.path), "--plain"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as asking:
        wait_until_asked(asking)
        asking.send_signal(signal.SIGINT)
        assert asking.wait(patience(20)) == 130


def test_one_reviewer_judges_once_at_a_time_and_another_beside(run: Run) -> None:
    """Also where the first one was killed: what it held died with it."""
    command = ("review", str(run.path), "--plain")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with forked.start_module(PROGRAM, *command, **pipes) as asking:
        wait_until_asked(asking)
        second = ftev(run, "--plain", typed="l\n")
        assert second.returncode == 1
        assert f"reviewer is judging this run already: process {asking.pid} on " in second.stderr
        assert ftev(run, "--plain", "--reviewer", "ben", typed="l\nq\n").returncode == 0
        asking.kill()
        asking.wait()
    assert ftev(run, "--plain", typed="l\nq\n").returncode == 0
    assert [j.reviewer for j in read_judgements(run)] == ["ben", "reviewer"]
    assert not list(run.path.glob(".review-*"))
