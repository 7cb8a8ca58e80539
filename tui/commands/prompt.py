"""What is asked of the models themselves: `ftev-tui prompt RUN --text T` (both on one prompt,
streamed), `trace RUN --text T` (layer by layer) and `likelihood` (of a text under each
model). `merge RUN` writes the tuned one without its adapter."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from ...core.errors import ConfigError, Fault, RunError
from ...core.metrics.token_changes import token_changes
from ...core.run.control import (
    AnyReply,
    AskPrompt,
    AskTrace,
    Completed,
    Held,
    Labelled,
    ScoredToken,
    TokenMade,
    Traced,
    ask,
)
from ...core.run.foreign.imported import find_run
from ...core.run.history import read_history
from ...core.run.launch import ask_engine, wake_worker
from ...core.run.runs import Run, refuse_foreign, runs_folder, weights_of
from ...core.wording.numbers import format_value
from ...core.wording.text import quoted, visible, visible_lines
from .show import Document, let_interrupt, print_json, print_table, say

SERVE_MINUTES = "5"  # a worker started for a prompt waits so long for the next one
PATIENCE = 600.0  # seconds: an evaluation may stand before the prompt
SHOWN_LABELS = 5  # the others are one sum

Model = Literal["base", "tuned"]


def run(options: argparse.Namespace) -> int:
    """Starts a worker where none is at work, and prints the answers as they come."""
    found = find_run(options.run, runs_folder(options.runs_dir))
    see_to_worker(found)
    replies = ask(found, asked(options), PATIENCE)
    if options.json:
        print_json({"prompt": options.text, "answers": collect(replies)})
    else:
        Stream().show(replies)
    return 0


def asked(options: argparse.Namespace) -> AskPrompt:
    """The prompt with its sampling, as a worker takes it; `-` is read from stdin."""
    options.text = _text_of(options)
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


def _text_of(options: argparse.Namespace) -> str:
    """What is asked; of a pair, the first text on one line and the second below it."""
    text: str = options.text
    if text == "-":
        let_interrupt()
        text = sys.stdin.read()
    return text if options.text_pair is None else f"{' '.join(text.split())}\n{options.text_pair}"


def see_to_worker(found: Run) -> None:
    """An ended run whose worker has gone gets one that only answers."""
    refuse_foreign(found)
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
            labelled: Document = {
                "model": reply.model,
                "name": reply.name,
                "probabilities": reply.probabilities,
            }
            if reply.thresholds:
                labelled["thresholds"] = reply.thresholds
            answers.append(labelled)
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
    if not reply.tokens and reply.text:  # numbers: they come whole, not token by token
        print("\n".join(visible_lines(reply.text)), end="\n\n")
        return
    end = "ended by itself" if reply.ended_by_eos else "cut at its length"
    print(f"\n  ({reply.tokens:,} tokens in {reply.seconds:.1f} s, {end})\n")
    if reply.likelihoods:
        print_table(("token", "log-likelihood", "rank"), _token_rows(reply), words=("token",))
        print()


def _token_rows(reply: Completed) -> list[list[str]]:
    def row(token: ScoredToken) -> list[str]:
        value = "" if token.log_likelihood is None else f"{token.log_likelihood:.3f}"
        return [quoted(token.text), value, "" if token.rank is None else f"{token.rank:,}"]

    return [row(t) for t in reply.likelihoods]


def show_labels(reply: Labelled) -> None:
    """The answer of one classifier: its likeliest labels with their probabilities."""
    if reply.thresholds:
        _show_given(reply)
        return
    print(f"{reply.name}:")
    ranked = sorted(reply.probabilities.items(), key=lambda pair: -pair[1])
    for label, probability in ranked[:SHOWN_LABELS]:
        print(f"  {probability:6.1%}  {visible(label)}")
    if rest := ranked[SHOWN_LABELS:]:
        print(f"  {sum(p for _, p in rest):6.1%}  the other {len(rest):,}")


def _show_given(reply: Labelled) -> None:
    """Each label by itself, with its threshold: in the order of their probabilities."""
    print(f"{reply.name}, each label by itself (+ given: at or above its threshold):")
    for label, probability in reply.probabilities.items():
        limit = reply.thresholds.get(label, 0.5)
        mark = "+" if probability >= limit else " "
        print(f"  {probability:6.1%} {mark} {visible(label)} (threshold {limit:.3g})")


PLAIN_WIDTH = 100  # cells where no terminal says otherwise
LEAST_WIDTH = 76  # cells that the table of layers needs


def trace(options: argparse.Namespace) -> int:
    """Starts a worker where none is at work. Raises RunError for one that cannot trace."""
    found = find_run(options.run, runs_folder(options.runs_dir))
    options.text = _text_of(options)
    see_to_worker(found)
    traced = _ask_trace(found, options.text)
    if options.json:
        print_json(msgspec.to_builtins(traced))
    else:
        _print_trace(traced)
    return 0


def _ask_trace(found: Run, text: str) -> Traced:
    for reply in ask(found, AskTrace(text=text), PATIENCE):
        if isinstance(reply, Held):
            say(f"training waits at step {reply.step:,}")
        elif isinstance(reply, Traced):
            return reply
    raise RunError(f"{found.id}: its worker gave no trace; it may be of an older version")


def _print_trace(traced: Traced) -> None:
    from ..drawing.lines import text_of
    from ..screens.trace.lines import whole_trace

    width = shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns
    for line in whole_trace(traced, max(LEAST_WIDTH, width - 1)):
        print(text_of(line).rstrip())


MOST = 10  # tokens shown that gained, and that lost, unless every one is asked for


def likelihood(options: argparse.Namespace) -> int:
    """Scores in the engine, in a process of its own."""
    texts = options.texts or [read_text(options.file)]
    if faults := [Fault("--text", "is empty") for text in texts if not text.strip()]:
        raise ConfigError(*faults)
    say("ftev: starting the engine …")
    question = {"models": options.models, "texts": texts, "max_length": None}
    result = ask_engine("likelihood", question, lambda progress: say(f"  {progress}"))
    if options.json:
        print_json(result)
    else:
        show_result(result, every_token=options.tokens)
    return 0


def merge(options: argparse.Namespace) -> int:
    """Merges in the engine, in a process of its own, and prints how far the scores moved."""
    found = find_run(options.run, runs_folder(options.runs_dir))
    if not found.model_path.exists():
        raise RunError(f"{found.id}: it has saved no tuned model yet")
    out = Path(options.out).resolve() if options.out else found.path / "merged"
    say("ftev: starting the engine …")
    question = {"run": str(found.path.resolve()), "out": str(out), "dtype": options.dtype}
    result = ask_engine("merge", question, lambda progress: say(f"  {progress}"))
    if options.json:
        print_json(result)
        return 0
    print(visible(f"{result['folder']}: the merged model, {result['dtype']}"))
    changed = result["changed_predictions"]
    print(
        f"checked against the adapter on {result['rows']:,} rows of {result['split']}: the loss "
        f"of a row moved by at most {result['largest_loss_drift']:.2g} nats "
        f"({result['tolerance']:.2g} is allowed); predictions changed in "
        f"{changed:,} {'row' if changed == 1 else 'rows'}"
    )
    return 0


def read_text(name: str) -> str:
    """A text file of UTF-8. Raises ConfigError where it cannot be read as one."""
    try:
        return Path(name).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(Fault(name, f"cannot be read as UTF-8 text: {error}")) from None


def show_result(result: Document, *, every_token: bool = False) -> None:
    """The document of `likelihood --json` as tables."""
    first, *_ = models = result["models"]
    rows = [
        [
            m["model"],
            f"{m['scored_tokens']:,}",
            format_value("average_log_likelihood", m["average_log_likelihood"]),
            format_value("bits_per_byte", m["bits_per_byte"]),
            m["prefix"] or "none",
            _window(m),
        ]
        for m in models
    ]
    columns = ("model", "tokens", "average log-likelihood", "bits per byte", "prefix", "window")
    print_table(columns, rows, words=("model", "prefix", "window"))
    if every_token and len(models) == 1:
        _show_tokens(first)
    for m, change in zip(models[1:], result["differences"], strict=True):
        print()
        print(visible(_difference(change)))
        if "gained" not in change:
            continue
        if every_token:
            _show_changes(change, token_changes(first["per_token"], m["per_token"]))
        else:
            for kind in ("gained", "lost"):
                if change[kind]:
                    print(f"\n{_title(kind, len(change[kind]))}")
                    _show_changes(change, change[kind][:MOST])


def _window(model: Document) -> str:
    window, stride = model.get("window"), model.get("stride")
    if window is None:
        return ""
    return f"{window:,}, stride {stride:,}" if stride is not None else f"{window:,}"


def _difference(change: Document) -> str:
    """What changes from the first model; per token only where both have the same tokens (K4)."""
    pair = f"{change['from']} → {change['to']}: "
    bits = f"{change['bits_per_byte']:+.3f} bits per byte (less is better)"
    if "average_log_likelihood" not in change:
        return (
            f"{pair}{bits}. The two cut the text into different tokens, so no token of one can be "
            "set against one of the other: bits per byte is the only fair comparison."
        )
    return f"{pair}{change['average_log_likelihood']:+.3f} nats per token, {bits}"


def _title(kind: str, count: int) -> str:
    what = "became likelier" if kind == "gained" else "became less likely"
    shown = f", the {MOST} with the greatest change" if count > MOST else ""
    return f"{count:,} token{'' if count == 1 else 's'} {what}{shown}:"


def _show_changes(change: Document, tokens: list[Document]) -> None:
    rows = [
        [
            f"{t['position']:,}",
            quoted(t["token"]),
            f"{float(t['from']):.3f}",
            f"{float(t['to']):.3f}",
            f"{float(t['difference']):+.3f}",
            f"{t['rank_from']:,} → {t['rank_to']:,}",
        ]
        for t in tokens
    ]
    names = [Path(change[side]).name or change[side] for side in ("from", "to")]
    if names[0] == names[1]:
        names = ["first", "second"]
    print_table(["", "token", *names, "difference", "rank"], rows, words=("token",))


def _show_tokens(model: Document) -> None:
    rows = [
        [f"{i:,}", quoted(token), f"{float(likelihood):.3f}", f"{rank:,}"]
        for i, (token, likelihood, rank) in enumerate(model["per_token"])
    ]
    print()
    print_table(["", "token", "log-likelihood", "rank"], rows, words=("token",))
