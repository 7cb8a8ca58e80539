"""The prompt pane: a box to write in, and the answers of base and tuned above it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import TextArea

from ....core.run.control import AnyReply, ScoredToken
from ....core.run.history import History
from ...widgets.pane import NumberedPane
from .answers import Exchange, add_reply, exchange_of, stop
from .answers_pane import AnswersPane
from .talk import cross_over, move_cursor, token_seen


class PromptBox(TextArea):
    """Where a prompt is written. It takes the focus only when it is asked to."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+j,alt+enter", "break_line", show=False),
        Binding("up", "recall(-1)", show=False),
        Binding("down", "recall(1)", show=False),
        Binding("escape", "leave", show=False),
    ]

    @dataclass
    class Sent(Message):
        text: str

    class Left(Message):
        """`esc` in the box."""

    def __init__(self) -> None:
        super().__init__(
            soft_wrap=True, show_line_numbers=False, highlight_cursor_line=False, compact=True
        )
        self.cursor_blink = False
        self.can_focus = False
        self._sent: list[str] = []
        self._recalled = 0

    def enter(self) -> None:
        self.can_focus = True
        self.focus(scroll_visible=False)

    async def _on_key(self, event: events.Key) -> None:
        """`enter` sends. Not as a binding with priority: that would overtake letters before it."""
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.action_send()
        else:
            await super()._on_key(event)

    def on_blur(self, event: events.Blur) -> None:
        self.can_focus = False

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self.can_focus = True

    def action_send(self) -> None:
        text = self.text.strip("\n")
        if not text.strip():
            return
        self._sent.append(text)
        self._recalled = len(self._sent)
        self.clear()
        self.post_message(self.Sent(text))

    def action_break_line(self) -> None:
        self.insert("\n")

    def action_recall(self, direction: int) -> None:
        """Earlier prompts, where the cursor is on the first or last line already."""
        row, _ = self.cursor_location
        edge = 0 if direction < 0 else self.document.line_count - 1
        if row != edge:
            self.action_cursor_up() if direction < 0 else self.action_cursor_down()
            return
        target = self._recalled + direction
        if 0 <= target < len(self._sent):
            self._recalled = target
            self.load_text(self._sent[target])
            self.move_cursor(self.document.end)

    def action_leave(self) -> None:
        self.screen.set_focus(None)  # at once: the key behind this one is no letter of the prompt
        self.post_message(self.Left())


DRAW_SECONDS = 0.1  # streamed tokens are drawn together
MODES = ("none", "generation", "all")
MODE_TOLD = {
    "none": "Tokens are not shaded.",
    "generation": "The answer's tokens are shaded by how likely their model found them.",
    "all": "The prompt's tokens are shaded too.",
}


class PromptPane(Vertical, can_focus=True):
    NUMBER, NAME = 5, "Prompt"
    ALLOW_SELECT = False

    @dataclass
    class Retried(Message):
        exchange: Exchange

    @dataclass
    class Told(Message):
        """Something to say in the line of keys."""

        text: str

    class SettingsWanted(Message):
        pass

    def __init__(self) -> None:
        super().__init__(id=f"pane-{self.NUMBER}")
        self.border_title = Content(f"{self.NUMBER} {self.NAME}")
        self.answers = AnswersPane()
        self.box: PromptBox | None = None  # made when it is first wanted
        self._waits_to_draw = False
        self._probes_seen = 0
        self._draft = ""  # from before the box was made

    @property
    def draft(self) -> str:
        """What is written and not sent."""
        return self.box.text if self.box is not None else self._draft

    @draft.setter
    def draft(self, text: str) -> None:
        self._draft = text

    def compose(self) -> ComposeResult:
        yield self.answers

    async def enter_box(self) -> None:
        if self.box is None:
            self.box = PromptBox()
            await self.mount(self.box)
            self.box.load_text(self._draft)
            self.box.move_cursor(self.box.document.end)
        self.box.enter()

    def show_history(self, history: History, status: str) -> None:
        """While nobody has asked anything, the newest prompt that the run answered by itself."""
        pane = self.answers
        pane.state = _invitation(history, status)
        pane.prompts = history.prompts
        if len(history.prompts) > self._probes_seen:
            self._probes_seen = len(history.prompts)
            pane.told_by_run = exchange_of(history.prompts[-1])
        pane.show()

    def begin(self, exchange: Exchange) -> None:
        pane = self.answers
        pane.keep([*pane.exchanges, exchange])
        pane.strips, pane.view.cursor, pane.from_end = False, None, 0
        pane.show()

    def show_exchanges(self, exchanges: list[Exchange]) -> None:
        """These in the place of all that were there."""
        pane = self.answers
        pane.keep(exchanges)
        pane.strips, pane.view.cursor, pane.from_end = False, None, 0
        pane.show()

    def show_reply(self, exchange: Exchange, reply: AnyReply) -> None:
        if exchange.running:
            add_reply(exchange, reply)
            self.show_soon()

    def show_soon(self) -> None:
        if not self._waits_to_draw:
            self._waits_to_draw = True
            self.set_timer(DRAW_SECONDS, self._draw_answers)

    def _draw_answers(self) -> None:
        self._waits_to_draw = False
        self.answers.show()

    # What its keys do

    def action_stop_answer(self) -> None:
        going = [e for e in self.answers.exchanges if e.running]
        if not going:
            self.post_message(self.Told("No answer is being made."))
            return
        stop(going[-1])
        self.answers.show()

    def action_retry(self) -> None:
        asked = self.answers.newest
        if asked is not None and not asked.running:
            self.post_message(self.Retried(asked))

    def action_settings(self) -> None:
        self.post_message(self.SettingsWanted())

    def action_likelihoods(self) -> None:
        view = self.answers.view
        view.likelihoods = MODES[(MODES.index(view.likelihoods) + 1) % len(MODES)]
        view.cursor = None
        self.post_message(self.Told(MODE_TOLD[view.likelihoods]))
        self.answers.show()

    def action_filmstrip(self) -> None:
        self.answers.strips = not self.answers.strips
        self.answers.from_end = 1_000_000 if self.answers.strips else 0
        self.answers.show()

    def action_token(self, count: int) -> None:
        exchange, view = self.answers.newest, self.answers.view
        if exchange is None or not move_cursor(exchange, view, count):
            self.post_message(self.Told("There are no tokens to walk through here."))
        self.answers.show()

    def action_other_answer(self) -> None:
        if self.answers.newest is not None:
            cross_over(self.answers.newest, self.answers.view)
        self.answers.show()

    def action_scroll_lines(self, count: int) -> None:
        self.answers.view.cursor = None
        self.answers.from_end = max(0, self.answers.from_end - count)
        self.answers.show()

    def chosen_token(self) -> tuple[str, str, dict[str, ScoredToken]] | None:
        """The token under the cursor: a title, its text, and what each model told of it."""
        exchange = self.answers.newest
        return token_seen(exchange, self.answers.view) if exchange is not None else None

    def drop_cursor(self) -> bool:
        """Whether there was a cursor, or the filmstrip, to step out of."""
        pane = self.answers
        if pane.view.cursor is None and not pane.strips:
            return False
        pane.view.cursor, pane.strips, pane.from_end = None, False, 0
        pane.show()
        return True


def _invitation(history: History, status: str) -> str:
    if history.task_type.has_labels:
        return "Press p and write a text: base and tuned give it labels."
    if status == "running":
        return "Press p and write: training is held while base and tuned answer."
    return "Press p and write: base and tuned answer side by side."


SixPanes = NumberedPane | PromptPane
