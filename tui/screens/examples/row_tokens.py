"""The scored tokens of a row under base and tuned: asked of the engine, and as lines."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from subprocess import Popen
from typing import Any

from textual.message import Message

from ....core.errors import FtevError
from ....core.metrics.token_changes import gained_and_lost
from ....core.run.control import ScoredToken
from ....core.run.launch import ask_engine
from ....core.wording.numbers import read_number
from ....core.wording.text import visible
from ...app.background import Post, in_thread
from ...drawing.format import fit, fit_right, format_number, format_signed
from ...drawing.lines import Line
from ...drawing.shading import legend, shade
from ..evaluation.block_lines import prose

MODELS = ("base", "tuned")
MOST = 5  # tokens told that gained, and that lost
CLOSE = 1e-3  # nats a token between what is stored and what is scored now
NAME_WIDTH = 16
OFFER = "k scores this row again and shows the likelihood of each token under base and tuned."
OTHER_TOKENS = (
    "The two models cut this text into different tokens, so no token of one can be set against "
    "one of the other."
)
Scored = Mapping[str, list[ScoredToken]]  # by model
Ask = Callable[..., dict[str, Any]]


@dataclass
class RowTokens:
    """What is known of them: nothing yet, how far the engine is, why it failed, or the tokens."""

    progress: str = ""
    failed: str = ""
    scored: Scored | None = None


@dataclass
class RowTokensNews(Message):
    """News of the tokens of a row; `number` says which question it answers."""

    number: int
    tokens: RowTokens


class RowQuestion:
    """One question at a time to the engine, in a process that ends with who asked."""

    def __init__(self, post: Post, ask: Ask = ask_engine) -> None:
        self._post, self._ask = post, ask
        self._engine: Popen[bytes] | None = None
        self._guard = threading.Lock()
        self.number = 0

    def put(self, question: dict[str, Any]) -> None:
        """The answer comes as messages `RowTokensNews`; an earlier question is given up."""
        self.end()
        number = self.number
        in_thread(lambda: self._answer(number, question))

    def end(self) -> None:
        """Nobody waits for the answer any more."""
        with self._guard:
            self.number += 1
            if self._engine is not None:
                self._engine.kill()
                self._engine = None

    def _answer(self, number: int, question: dict[str, Any]) -> None:
        try:
            told = self._ask(
                "row_tokens",
                question,
                lambda text: self._tell(number, RowTokens(progress=text)),
                lambda engine: self._take(number, engine),
            )
            found = RowTokens(scored=read_tokens(told))
        except FtevError as error:
            found = RowTokens(failed=str(error).partition("\n")[0])
        self._tell(number, found)

    def _take(self, number: int, engine: Popen[bytes]) -> None:
        with self._guard:
            if number == self.number:
                self._engine = engine
            else:  # it was given up while it started
                engine.kill()

    def _tell(self, number: int, tokens: RowTokens) -> None:
        if number == self.number:
            self._post(RowTokensNews(number, tokens))


def read_tokens(told: Mapping[str, Any]) -> Scored:
    """The engine's answer: [text, log-likelihood, rank] a token, by model."""
    return {
        m: [ScoredToken(text, read_number(value), rank) for text, value, rank in told[m]]
        for m in MODELS
    }


def token_lines(tokens: RowTokens | None, losses: Mapping[str, float], width: int) -> list[Line]:
    """`losses`: those the run stored, in nats a token, by model."""
    if tokens is None:
        return prose(OFFER, width, "muted")
    if tokens.failed:
        return prose(f"✗ The tokens cannot be shown: {tokens.failed}", width, "bad")
    if tokens.scored is None:
        told = tokens.progress or "scoring this row under base and tuned"
        return prose(f"{told} …", width, "muted")
    lines: list[Line] = [[("likelihood of each scored token", "strong")], legend(), []]
    for model in MODELS:
        lines += _under(model, tokens.scored[model], losses.get(model), width)
    return lines + _changes(tokens.scored, width)


def _under(model: str, scored: list[ScoredToken], stored: float | None, width: int) -> list[Line]:
    """A model's average, whether it is the one that the run stored, and the tokens."""
    if not scored:
        return [[(model, f"strong {model}"), ("   no token of this row is scored", "muted")], []]
    total = math.fsum(_value(t) for t in scored)
    average = total / len(scored)
    told = f"average log-likelihood {format_number(average)} nats a token, {len(scored):,} tokens"
    if stored is not None:
        same = abs(average + stored) <= CLOSE
        told += ", as stored" if same else f", stored: {format_number(-stored)}"
    head: Line = [(model.ljust(7), f"strong {model}"), (fit(told, width - 7), "muted")]
    return [head, *shade(scored, width).lines, []]


def _changes(scored: Scored, width: int) -> list[Line]:
    """The tokens that gained and lost most by the tuning, where both models cut the text alike."""
    before, after = ([(t.text, _value(t), t.rank) for t in scored[m]] for m in MODELS)
    if [t[0] for t in before] != [t[0] for t in after]:
        return prose(OTHER_TOKENS, width, "warn")
    changed = gained_and_lost(before, after)
    lines: list[Line] = []
    for kind, sign, role in (("gained", "▲", "good"), ("lost", "▼", "bad")):
        rows = changed[kind]
        head = f"{len(rows):,} of {len(before):,} tokens {kind}"
        head += f", the {MOST} that {kind} most:" if len(rows) > MOST else ":" if rows else ""
        lines.append([(f"{sign} ", role), (head, "strong")])
        lines += [_change(t) for t in rows[:MOST]]
        lines.append([])
    return lines


def _change(t: Mapping[str, Any]) -> Line:
    """`  12  “tea”  +2.31 nats   −5.520 → −3.210, rank 12 → 3`"""
    values = f"{format_number(t['from'])} → {format_number(t['to'])}"
    return [
        (fit_right(f"{t['position'] + 1:,}", 6) + "  ", "muted"),
        (fit(f"“{visible(t['token'])}”", NAME_WIDTH), ""),
        (fit_right(format_signed(t["difference"], 2), 8) + " nats   ", ""),
        (f"{values}, rank {t['rank_from']:,} → {t['rank_to']:,}", "muted"),
    ]


def _value(token: ScoredToken) -> float:
    return -math.inf if token.log_likelihood is None else token.log_likelihood
