"""Prompts answered by base and tuned: completions streamed, or labels with probabilities."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import polars as pl

from ..control import (
    AskPrompt,
    Completed,
    Done,
    Failed,
    Held,
    Labelled,
    Reply,
    ScoredToken,
    TokenMade,
)
from ..errors import FtevError
from ..events import PromptAnswered
from .evaluate import score_labels
from .generate import Voice, generate
from .listen import Question
from .models import Loaded
from .probe import features
from .rows import TokenRows, classification_rows, prompt_ids
from .session import Session
from .travel import at_checkpoint, step_asked

BASE_BY_PROBE = "base (linear probe)"


def answer_waiting(s: Session, *, holding: bool) -> None:
    """Answer every prompt that waits; each failure is told to its asker and nobody else."""
    while True:
        try:
            question = s.listener.questions.get_nowait()
        except queue.Empty:
            return
        answer_question(s, question, holding=holding)


def answer_question(s: Session, question: Question, *, holding: bool) -> None:
    if holding:
        question.answers.put(Held(step=s.step))
    told = PromptAnswered(prompt=question.asked.text, step=step_asked(s, question.asked))
    try:
        for reply in replies(at_checkpoint(s, question.asked), question.asked):
            if question.gone.is_set():
                return
            question.answers.put(reply)
            told = noted(told, reply)
    except (FtevError, RuntimeError) as error:  # RuntimeError: out of memory, shapes
        question.answers.put(Failed(text=str(error)))
        return
    s.write(told)
    question.answers.put(Done())


def answer_probes(s: Session) -> None:
    """The config's own prompts, as the model stands now."""
    for text in s.config.evaluate.prompts:
        told = PromptAnswered(prompt=text, step=s.step, probe=True)
        asked = AskPrompt(text=text, max_new_tokens=s.config.evaluate.max_new_tokens)
        for reply in replies(s, asked):
            told = noted(told, reply)
        s.write(told)


def noted(told: PromptAnswered, reply: Reply) -> PromptAnswered:
    """The fact so far with one more reply."""
    from msgspec.structs import replace

    if isinstance(reply, Completed):
        return replace(told, **{reply.model: reply.text})
    if isinstance(reply, Labelled):
        changes = {f"{reply.model}_probabilities": reply.probabilities}
        if reply.model == "base":
            changes["base_name"] = reply.name  # type: ignore[assignment]
        return replace(told, **changes)
    return told


def replies(s: Session, asked: AskPrompt) -> Iterator[Reply]:
    if s.config.is_classification:
        yield from label_text(s, asked)
        return
    prompt = prompt_ids(s.tuned, asked.text, s.form, spaced=s.spaced)
    sources = {"base": s.base, "tuned": s.tuned} if "base" in asked.models else {"tuned": s.tuned}
    voices = [Voice(name, loaded) for name, loaded in sources.items() if name in asked.models]
    for reply in generate(voices, prompt, asked):
        yield _plain(reply)


def _plain(reply: TokenMade | Completed) -> Reply:
    """JSON has no infinities: a token that the model rules out is told without a number."""
    if isinstance(reply, Completed) and reply.likelihoods:
        from msgspec.structs import replace

        finite = [
            t
            if t.log_likelihood is None or t.log_likelihood > float("-inf")
            else ScoredToken(t.text, None, t.rank)
            for t in reply.likelihoods
        ]
        return replace(reply, likelihoods=finite)
    return reply


def label_text(s: Session, asked: AskPrompt) -> Iterator[Labelled]:
    """What each model takes the text for. A base without a head of its own speaks by its probe."""
    frame = pl.DataFrame({"row_id": [0], "text": [asked.text], "label": [s.labels[0]]})
    *_, rows = classification_rows(frame, s.tuned)
    assert isinstance(rows, TokenRows)
    settings = s.config.evaluate
    if "base" in asked.models and s.base_has_head:
        yield _labelled("base", "base", _scored(s, s.base, rows), s.labels)
    elif "base" in asked.models and s.probe is not None:
        *_, found = features(s.base, rows, settings.precision, settings.batch_tokens)
        assert not isinstance(found, int)
        probabilities = s.probe.probabilities(found)[0].tolist()
        yield _labelled("base", BASE_BY_PROBE, probabilities, s.labels)
    if "tuned" in asked.models:
        yield _labelled("tuned", "tuned", _scored(s, s.tuned, rows), s.labels)


def _scored(s: Session, loaded: Loaded, rows: TokenRows) -> list[float]:
    settings = s.config.evaluate
    *_, scored = score_labels(loaded, rows, settings.precision, settings.batch_tokens)
    assert isinstance(scored, pl.DataFrame)
    probabilities: list[float] = scored["probabilities"][0].to_list()
    return probabilities


def _labelled(
    model: str, name: str, probabilities: list[float], labels: tuple[str, ...]
) -> Labelled:
    ranked = sorted(zip(labels, probabilities, strict=True), key=lambda pair: -pair[1])
    return Labelled(model=model, name=name, probabilities=dict(ranked))
