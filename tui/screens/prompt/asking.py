"""Asking a run's worker in a thread, and waking one that only serves where none is alive."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from ....core.errors import FtevError, HeldError
from ....core.run.control import (
    SERVING,
    Accepted,
    AnyReply,
    AskPrompt,
    AskStatus,
    AskTrace,
    Request,
    StatusReply,
    ask,
)
from ....core.run.history import History
from ....core.run.launch import refuse_if_second, resume_worker, stop_worker, wake_worker
from ....core.run.runs import Run
from ...app.background import Post, in_thread
from ...drawing.format import format_bytes
from ...widgets.framed import Outcome
from .answers import LOADING, Exchange

PROMPT_SECONDS = 600.0  # of silence: a long generation on a slow machine is not a fault
CONTROL_SECONDS = 30.0
SERVE_MINUTES = "5"  # a worker woken for a prompt waits so long for the next one, then frees memory


@dataclass
class ReplyCame(Message):
    """A part of an answer; `exchange` says which prompt it belongs to."""

    exchange: Exchange
    reply: AnyReply


@dataclass
class AnswerNews(Message):
    """Something about an exchange, in words: a worker is being woken, or why there is no answer."""

    exchange: Exchange
    text: str
    failed: bool = False
    ended: bool = False


def ask_prompt(run: Run, exchange: Exchange, request: AskPrompt | AskTrace, post: Post) -> None:
    """Ask in a thread of its own; the answers are posted as they come."""
    in_thread(lambda: _ask_prompt(run, exchange, request, post))


def _ask_prompt(run: Run, exchange: Exchange, request: AskPrompt | AskTrace, post: Post) -> None:
    try:
        if not run.worker_alive():
            _wake_worker(run, exchange, post)
        for reply in ask(run, request, PROMPT_SECONDS, exchange.hang_up):
            post(ReplyCame(exchange, reply))
        post(AnswerNews(exchange, "", ended=True))
    except FtevError as error:
        post(AnswerNews(exchange, str(error), failed=True, ended=True))


def _wake_worker(run: Run, exchange: Exchange, post: Post) -> None:
    post(AnswerNews(exchange, LOADING))
    wake_worker(run, SERVE_MINUTES)


def ask_request(run: Run, request: Request, post: Post) -> None:
    """Send a request that is answered by a sentence."""
    in_thread(lambda: _ask_request(run, request, post))


def _ask_request(run: Run, request: Request, post: Post) -> None:
    try:
        texts = [r.text for r in ask(run, request, CONTROL_SECONDS) if isinstance(r, Accepted)]
        post(Outcome(" ".join(texts) or "done"))
    except FtevError as error:
        post(Outcome(str(error), failed=True))


def free_worker(run: Run, post: Post) -> None:
    """End a worker that only answers prompts; one that works on the run is left alone."""
    in_thread(lambda: _free_worker(run, post))


def _free_worker(run: Run, post: Post) -> None:
    held = run.memory_held()
    if held is None:
        post(Outcome("No worker is alive: it holds no memory."))
        return
    try:
        states = [r.state for r in ask(run, AskStatus()) if isinstance(r, StatusReply)]
        if states != [SERVING]:
            busy = f"Its worker is at work ({', '.join(states)}): open the run and stop it with S."
            post(Outcome(busy, failed=True))
            return
        stop_worker(run)
    except FtevError as error:
        post(Outcome(str(error), failed=True))
        return
    freed = f": {format_bytes(held)} are free" if held else ""
    post(Outcome(f"its worker has ended{freed}; a prompt starts another"))


def resume_run(run: Run, post: Post) -> None:
    """Start a worker that goes on with an ended run."""
    in_thread(lambda: _resume_run(run, post))


def _resume_run(run: Run, post: Post) -> None:
    try:
        worker = resume_worker(run)
    except (FtevError, OSError) as error:
        post(Outcome(str(error), failed=True))
        return
    post(Outcome("starting a worker"))
    worker.wait()  # else an ended child stays a zombie
    try:
        refuse_if_second(run, worker)
    except HeldError as error:
        post(Outcome(str(error), failed=True))


def write_missing_report(run: Run, history: History, post: Post) -> None:
    """What a finished run lacks of its report. In a thread: its imports are heavy."""
    from ....core.report.report import write_missing

    if written := write_missing(run, history):
        post(Outcome(written))


def write_report(run: Run, post: Post) -> None:
    """Write the report in a thread: its imports are heavy."""
    in_thread(lambda: _write_report(run, post))


def _write_report(run: Run, post: Post) -> None:
    from ....core.report.report import write_report as write

    try:
        paths = write(run)
        post(Outcome("written: " + ", ".join(str(path) for path in paths)))
    except FtevError as error:
        post(Outcome(str(error), failed=True))
    except OSError as error:
        post(Outcome(f"the report cannot be written: {error}", failed=True))
