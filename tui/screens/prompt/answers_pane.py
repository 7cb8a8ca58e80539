"""The answers of base and tuned, drawn to size and scrolled; the top five of a token."""

from __future__ import annotations

from ....core.run.control import ScoredToken
from ....core.run.events import PromptAnswered
from ....core.wording.text import visible
from ...drawing.format import bar, fit, fit_right, format_share
from ...drawing.lines import Line, describe_hidden, justify, width_of
from ...drawing.shading import describe_share, legend
from ...widgets.modal import Page
from ...widgets.pane import Pane
from .answers import MODELS, Exchange
from .filmstrip import strip_lines
from .talk import Block, View, block_of, joined, token_line

BRIEF = 11  # lines of a pane below which answers stand without notes on them
MOST_SHOWN = 20  # exchanges that can be scrolled through


class AnswersPane(Pane):
    """The exchanges, newest last, or how to begin; or the filmstrip of the run's own prompts."""

    def __init__(self) -> None:
        super().__init__(id="answers")
        self.exchanges: list[Exchange] = []
        self.answered_by_run: Exchange | None = None  # shown while nobody has asked anything
        self.prompts: list[PromptAnswered] = []
        self.view = View()
        self.strips = False
        self.state = ""
        self.from_end = 0

    def show_exchanges(self, exchanges: list[Exchange]) -> None:
        """The last of these, as many as are shown: each holds the likelihoods of its tokens."""
        self.exchanges = exchanges[-MOST_SHOWN:]
        self.reset_view()
        self.show()

    def reset_view(self) -> None:
        """To the end of the newest exchange, without a cursor."""
        self.strips, self.view.cursor, self.from_end = False, None, 0

    @property
    def newest(self) -> Exchange | None:
        return self.exchanges[-1] if self.exchanges else self.answered_by_run

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
        hidden: Line = [(describe_hidden(top, count - top - room), "muted")]
        return [*lines, justify(foot, hidden, width) if foot else hidden]


NAME_WIDTH, SHARE_WIDTH, BAR_WIDTH = 13, 7, 8
COLUMN = NAME_WIDTH + SHARE_WIDTH + BAR_WIDTH + 4


class TopFive(Page):
    def __init__(self, title: str, chosen: str, seen: dict[str, ScoredToken]) -> None:
        super().__init__(title, top_lines(chosen, seen))


def top_lines(chosen: str, seen: dict[str, ScoredToken]) -> list[Line]:
    """`seen`: for each model its scores of the token at this place, and its own top five."""
    lines: list[Line] = [[("this token: ", "muted"), (f"“{visible(chosen)}”", "strong")], []]
    head: Line = [(fit(model, COLUMN), f"strong {model}") for model in MODELS]
    scores: Line = [
        (
            fit(describe_share(seen[m]) if m in seen else "not scored", COLUMN),
            "muted",
        )
        for m in MODELS
    ]
    lines += [head, scores, []]
    for k in range(max((len(t.top) for t in seen.values()), default=0)):
        line: Line = []
        for model in MODELS:
            top = seen[model].top if model in seen else []
            line += _choice(top[k], chosen, model) if k < len(top) else [(" " * COLUMN, "")]
        lines.append(line)
    return [*lines, [], [("▸ this token. Probabilities are before any sampling.", "muted")]]


def _choice(choice: tuple[str, float], chosen: str, model: str) -> Line:
    text, share = choice
    here = text == chosen
    return [
        ("▸ " if here else "  ", "accent"),
        (fit(f"“{visible(text)}”", NAME_WIDTH), "strong" if here else ""),
        (fit_right(format_share(share), SHARE_WIDTH) + " ", ""),
        (fit(bar(share, BAR_WIDTH), BAR_WIDTH) + " ", model),
    ]
