"""Base and tuned behind servers, asked the same questions: a run like any other.

Answers to the prompts of the test rows, and where both servers can, the likelihood of the given
completions. A row that a server has not answered is kept as unanswered, with a note of why.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..analysis import Frames
from ..config.config import RunConfig
from ..data.conversations import answers_of, turn_text
from ..data.data import Dataset, read_run_data
from ..data.rows import input_of
from ..errors import ConfigError, Fault, ModelError
from ..run.events import SplitPrepared
from ..run.runs import Run
from .endpoint import (
    Abilities,
    Address,
    Answer,
    Endpoint,
    EndpointError,
    Likelihood,
    ask_all,
    is_endpoint,
)
from .judge import SPLIT, Judged

WORKERS = 8  # questions at once
ASKED_AGAIN = 16  # rows, to see whether a server answers the same twice
MOST_FAILED = 0.05  # of the rows: those left would no longer be the same test
FORMS = ("prompt_completion", "messages")
Progress = Callable[[str], object]


def are_served(config: RunConfig) -> bool:
    """Whether both models are behind servers. Raises ConfigError where one of them is."""
    names = [config.model.base, config.model.tuned or ""]
    served = [is_endpoint(name) for name in names]
    if any(served) and not all(served):
        other = names[served.index(False)] or "no tuned model"
        what = f"one model is behind a server, and {other} is not"
        raise ConfigError(Fault("model", what, "Serve both, or give two folders"))
    return all(served)


@dataclass(frozen=True)
class _Question:
    row_id: int
    chat: list[dict[str, str]] | None  # what comes before the answer, of chats
    prompt: str  # the same as text
    reference: str


def evaluate_served(config: RunConfig, runs: Path, progress: Progress = str) -> Run:
    """Raises ConfigError, DataError, or EndpointError for a server that cannot be used."""
    if config.task != "generation":
        what = f"is {config.task}; of models behind servers texts are evaluated"
        raise ConfigError(Fault("task", what, "Write --task generation"))
    addresses = {
        "base": Address.of(config.model.base),
        "tuned": Address.of(str(config.model.tuned)),
    }
    dataset = read_run_data(config)
    if dataset.columns.form not in FORMS:
        what = f"holds rows that are {dataset.columns.form}: a server is asked prompts or chats"
        raise ConfigError(Fault("data.test", what, "Give prompts with their completions, or chats"))
    asked = _questions(dataset, config)
    endpoints = {model: Endpoint(address, os.environ) for model, address in addresses.items()}
    try:
        frames, notes = _asked(endpoints, asked, config, progress)
    finally:
        for endpoint in endpoints.values():
            endpoint.close()
    whole = dataset.splits[SPLIT]
    kept = pl.DataFrame({"row_id": [q.row_id for q in asked]})
    source = kept.join(whole.frame, on="row_id", how="left", maintain_order="left")
    source = source.with_columns(input_of(source).alias("text"))
    facts = {k: v for k, v in dataset.facts(SPLIT).items() if k != "labels"}
    split = SplitPrepared(split=SPLIT, rows=source.height, **facts)  # type: ignore[arg-type]
    likely = "nll" in frames["tuned"].columns
    form = dataset.columns.form if likely else "answers"
    return Judged(config, form, (), None, frames, source, split, notes).write(runs, "endpoint")


def _questions(dataset: Dataset, config: RunConfig) -> list[_Question]:
    """Of the test rows at most `evaluate.completions`, drawn by seed, in their order."""
    frame, most = dataset.splits[SPLIT].frame, config.evaluate.completions or 1
    if frame.height > most:
        drawn = np.random.default_rng(config.train.seed).permutation(frame.height)[:most]
        frame = frame[np.sort(drawn)]
    if "messages" not in frame.columns:
        columns = frame.select("row_id", "prompt", "completion").iter_rows()
        return [_Question(i, None, prompt, wanted) for i, prompt, wanted in columns]
    found = []
    for number, chat in zip(frame["row_id"], frame["messages"].to_list(), strict=True):
        last = max(answers_of(chat), default=0)
        before = [{"role": t["role"], "content": turn_text(t)} for t in chat[:last]]
        shown = "\n".join(f"{t['role']}: {t['content']}" for t in before)
        found.append(_Question(number, before, shown, turn_text(chat[last])))
    return found


def _asked(
    endpoints: Mapping[str, Endpoint],
    asked: Sequence[_Question],
    config: RunConfig,
    progress: Progress,
) -> tuple[Frames, list[str]]:
    abilities: dict[str, Abilities] = {}
    notes = []
    for model, endpoint in endpoints.items():
        progress(f"asking what {endpoint.address} can do")
        abilities[model] = endpoint.abilities()
        notes.append(f"{model} is {endpoint.address}: {abilities[model]}")
    likely = all(a.likelihoods for a in abilities.values()) and asked[0].chat is None
    frames = {}
    for model, endpoint in endpoints.items():
        raw = asked[0].chat is None and abilities[model].completes
        if asked[0].chat is None and not raw:
            notes.append(f"{model} answers chats alone: each prompt is sent as a user's message")
        limit = config.evaluate.completion_tokens
        ask = _asking(endpoint, limit, raw=raw)
        answers, failed = _all(ask, asked, f"answers of {model}", progress)
        notes += _failures(model, failed, len(asked))
        notes.append(_again(ask, asked, answers, model))
        frames[model] = _frame(asked, answers, limit)
        if likely:
            scored = _likelihoods(endpoint, abilities[model], asked, model, progress, notes)
            frames[model] = frames[model].join(
                scored, on="row_id", how="left", maintain_order="left"
            )
    if likely:
        notes.append("likelihoods are of the completions alone: no server scores the end token")
    return frames, notes


def _asking(endpoint: Endpoint, limit: int, *, raw: bool) -> Callable[[_Question], Answer]:
    def ask(question: _Question) -> Answer:
        if raw:
            return endpoint.complete(_joined(question), limit)
        chat = question.chat or [{"role": "user", "content": question.prompt}]
        return endpoint.chat(chat, limit)

    return ask


def _joined(question: _Question) -> str:
    """The prompt as a completion follows it: with a line break where neither brings white space."""
    prompt, reference = question.prompt, question.reference
    joined = not prompt or prompt[-1].isspace() or reference[:1].isspace()
    return prompt if joined else prompt + "\n"


def _all(
    ask: Callable[[_Question], Any], asked: Sequence[_Question], what: str, progress: Progress
) -> tuple[dict[int, Any], dict[int, str]]:
    """What was found of each row, by its place, and why of those without."""
    found: dict[int, Any] = {}
    failed: dict[int, str] = {}
    for done, (place, outcome) in enumerate(ask_all(ask, asked, WORKERS), 1):
        if isinstance(outcome, EndpointError):
            failed[place] = str(outcome)
        else:
            found[place] = outcome
        if done % 20 == 0 or done == len(asked):
            progress(f"{what}: {done:,} of {len(asked):,}")
    return found, failed


def _failures(model: str, failed: Mapping[int, str], rows: int) -> list[str]:
    if not failed:
        return []
    first = next(iter(failed.values()))
    if len(failed) > MOST_FAILED * rows:
        what = f"{model} has not answered {len(failed):,} of {rows:,} rows. The first: {first}"
        raise ModelError(what)
    return [f"{model} has not answered {len(failed):,} of {rows:,} rows. The first: {first}"]


def _again(
    ask: Callable[[_Question], Answer],
    asked: Sequence[_Question],
    answers: Mapping[int, Answer],
    model: str,
) -> str:
    """Some rows asked twice, one at a time: greedy answers of a busy server may differ."""
    places = [i for i in range(len(asked)) if i in answers][:ASKED_AGAIN]
    same = 0
    for _, outcome in ask_all(lambda i: (i, ask(asked[i])), places, 1):
        if not isinstance(outcome, EndpointError):
            place, answer = outcome
            same += answer.text == answers[place].text
    return f"{model} gives the same answer again to {same:,} of {len(places):,} prompts"


def _frame(asked: Sequence[_Question], answers: Mapping[int, Answer], limit: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "row_id": [q.row_id for q in asked],
            "prompt": [q.prompt for q in asked],
            "reference": [q.reference for q in asked],
            "completion": [answers[i].text if i in answers else None for i in range(len(asked))],
        },
        schema_overrides={"row_id": pl.Int64, "completion": pl.String},
    )


def _likelihoods(
    endpoint: Endpoint,
    abilities: Abilities,
    asked: Sequence[_Question],
    model: str,
    progress: Progress,
    notes: list[str],
) -> pl.DataFrame:
    """Of each row's own completion; one that has none is unscored."""

    def ask(question: _Question) -> Likelihood:
        return endpoint.likelihood(_joined(question), question.reference, abilities.likelihoods)

    found, failed = _all(ask, asked, f"likelihoods under {model}", progress)
    if failed:
        first = next(iter(failed.values()))
        notes.append(f"{model} has not scored {len(failed):,} rows. The first: {first}")
    scored = [found.get(i, Likelihood(0.0, 0, 0)) for i in range(len(asked))]
    return pl.DataFrame(
        {
            "row_id": [q.row_id for q in asked],
            "nll": [float(s.nll) for s in scored],
            "tokens": [s.tokens for s in scored],
            "correct": [s.correct for s in scored],
            "bytes": [len(q.reference.encode()) for q in asked],
        },
        schema_overrides={"row_id": pl.Int64},
    )
