"""One scored row in full, its tokens under base and tuned, and the rows before and after it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from subprocess import Popen
from typing import Any, ClassVar

from textual import on
from textual.binding import BindingType
from textual.message import Message

from ....core.errors import FtevError
from ....core.metrics.token_changes import gained_and_lost
from ....core.run.control import ScoredToken
from ....core.run.history import History, read_history
from ....core.run.launch import ask_engine
from ....core.run.runs import Run
from ....core.wording.numbers import read_number
from ....core.wording.text import visible
from ...app.background import Post, in_thread
from ...app.keys import APP_KEYS, ROW_KEYS, hints, to_bindings
from ...drawing.format import fit, fit_right, format_number, format_signed
from ...drawing.lines import Line, moved
from ...drawing.shading import legend, shade_tokens
from ...widgets.framed import KeyLine, ReadingScreen
from ...widgets.pane import Pane, ScrolledPane
from ..evaluation.reading import prose
from .example_list import ExampleList
from .example_rows import Examples, Places
from .row_detail import RowDetail, RowRead, read_row, row_lines

MODELS = ("base", "tuned")
MOST = 5  # tokens shown that gained, and that lost
CLOSE = 1e-3  # nats per token between what is stored and what is scored now
NAME_WIDTH = 16
OFFER = "k scores this row again and shows the likelihood of each token under base and tuned."
OTHER_TOKENS = (
    "The two models tokenize this text differently, so tokens of one cannot be compared with "
    "tokens of the other."
)
Scored = Mapping[str, list[ScoredToken]]  # by model
Question = dict[str, str | int]
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

    def put(self, question: Question) -> None:
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

    def _answer(self, number: int, question: Question) -> None:
        try:
            reply = self._ask(
                "row_tokens",
                question,
                lambda text: self._post_news(number, RowTokens(progress=text)),
                lambda engine: self._take(number, engine),
            )
            found = RowTokens(scored=read_tokens(reply))
        except FtevError as error:
            found = RowTokens(failed=str(error).partition("\n")[0])
        self._post_news(number, found)

    def _take(self, number: int, engine: Popen[bytes]) -> None:
        with self._guard:
            if number == self.number:
                self._engine = engine
            else:  # it was given up while it started
                engine.kill()

    def _post_news(self, number: int, tokens: RowTokens) -> None:
        if number == self.number:
            self._post(RowTokensNews(number, tokens))


def read_tokens(reply: Mapping[str, list[tuple[str, object, int | None]]]) -> Scored:
    """The engine's answer: [text, log-likelihood, rank] per token, by model."""
    return {
        m: [ScoredToken(text, read_number(value), rank) for text, value, rank in reply[m]]
        for m in MODELS
    }


def token_lines(tokens: RowTokens | None, losses: Mapping[str, float], width: int) -> list[Line]:
    """`losses`: those the run stored, in nats per token, by model."""
    if tokens is None:
        return prose(OFFER, width, "muted")
    if tokens.failed:
        return prose(f"✗ The tokens cannot be shown: {tokens.failed}", width, "bad")
    if tokens.scored is None:
        progress = tokens.progress or "scoring this row under base and tuned"
        return prose(f"{progress} …", width, "muted")
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
    text = f"average log-likelihood {format_number(average)} nats per token, {len(scored):,} tokens"
    if stored is not None:
        same = abs(average + stored) <= CLOSE  # stored is a loss: minus the log-likelihood
        text += ", as stored" if same else f", stored: {format_number(-stored)}"
    head: Line = [(model.ljust(7), f"strong {model}"), (fit(text, width - 7), "muted")]
    return [head, *shade_tokens(scored, width).lines, []]


def _changes(scored: Scored, width: int) -> list[Line]:
    """The tokens that gained and lost most by tuning, where both models tokenize the text alike."""
    before, after = ([(t.text, _value(t), t.rank) for t in scored[m]] for m in MODELS)
    # Gains and losses are token by token: with two tokenizers there are no pairs.
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


def _change(change: Mapping[str, Any]) -> Line:
    """`  12  “tea”  +2.31 nats   −5.520 → −3.210, rank 12 → 3`"""
    values = f"{format_number(change['from'])} → {format_number(change['to'])}"
    return [
        (fit_right(f"{change['position'] + 1:,}", 6) + "  ", "muted"),
        (fit(f"“{visible(change['token'])}”", NAME_WIDTH), ""),
        (fit_right(format_signed(change["difference"], 2), 8) + " nats   ", ""),
        (f"{values}, rank {change['rank_from']:,} → {change['rank_to']:,}", "muted"),
    ]


def _value(token: ScoredToken) -> float:
    # JSON has no infinity
    return -math.inf if token.log_likelihood is None else token.log_likelihood


WIDEST = 120  # cells of text: longer lines are hard to read
CLASSIFIER = (
    "A classifier's row has probabilities, not likelihoods of tokens: they are shown above."
)


class RowPane(ScrolledPane):
    """A row with its text, truth and answers; below, its tokens where they were asked for."""

    detail: RowDetail | None = None
    tokens: RowTokens | None = None  # none: nobody asked
    above = 0  # lines before those of the tokens

    def all_lines(self, width: int) -> list[Line]:
        if self.detail is None:
            return [[("reading the row …", "muted")]]
        width = min(width, WIDEST)
        lines = row_lines(self.detail, width, self.size.height)
        if "label" not in self.detail.found:
            self.above = len(lines)
            lines += token_lines(self.tokens, self.detail.losses, width)
        return lines

    def see_tokens(self) -> None:
        """To the lines of the tokens, below the row."""
        self.top = self.above
        self.show()


class RowScreen(ReadingScreen):
    """A row of a list of rows; the arrow keys go to its neighbours."""

    KEYS, NAME = ROW_KEYS, "A row"
    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(ROW_KEYS)]

    def __init__(
        self,
        run: Run,
        examples: Examples,
        places: Places,
        at: int,
        opener: ExampleList | None = None,
        history: History | None = None,
    ) -> None:
        """`opener`: a list whose cursor goes along."""
        super().__init__()
        self.run_shown, self.examples, self.places, self.at = run, examples, places, at
        self.opener = opener
        self.history = history
        self.pane = RowPane(id="row")
        self.question = RowQuestion(self.post_message)
        if examples.labelled:
            self.key_line = KeyLine(hints((*ROW_KEYS, *APP_KEYS), without=("tokens",)))

    def panes(self) -> Iterable[Pane]:
        return (self.pane,)

    def on_mount(self) -> None:
        self._read()

    def on_unmount(self) -> None:
        self.question.end()

    def _read(self) -> None:
        of = len(self.places)
        self.show_title("row", f"{self.at + 1:,} of {of:,} in this list", [])

        def read() -> None:
            if self.history is None:
                self.history = read_history(self.run_shown)
            read_row(
                self.run_shown,
                self.history,
                self.examples,
                self.places,
                self.at,
                self.post_message,
            )

        in_thread(read)

    @on(RowRead)
    def show_row(self, message: RowRead) -> None:
        if message.at == self.at:
            self.pane.detail = message.detail
            self.pane.show()
            self.go_on()

    def reads_before(self, key: str) -> bool:
        return self.pane.detail is None

    def action_scroll(self, count: int) -> None:
        self.pane.scroll_lines(count)

    def action_next_row(self, count: int) -> None:
        at = moved(self.at, count, len(self.places))
        if at != self.at:
            self.at, self.pane.top = at, 0
            self._show_tokens(None)
            if self.opener is not None:
                self.opener.cursor = at
            self._read()

    def action_likelihoods(self) -> None:
        """Ask the engine for this row's tokens, or take them away."""
        if self.examples.labelled:
            self.key_line.show_notice(CLASSIFIER)
        elif self.pane.tokens is not None and not self.pane.tokens.failed:
            self._show_tokens(None)
        elif self.pane.detail is not None and self.history is not None:
            split = self.pane.detail.split
            data = self.history.splits.get(split)
            self._show_tokens(RowTokens())
            self.question.put(
                {
                    "run": str(self.run_shown.path),
                    "split": split,
                    "row_id": self.pane.detail.found["row_id"],
                    # The engine refuses a file that changed since: its row may be another.
                    "sha256": data.sha256 if data is not None else "",
                }
            )

    def _show_tokens(self, tokens: RowTokens | None) -> None:
        """Whatever was asked before is given up."""
        self.question.end()
        self.pane.tokens = tokens
        self.pane.show()
        if tokens is not None:
            self.pane.see_tokens()

    @on(RowTokensNews)
    def show_tokens(self, message: RowTokensNews) -> None:
        if message.number == self.question.number:
            self.pane.tokens = message.tokens
            self.pane.show()
            # Scrolled there once, when they come: news of progress leave the view alone.
            if not message.tokens.progress:
                self.pane.see_tokens()

    async def action_prompt(self) -> None:
        """Back to the run, with this text in its prompt box."""
        from ..run.run import RunScreen

        if self.pane.detail is None or not self.pane.detail.text:
            self.key_line.show_notice("This row has no text to ask about.")
            return
        text = self.pane.detail.text
        stack = self.app.screen_stack
        below = [s for s in stack if isinstance(s, RunScreen)]
        if not below or below[-1].followed.path != self.run_shown.path:
            self.key_line.show_notice("Open the run first: its prompt box asks base and tuned.")
            return
        run = below[-1]
        # The stack may hold the evaluation and the list between.
        while self.app.screen is not run:
            await self.app.pop_screen()
        await run.action_prompt()
        if run.prompt.box is not None:
            run.prompt.box.load_text(text)
