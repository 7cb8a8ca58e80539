"""Prompts answered by base and tuned: completions streamed, or labels with probabilities.

They are answered between two optimizer steps, by the weights of an earlier checkpoint where one is
asked for, and after the run until nobody has asked for some minutes.
"""

from __future__ import annotations

import math
import os
import queue
import time
import traceback
from collections.abc import Iterator
from copy import copy
from typing import Any

from msgspec.structs import replace

from ...errors import FtevError, RunError
from ...run.control import (
    SERVING,
    AskPrompt,
    AskTrace,
    Completed,
    Done,
    Failed,
    Held,
    Labelled,
    Reply,
    Request,
    ScoredToken,
    TokenMade,
)
from ...run.events import PromptAnswered
from ...run.listen import Listener, Question
from ..models.devices import free_memory
from ..models.models import Loaded, stop_ids
from ..models.tokenizers import check_prompt, same_tokens
from ..scoring.rows import TokenRows, asked_row, prompt_ids
from ..scoring.splits import find_probe
from ..scoring.token_scores import cross_score
from ..training.checkpoints import checkpoint_path
from ..training.probe import features
from ..worker.endings import explain
from ..worker.session import Session
from .generate import Voice, generate
from .trace import BASE_BY_PROBE, trace_text

REST = 0.02  # seconds between looks at the queue


def answer_waiting(s: Session, *, holding: bool) -> None:
    """Answer every prompt that waits; each failure goes to its asker alone."""
    while True:
        try:
            question = s.listener.questions.get_nowait()
        except queue.Empty:
            return
        answer_question(s, question, holding=holding)


def answer_question(s: Session, question: Question, *, holding: bool) -> None:
    """Answer one prompt and write that down; `holding` where training waits meanwhile."""
    if holding:
        question.answers.put(Held(step=s.step))
    answered = PromptAnswered(prompt=question.asked.text, step=step_asked(s, question.asked))
    traced = isinstance(question.asked, AskTrace)
    try:
        for reply in replies(at_checkpoint(s, question.asked), question.asked):
            if question.gone.is_set():
                return
            question.answers.put(reply)
            answered = noted(answered, reply)
    except Exception as error:  # whatever a library raises over a prompt must not end the run
        if not isinstance(error, FtevError):
            traceback.print_exc()
        question.answers.put(Failed(text=explain(error)))
        return
    if not traced:
        s.write(answered)
        s.flush()  # who was answered may look for it at once
    question.answers.put(Done())


def answer_probes(s: Session) -> None:
    """The config's own prompts, as the model stands now."""
    for text in s.config.evaluate.prompts:
        answered = PromptAnswered(prompt=text, step=s.step, probe=True)
        asked = AskPrompt(text=text, max_new_tokens=s.config.evaluate.max_new_tokens)
        for reply in replies(s, asked):
            answered = noted(answered, reply)
        s.write(answered)


def noted(answered: PromptAnswered, reply: Reply) -> PromptAnswered:
    """The fact so far with one more reply."""
    if isinstance(reply, Completed):
        return replace(answered, **{reply.model: reply.text})
    if isinstance(reply, Labelled):
        changes: dict[str, Any] = {f"{reply.model}_probabilities": reply.probabilities}
        if reply.thresholds:
            changes["thresholds"] = answered.thresholds | {reply.model: reply.thresholds}
        if reply.model == "base":
            changes["base_name"] = reply.name
        return replace(answered, **changes)
    return answered


def replies(s: Session, asked: AskPrompt | AskTrace) -> Iterator[Reply]:
    """What base and tuned answer, as it is made: a trace, labels, or tokens."""
    if isinstance(asked, AskTrace):
        yield trace_text(s, asked)
        return
    if s.task.has_head:
        yield from label_text(s, asked)
        return
    prompt = prompt_ids(s.tuned, asked.text, s.form, spaced=s.spaced, system=s.config.data.system)
    check_prompt(s.tuned, prompt)
    sources = {"base": s.base, "tuned": s.tuned} if "base" in asked.models else {"tuned": s.tuned}
    voices = [Voice(name, loaded) for name, loaded in sources.items() if name in asked.models]
    aligned = s.config.trains or len(voices) < 2 or same_tokens(s.base, s.tuned)
    for voice in voices:
        if aligned:  # the same for both (G1)
            voice.stops = set().union(*(stop_ids(v.loaded) for v in voices))
        if not aligned and voice.name == "base":
            voice.prompt = prompt_ids(
                s.base, asked.text, s.form, spaced=s.spaced, system=s.config.data.system
            )
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
            (writer.name, writer.loaded, writer.prompt, answer),
            (reader.name, reader.loaded, reader.prompt),
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
    """JSON has no infinities: a token that the model rules out has no number."""
    return [
        t
        if t.log_likelihood is None or t.log_likelihood > float("-inf")
        else replace(t, log_likelihood=None)
        for t in tokens
    ]


def label_text(s: Session, asked: AskPrompt) -> Iterator[Reply]:
    """What each model takes the text for. A base without a head of its own speaks by its probe."""
    for reply in _answers_of_heads(s, asked):
        yield _as_text(reply) if s.task.numbers else reply


def _as_text(reply: Labelled) -> Completed:
    """Numbers are no shares of anything: they are written out, a line each."""
    lines = [f"{name} {value:,.6g}" for name, value in reply.probabilities.items()]
    text = "\n".join(lines) or "no answer: it is not finite"
    return Completed(model=reply.model, text=text, tokens=0, seconds=0.0, ended_by_eos=True)


def _answers_of_heads(s: Session, asked: AskPrompt) -> Iterator[Labelled]:
    """The base first, but where its probe is yet to be fitted: nobody waits for more than that."""
    fits = not s.base_has_head and s.probe is None
    for model in ("tuned", "base") if fits else ("base", "tuned"):
        if model not in asked.models:
            continue
        if model == "base" and not s.base_has_head:
            yield from _answer_of_probe(s, asked)
            continue
        loaded = s.base if model == "base" else s.tuned
        yield _labelled(model, model, _scored(s, loaded, asked.text), s.thresholds_of(model))


def _answer_of_probe(s: Session, asked: AskPrompt) -> Iterator[Labelled]:
    if (probe := find_probe(s)) is None:
        return
    rows = _rows_of(s, s.base, asked.text)
    *_, found = features(s.base, rows, probe.precision, s.config.evaluate.batch_tokens)
    assert not isinstance(found, int)
    scores = probe.logits(found) if s.task.numbers else probe.probabilities(found)
    answer = dict(zip(s.labels, scores[0].tolist(), strict=True))
    yield _labelled("base", BASE_BY_PROBE, answer, s.thresholds_of("probe"))


def _rows_of(s: Session, loaded: Loaded, text: str) -> TokenRows:
    """A text, or a pair of them, as this model reads it."""
    rows = asked_row(loaded, text, paired=s.paired)
    check_prompt(loaded, rows.ids[0].tolist())
    return rows


def _scored(s: Session, loaded: Loaded, text: str) -> dict[str, float]:
    settings, rows = s.config.evaluate, _rows_of(s, loaded, text)
    return s.scorer.answer(loaded, rows, settings.precision, settings.batch_tokens)


def _labelled(
    model: str, name: str, answer: dict[str, float], thresholds: dict[str, float]
) -> Labelled:
    if not all(map(math.isfinite, answer.values())):  # the model has no answer (V5)
        return Labelled(model=model, name=name, probabilities={})
    ranked = sorted(answer.items(), key=lambda pair: -pair[1])
    return Labelled(model=model, name=name, probabilities=dict(ranked), thresholds=thresholds)


def step_asked(s: Session, asked: Request) -> int:
    """The step whose weights answer."""
    checkpoint: int | None = getattr(asked, "checkpoint", None)
    return s.step if checkpoint is None else checkpoint


def at_checkpoint(s: Session, asked: Request) -> Session:
    """The session with the weights of the checkpoint that is asked; the last one stays loaded.

    The base, the labels and the form of prompts stay those of the run; so does the model in
    training, which is not touched. RunError where the checkpoint was not kept.
    """
    step = step_asked(s, asked)
    if step == s.step:
        return s
    path = checkpoint_path(s.run, step)
    if not os.path.isdir(path):
        s.earlier = None
        raise RunError(f"the checkpoint of step {step:,} was not kept: its folder is gone")
    then = copy(s)
    then.keep_base(s.base)
    if s.earlier is None or s.earlier[0] != step:
        s.earlier = None  # before the next: two of them would take twice the memory
        s.earlier = step, s.load(str(path))
    then.tuned = s.earlier[1]
    then.step = step
    return then


def make_room_for_training(s: Session) -> None:
    """Let go of the earlier checkpoint unless as much memory again is free, and say why."""
    if s.earlier is None:
        return
    step, loaded = s.earlier
    takes, free = _bytes_of(loaded), free_memory(s.device)
    if free is None or free < takes:
        s.earlier = None
        left = "how much is free is not known" if free is None else f"{_mib(free)} are free"
        s.note(
            f"the checkpoint of step {step:,} does not stay loaded beside training: it takes "
            f"{_mib(takes)} of {s.device} and {left}. It is loaded anew when it is asked"
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def _bytes_of(loaded: Loaded) -> int:
    return sum(p.numel() * p.element_size() for p in loaded.model.parameters())


def serve(s: Session, minutes: float) -> None:
    """Answer prompts until nobody has asked for so many minutes, then free the device."""
    s.listener.state = SERVING
    deadline = time.monotonic() + minutes * 60
    while time.monotonic() < deadline and not s.listener.stop.is_set():
        if not s.listener.questions.empty():
            answer_waiting(s, holding=False)
            deadline = time.monotonic() + minutes * 60
        time.sleep(REST)


def refuse(listener: Listener, text: str) -> None:
    """Give whoever asks within the first seconds the reason why there will be no answer."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        while not listener.questions.empty():
            listener.questions.get_nowait().answers.put(Failed(text=text))
            deadline = time.monotonic() + 0.5
        time.sleep(REST)
