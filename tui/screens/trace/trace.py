"""What happens to a text inside base and tuned: input, layers, output."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.content import Content

from ....core.run.control import AskTrace, Held, Traced
from ....core.run.runs import Run
from ....core.wording.text import visible
from ...app.keys import TRACE_KEYS, to_bindings
from ...app.memory import Plain
from ...drawing.format import wrap
from ...drawing.lines import Line, moved, scrolled
from ...widgets.framed import ReadingScreen
from ...widgets.pane import Pane
from ...widgets.text_boxes import PromptBox
from ..prompt.answers import Exchange
from ..prompt.asking import AnswerNews, ReplyCame, ask_prompt
from .lines import (
    input_lines,
    layer_header,
    layer_lines,
    layer_name,
    note_lines,
    output_lines,
    ranking_lines,
    verdict,
)

ASK = "Press p and write a text: base and tuned process it, layer by layer."
MOST_TEXT = 20_000  # characters that are remembered
WAITING = "asking the worker …"


class TracedPane(Pane):
    """The text and where the models diverge; below, the layers with a cursor, or the output."""

    def __init__(self) -> None:
        super().__init__(id="traced")
        self.border_title = Content("Layers")
        self.traced: Traced | None = None
        self.state, self.failed = ASK, False
        self.cursor = 0
        self.output = False
        self.top = 0

    @property
    def count(self) -> int:
        return max((len(m.layers) for m in self.traced.models), default=0) if self.traced else 0

    def draw(self, width: int, height: int) -> list[Line]:
        if self.traced is None:
            role = "bad" if self.failed else "muted"
            return [[(text, role)] for text in wrap(self.state, width)]
        head = input_lines(self.traced, width)
        head += [[(text, "strong")] for text in wrap(verdict(self.traced), width)]
        room = max(3, height - len(head) - 1)
        if self.output or not self.count:
            rest = [*output_lines(self.traced, width), [], *note_lines(self.traced, width)]
            lines, self.top = scrolled(rest, self.top, room)
            return [*head, [], *lines]
        return [*head, [], *self._layers(width, room)]

    def _layers(self, width: int, room: int) -> list[Line]:
        """As many layers as fit around the cursor, and what is most probable at that one."""
        assert self.traced is not None
        header = layer_header(self.traced, width)
        tops = [
            m.layers[self.cursor].top if self.cursor < len(m.layers) else []
            for m in self.traced.models
        ]
        title = f"If they stopped after {layer_name(self.cursor)} (of {self.count - 1})"
        below = ranking_lines(title, self.traced, tops, width)
        if room - len(header) - len(below) - 1 < self.count:
            below = below[:4]  # the first three, to see more of the layers
        space = room - len(header) - len(below) - 1
        if space < 3:
            below, space = [], room - len(header)
        else:
            below = [[], *below]
        lines = layer_lines(self.traced, width, self.cursor)
        # the cursor in the middle
        first = max(0, min(self.cursor - space // 2, len(lines) - space))
        return [*header, *lines[first : first + space], *below]


class TraceScreen(ReadingScreen):
    """Asks the worker what happens to a text inside both models, and shows it layer by layer."""

    KEYS, NAME = TRACE_KEYS, "Prediction trace"
    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(TRACE_KEYS)]
    REMEMBERED_AS: ClassVar[str] = "layers"

    def __init__(self, run: Run, text: str = "", name: str = "") -> None:
        super().__init__()
        self.followed, self.text, self.run_name = run, text, name or run.id
        self.exchange: Exchange | None = None
        self.pane = TracedPane()
        self.box: PromptBox | None = None

    def panes(self) -> Iterable[Pane]:
        return (self.pane,)

    async def on_mount(self) -> None:
        self.show_title(visible(self.run_name), "prediction trace", [])
        if self.text:
            self.follow(self.text)
        else:
            await self.action_prompt()
            # The text waits in the box: asking holds training up, so nobody asks unasked.
            self.app.recall(self)

    # What it remembers: the text, which waits in the box, for an answer holds training up

    @property
    def remembered_of(self) -> Path:
        return self.followed.path

    def memory(self) -> Plain:
        return {"text": self.exchange.prompt[:MOST_TEXT]} if self.exchange is not None else {}

    def recall(self, memory: Plain) -> None:
        if self.box is not None and isinstance(text := memory.get("text"), str):
            self.box.load_text(text)

    def on_unmount(self) -> None:
        if self.exchange is not None:
            self.exchange.hang_up.now()

    def follow(self, text: str) -> None:
        """Ask the worker; an older question is given up."""
        if self.exchange is not None:
            self.exchange.hang_up.now()
        self.exchange = Exchange(text, running=True)
        self._show_state(WAITING)
        ask_prompt(self.followed, self.exchange, AskTrace(text=text), self.post_message)

    def _show_state(self, text: str, *, failed: bool = False) -> None:
        self.pane.state, self.pane.failed = text, failed
        if self.pane.traced is not None:
            self.key_line.show_notice(text, "bad" if failed else "muted")
        self.pane.show()

    @on(ReplyCame)
    def show_reply(self, message: ReplyCame) -> None:
        # Of a text that was given up.
        if message.exchange is not self.exchange:
            return
        if isinstance(message.reply, Held):
            self._show_state(
                f"training is held at step {message.reply.step:,} while both models run"
            )
        elif isinstance(message.reply, Traced):
            self.pane.traced = message.reply
            self.pane.cursor = self._divergence()
            self.pane.output, self.pane.top = False, 0
            self.key_line.drop_notice()
            self.pane.show()

    @on(AnswerNews)
    def show_state(self, message: AnswerNews) -> None:
        if message.exchange is self.exchange and message.text:
            self._show_state(message.text, failed=message.failed)

    @on(PromptBox.Sent)
    def send_text(self, message: PromptBox.Sent) -> None:
        self.leave_box()
        self.follow(message.text)

    @on(PromptBox.Left)
    def leave_box(self) -> None:
        self.set_focus(None)

    async def action_prompt(self) -> None:
        if self.box is None:
            self.box = PromptBox()
            await self.mount(self.box, before=self.key_line)
        self.box.enter()

    def _divergence(self) -> int:
        traced = self.pane.traced
        at = traced.parts_at if traced else None
        return max(0, self.pane.count - 1) if at is None else at

    def action_divergence(self) -> None:
        self.pane.cursor, self.pane.output = self._divergence(), False
        self.pane.show()

    def action_move(self, count: int) -> None:
        if self.pane.output or not self.pane.count:
            self.pane.top = max(0, self.pane.top + count)
        else:
            self.pane.cursor = moved(self.pane.cursor, count, self.pane.count)
        self.pane.show()

    def action_output(self) -> None:
        self.pane.output, self.pane.top = not self.pane.output, 0
        self.pane.show()

    def action_out(self) -> None:
        if self.pane.output:
            self.action_output()
        else:
            super().action_out()
