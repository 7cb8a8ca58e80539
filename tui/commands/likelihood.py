"""`ftev-tui likelihood`: average log-likelihood of a text under each model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError, Fault
from ...core.launch import ask_engine
from ...core.reporting.numbers import format_value
from .show import print_json, print_table, say


def run(options: argparse.Namespace) -> int:
    texts = options.texts or [read_text(options.file)]
    if faults := [Fault("--text", "is empty") for text in texts if not text.strip()]:
        raise ConfigError(*faults)
    say("ftev: starting the engine …")
    question = {"models": options.models, "texts": texts, "max_length": None}
    result = ask_engine("likelihood", question, lambda progress: say(f"  {progress}"))
    if options.json:
        print_json(result)
    else:
        show_result(result)
    return 0


def read_text(name: str) -> str:
    try:
        return Path(name).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(Fault(name, f"cannot be read as UTF-8 text: {error}")) from None


def show_result(result: dict[str, Any]) -> None:
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
    for m in models[1:]:
        print(_difference(first, m))


def _window(model: dict[str, Any]) -> str:
    window, stride = model.get("window"), model.get("stride")
    if window is None:
        return ""
    return f"{window:,}, stride {stride:,}" if stride is not None else f"{window:,}"


def _difference(a: dict[str, Any], b: dict[str, Any]) -> str:
    """What changes from the first model; per token only where both count the same tokens (K4)."""
    bits = float(b["bits_per_byte"]) - float(a["bits_per_byte"])
    told = f"{a['model']} → {b['model']}: "
    if a["scored_tokens"] == b["scored_tokens"]:
        gain = float(b["average_log_likelihood"]) - float(a["average_log_likelihood"])
        told += f"{gain:+.3f} nats a token, "
    return f"{told}{bits:+.3f} bits per byte (less is better)"
