"""The form of a new run: a line a field, and a box to write in over the value of one of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.message import Message

from ....core.config.fields import BETWEEN, read_value, show_value
from ...drawing.lines import Line, describe_hidden, moved
from ...widgets.pane import Pane
from ...widgets.text_boxes import Completion, LineBox, complete_last, complete_path, complete_value
from .form_fields import (
    FOLDERS,
    Field,
    candidate_lines,
    field_line,
    foot_lines,
    form_rows,
    next_choice,
    next_section,
    value_column,
)

CURSOR_MARGIN = 2  # fields kept in view around the cursor


class FormLines(Pane):
    """The fields, scrolled so that the focused one is seen."""

    def __init__(self) -> None:
        super().__init__(id="form-lines")
        self.fields: list[Field] = []
        self.cursor = 0
        self.top = 0  # rows above the first one that is seen
        self.rows: list[int | None] = []

    def draw(self, width: int, height: int) -> list[Line]:
        self.rows = rows = form_rows(self.fields, height)
        # The last line says how much is hidden.
        room = height - 1 if len(rows) > height else height
        at = rows.index(self.cursor) if rows else 0
        # In a very low pane a full margin would leave no line for the cursor.
        margin = min(CURSOR_MARGIN, room // 3)
        self.top = max(min(max(self.top, at - room + 1 + margin), at - margin), 0)
        self.top = min(self.top, max(0, len(rows) - room))
        lines: list[Line] = [
            [] if i is None else field_line(self.fields, i, width, focused=i == self.cursor)
            for i in rows[self.top : self.top + room]
        ]
        if len(rows) > height:
            lines.append([(describe_hidden(self.top, len(rows) - self.top - room), "muted")])
        return lines

    @property
    def cursor_line(self) -> int:
        """The line of the pane that the cursor is on."""
        return self.rows.index(self.cursor) - self.top if self.cursor in self.rows else 0

    def field_at(self, line: int) -> int | None:
        """The field on a line of the pane."""
        index = self.top + line
        return self.rows[index] if index < len(self.rows) else None


class Foot(Pane):
    """About the focused field; while a name is written, what it may become."""

    def __init__(self) -> None:
        super().__init__(id="form-foot")
        self.field: Field | None = None
        self.candidates: tuple[str, ...] = ()
        self.chosen = ""

    def draw(self, width: int, height: int) -> list[Line]:
        rule: Line = [("─" * width, "rule")]
        if self.candidates:
            return [rule, *candidate_lines(self.candidates, self.chosen, width, height - 1)]
        return [rule, *(foot_lines(self.field, width, height - 1) if self.field else [])]


class FieldBox(LineBox):
    """A line to write in, with tab to complete it. Takes the focus only when it is asked to."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete(1)", show=False),
        Binding("shift+tab", "complete(-1)", show=False),
        Binding("up", "submit_and_move(-1)", show=False),
        Binding("down", "submit_and_move(1)", show=False),
    ]

    @dataclass
    class Written(Message):
        """`enter`, or an arrow that goes on to the next field."""

        text: str
        move: int = 0

    @dataclass
    class Offered(Message):
        """What the text may become."""

        candidates: tuple[str, ...]
        chosen: str = ""

    def __init__(self) -> None:
        super().__init__()
        self.can_focus = False
        self.start = Path()
        self.kind = ""
        self.values: tuple[str, ...] = ()
        self._offered: tuple[str, ...] = ()
        self._at = -1

    def begin(self, text: str, kind: str, values: tuple[str, ...], start: Path) -> None:
        """Write over `text`; tab completes by `kind`: "file", "folder" or "value"."""
        self.kind, self.values, self.start = kind, values, start
        self.value = text
        self._offered = ()
        self.can_focus = True
        self.display = True
        self.enter()

    def on_blur(self, event: events.Blur) -> None:
        self.can_focus = False

    async def action_submit(self) -> None:
        self.post_message(self.Written(self.value))

    def action_submit_and_move(self, move: int) -> None:
        self.post_message(self.Written(self.value, move))

    def action_complete(self, direction: int) -> None:
        """As far as it is certain; then one candidate after the other."""
        # Only while nothing was typed since: what was offered for other text completes nothing.
        if self._offered and self.value in (*self._offered, self._stem):
            self._at = (self._at + direction) % len(self._offered)
            self._replace(self._offered[self._at])
            self.post_message(self.Offered(self._offered, self.value))
            return
        found = self._completion()
        self._offered, self._at, self._stem = found.candidates, -1, found.text
        self._replace(found.text)
        # Nothing to walk through: the next tab completes anew, for instance inside the folder.
        if len(found.candidates) == 1:
            self._offered = ()
        self.post_message(self.Offered(self._offered))

    _stem = ""  # the text up to where completion is certain

    def _replace(self, text: str) -> None:
        self.value = text
        self.cursor_position = len(text)

    def _completion(self) -> Completion:
        if self.kind == "value":
            return complete_value(self.value, self.values)
        if self.kind not in ("file", "folder"):
            return Completion(self.value)
        bar = BETWEEN.strip()
        last = self.value.rpartition(bar)[2].strip()
        found = complete_path(last, self.start, folders_only=self.kind == "folder")
        return complete_last(self.value, bar, found)


class Form(Container):
    """Fields to walk through and change. Says what was changed; the screen keeps the draft."""

    @dataclass
    class Changed(Message):
        """A value for a setting; None takes it back to its default."""

        path: str
        value: object

    def __init__(self) -> None:
        super().__init__(id="form")
        self.lines, self.foot, self.box = FormLines(), Foot(), FieldBox()
        self.folder = Path()

    def compose(self) -> ComposeResult:
        yield self.lines
        yield self.foot
        yield self.box

    def on_mount(self) -> None:
        self.box.display = False

    @property
    def focused_field(self) -> Field | None:
        fields = self.lines.fields
        return fields[self.lines.cursor] if self.lines.cursor < len(fields) else None

    @property
    def is_writing(self) -> bool:
        return self.box.has_focus

    def show_fields(self, fields: list[Field]) -> None:
        """The cursor stays on its setting, wherever that stands now."""
        before = self.focused_field
        self.lines.fields = fields
        paths = [f.path for f in fields]
        # By its path, not its place: another task adds and removes fields above.
        if before is not None and before.path in paths:
            self.lines.cursor = paths.index(before.path)
        self.go_to(self.lines.cursor)

    def go_to(self, index: int) -> None:
        self.lines.cursor = moved(0, index, len(self.lines.fields))
        self.foot.field, self.foot.candidates = self.focused_field, ()
        self.lines.show()
        self.foot.show()

    def move(self, count: int) -> None:
        self.go_to(self.lines.cursor + count)

    def move_section(self, direction: int) -> None:
        self.go_to(next_section(self.lines.fields, self.lines.cursor, direction))

    def go_to_path(self, path: str) -> None:
        for index, at in enumerate(self.lines.fields):
            if at.path == path:
                self.go_to(index)

    def choose(self, direction: int) -> bool:
        """The next choice of the focused field; False where it has none."""
        at = self.focused_field
        if at is None or not at.choices:
            return False
        self.post_message(self.Changed(at.path, next_choice(at, direction)))
        return True

    def clear(self) -> None:
        if at := self.focused_field:
            self.post_message(self.Changed(at.path, None))

    def write(self) -> None:
        """Open the box over the value; a field with a few choices takes the next one."""
        at = self.focused_field
        # A choice that may be empty is written: walking through it would hide that it can be.
        if at is None or (at.choices and None not in at.choices):
            self.choose(1)
            return
        width = self.lines.content_size.width
        column = value_column(self.lines.fields, width)
        self.box.styles.offset = (column, self.lines.cursor_line)
        self.box.styles.width = max(8, width - column)
        values = tuple(str(v) for v in at.choices if v is not None)
        # Data files are named from the run.toml's folder, models from where the program started.
        start = Path() if at.path in FOLDERS else self.folder
        self.box.begin(_text_of(at), at.completes, values, start)

    def stop_writing(self) -> None:
        self.box.display = False
        # Otherwise the hidden box would go on hearing keys.
        self.screen.set_focus(None)
        self.foot.candidates = ()
        self.foot.show()
        self.lines.show()

    @on(FieldBox.Offered)
    def show_candidates(self, message: FieldBox.Offered) -> None:
        self.foot.candidates, self.foot.chosen = message.candidates, message.chosen
        self.foot.show()

    @on(FieldBox.Left)
    def leave_box(self) -> None:
        self.stop_writing()

    @on(FieldBox.Written)
    def take_text(self, message: FieldBox.Written) -> None:
        at = self.focused_field
        self.stop_writing()
        if at is not None and message.text.strip() != _text_of(at).strip():
            value = read_value(at.setting.type, message.text)
            # A shell would have expanded it; the run.toml must not depend on whose home it is.
            if at.path in FOLDERS and isinstance(value, str) and value.startswith("~/"):
                value = str(Path(value).expanduser())
            self.post_message(self.Changed(at.path, value))
        self.move(message.move)

    @on(events.Click)
    def go_to_clicked(self, event: events.Click) -> None:
        if event.widget is self.lines and not self.is_writing:
            offset = event.get_content_offset(self.lines)
            clicked = self.lines.field_at(offset.y) if offset is not None else None
            if clicked is not None:
                self.go_to(clicked)


def _text_of(at: Field) -> str:
    """What the box starts with: the value, or the default where it can be written."""
    if at.given:
        return show_value(at.value)
    return "" if at.setting.required or at.value in (None, "", []) else show_value(at.value)
