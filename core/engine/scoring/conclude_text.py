"""The last evaluation of a language model: both models answer, each answer is read by both.

What is added to the stored predictions, on the rows that were drawn and null on the others:
prompt, reference, reference_tokens, completion, completion_tokens (its stop token left out),
completion_limit, ended_by_eos, prompt_cut, and of the answer under either model answer_nll_base,
answer_nll_tuned (nats) with answer_tokens, its scored tokens (the stop token counted).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ...analysis import Frames
from ...errors import ModelError
from ..models.models import Loaded, is_causal, load_causal, stop_ids
from ..worker.session import Session
from .choices import LabelScores, choose, closed_set, label_likelihoods, zero_shot_frame
from .completions import Answer, answer_text, complete
from .evaluate import score_tokens
from .pairing import same_tokens
from .questions import FORMS, Question, answer_limit, draw_questions, fit_prompt, questions
from .rows import TokenRows

ZERO_SHOT_TOKENS = 1_000_000  # read for zero-shot labels unless they are asked for
ADDED = {
    "prompt": pl.String,
    "reference": pl.String,
    "reference_tokens": pl.Int64,
    "completion": pl.String,
    "completion_tokens": pl.Int64,
    "completion_limit": pl.Int64,
    "ended_by_eos": pl.Boolean,
    "prompt_cut": pl.Boolean,
}


@dataclass(frozen=True)
class Answered:
    """A model's answers to its questions, in their order."""

    loaded: Loaded
    asked: list[Question]
    prompts: list[list[int]]  # as they were read: cut where too long
    limit: int
    answers: list[Answer]


def with_answers(s: Session, split: str, frames: Frames) -> Frames:
    """The predictions of base and tuned with their answers to the rows drawn from a split."""
    most = s.config.evaluate.completions
    if s.form not in FORMS or not most:
        return frames
    source = draw_questions(s.dataset.splits[split].frame, most, s.config.train.seed)
    same = same_tokens(s.base, s.tuned)
    stop = stop_ids(s.base) | stop_ids(s.tuned) if same else set()
    found: dict[str, Answered] = {}
    for model, loaded in (("base", s.base), ("tuned", s.tuned)):
        asked = list(questions(source, loaded, s.form))
        if not asked:
            return frames
        found[model] = _answer(s, model, loaded, asked, stop or stop_ids(loaded))
    added = {model: _frame_of(answered) for model, answered in found.items()}
    for model, answered in found.items():
        if same:
            added[model] = added[model].hstack(_read_by_both(s, model, answered))
        if (chosen := _chosen(s, model, answered.loaded, source)) is not None:
            added[model] = added[model].join(chosen, on="row_id", how="left", maintain_order="left")
    return frames | {
        model: frames[model].join(new, on="row_id", how="left", maintain_order="left")
        for model, new in added.items()
    }


def _answer(
    s: Session, model: str, loaded: Loaded, asked: list[Question], stop: set[int]
) -> Answered:
    settings = s.config.evaluate
    limit = answer_limit(asked, settings.completion_tokens, loaded.max_length)
    prompts = [fit_prompt(q.ids, loaded.max_length - limit) for q in asked]
    work = complete(loaded, prompts, limit, stop, settings.precision, settings.batch_tokens)
    answers: list[Answer] = s.drive(work, f"answers of {model}, tokens", len(asked) * limit)
    return Answered(loaded, asked, prompts, limit, answers)


def _frame_of(a: Answered) -> pl.DataFrame:
    pairs = list(zip(a.asked, a.answers, strict=True))
    return pl.DataFrame(
        {
            "row_id": [q.row_id for q in a.asked],
            "prompt": [q.prompt for q in a.asked],
            "reference": [q.reference for q in a.asked],
            "reference_tokens": [q.reference_tokens for q in a.asked],
            "completion": [answer_text(a.loaded, answer) for _, answer in pairs],
            "completion_tokens": [len(answer.tokens) for _, answer in pairs],
            "completion_limit": [a.limit] * len(pairs),
            "ended_by_eos": [answer.ended for _, answer in pairs],
            "prompt_cut": [len(p) < len(q.ids) for p, q in zip(a.prompts, a.asked, strict=True)],
        },
        schema={"row_id": pl.Int64, **ADDED},
    )


def _read_by_both(s: Session, model: str, a: Answered) -> pl.DataFrame:
    """Log-likelihood of a model's answers, given their prompts, under base and tuned (K5)."""
    rows = answer_rows([q.row_id for q in a.asked], a.prompts, a.answers)
    settings = s.config.evaluate
    columns: dict[str, Any] = {"answer_tokens": rows.targets}
    for reader, loaded in (("base", s.base), ("tuned", s.tuned)):
        work = score_tokens(loaded, rows, settings.precision, settings.batch_tokens)
        scored = s.drive(work, f"answers of {model} read by {reader}", len(rows))
        columns[f"answer_nll_{reader}"] = scored["nll"]
    return pl.DataFrame(columns)


def _chosen(s: Session, model: str, loaded: Loaded, source: pl.DataFrame) -> pl.DataFrame | None:
    """The likeliest of train's completions on each row, where they are a closed set."""
    train = s.dataset.splits.get("train")
    if train is None or s.form != "prompt_completion":
        return None
    candidates = closed_set(train.frame["completion"].to_list())
    if not candidates:
        return None
    settings = s.config.evaluate
    work = choose(loaded, source, candidates, settings.precision, settings.batch_tokens)
    return s.drive(work, f"choices of {model}", source.height)


def zero_shot_base(s: Session, split: str) -> pl.DataFrame | None:
    """Labels by the untrained base's own likelihoods, where it is a language model; else None.

    It is loaded for this alone: a classifier's model has a new head in the place of the old one.
    """
    if not s.config.evaluate.zero_shot or s.base_has_head or not is_causal(s.config):
        return None
    if _is_too_long(s, split):
        return None
    try:
        loaded = load_causal(s.config.model.base, s.config.model.revision)
    except ModelError as error:
        s.note(f"the base cannot label by likelihood: {error}", "warning")
        return None
    loaded.max_length = min(loaded.max_length, s.tuned.max_length)
    loaded.model.to(s.device)
    frame, settings = s.dataset.splits[split].frame, s.config.evaluate
    work = label_likelihoods(
        loaded, frame["text"].to_list(), s.labels, settings.precision, settings.batch_tokens
    )
    scores: LabelScores = s.drive(work, f"zero-shot labels on {split}", frame.height)
    return zero_shot_frame(frame, s.labels, scores)


def _is_too_long(s: Session, split: str) -> bool:
    """Whether "auto" leaves zero-shot labels out: each label is read after each text."""
    rows, labels = s.rows[split], len(s.labels)
    tokens = int(rows.lengths.sum()) * labels
    if s.config.evaluate.zero_shot != "auto" or tokens <= ZERO_SHOT_TOKENS:
        return False
    s.note(
        f"the base does not label {split} by likelihood: {labels} labels after each of "
        f"{len(rows):,} texts are about {tokens / 1e6:.1f} million tokens. "
        "evaluate.zero_shot = true does it all the same"
    )
    return True


def answer_rows(
    row_ids: Sequence[int], prompts: Sequence[list[int]], answers: Sequence[Answer]
) -> TokenRows:
    """Prompt and answer as they were made, the stop token too: the answer is scored."""
    rows = TokenRows(scored=[], row_ids=list(row_ids))
    assert rows.scored is not None
    for prompt, answer in zip(prompts, answers, strict=True):
        said = [*answer.tokens, answer.stop] if answer.ended else answer.tokens
        rows.ids.append(np.asarray([*prompt, *said], dtype=np.int32))
        rows.scored.append(np.arange(len(prompt) + len(said)) >= len(prompt))
        rows.bytes.append(0)
    return rows
