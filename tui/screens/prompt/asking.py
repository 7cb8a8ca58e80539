"""Asking a run's worker in a thread, waking one that only serves where none is alive; and the
generation settings of a session, checked all at once, with the form that edits them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
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
from ...drawing.format import fit, format_bytes, format_count
from ...drawing.lines import Line
from ...widgets.framed import Modal, Outcome
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
        # Hanging up ends the generation in the worker too.
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
        # Asked anew, not taken from the list on the screen: that is seconds old.
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


FIELDS = (  # name, title, what it means
    ("max_new_tokens", "max new tokens", "an answer stops there; 1 to 4096"),
    ("temperature", "temperature", "0 is greedy; 1 samples the model as it is"),
    ("top_k", "top-k", "sample from so many tokens; 0 from all"),
    ("top_p", "top-p", "sample from this probability; 1 from all"),
    ("seed", "seed", "the same seed samples the same answer"),
)
WHOLE = {"max_new_tokens": (1, 4096), "top_k": (0, 1_000_000), "seed": (0, 2**31 - 1)}
REAL = {"temperature": (0.0, 100.0), "top_p": (0.0, 1.0)}


@dataclass(frozen=True)
class GenerationSettings:
    """How answers are generated; temperature 0 is greedy."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def as_texts(self) -> dict[str, str]:
        # no 0.30000000000000004
        return {name: f"{getattr(self, name):.12g}" for name, _, _ in FIELDS}

    def in_words(self, seed: int) -> str:
        """`greedy, at most 64 tokens`; `temperature 0.8, top-p 0.9, seed 3, at most 64 tokens`"""
        most = f"at most {format_count(self.max_new_tokens)} tokens"
        if not self.temperature:
            return f"greedy, {most}"
        parts = [f"temperature {self.temperature:g}"]
        parts += [f"top-k {self.top_k}"] * (self.top_k > 0)
        parts += [f"top-p {self.top_p:g}"] * (self.top_p < 1)
        return ", ".join([*parts, f"seed {seed}", most])


def read_settings(texts: Mapping[str, str]) -> tuple[GenerationSettings | None, dict[str, str]]:
    """The settings that were typed, else what is wrong with each field."""
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name, _, _ in FIELDS:
        value = _number(texts[name].strip(), whole=name in WHOLE)
        low, high = WHOLE.get(name) or REAL[name]
        if value is None:
            faults[name] = "must be a whole number" if name in WHOLE else "must be a number"
        elif not low <= value <= high:
            faults[name] = f"must lie between {low:g} and {high:,.12g}"
        values[name] = value
    # Bounds include their ends, and 0 would leave no token to sample from.
    if "top_p" not in faults and values["top_p"] == 0:
        faults["top_p"] = "must be above 0"
    return (None, faults) if faults else (GenerationSettings(**values), {})


def _number(text: str, *, whole: bool) -> float | None:
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        return None
    # `float` reads "nan" and "inf".
    return value if math.isfinite(value) else None


TITLE_WIDTH, VALUE_WIDTH, MEANING_WIDTH = 15, 12, 41
LONGEST = 11  # characters of a value
TYPED = frozenset("0123456789.-")


class SettingsForm(Modal[GenerationSettings | None]):
    """`enter` keeps what is typed, if all of it can be kept; `esc` leaves it as it was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", show=False),
        Binding("enter", "keep", show=False),
        Binding("up,shift+tab", "move(-1)", show=False),
        Binding("down,tab", "move(1)", show=False),
        Binding("backspace,delete", "erase", show=False),
    ]

    def __init__(self, settings: GenerationSettings) -> None:
        self.texts = settings.as_texts()
        self.faults: dict[str, str] = {}
        self.field = 0
        self._fresh = True  # the first character typed replaces the value
        super().__init__("How answers are made", self._lines())

    @property
    def _here(self) -> str:
        return FIELDS[self.field][0]

    def _lines(self) -> list[Line]:
        lines: list[Line] = []
        for index, (name, title, meaning) in enumerate(FIELDS):
            here = index == self.field
            fault = self.faults.get(name, "")
            value = self.texts[name] + ("▏" if here else "")
            lines.append(
                [
                    ("▸ " if here else "  ", "accent"),
                    (fit(title, TITLE_WIDTH), "strong" if here else ""),
                    (fit(value, VALUE_WIDTH), "accent strong" if here else "strong"),
                    (
                        fit(f"✗ {fault}" if fault else meaning, MEANING_WIDTH),
                        "bad" * bool(fault) or "muted",
                    ),
                ]
            )
        keys: Line = []
        for key, word in (("enter", "keep"), ("↑ ↓", "field"), ("esc", "leave as it was")):
            keys += [(key, "accent"), (f" {word}     ", "muted")]
        return [*lines, [], keys]

    def _show(self) -> None:
        self.box.lines = self._lines()
        self.box.show()

    def on_key(self, event: events.Key) -> None:
        if event.character in TYPED:
            event.stop()
            before = "" if self._fresh else self.texts[self._here]
            self.texts[self._here] = (before + str(event.character))[:LONGEST]
            self._fresh = False
            self.faults.pop(self._here, None)
            self._show()

    def action_erase(self) -> None:
        self._fresh = False
        self.texts[self._here] = self.texts[self._here][:-1]
        self._show()

    def action_move(self, count: int) -> None:
        self.field = (self.field + count) % len(FIELDS)
        self._fresh = True
        self._show()

    def action_keep(self) -> None:
        settings, self.faults = read_settings(self.texts)
        if settings is not None:
            self.dismiss(settings)
            return
        # To the first fault: all of them are shown.
        self.field = min(i for i, (name, _, _) in enumerate(FIELDS) if name in self.faults)
        self._fresh = True
        self._show()

    def action_close(self) -> None:
        self.dismiss(None)
