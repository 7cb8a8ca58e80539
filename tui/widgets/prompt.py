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

from ...core.control import AnyReply, Completed, Held, Labelled, TokenMade
from ...core.history import History
from .answers import Exchange, exchange_lines, exchange_of
from .pane import NumberedPane, Pane
from .spans import Line

DRAW_SECONDS = 0.1  # streamed tokens are drawn together


class AnswersPane(Pane):
    """The last exchange, or how to begin one."""

    exchange: Exchange | None = None
    state = ""

    def draw(self, width: int, height: int) -> list[Line]:
        if self.exchange is None:
            return [[(self.state or "Press p to ask base and tuned.", "muted")]]
        return exchange_lines(self.exchange, width, height)


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
        self.post_message(self.Left())


class PromptPane(Vertical, can_focus=True):
    NUMBER, NAME = 5, "Prompt"
    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__(id=f"pane-{self.NUMBER}")
        self.border_title = Content(f"{self.NUMBER} {self.NAME}")
        self.answers = AnswersPane(id="answers")
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
        self.answers.state = _invitation(history, status)
        asked = self.answers.exchange
        if len(history.prompts) > self._probes_seen and (asked is None or asked.step is not None):
            self._probes_seen = len(history.prompts)
            self.answers.exchange = exchange_of(history.prompts[-1])
            self.answers.exchange.step = history.prompts[-1].step
        self.answers.show()

    def begin(self, exchange: Exchange) -> None:
        self.answers.exchange = exchange
        self.answers.show()

    def show_reply(self, exchange: Exchange, reply: AnyReply) -> None:
        add_reply(exchange, reply)
        self.show_soon()

    def show_soon(self) -> None:
        if not self._waits_to_draw:
            self._waits_to_draw = True
            self.set_timer(DRAW_SECONDS, self._draw_answers)

    def _draw_answers(self) -> None:
        self._waits_to_draw = False
        self.answers.show()


def _invitation(history: History, status: str) -> str:
    if history.task == "classification":
        return "Press p and write a text: base and tuned give it labels."
    if status == "running":
        return "Press p and write: training is held while base and tuned answer."
    return "Press p and write: base and tuned answer side by side."


def add_reply(exchange: Exchange, reply: AnyReply) -> None:
    """Fold one reply of the worker into the exchange."""
    if isinstance(reply, Held):
        exchange.message = f"training is held at step {reply.step} while the models answer"
        return
    if isinstance(reply, TokenMade):
        exchange.answer(reply.model).text += reply.text
    elif isinstance(reply, Labelled):
        answer = exchange.answer(reply.model)
        answer.name, answer.probabilities, answer.done = reply.name, reply.probabilities, True
    elif isinstance(reply, Completed):
        answer = exchange.answer(reply.model)
        answer.text, answer.tokens, answer.seconds = reply.text, reply.tokens, reply.seconds
        answer.done, answer.ended_by_eos = True, reply.ended_by_eos


SixPanes = NumberedPane | PromptPane
