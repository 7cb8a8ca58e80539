"""`ftev-tui likelihood`: average log-likelihood of a text under each model."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.errors import ConfigError, Fault
from ...core.metrics.token_changes import token_changes
from ...core.run.launch import ask_engine
from ...core.wording.numbers import format_value
from ...core.wording.text import quoted, visible
from .show import Document, print_json, print_table, say

MOST = 10  # tokens shown that gained, and that lost, unless every one is asked for


def run(options: argparse.Namespace) -> int:
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


def _title(kind: str, n: int) -> str:
    what = "became likelier" if kind == "gained" else "became less likely"
    shown = f", the {MOST} with the greatest change" if n > MOST else ""
    return f"{n:,} token{'' if n == 1 else 's'} {what}{shown}:"


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
