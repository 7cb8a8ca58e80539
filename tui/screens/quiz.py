"""The quiz: questions about this run's own numbers, and why their answers are right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import BindingType
from textual.message import Message

from ...core.errors import FtevError
from ...core.run.history import read_history
from ...core.run.runs import Run
from ...core.wording.text import visible
from ..app.background import in_thread
from ..app.keys import QUIZ_KEYS, to_bindings
from ..drawing.format import with_minus, wrap
from ..drawing.lines import Line
from ..widgets.framed import ReadingScreen
from ..widgets.pane import Pane, ScrolledPane
from .evaluation.reading import ReadingFailed

if TYPE_CHECKING:
    from ...core.report.quiz.questions import Question


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


def question_lines(q: Question, answer: str, at: int, of: int, width: int) -> list[Line]:
    """A question and its choices; with an answer, which is correct and why."""
    lines: list[Line] = [
        [(f"Question {at + 1} of {of}", "muted"), (f"  {visible(q.topic)}", "muted")]
    ]
    lines += [[], *([(text, "strong")] for text in wrap(visible(q.text), width)), []]
    for letter, choice in q.choices.items():
        sign, role = " ", ""
        if answer and letter == q.right:
            sign, role = "✓", "good"
        elif answer and letter == answer:
            sign, role = "✗", "bad"
        for i, text in enumerate(wrap(visible(choice), width - 6)):
            head = f"{sign} {letter}  " if not i else "     "
            lines.append([(head, role or "accent"), (text, role)])
    if not answer:
        return [*lines, [], [("Press the letter of the correct answer.", "muted")]]
    word = "Correct." if answer == q.right else f"No: {q.right} is correct."
    role = "good" if answer == q.right else "bad"
    lines += [[], [(word, f"strong {role}")]]
    lines += [[(text, "")] for text in wrap(with_minus(visible(q.explanation)), width)]
    return [*lines, [], [("enter continues; ? explains ", "muted"), (visible(_term(q)), "muted")]]


def _term(q: Question) -> str:
    return q.see[0] if q.see else q.topic


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
        q = self.pane.question
        if q is not None and not self.pane.answer and letter in q.choices:
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
        q = self.pane.question
        return _term(q) if q is not None and self.pane.answer else None
