"""The answers of base and tuned to what was asked, drawn for their width and scrolled."""

from __future__ import annotations

from ....core.run.events import PromptAnswered
from ...drawing.scrolling import told_hidden
from ...drawing.shading import legend
from ...drawing.spans import Line, justify, width_of
from ...widgets.pane import Pane
from .answers import Exchange
from .filmstrip import strip_lines
from .talk import Block, View, block_of, joined, token_line

BRIEF = 11  # lines of a pane below which answers leave out what is said about them
MOST_SHOWN = 20  # exchanges that can be scrolled through


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

    def keep(self, exchanges: list[Exchange]) -> None:
        """The last of these, as many as are shown: each holds the likelihoods of its tokens."""
        self.exchanges = exchanges[-MOST_SHOWN:]

    @property
    def newest(self) -> Exchange | None:
        return self.exchanges[-1] if self.exchanges else self.told_by_run

    def draw(self, width: int, height: int) -> list[Line]:
        if self.strips:
            return self._window(Block(strip_lines(self.prompts, width), 0), width, height, None)
        if self.newest is None:
            return [[(self.state or "Press p to ask base and tuned.", "muted")]]
        shown = self.exchanges or [self.newest]
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
