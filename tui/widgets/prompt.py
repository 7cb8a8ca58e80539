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

from ...core.control import (
    AnyReply,
    Completed,
    CrossScored,
    Held,
    Labelled,
    ScoredToken,
    TokenMade,
)
from ...core.events import PromptAnswered
from ...core.history import History
from .answers import Exchange, exchange_of
from .filmstrip import strip_lines
from .pane import NumberedPane, Pane
from .scrolling import told_hidden
from .shading import legend
from .spans import Line, justify, width_of
from .talk import Block, View, block_of, cross_over, joined, move_cursor, token_line, token_seen

DRAW_SECONDS = 0.1  # streamed tokens are drawn together
BRIEF = 11  # lines of a pane below which answers leave out what is said about them
MOST_SHOWN = 20  # exchanges that can be scrolled through
STOPPED = "stopped: what had come is kept"
MODES = ("none", "generation", "all")
MODE_TOLD = {
    "none": "Tokens are not shaded.",
    "generation": "The answer's tokens are shaded by how likely their model found them.",
    "all": "The prompt's tokens are shaded too.",
}


class AnswersPane(Pane):
    """The exchanges, newest last, or how to begin; or the filmstrip of the run's own prompts."""

    def __init__(self) -> None:
        super().__init__(id="answers")
        self.exchanges: list[Exchange] = []
        self.told_by_run: Exchange | None = None  # shown while nobody has asked anything
        self.prompts: list[PromptAnswered] = []
        self.view = View()
        self.strips = False
        self.state = ""
        self.from_end = 0

    @property
    def newest(self) -> Exchange | None:
        return self.exchanges[-1] if self.exchanges else self.told_by_run

    def draw(self, width: int, height: int) -> list[Line]:
        if self.strips:
            return self._window(Block(strip_lines(self.prompts, width), 0), width, height, None)
        if self.newest is None:
            return [[(self.state or "Press p to ask base and tuned.", "muted")]]
        shown = self.exchanges[-MOST_SHOWN:] or [self.newest]
        brief = height < BRIEF
        blocks = [
            block_of(exchange, width, self.view, brief=brief, most=height - 1) for exchange in shown
        ]
        return self._window(joined(blocks, width), width, height, self._foot(width))

    def _foot(self, width: int) -> Line | None:
        """What the shades mean, or the token under the cursor."""
        exchange = self.newest
        if exchange is None or not any(a.scored for a in exchange.answers.values()):
            return None
        if self.view.cursor is not None:
            line = token_line(exchange, self.view)
            return line if width_of(line) <= width else line[:-2]
        return legend() if self.view.likelihoods != "none" else None

    def _window(self, block: Block, width: int, height: int, foot: Line | None) -> list[Line]:
        room = height - (foot is not None)
        count = len(block.lines)
        if count <= room:
            self.from_end = 0
            return [*block.lines, *([foot] if foot else [])]
        room = height - 1
        top = count - room
        self.from_end = max(0, min(self.from_end, top))
        top -= self.from_end
        wanted = block.line_of.get(self.view.cursor) if self.view.cursor else None
        if wanted is not None:
            top = max(min(top, wanted - block.head), wanted - room + 1, 0)
            self.from_end = count - room - top
        lines = block.lines[top : top + room]
        start = count - block.length
        if block.head and start < top < start + block.length - block.head:
            lines[: block.head] = block.lines[start : start + block.head]
        hidden: Line = [(told_hidden(top, count - top - room), "muted")]
        return [*lines, justify(foot, hidden, width) if foot else hidden]


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
        pane.exchanges.append(exchange)
        pane.strips, pane.view.cursor, pane.from_end = False, None, 0
        pane.show()

    def show_exchanges(self, exchanges: list[Exchange]) -> None:
        """These in the place of all that were there."""
        pane = self.answers
        pane.exchanges = list(exchanges)
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
        answer = exchange.answer(reply.model)
        answer.text += reply.text
        answer.scored.append(ScoredToken(reply.text, reply.log_likelihood, None))
    elif isinstance(reply, Labelled):
        answer = exchange.answer(reply.model)
        answer.name, answer.probabilities, answer.done = reply.name, reply.probabilities, True
    elif isinstance(reply, Completed):
        answer = exchange.answer(reply.model)
        answer.text, answer.tokens, answer.seconds = reply.text, reply.tokens, reply.seconds
        answer.done, answer.ended_by_eos = True, reply.ended_by_eos
        if reply.likelihoods:
            before = len(reply.likelihoods) - reply.tokens - reply.ended_by_eos
            answer.prompt_scored = reply.likelihoods[:before]
            answer.scored = reply.likelihoods[before:]
    elif isinstance(reply, CrossScored):
        exchange.answer(reply.model).cross = reply


def stop(exchange: Exchange) -> None:
    """Hang up; what had come stays."""
    exchange.hang_up.now()
    exchange.running = False
    exchange.message = STOPPED
    for answer in exchange.answers.values():
        answer.done = True


SixPanes = NumberedPane | PromptPane
