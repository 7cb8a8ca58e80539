"""Held-out texts under each model, and what the models answered to the configured prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...wording.numbers import format_value, read_number
from ...wording.text import quoted
from ..blocks import Block, Exchange, Heading, Paragraph, Table, section

PREFIX = (
    "The prefix is one token of context and is not scored. "
    "Models with different tokenizers can be compared in bits per byte only."
)
SHOWN_LABELS = 3


@section(170, more=40)
def show_texts(report: Mapping[str, Any]) -> list[Block]:
    if not report["texts"]:
        return []
    columns = ["text", "model", "scored tokens", "average log-likelihood", "bits per byte"]
    columns += ["prefix", "window / stride"]
    rows = [_text_row(t) for t in report["texts"]]
    return [
        Heading("Held-out text"),
        Table(columns, rows, words=("model", "prefix")),
        Paragraph(PREFIX),
        *(block for source, found in _changes(report) for block in _show_changes(source, found)),
    ]


def _changes(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for source, analyses in report.get("analyses", {}).items():
        for found in analyses.get("token_changes", {}).values():
            yield source, found


def _show_changes(source: str, found: Mapping[str, Any]) -> Iterator[Block]:
    """The tokens that changed most, likelier ones first."""
    n, kept = found["tokens"], found["kept"]
    up, down = found["gained_tokens"], found["lost_tokens"]
    yield Paragraph(
        f"Of the {n:,} scored tokens of {source}, {up:,} became likelier with tuning and {down:,} "
        f"less likely. Those that changed most, at most {kept} of each, in nats; a rank of 1 is "
        "the token that the model held to be the likeliest:"
    )
    columns = ["token", "", "position", "base", "tuned", "difference", "rank"]
    rows = [_change_row(kind, t) for kind in ("gained", "lost") for t in found[kind]]
    yield Table(columns, rows, words=("token", ""))


def _change_row(kind: str, t: Mapping[str, Any]) -> list[str]:
    before, after = (read_number(t[side]) for side in ("from", "to"))
    return [
        quoted(t["token"]),
        "likelier" if kind == "gained" else "less likely",
        f"{t['position']:,}",
        f"{before:.3f}",
        f"{after:.3f}",
        f"{after - before:+.3f}",
        f"{t['rank_from']:,} → {t['rank_to']:,}",
    ]


def _text_row(t: Mapping[str, Any]) -> list[str]:
    return [
        t["source"],
        t["model"],
        f"{t['scored_tokens']:,}",
        format_value("average_log_likelihood", t["average_log_likelihood"]),
        format_value("bits_per_byte", t["bits_per_byte"]),
        t["prefix"] or "none",
        f"{t['window']:,} / {t['stride']:,}",
    ]


@section(180, more=50)
def show_answers(report: Mapping[str, Any]) -> list[Block]:
    if not report["answers"]:
        return []
    return [Heading("Answers"), *(_exchange(a) for a in report["answers"])]


def _exchange(a: Mapping[str, Any]) -> Exchange:
    if "base_probabilities" in a or "tuned_probabilities" in a:
        sides = (("base", a.get("base_name", "base")), ("tuned", "tuned"))
        told = [
            (name, _probabilities(a[f"{side}_probabilities"]))
            for side, name in sides
            if f"{side}_probabilities" in a
        ]
        return Exchange(a["prompt"], told)
    return Exchange(a["prompt"], [(side, a.get(side, "")) for side in ("base", "tuned")])


def _probabilities(found: Mapping[str, Any]) -> str:
    shown = list(found.items())[:SHOWN_LABELS]
    return ", ".join(f"{label} {read_number(p) * 100:.1f} %" for label, p in shown)
