"""`ftev-tui prompt RUN --text T`: the base and the tuned model on one prompt, streamed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Literal

from ...core.errors import RunError
from ...core.run.control import (
    AnyReply,
    AskPrompt,
    Completed,
    Held,
    Labelled,
    ScoredToken,
    TokenMade,
    ask,
)
from ...core.run.history import read_history
from ...core.run.launch import wake_worker
from ...core.run.runs import Run, open_run, runs_folder, weights_of
from ...core.wording.text import quoted, visible, visible_lines
from .show import Document, let_interrupt, print_json, print_table, say

SERVE_MINUTES = "5"  # a worker started for a prompt waits so long for the next one
PATIENCE = 600.0  # seconds: an evaluation may stand before the prompt
SHOWN_LABELS = 5  # the others are one sum

Model = Literal["base", "tuned"]


def run(options: argparse.Namespace) -> int:
    """Starts a worker where none is at work, and prints the answers as they come."""
    found = open_run(options.run, runs_folder(options.runs_dir))
    see_to_worker(found)
    replies = ask(found, asked(options), PATIENCE)
    if options.json:
        print_json({"prompt": options.text, "answers": collect(replies)})
    else:
        Stream().show(replies)
    return 0


def asked(options: argparse.Namespace) -> AskPrompt:
    """The prompt with its sampling, as a worker takes it; `-` is read from stdin."""
    if options.text == "-":
        let_interrupt()
        options.text = sys.stdin.read()
    models: list[Model] = ["base", "tuned"] if options.model == "both" else [options.model]
    return AskPrompt(
        text=options.text,
        models=models,
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.seed,
        likelihoods=options.likelihoods,
    )


def see_to_worker(found: Run) -> None:
    """An ended run whose worker has gone gets one that only answers."""
    if found.worker_alive():
        return
    history = read_history(found)
    if weights_of(found, history.best_step) is None:
        raise RunError(f"{found.id}: no worker is running, and no tuned model was saved to load")
    if history.finished is None and not found.model_path.exists():
        raise RunError(
            f"{found.id}: its worker died. `ftev-tui resume {found.id}` goes on; then it answers"
        )
    say(f"{found.id}: loading its models")
    wake_worker(found, SERVE_MINUTES)


def collect(replies: Iterator[AnyReply]) -> list[Document]:
    """The full answers, one entry per model."""
    answers: list[Document] = []
    for reply in replies:
        if isinstance(reply, Held):
            say(f"training waits at step {reply.step:,}")
        elif isinstance(reply, Labelled):
            answers.append(
                {"model": reply.model, "name": reply.name, "probabilities": reply.probabilities}
            )
        elif isinstance(reply, Completed):
            answers.append(_completion(reply))
    return answers


def _completion(reply: Completed) -> Document:
    completion: Document = {
        "model": reply.model,
        "completion": reply.text,
        "tokens": reply.tokens,
        "seconds": reply.seconds,
        "ended_by_eos": reply.ended_by_eos,
    }
    if reply.likelihoods:
        completion["likelihoods"] = [[t.text, t.log_likelihood, t.rank] for t in reply.likelihoods]
    return completion


class Stream:
    """Prints answers as they are made. Two models write at once: the second waits its turn."""

    def __init__(self) -> None:
        self._speaking = ""
        self._waiting: dict[str, str] = {}
        self._done: dict[str, Completed] = {}

    def show(self, replies: Iterator[AnyReply]) -> None:
        for reply in replies:
            if isinstance(reply, Held):
                say(f"training waits at step {reply.step:,}")
            elif isinstance(reply, Labelled):
                show_labels(reply)
            elif isinstance(reply, TokenMade):
                self._show_token(reply.model, reply.text)
            elif isinstance(reply, Completed):
                self._show_end(reply)

    def _show_token(self, model: str, text: str) -> None:
        if not self._speaking:
            self._begin(model)
        if model == self._speaking:
            print("\n".join(visible_lines(text)), end="", flush=True)
        else:
            self._waiting[model] = self._waiting.get(model, "") + text

    def _begin(self, model: str) -> None:
        self._speaking = model
        print(f"{model}:")
        print("\n".join(visible_lines(self._waiting.pop(model, ""))), end="", flush=True)

    def _show_end(self, reply: Completed) -> None:
        self._done[reply.model] = reply
        while ended := self._done.pop(self._speaking or reply.model, None):
            if not self._speaking:
                self._begin(ended.model)
            _finish(ended)
            self._speaking = ""
            if following := next(iter([*self._waiting, *self._done]), ""):
                self._begin(following)


def _finish(reply: Completed) -> None:
    end = "ended by itself" if reply.ended_by_eos else "cut at its length"
    print(f"\n  ({reply.tokens:,} tokens in {reply.seconds:.1f} s, {end})\n")
    if reply.likelihoods:
        print_table(("token", "log-likelihood", "rank"), _token_rows(reply), words=("token",))
        print()


def _token_rows(reply: Completed) -> list[list[str]]:
    def row(t: ScoredToken) -> list[str]:
        value = "" if t.log_likelihood is None else f"{t.log_likelihood:.3f}"
        return [quoted(t.text), value, "" if t.rank is None else f"{t.rank:,}"]

    return [row(t) for t in reply.likelihoods]


def show_labels(reply: Labelled) -> None:
    """The answer of one classifier: its likeliest labels with their probabilities."""
    print(f"{reply.name}:")
    ranked = sorted(reply.probabilities.items(), key=lambda pair: -pair[1])
    for label, probability in ranked[:SHOWN_LABELS]:
        print(f"  {probability:6.1%}  {visible(label)}")
    if rest := ranked[SHOWN_LABELS:]:
        print(f"  {sum(p for _, p in rest):6.1%}  the other {len(rest):,}")
