"""The examples screen: every scored row of a split, found, ordered, and opened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Input

from ....core.run.history import History, read_history
from ....core.run.runs import Run
from ....core.wording.text import visible
from ...app.background import in_thread
from ...app.keys import EXAMPLES_KEYS, to_bindings
from ...app.memory import Plain
from ...drawing.lines import Line, following
from ...widgets.framed import ReadingScreen
from ...widgets.pane import Pane
from ...widgets.text_boxes import LineBox
from ..evaluation.evidence import KIND_WORDS
from ..evaluation.reading import MODEL_WORDS, ReadingFailed
from .example_list import ExampleList, Info
from .example_rows import KNOWN, ExamplesRead, Places, read_examples, read_query, select

MOST_ONLY = 5_000  # ids of rows that are remembered
ORDER_WORDS = {
    "row": "in order of the file",
    "confidence": "the most confident first",
    "loss": "the highest loss first",
    "label": "by label",
    "flip": "by flip",
}


@dataclass
class RowsSelected(Message):
    """The places of the rows that were asked for; `asked` counts the questions."""

    places: Places
    asked: int


class ExamplesScreen(ReadingScreen):
    """Every scored row of a split, to filter, sort and open."""

    KEYS, NAME = EXAMPLES_KEYS, "Examples"
    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(EXAMPLES_KEYS)]
    REMEMBERED_AS: ClassVar[str] = "rows"

    def __init__(
        self,
        run: Run,
        history: History | None = None,
        split: str = "",
        reference: str | None = None,
        *,
        query: str = "",
        only: tuple[int, ...] = (),
        about: str = "",
    ) -> None:
        """`only`: ids of rows to stay with, and `about` what they have in common."""
        super().__init__()
        self.run_shown, self.history = run, history
        self.split, self.reference = split, reference
        self._is_given = bool(split)  # else rows as they were looked at last
        self.query_text, self.only, self.about = query, only, about
        self._failed = False
        self.kind, self.order = "", "row"
        self.rows = ExampleList()
        self.info = Info()
        self._asked = self._answered = 0
        self._opened_with = (query, only, "")

    def panes(self) -> Iterable[Pane]:
        return (self.info, self.rows)

    def on_mount(self) -> None:
        if not self._is_given:
            self.app.recall(self)
        self._show_title()
        self._read()

    # What it remembers

    @property
    def remembered_of(self) -> Path:
        return self.run_shown.path

    def memory(self) -> Plain:
        if self.rows.examples is None:
            return {}
        names = ("split", "reference", "query_text", "about", "kind", "order")
        state = {name: getattr(self, name) for name in names}
        return {**state, "only": list(self.only[:MOST_ONLY]), "cursor": self.rows.cursor}

    def recall(self, memory: Plain) -> None:
        for name in ("split", "query_text", "about", "kind"):
            if isinstance(value := memory.get(name), str):
                setattr(self, name, value)
        order, reference = str(memory.get("order")), str(memory.get("reference"))
        self.order = order if order in ORDER_WORDS else self.order
        self.reference = reference if reference in MODEL_WORDS else self.reference
        only, cursor = memory.get("only"), memory.get("cursor")
        if isinstance(only, list) and all(type(row) is int for row in only):
            self.only = tuple(only)
        if type(cursor) is int and cursor >= 0:
            self.rows.cursor = cursor

    def _read(self) -> None:
        def read() -> None:
            from ....core.errors import FtevError
            from ....core.judgement.selection import SPLITS, reference_model

            try:
                history = self.history or read_history(self.run_shown)
            except FtevError as error:
                self.post_message(ReadingFailed(str(error)))
                return
            self.history = history
            stored = self._splits()
            if not self._is_given and self.split.removesuffix("_clean") not in stored:
                self.split = next((s for s in SPLITS if s in stored), "test")
            if self.reference is None:
                self.reference = reference_model(history.results.get(self.split, {})) or ""
            read_examples(self.run_shown, history, self.split, self.reference, self.post_message)

        in_thread(read)

    def _splits(self) -> list[str]:
        from ....core.analysis.predictions import stored_splits

        return list(stored_splits(self.run_shown))

    @on(ExamplesRead)
    def show_examples(self, message: ExamplesRead) -> None:
        # Of an older question, answered late.
        if (message.split, message.reference) != (self.split, self.reference):
            return
        if message.examples is None:
            self._show_failure(message.failed)
            return
        self.rows.examples = examples = message.examples
        self.kind = self.kind if self.kind in examples.kinds else ""
        self.order = self.order if self.order in examples.orders else "row"
        self._select()

    @on(ReadingFailed)
    def show_failure(self, message: ReadingFailed) -> None:
        self._show_failure(message.text)

    def _show_failure(self, text: str) -> None:
        self.rows.state, self.rows.places = text, []
        self._failed = True
        self.rows.show()
        self.go_on()

    def reads_before(self, key: str) -> bool:
        if self.rows.examples is None:
            return not self._failed
        return self._answered < self._asked

    def _select(self) -> None:
        """Find the rows in a thread; the answer to an older question is dropped."""
        examples = self.rows.examples
        if examples is None:
            return
        query = read_query(self.query_text)
        self.info.fault = f"{query.faults[0]}. Known: {KNOWN}" if query.faults else ""
        # Every letter of a filter asks again; only the newest answer is shown.
        self._asked += 1
        asked, kind, order, only = self._asked, self.kind, self.order, self.only

        def find() -> None:
            self.post_message(RowsSelected(select(examples, query, kind, order, only), asked))

        in_thread(find)

    @on(RowsSelected)
    def show_selected(self, message: RowsSelected) -> None:
        if message.asked != self._asked:
            return
        self.rows.places = message.places
        self.rows.cursor = min(self.rows.cursor, max(0, len(message.places) - 1))
        self.rows.state = "No row matches. esc removes the filter."
        self._show_title()
        self.rows.show()
        self._answered = message.asked
        self.go_on()

    def _show_title(self) -> None:
        examples = self.rows.examples
        about = f"rows of {visible(self.split)}" if self.split else "rows"
        count = ""
        if examples is not None:
            n, every = len(self.rows.places), examples.table.height
            count = f"{n:,} of {every:,} rows" if n < every else f"{every:,} rows"
        name = self.run_shown.id
        if self.history and self.history.started and self.history.started.name:
            name = self.history.started.name
        self.show_title(visible(name), about, [(count, "strong")])
        self.info.show_state(self._parts())

    def _parts(self) -> list[Line]:
        examples = self.rows.examples
        parts: list[Line] = []
        if self.query_text:
            parts.append([("/ ", "accent"), (visible(self.query_text), "strong")])
        if self.about:
            parts.append([("only ", "muted"), (visible(self.about), "strong")])
        if self.kind:
            parts.append([("flip ", "muted"), (KIND_WORDS.get(self.kind, self.kind), "strong")])
        parts.append([(ORDER_WORDS[self.order], "muted")])
        if examples is not None and examples.missing:
            parts.append([(visible(examples.missing), "warn")])
        if examples is not None and examples.unit:
            parts.append([(f"loss in {examples.unit}", "muted")])
        if examples is not None and examples.leaks:
            parts.append([("≡ ", "warn"), ("repeats an earlier split", "muted")])
        return parts

    # Keys

    def action_move(self, count: int) -> None:
        self.rows.move(count)

    def action_open(self) -> None:
        from .row import RowScreen

        examples = self.rows.examples
        if examples is not None and len(self.rows.places):
            self.app.push_screen(
                RowScreen(
                    self.run_shown,
                    examples,
                    self.rows.places,
                    self.rows.cursor,
                    self.rows,
                    self.history,
                )
            )

    def action_next_order(self) -> None:
        examples = self.rows.examples
        if examples is not None:
            self.order = following(examples.orders, self.order)
            self.rows.cursor = 0
            self._select()

    def action_next_kind(self) -> None:
        examples = self.rows.examples
        if examples is not None and examples.kinds:
            self.kind = following(("", *examples.kinds), self.kind)
            self.rows.cursor = 0
            self._select()

    def action_next_split(self) -> None:
        splits = self._splits()
        whole = self.split.removesuffix("_clean")
        if len(splits) < 2 or whole not in splits:
            self.key_line.show_notice("No other split has stored rows.")
            return
        self.split = following(splits, whole)
        # Ids of rows are those of one split.
        self.only, self.about, self.reference, self.rows.cursor = (), "", None, 0
        self._opened_with, self._failed = ("", (), ""), False
        self._is_given = True
        self.rows.examples, self.rows.places, self.rows.state = None, [], "reading the rows …"
        self._show_title()
        self.rows.show()
        self._read()

    async def action_filter(self) -> None:
        if not self.query(LineBox):
            box = LineBox("filter", self.query_text)
            await self.mount(box, before=self.rows)
            box.enter()

    @on(Input.Changed)
    def show_filtered(self, event: Input.Changed) -> None:
        self.query_text = event.value
        self.rows.cursor = 0
        self._select()

    @on(Input.Submitted)
    @on(LineBox.Left)
    async def leave_filter(self) -> None:
        await self.query(LineBox).remove()
        self.set_focus(None)

    def action_out(self) -> None:
        """Back to the rows that were opened, where others were asked for; then out of here."""
        if (self.query_text, self.only, self.kind) != self._opened_with:
            self.query_text, self.only, self.kind = self._opened_with
            self.about = self.about if self.only or self.query_text else ""
            self._select()
            return
        super().action_out()

    def on_screen_resume(self) -> None:
        self.rows.show()
