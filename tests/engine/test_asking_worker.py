"""A worker that only serves: it stops when the asker hangs up, and follows a text."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from ftev.core.config.config import EvaluateConfig, RunConfig
from ftev.core.run.control import (
    AskPrompt,
    AskStatus,
    AskTrace,
    Completed,
    CrossScored,
    HangUp,
    TokenMade,
    Traced,
    ask,
)
from ftev.core.run.history import read_history
from ftev.core.run.launch import start_worker, stop_worker, wait_until_listening
from ftev.core.run.runs import create_run

PATIENCE = 120.0  # seconds: a bound on a broken test, not an expectation


def test_a_worker_stops_when_hung_up_on_scores_crosswise_and_traces(
    verses: RunConfig, tmp_path: Path
) -> None:
    short = replace(verses, train=replace(verses.train, epochs=1))
    asked_only = replace(short, evaluate=EvaluateConfig(serve_minutes=1.0))
    run = create_run(asked_only, tmp_path / "runs")
    process = start_worker(run)
    wait_until_listening(run, process)
    while not any(getattr(r, "state", "") == "serving" for r in ask(run, AskStatus())):
        assert process.poll() is None, run.log_path.read_text()
        time.sleep(0.05)
    hang_up = HangUp()
    long = AskPrompt(text="a long one", max_new_tokens=100_000, temperature=5.0, seed=1)
    came = 0
    for reply in ask(run, long, PATIENCE, hang_up):
        came += isinstance(reply, TokenMade)
        if came == 3:
            hang_up.now()
    assert came == 3  # and no error: that is how a stop ends
    started = time.monotonic()
    asked = AskPrompt(text="cup", max_new_tokens=3, likelihoods="all", details=True)
    told = list(ask(run, asked, PATIENCE))
    assert time.monotonic() - started < PATIENCE / 2  # 100,000 tokens would take far longer
    done = {r.model: r for r in told if isinstance(r, Completed)}
    crossed = {r.model: r for r in told if isinstance(r, CrossScored)}
    assert {m: c.by for m, c in crossed.items()} == {"base": "tuned", "tuned": "base"}
    for model, found in crossed.items():
        mine = done[model].likelihoods[-len(found.tokens) :]
        assert [t.text for t in found.tokens] == [t.text for t in mine]
        assert all(len(t.top) == 5 for t in (*mine, *found.tokens))

    (traced,) = (r for r in ask(run, AskTrace(text="cup"), PATIENCE) if isinstance(r, Traced))
    base, tuned = traced.models
    assert (base.model, tuned.model) == ("base", "tuned")
    assert tuned.layers[0].distance is not None
    assert tuned.lens_error is not None
    assert tuned.lens_error < 1e-5
    assert tuned.tokens == base.tokens
    first = done["tuned"].likelihoods[-len(crossed["tuned"].tokens)]
    assert tuned.probabilities[0][1] == pytest.approx(first.top[0][1], abs=1e-5)
    stop_worker(run)
    process.wait(timeout=PATIENCE)
    assert [p.prompt for p in read_history(run).prompts if not p.probe] == ["cup"]
