"""One scored row of a run token by token under base and tuned, as a process of its own.

    echo '{"run": "…", "split": "test", "row_id": 3}' |
        python -m ftev.core.engine.scoring.row_tokens

The row is read, rendered and cut as the run did it, so its sums are those that the run stored.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import torch

from ...config.config import RunConfig
from ...data.data import read_run_data
from ...errors import ConfigError, Fault, ModelError, RunError
from ...run.control import ScoredToken
from ...run.runs import Run
from ..models.devices import autocast, choose_device
from ..models.models import Loaded, ScoredPositions, at_precision, load
from ..worker.pipe import answer_stdin, tell
from .rows import RENDER, TokenRows
from .token_scores import pieces, score


class Question(msgspec.Struct, forbid_unknown_fields=True):
    """`sha256`: of the split as the run read it; empty where that is not known."""

    run: str
    split: str
    row_id: int
    sha256: str = ""


def row_tokens(question: Question) -> dict[str, Any]:
    """What is scored of a row, by model: [text, log-likelihood in nats, rank] a token.

    Raises ConfigError for a classifier's run, RunError where the row is not there any more,
    ModelError where the run keeps no model.
    """
    run = Run(Path(question.run))
    config = run.config()
    if config.task_type.has_labels:
        raise ConfigError("a classifier's row has probabilities, not likelihoods of tokens")
    names = {"base": config.model.base, "tuned": _tuned(run, config)}
    tell(progress="reading the data")
    form, frame = _read_rows(config, question)
    told: dict[str, Any] = {}
    for model, name in names.items():
        tell(progress=f"scoring this row under {model}")
        scores = _score(config, name, form, frame, question)
        told[model] = [[t.text, t.log_likelihood, t.rank] for t in scores]
    return told


def _score(
    config: RunConfig, name: str, form: str, frame: pl.DataFrame, question: Question
) -> list[ScoredToken]:
    """Under one model, which is gone before the next one is loaded."""
    loaded = load(config, name)
    loaded.model.to(choose_device(config))
    *_, rows = RENDER[form](frame, loaded)
    assert isinstance(rows, TokenRows)
    if question.row_id not in rows.row_ids:
        raise RunError(_gone(question))
    place = rows.row_ids.index(question.row_id)
    return score_row(loaded, rows, place, config.evaluate.precision)


def _tuned(run: Run, config: RunConfig) -> str:
    if run.model_path.is_dir():
        return str(run.model_path)
    if config.model.tuned:
        return config.model.tuned
    what = "there is no tuned model, so its rows cannot be scored again"
    raise ModelError(Fault(str(run.model_path), what))


def _read_rows(config: RunConfig, question: Question) -> tuple[str, pl.DataFrame]:
    """The form of the rows and the one asked for; of texts all, as they are cut into windows."""
    dataset = read_run_data(config)
    split = dataset.splits.get(question.split)
    if split is None or question.sha256 not in ("", split.sha256):
        raise RunError(_gone(question))
    form = dataset.columns.form
    if form == "text":
        return form, split.frame
    return form, split.frame.filter(pl.col("row_id") == question.row_id)


def _gone(question: Question) -> Fault:
    what = "is not in the data file as the run read it: the file has changed"
    return Fault(f"row {question.row_id} of {question.split}", what)


@torch.inference_mode()
def score_row(loaded: Loaded, rows: TokenRows, place: int, precision: str) -> list[ScoredToken]:
    """The scored tokens of one row, each with its text: a prompt is read, not scored."""
    assert rows.scored is not None
    ids, scored = rows.ids[place].tolist(), rows.scored[place]
    at = np.flatnonzero(scored)
    wanted = [ids[i] for i in at]
    loaded = at_precision(loaded, precision)
    head = ScoredPositions(loaded.model)
    found: list[ScoredToken] = []
    with loaded.active(), autocast(loaded.device, precision):
        inputs = torch.tensor([ids], device=loaded.device)
        states = head.hidden(inputs, torch.ones_like(inputs))[0][torch.from_numpy(at - 1)]
        for start in range(0, len(wanted), head.chunk):
            logits = head.logits(states[start : start + head.chunk])
            found += score(loaded, logits, wanted[start : start + head.chunk])
    texts = pieces(loaded, ids)
    return [msgspec.structs.replace(t, text=texts[i]) for t, i in zip(found, at, strict=True)]


if __name__ == "__main__":
    sys.exit(answer_stdin(Question, row_tokens))
