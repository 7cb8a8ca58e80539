"""Exchanges of text as lines: two answers side by side, their tokens, and what these show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ....core.run.control import ScoredToken
from ....core.wording.text import visible
from ...drawing.format import format_number, wrap
from ...drawing.lines import Line, width_of
from ...drawing.shading import describe_share, first_difference, shade_tokens, split_at, token_at
from .answers import MODELS, Exchange, answer_head, label_lines, message_lines, prompt_lines

Cursor = tuple[str, int]  # model, and the place among its shown tokens
BESIDE_WIDTH = 44  # cells from which on two texts stand beside each other
MOST_LABELS = 12
ROOMY = 100  # cells from which on the cross-scores have a sentence each


@dataclass
class View:
    """How exchanges are looked at."""

    likelihoods: str = "generation"  # "none", "generation", "all"
    cursor: Cursor | None = None  # in the newest exchange


@dataclass
class Block:
    """An exchange in lines. The first `head` of them stay in view while the rest scrolls."""

    lines: list[Line]
    head: int
    line_of: dict[Cursor, int] = field(default_factory=dict)
    length: int = 0  # lines of the newest exchange, at the end


def block_of(
    exchange: Exchange, width: int, view: View, *, brief: bool = False, most: int = 1000
) -> Block:
    """`brief`: where there are few lines, the answers have them. Of labels only the likeliest
    stand in at most so many lines: what both models say must not scroll away."""
    lines = prompt_lines(exchange.prompt, width, 1 if brief else 2)
    if exchange.message or not brief or exchange.step is not None:
        lines += message_lines(exchange, width)
    if any(a.probabilities for a in exchange.answers.values()):
        labels = label_lines(exchange, width, max(3, min(MOST_LABELS + 2, most - len(lines))))
        return Block([*lines, *labels], min(len(lines), 2))
    found = _texts(exchange, width, view, lines)
    if not brief:
        found.lines += _summary(exchange, width)
    return found


def shown_tokens(exchange: Exchange, model: str, likelihoods: str) -> list[ScoredToken]:
    """The tokens that a column shows: with "all" those of the prompt before those of the answer."""
    answer = exchange.answers.get(model)
    if answer is None:
        return []
    return [*(answer.prompt_scored if likelihoods == "all" else ()), *answer.scored]


def divergence(exchange: Exchange) -> dict[str, int | None]:
    """For each model the token of its answer where the two diverge; empty while they agree."""
    if any(m not in exchange.answers for m in MODELS):
        return {}
    base, tuned = (exchange.answers[m] for m in MODELS)
    place = first_difference(base.token_text, tuned.token_text, done=base.done and tuned.done)
    if place is None:
        return {}
    return {m: token_at(exchange.answers[m].tokens_or(place), place) for m in MODELS}


def _texts(exchange: Exchange, width: int, view: View, lines: list[Line]) -> Block:
    present = [m for m in MODELS if m in exchange.answers]
    if not present:
        return Block(lines, min(1, len(lines)))
    beside = width >= BESIDE_WIDTH and len(present) == 2
    column = (width - 3) // 2 if beside else width
    marks = divergence(exchange)
    columns = [_column(exchange, m, column, view, marks.get(m)) for m in present]
    line_of: dict[Cursor, int] = {}
    body: list[Line] = []
    if beside:
        height = max(len(c) for c, _ in columns)
        for model, (_, places) in zip(present, columns, strict=True):
            line_of |= {(model, k): len(lines) + at for k, at in enumerate(places)}
        body = [
            [*_padded(columns[0][0], k, column), (" │ ", "rule"), *_at(columns[1][0], k)]
            for k in range(height)
        ]
    else:
        for model, (column_lines, places) in zip(present, columns, strict=True):
            start = len(lines) + len(body)
            line_of |= {(model, k): start + at for k, at in enumerate(places)}
            body += column_lines
    head = len(lines) + 1 if beside else min(1, len(lines))
    return Block([*lines, *body], head, line_of)


def _at(lines: Sequence[Line], index: int) -> Line:
    return lines[index] if index < len(lines) else []


def _padded(lines: Sequence[Line], index: int, width: int) -> Line:
    line = _at(lines, index)
    return [*line, (" " * (width - width_of(line)), "")]


def _column(
    exchange: Exchange, model: str, width: int, view: View, mark_at: int | None
) -> tuple[list[Line], list[int]]:
    """One model's lines under its head, and the line of each shown token."""
    answer = exchange.answers[model]
    tokens = shown_tokens(exchange, model, view.likelihoods)
    before = len(tokens) - len(answer.scored)
    cursor = view.cursor[1] if view.cursor and view.cursor[0] == model else None
    if answer.scored:
        at = None if mark_at is None else mark_at + before
        shaded = view.likelihoods != "none"
        found = shade_tokens(tokens, width, shaded=shaded, cursor=cursor, mark_at=at)
    else:
        place = _place(exchange)
        found = shade_tokens(split_at(answer.text, place), width, shaded=False, mark_at=mark_at)
    head = answer_head(answer, model, width)
    return [head, *found.lines], [1 + line for line in found.line_of]


def _place(exchange: Exchange) -> int | None:
    if any(m not in exchange.answers for m in MODELS):
        return None
    base, tuned = (exchange.answers[m] for m in MODELS)
    return first_difference(base.token_text, tuned.token_text, done=base.done and tuned.done)


def _summary(exchange: Exchange, width: int) -> list[Line]:
    """Where the answers diverge, and how likely each model finds the other's."""
    if width >= ROOMY:
        notes = [text for text in (_divergence_note(exchange), *cross_notes(exchange)) if text]
    else:
        short = " ".join([_divergence_note(exchange), *cross_in_short(exchange)]).strip()
        notes = [short] if short else []
    return [[(line, "muted")] for text in notes for line in wrap(visible(text), width)]


def _divergence_note(exchange: Exchange) -> str:
    if any(m not in exchange.answers or not exchange.answers[m].done for m in MODELS):
        return ""
    place = _place(exchange)
    if place is None:
        return "Both answers are the same."
    # Without likelihoods asked for there are texts only, and no number of a token.
    if not exchange.answers["base"].scored:
        return "◆ marks where the answers diverge."
    index = divergence(exchange).get("tuned")
    number = f" at token {index + 1:,} of tuned" if index is not None else ""
    return f"◆ The answers diverge{number}."


def cross_notes(exchange: Exchange) -> list[str]:
    """Each answer's average log-likelihood under both models, in a sentence each."""
    notes = []
    for model in MODELS:
        found = exchange.answers[model].cross if model in exchange.answers else None
        if found is None:
            continue
        if not found.aligned:
            ours, theirs, unit = found.own_bits_per_byte, found.bits_per_byte, "bits per byte"
        else:
            ours, theirs = found.own_average, found.average_log_likelihood
            unit = "nats per token"
        if ours is None or theirs is None:
            continue
        text = (
            f"{model}'s answer: {format_number(ours, 3)} {unit} under {model}, "
            f"{format_number(theirs, 3)} under {found.by}"
        )
        if found.aligned:
            text += f" ({_times(ours - theirs, found.by)})"
        notes.append(text + ".")
    return notes


def cross_in_short(exchange: Exchange) -> list[str]:
    """The same in one sentence, for a narrow pane."""
    parts = []
    for model in MODELS:
        found = exchange.answers[model].cross if model in exchange.answers else None
        if found is None or found.own_average is None or found.average_log_likelihood is None:
            continue
        if not found.aligned:
            return []
        own = format_number(found.own_average, 3)
        parts.append(
            f"{model}'s {own} ({found.by} {format_number(found.average_log_likelihood, 3)})"
        )
    return [f"Nats per token: {', '.join(parts)}."] if parts else []


def _times(difference: float, reader: str) -> str:
    """`base finds its tokens 3.40 times less likely`"""
    if abs(difference) < 0.005:
        return "as likely for both"
    times = math.exp(min(abs(difference), 60.0))  # e^60; e^710 overflows
    word = "less" if difference > 0 else "more"
    factor = f"{times:,.0f}" if 1e3 <= times < 1e6 else format_number(times, 3)
    return f"{reader} finds its tokens {factor} times {word} likely"


def joined(blocks: Sequence[Block], width: int) -> Block:
    """The exchanges one after the other; the cursor's places and the head are the last one's."""
    lines: list[Line] = []
    for block in blocks[:-1]:
        lines += [*block.lines, [("─" * width, "rule")]]
    last = blocks[-1]
    places = {cursor: line + len(lines) for cursor, line in last.line_of.items()}
    return Block([*lines, *last.lines], last.head, places, len(last.lines))


def move_cursor(exchange: Exchange, view: View, count: int) -> bool:
    """To the next token that shows something; at first to where tuned diverges from base."""
    order = [
        (model, index)
        for model in MODELS
        for index, token in enumerate(shown_tokens(exchange, model, view.likelihoods))
        if token.text
    ]
    if not order:
        return False
    if view.cursor in order:
        place = order.index(view.cursor) + count
        view.cursor = order[max(0, min(place, len(order) - 1))]
        return True
    model = "tuned" if "tuned" in exchange.answers else "base"
    tokens = shown_tokens(exchange, model, view.likelihoods)
    before = len(tokens) - len(exchange.answers[model].scored)
    start = (model, before + (divergence(exchange).get(model) or 0))
    view.cursor = start if start in order else order[0]
    return True


def cross_over(exchange: Exchange, view: View) -> None:
    """The cursor to the same place of the other answer, or its last token."""
    if view.cursor is None:
        return
    other = "base" if view.cursor[0] == "tuned" else "tuned"
    tokens = shown_tokens(exchange, other, view.likelihoods)
    if tokens:
        view.cursor = (other, min(view.cursor[1], len(tokens) - 1))


def token_seen(exchange: Exchange, view: View) -> tuple[str, str, dict[str, ScoredToken]] | None:
    """The token under the cursor: a title, its text, and its scores under each model."""
    if view.cursor is None:
        return None
    model, index = view.cursor
    tokens = shown_tokens(exchange, model, view.likelihoods)
    if index >= len(tokens):
        return None
    other = "base" if model == "tuned" else "tuned"
    answer = exchange.answers[model]
    before = len(tokens) - len(answer.scored)
    seen = {model: tokens[index]}
    if index < before:
        theirs = exchange.answers[other].prompt_scored if other in exchange.answers else []
        where, number = "the prompt", index + 1
    else:
        aligned = answer.cross is not None and answer.cross.aligned
        theirs = answer.cross.tokens if answer.cross is not None and aligned else []
        index -= before
        where, number = f"{model}'s answer", index + 1
    if index < len(theirs):
        seen[other] = theirs[index]
    return f"Token {number:,} of {where}", tokens[view.cursor[1]].text, seen


def token_line(exchange: Exchange, view: View) -> Line:
    """The token under the cursor in one line."""
    found = token_seen(exchange, view)
    if found is None:
        return []
    title, text, seen = found
    line: Line = [(f"{title} ", "muted"), (f"“{visible(text)}”", "strong")]
    for model in MODELS:
        if model in seen:
            line += [(f"  {model} ", model), (describe_share(seen[model]), "")]
    return [*line, ("  enter", "accent"), (" top five", "muted")]
