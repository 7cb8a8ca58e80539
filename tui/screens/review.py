"""The blind review: a prompt, two answers without names, ratings, and the keys that judge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget

from ...core.report.review.review import (
    CRITERIA,
    SIDES,
    BlindPair,
    Choice,
    Criterion,
    Ratings,
    Review,
    Side,
)
from ...core.wording.text import visible, visible_lines
from ..app.keys import APP_KEYS, REVIEW_KEYS, Key, to_bindings
from ..drawing.format import fit, wrap
from ..drawing.lines import Line
from ..widgets.framed import FramedScreen
from ..widgets.pane import Pane, ScrolledPane

CELLS = [(side, criterion) for side in SIDES for criterion in CRITERIA]
NAME_WIDTH, CELL_WIDTH = 8, 14
PROMPT_SHARE = 4  # the prompt takes at most this part of the screen's height
FRAME = 2  # lines of a border
DONE = "Every pair is judged. u undoes the last judgement; q leaves."
THEN = "`ftev-tui review RUN --summary` shows which was which."


class TextBox(ScrolledPane):
    """A bordered text that scrolls."""

    def __init__(self, title: str, id: str) -> None:
        super().__init__(id=id)
        self.border_title = Content(title)
        self._text = ""

    def show_text(self, text: str) -> None:
        self._text, self.top = text, 0
        self.show()

    def wrapped(self, width: int) -> list[str]:
        paragraphs = visible_lines(self._text.strip("\n"))
        return [line for paragraph in paragraphs for line in wrap(paragraph, width)]

    def all_lines(self, width: int) -> list[Line]:
        return [[(text, "")] for text in self.wrapped(width)]


class RatingTable(Pane):
    """Two lines of ratings, left and right, with a cursor; ratings are optional."""

    def __init__(self) -> None:
        super().__init__(id="ratings")
        self._given: dict[tuple[Side, Criterion], int] = {}
        self._at = 0

    def clear(self) -> None:
        self._given, self._at = {}, 0
        self.show()

    def move(self, count: int) -> None:
        self._at = (self._at + count) % len(CELLS)
        self.show()

    def rate(self, value: int) -> None:
        """Rate the cell of the cursor; 0 takes its rating away."""
        side, criterion = CELLS[self._at]
        self._given.pop((side, criterion), None)
        if value:
            self._given[side, criterion] = value
        self.show()

    @property
    def ratings(self) -> Ratings:
        found: Ratings = {}
        for (side, criterion), value in self._given.items():
            found.setdefault(side, {})[criterion] = value
        return found

    def draw(self, width: int, height: int) -> list[Line]:
        head = "".join(name.center(CELL_WIDTH) for name in CRITERIA)
        lines: list[Line] = [[(fit("1 to 5", NAME_WIDTH) + head, "muted")]]
        for side in SIDES:
            lines.append([(fit(side, NAME_WIDTH), "strong"), *self._cells(side)])
        return lines

    def _cells(self, side: Side) -> Line:
        line: Line = []
        for criterion in CRITERIA:
            value = str(self._given.get((side, criterion), "·"))
            here = CELLS[self._at] == (side, criterion)
            text = f"[{value}]" if here else f" {value} "
            before = (CELL_WIDTH - len(text)) // 2
            after = CELL_WIDTH - before - len(text)
            line += [(" " * before, ""), (text, "strong accent" if here else ""), (" " * after, "")]
        return line


class ReviewScreen(FramedScreen[None]):
    """One pair of answers at a time; which model wrote which is not shown."""

    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(REVIEW_KEYS)]

    def __init__(self, review: Review) -> None:
        super().__init__((*REVIEW_KEYS, *self._app_keys()))
        self._review = review
        self._pair: BlindPair | None = None
        self._noted = ""
        self.prompt_box = TextBox("Prompt", "prompt-text")
        self.answers = {side: TextBox(side.capitalize(), f"{side}-text") for side in SIDES}
        self.ratings = RatingTable()

    @staticmethod
    def _app_keys() -> tuple[Key, ...]:
        """The keys of every screen but those that judge here."""
        taken = {name for key in REVIEW_KEYS for name in key.keys.split(",")}
        return tuple(key for key in APP_KEYS if not taken & set(key.keys.split(",")))

    def panes(self) -> Iterable[Widget]:
        answers = Horizontal(*self.answers.values(), id="answer-pair")
        return self.prompt_box, answers, self.ratings

    def on_mount(self) -> None:
        self._show_next()

    def on_unmount(self) -> None:
        self._review.release()

    def on_resize(self, event: events.Resize) -> None:
        self._size_prompt(event.size.width, event.size.height)

    def _size_prompt(self, width: int, height: int) -> None:
        """As high as the prompt needs, within its share of the screen."""
        needed = len(self.prompt_box.wrapped(max(1, width - 4))) + FRAME
        self.prompt_box.styles.height = min(needed, max(3, height // PROMPT_SHARE))

    def _show_next(self) -> None:
        self._pair = pair = self._review.next()
        self.ratings.clear()
        self.prompt_box.show_text(pair.prompt if pair else f"{DONE}\n{THEN}")
        self.prompt_box.border_title = Content("Prompt" if pair else "Done")
        for side, box in self.answers.items():
            box.show_text(getattr(pair, side) if pair else "")
        self.set_class(pair is None, "-done")
        self._size_prompt(self.app.size.width, self.app.size.height)
        self._show_title()

    def _show_title(self) -> None:
        done, count = self._review.judged, self._review.count
        at = f"pair {done + 1:,} of {count:,}" if self._pair else f"{count:,} of {count:,} judged"
        who = visible(self._review.reviewer, 30)
        self.title_line.show_ends(
            [
                ("ftev  ", "muted"),
                ("blind review", "strong"),
                (f"  {who}", "muted"),
                (f"   {self._noted}", "good"),
            ],
            [(at, "strong")],
        )

    def action_judge(self, choice: Choice) -> None:
        if self._pair is None:
            return
        self._review.judge(self._pair.pair, choice, self.ratings.ratings)
        judged = {"tie": "a tie", "skip": "skipped"}.get(choice, f"{choice} is better")
        self._noted = f"noted: {judged}"
        self._show_next()

    def action_undo(self) -> None:
        undone = self._review.undo()
        self._noted = "undone" if undone else "nothing to undo"
        self._show_next()

    def action_rate(self, value: int) -> None:
        if self._pair is not None:
            self.ratings.rate(value)

    def action_next_rating(self, count: int) -> None:
        self.ratings.move(count)

    def action_scroll_answers(self, count: int) -> None:
        for box in self.answers.values():
            box.scroll_lines(count)

    def action_scroll_prompt(self, count: int) -> None:
        self.prompt_box.scroll_lines(count)

    def action_out(self) -> None:
        """Back to the run; where the review was started by itself, out of the program."""
        if len(self.app.screen_stack) > 1:
            self.app.pop_screen()
        else:
            self.app.exit(0)

    def help_sections(self) -> list[tuple[str, tuple[Key, ...]]]:
        return [("Blind review", REVIEW_KEYS), ("Everywhere", self._app_keys())]
