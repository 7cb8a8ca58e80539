"""The log pane: what the run noted, then the tail of the worker's output."""

from __future__ import annotations

from ....core.run.events import Note
from ....core.run.history import History
from ....core.wording.text import visible
from ...drawing.format import format_time, wrap
from ...drawing.lines import Line
from ...widgets.pane import NumberedPane

_ROLES = {"warning": "warn", "error": "bad"}
_MARKS = {"warning": "!", "error": "✗"}


class LogPane(NumberedPane):
    NUMBER, NAME = 6, "Log"

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self.tail: list[str] = []

    @property
    def follows_end(self) -> bool:
        return True

    def show_history(self, history: History) -> None:
        self.history = history
        self.show()

    def show_tail(self, tail: list[str]) -> None:
        self.tail = tail
        self.show()

    def lines(self, width: int, height: int) -> list[Line]:
        return log_lines(self.history, self.tail, width)


def log_lines(history: History, tail: list[str], width: int) -> list[Line]:
    lines: list[Line] = []
    if tail:
        lines.append([("worker.log", "strong")])
        lines += [[(visible(text), "muted")] for text in tail]
    if history.unreadable_lines:
        lines.append([(f"! {history.unreadable_lines} damaged lines in events.jsonl", "warn")])
    for note in history.notes:
        lines += note_lines(note, width)
    if history.finished and history.finished.error:
        for text in history.finished.error.splitlines():
            lines += [[(part, "bad")] for part in wrap(visible(text), width)]
    return lines or [[("Nothing has been noted.", "muted")]]


def note_lines(note: Note, width: int) -> list[Line]:
    """14:05:09 ! the text, indented where it wraps"""
    role = _ROLES.get(note.level, "")
    mark = _MARKS.get(note.level, " ")
    first, *rest = wrap(visible(note.text), max(10, width - 11))
    return [
        [(format_time(note.time) + " ", "muted"), (mark + " ", role), (first, role)],
        *([(" " * 11 + text, role)] for text in rest),
    ]
