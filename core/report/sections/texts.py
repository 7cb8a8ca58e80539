"""Held-out texts under each model, and what the models answered to the configured prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...judgement.judged import of_models
from ...metrics.analyses import TokenChange, TokenChanges
from ...wording.numbers import format_value
from ...wording.text import quoted
from ..blocks import Block, Exchange, Heading, Paragraph, Table, section
from ..document import AnswerPart, Report, TextPart

PREFIX = (
    "The prefix is one token of context and is not scored. "
    "Models with different tokenizers can be compared in bits per byte only."
)
SHOWN_LABELS = 3


@section(170, more=40)
def show_texts(report: Report) -> list[Block]:
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


def _changes(report: Report) -> Iterator[tuple[str, TokenChanges]]:
    for source in report["analyses"]:
        for found in of_models(report["analyses"], TokenChanges, source).values():
            yield source, found


def _show_changes(source: str, found: TokenChanges) -> Iterator[Block]:
    """The tokens that changed most, likelier ones first."""
    yield Paragraph(
        f"Of the {found.tokens:,} scored tokens of {source}, {found.gained_tokens:,} became "
        f"likelier with tuning and {found.lost_tokens:,} less likely. Those that changed most, at "
        f"most {found.kept} of each, in nats; a rank of 1 is "
        "the token that the model held to be the likeliest:"
    )
    columns = ["token", "", "position", "base", "tuned", "difference", "rank"]
    rows = [_change_row("likelier", t) for t in found.gained]
    rows += [_change_row("less likely", t) for t in found.lost]
    yield Table(columns, rows, words=("token", ""))


def _change_row(kind: str, t: TokenChange) -> list[str]:
    return [
        quoted(t.token),
        kind,
        f"{t.position:,}",
        f"{t.before:.3f}",
        f"{t.after:.3f}",
        f"{t.after - t.before:+.3f}",
        f"{t.rank_before:,} → {t.rank_after:,}",
    ]


def _text_row(t: TextPart) -> list[str]:
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
def show_answers(report: Report) -> list[Block]:
    if not report["answers"]:
        return []
    return [Heading("Answers"), *(_exchange(a) for a in report["answers"])]


def _exchange(a: AnswerPart) -> Exchange:
    if "base_probabilities" in a or "tuned_probabilities" in a:
        base, tuned = a.get("base_probabilities"), a.get("tuned_probabilities")
        answers = [(a.get("base_name", "base"), base), ("tuned", tuned)]
        return Exchange(a["prompt"], [(name, _probabilities(p)) for name, p in answers if p])
    return Exchange(a["prompt"], [("base", a.get("base", "")), ("tuned", a.get("tuned", ""))])


def _probabilities(found: Mapping[str, float]) -> str:
    shown = list(found.items())[:SHOWN_LABELS]
    return ", ".join(f"{label} {p * 100:.1f} %" for label, p in shown)
