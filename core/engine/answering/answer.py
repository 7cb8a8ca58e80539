"""Prompts answered by base and tuned: completions streamed, or labels with probabilities."""

from __future__ import annotations

import math
import queue
import traceback
from collections.abc import Iterator

import polars as pl
from msgspec.structs import replace

from ...errors import FtevError
from ...run.control import (
    AskPrompt,
    AskTrace,
    Completed,
    Done,
    Failed,
    Held,
    Labelled,
    Reply,
    ScoredToken,
    TokenMade,
)
from ...run.events import PromptAnswered
from ..models.models import Loaded, stop_ids
from ..models.vocabulary import check_prompt
from ..scoring.evaluate import score_labels
from ..scoring.pairing import same_tokens
from ..scoring.rows import TokenRows, classification_rows, prompt_ids
from ..scoring.token_scores import cross_score
from ..training.probe import features
from ..worker.errors import explain
from ..worker.listen import Question
from ..worker.session import Session
from .generate import Voice, generate
from .traced import BASE_BY_PROBE, trace_text
from .travel import at_checkpoint, step_asked


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
    traced = isinstance(question.asked, AskTrace)
    try:
        for reply in replies(at_checkpoint(s, question.asked), question.asked):
            if question.gone.is_set():
                return
            question.answers.put(reply)
            told = noted(told, reply)
    except Exception as error:  # whatever a library raises over a prompt must not end the run
        if not isinstance(error, FtevError):
            traceback.print_exc()
        question.answers.put(Failed(text=explain(error)))
        return
    if not traced:
        s.write(told)
        s.flush()  # who was answered may look for it at once
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
    if isinstance(reply, Completed):
        return replace(told, **{reply.model: reply.text})
    if isinstance(reply, Labelled):
        changes = {f"{reply.model}_probabilities": reply.probabilities}
        if reply.model == "base":
            changes["base_name"] = reply.name  # type: ignore[assignment]
        return replace(told, **changes)
    return told


def replies(s: Session, asked: AskPrompt | AskTrace) -> Iterator[Reply]:
    if isinstance(asked, AskTrace):
        yield trace_text(s, asked)
        return
    if s.config.task_type.has_labels:
        yield from label_text(s, asked)
        return
    prompt = prompt_ids(s.tuned, asked.text, s.form, spaced=s.spaced)
    check_prompt(s.tuned, prompt)
    sources = {"base": s.base, "tuned": s.tuned} if "base" in asked.models else {"tuned": s.tuned}
    voices = [Voice(name, loaded) for name, loaded in sources.items() if name in asked.models]
    aligned = s.config.trains or len(voices) < 2 or same_tokens(s.base, s.tuned)
    for voice in voices:
        if aligned:  # the same for both (G1)
            voice.stops = set().union(*(stop_ids(v.loaded) for v in voices))
        if not aligned and voice.name == "base":
            voice.prompt = prompt_ids(s.base, asked.text, s.form, spaced=s.spaced)
            check_prompt(s.base, voice.prompt)
    for reply in generate(voices, prompt, asked):
        yield _plain(reply)
    if asked.details and asked.likelihoods != "none" and len(voices) == 2:
        yield from _cross_scores(voices, aligned)


def _cross_scores(voices: list[Voice], aligned: bool) -> Iterator[Reply]:
    """Each answer as the other model finds it."""
    for writer, reader in (voices, reversed(voices)):
        answer = writer.answered
        found = cross_score(
            (writer.name, writer.loaded, writer.prompt or [], answer),
            (reader.name, reader.loaded, reader.prompt or []),
            writer.scores[len(writer.scores) - len(answer) :],
            aligned=aligned,
        )
        if found is not None:
            yield replace(found, tokens=_finite(found.tokens))


def _plain(reply: TokenMade | Completed) -> Reply:
    if isinstance(reply, Completed) and reply.likelihoods:
        return replace(reply, likelihoods=_finite(reply.likelihoods))
    return reply


def _finite(tokens: list[ScoredToken]) -> list[ScoredToken]:
    """JSON has no infinities: a token that the model rules out is told without a number."""
    return [
        t
        if t.log_likelihood is None or t.log_likelihood > float("-inf")
        else replace(t, log_likelihood=None)
        for t in tokens
    ]


def label_text(s: Session, asked: AskPrompt) -> Iterator[Labelled]:
    """What each model takes the text for. A base without a head of its own speaks by its probe."""
    settings = s.config.evaluate
    if "base" in asked.models and s.base_has_head:
        yield _labelled("base", "base", _scored(s, s.base, asked.text), s.base.labels)
    elif "base" in asked.models and s.probe is not None:
        rows = _rows_of(s.base, asked.text)
        *_, found = features(s.base, rows, settings.precision, settings.batch_tokens)
        assert not isinstance(found, int)
        probabilities = s.probe.probabilities(found)[0].tolist()
        yield _labelled("base", BASE_BY_PROBE, probabilities, s.labels)
    if "tuned" in asked.models:
        yield _labelled("tuned", "tuned", _scored(s, s.tuned, asked.text), s.tuned.labels)


def _rows_of(loaded: Loaded, text: str) -> TokenRows:
    """A text as this model reads it."""
    frame = pl.DataFrame({"row_id": [0], "text": [text], "label": [loaded.labels[0]]})
    *_, rows = classification_rows(frame, loaded)
    assert isinstance(rows, TokenRows)
    check_prompt(loaded, rows.ids[0].tolist())
    return rows


def _scored(s: Session, loaded: Loaded, text: str) -> list[float]:
    settings, rows = s.config.evaluate, _rows_of(loaded, text)
    *_, scored = score_labels(loaded, rows, settings.precision, settings.batch_tokens)
    assert isinstance(scored, pl.DataFrame)
    probabilities: list[float] = scored["probabilities"][0].to_list()
    return probabilities


def _labelled(
    model: str, name: str, probabilities: list[float], labels: tuple[str, ...]
) -> Labelled:
    if not all(map(math.isfinite, probabilities)):  # the model has no answer (V5)
        return Labelled(model=model, name=name, probabilities={})
    ranked = sorted(zip(labels, probabilities, strict=True), key=lambda pair: -pair[1])
    return Labelled(model=model, name=name, probabilities=dict(ranked))
