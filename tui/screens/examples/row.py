"""One scored row, whole; the rows before and after it in the list it was opened from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from textual import on
from textual.binding import BindingType

from ....core.run.history import History, read_history
from ....core.run.runs import Run
from ...app.background import in_thread
from ...app.keys import APP_KEYS, ROW_KEYS, hints, to_bindings
from ...drawing.lines import Line, moved
from ...widgets.framed import KeyLine, ReadingScreen
from ...widgets.pane import Pane, ScrolledPane
from .example_rows import Examples
from .row_detail import RowDetail, RowRead, read_row, row_lines
from .row_tokens import RowQuestion, RowTokens, RowTokensNews, token_lines

WIDEST = 120  # cells of text: longer lines are hard to read
CLASSIFIER = "A classifier's row has probabilities, not likelihoods of tokens: they stand above."


class RowPane(ScrolledPane):
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
    KEYS, NAME = ROW_KEYS, "A row"
    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(ROW_KEYS)]

    def __init__(
        self,
        run: Run,
        examples: Examples,
        places: Any,
        at: int,
        opener: Any = None,
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
            told = self.history.splits.get(split)
            self._show_tokens(RowTokens())
            self.question.put(
                {
                    "run": str(self.run_shown.path),
                    "split": split,
                    "row_id": self.pane.detail.found["row_id"],
                    "sha256": told.sha256 if told is not None else "",
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
        while self.app.screen is not run:
            await self.app.pop_screen()
        await run.action_prompt()
        if run.prompt.box is not None:
            run.prompt.box.load_text(text)
