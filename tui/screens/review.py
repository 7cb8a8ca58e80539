"""Screens that question a person: the blind review (a prompt, two answers without names, ratings)
and the quiz on this run's own numbers, with why its answers are right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from ...core.errors import FtevError
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
from ...core.run.history import read_history
from ...core.run.runs import Run
from ...core.wording.text import visible, visible_lines
from ..app.background import in_thread
from ..app.keys import APP_KEYS, QUIZ_KEYS, REVIEW_KEYS, Key, to_bindings
from ..drawing.format import fit, with_minus, wrap
from ..drawing.lines import Line
from ..widgets.framed import FramedScreen, ReadingScreen
from ..widgets.pane import Pane, ScrolledPane
from .evaluation.reading import ReadingFailed

if TYPE_CHECKING:
    from ...core.report.quiz.questions import Question


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


WIDEST = 90  # cells of text


@dataclass
class QuizMade(Message):
    """The questions, three where the run has numbers enough."""

    questions: list[Question]


class QuizPane(ScrolledPane):
    """A question with its choices; once answered, which is right, and why."""

    def __init__(self) -> None:
        super().__init__(id="quiz")
        self.questions: list[Question] = []
        self.answers: list[str] = []
        self.at = 0
        self.state = "preparing questions …"

    @property
    def question(self) -> Question | None:
        return self.questions[self.at] if self.at < len(self.questions) else None

    @property
    def answer(self) -> str:
        return self.answers[self.at] if self.at < len(self.answers) else ""

    @property
    def right(self) -> int:
        return sum(a == q.right for q, a in zip(self.questions, self.answers, strict=False))

    @property
    def keeps_head(self) -> int:
        """Which question it is stays in sight."""
        return int(self.question is not None)

    def all_lines(self, width: int) -> list[Line]:
        width = min(width, WIDEST)
        if not self.questions:
            return [[(text, "muted")] for text in wrap(self.state, width)]
        if self.question is None:
            return self._end(width)
        return question_lines(self.question, self.answer, self.at, len(self.questions), width)

    def _end(self, width: int) -> list[Line]:
        n = len(self.questions)
        score = f"{self.right} of {n} right."
        words = "You read this run correctly." if self.right == n else "To look up with ?:"
        lines: list[Line] = [[], [(score, "strong accent"), (f"  {words}", "")], []]
        for q, a in zip(self.questions, self.answers, strict=False):
            sign, role = ("✓", "good") if a == q.right else ("✗", "bad")
            lines.append([(f"{sign} ", role), (visible(q.topic), ""), ("  see ", "muted")])
            lines[-1].append((visible(", ".join(q.see)), "muted"))
        return [*lines, [], [("N asks other questions; esc goes back.", "muted")]]


def question_lines(question: Question, answer: str, at: int, of: int, width: int) -> list[Line]:
    """A question and its choices; with an answer, which is correct and why."""
    lines: list[Line] = [
        [(f"Question {at + 1} of {of}", "muted"), (f"  {visible(question.topic)}", "muted")]
    ]
    lines += [[], *([(text, "strong")] for text in wrap(visible(question.text), width)), []]
    for letter, choice in question.choices.items():
        sign, role = " ", ""
        if answer and letter == question.right:
            sign, role = "✓", "good"
        elif answer and letter == answer:
            sign, role = "✗", "bad"
        for i, text in enumerate(wrap(visible(choice), width - 6)):
            head = f"{sign} {letter}  " if not i else "     "
            lines.append([(head, role or "accent"), (text, role)])
    if not answer:
        return [*lines, [], [("Press the letter of the correct answer.", "muted")]]
    word = "Correct." if answer == question.right else f"No: {question.right} is correct."
    role = "good" if answer == question.right else "bad"
    lines += [[], [(word, f"strong {role}")]]
    lines += [[(text, "")] for text in wrap(with_minus(visible(question.explanation)), width)]
    return [
        *lines,
        [],
        [("enter continues; ? explains ", "muted"), (visible(_term(question)), "muted")],
    ]


def _term(question: Question) -> str:
    return question.see[0] if question.see else question.topic


class QuizScreen(ReadingScreen):
    """Asks about a run's numbers, one question at a time."""

    KEYS, NAME = QUIZ_KEYS, "Quiz"
    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(QUIZ_KEYS)]

    def __init__(self, run: Run, seed: int = 0) -> None:
        super().__init__()
        self.run_asked, self.seed = run, seed
        self.pane = QuizPane()

    def panes(self) -> Iterable[Pane]:
        return (self.pane,)

    def on_mount(self) -> None:
        self._make()

    def _make(self) -> None:
        self.show_title("quiz", "questions about this run's own numbers", [])

        def make() -> None:
            from ...core.report.quiz import make_quiz

            try:
                config = self.run_asked.config_if_kept()
                found = make_quiz(read_history(self.run_asked), config, self.seed)
                self.post_message(QuizMade(found))
            except FtevError as error:
                self.post_message(ReadingFailed(str(error)))

        in_thread(make)

    @on(QuizMade)
    def show_questions(self, message: QuizMade) -> None:
        self.pane.questions, self.pane.answers, self.pane.at = message.questions, [], 0
        self._show()

    @on(ReadingFailed)
    def show_failure(self, message: ReadingFailed) -> None:
        self.pane.state = message.text
        self.pane.show()

    def _show(self) -> None:
        answered = len(self.pane.answers)
        score: Line = [(f"{self.pane.right} of {answered} right", "strong")] if answered else []
        self.show_title("quiz", "questions about this run's own numbers", score)
        self.pane.show()

    def action_answer(self, letter: str) -> None:
        question = self.pane.question
        if question is not None and not self.pane.answer and letter in question.choices:
            self.pane.answers.append(letter)
            self.pane.top = 10_000  # the explanation, where it does not all fit
            self._show()

    def action_next(self) -> None:
        if self.pane.answer:
            self.pane.at, self.pane.top = self.pane.at + 1, 0
            self._show()

    def action_scroll(self, count: int) -> None:
        self.pane.scroll_lines(count)

    def action_again(self) -> None:
        self.seed += 1
        self._make()

    def explained_term(self) -> str | None:
        question = self.pane.question
        return _term(question) if question is not None and self.pane.answer else None
