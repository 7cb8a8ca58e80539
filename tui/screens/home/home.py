"""The home screen: the runs, how they stand, what came of them, and what people noted on them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec
from textual import on
from textual.binding import BindingType
from textual.widget import Widget

from ....core.catalog.filter import GROUPS, SORTS, arrange, read_memory, write_memory
from ....core.catalog.notes import RunNotes, read_notes, read_tags, write_notes
from ....core.catalog.run_facts import RunEntry
from ....core.errors import FtevError
from ....core.wording.text import visible
from ...app.background import make_screen
from ...app.keys import APP_KEYS, HOME_KEYS, Key, hints, to_bindings
from ...app.memory import Plain
from ...drawing.format import format_count
from ...drawing.lines import Line, cut, following
from ...widgets.framed import FramedScreen, Outcome
from ..prompt.asking import free_worker, write_report
from .run_lines import DETAIL_LINES, Marks, RunDetail
from .run_list import RunList, RunsListed, Scanner, empty_lines, nothing_matches

if TYPE_CHECKING:
    from textual.widgets import Input

    from ....core.catalog.filter import Test
    from ...widgets.text_boxes import LineBox


_SHOWN_KEYS = (*HOME_KEYS, *APP_KEYS)


class HomeScreen(FramedScreen[None]):
    """All runs of a folder, with a filter, an order, groups, marks, notes and a baseline."""

    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(HOME_KEYS)]

    REMEMBERED_AS: ClassVar[str] = "home"

    def __init__(self, runs_dir: Path, *, as_left: bool = False) -> None:
        """`as_left`: with what lay over it when it was left."""
        super().__init__(_SHOWN_KEYS)
        self.runs_dir, self._as_left = runs_dir, as_left
        self.kept = read_memory(runs_dir)
        self.scanner = Scanner(runs_dir, self.post_message)
        self.listed = RunsListed([], unread=1)
        self.marked: dict[str, None] = {}  # ids in the order of marking
        self.fault = ""  # what is wrong with the filter
        self._test: Test | None = None
        self._box: LineBox | None = None
        self._box_entry: RunEntry | None = None
        self.runs = RunList()
        self.detail = RunDetail()

    def panes(self) -> Iterable[Widget]:
        return self.runs, self.detail

    def on_mount(self) -> None:
        self.detail.styles.height = DETAIL_LINES + 1
        self._read_filter(self.kept.filter)
        self._show_title(0)
        self.scanner.start()

    def on_unmount(self) -> None:
        self.scanner.stop()
        chosen = self.runs.chosen.run.id if self.runs.chosen and self.runs.cursor else ""
        self._remember(notice=False, chosen=chosen)

    # The list

    @on(RunsListed)
    def show_listed(self, message: RunsListed) -> None:
        # What was marked or chosen can be found only once there is a list.
        first = not self.listed.entries and bool(message.entries)
        self.listed = message
        if first:
            self._recall()
        known = {entry.run.id for entry in message.entries}
        # a dict keeps their order
        self.marked = {run_id: None for run_id in self.marked if run_id in known}
        self._show_runs()
        if first and self.kept.chosen:
            self.runs.choose(self.kept.chosen)
            self._show_chosen()

    # What it remembers beside what is kept with the runs

    @property
    def remembered_of(self) -> Path:
        return self.runs_dir

    def memory(self) -> Plain:
        return {"marked": list(self.marked)} if self.listed.entries else {}

    def recall(self, memory: Plain) -> None:
        marked = memory.get("marked")
        if isinstance(marked, list):
            self.marked = {run_id: None for run_id in marked if isinstance(run_id, str)}

    def _recall(self) -> None:
        on_top = self.app.recall(self).on_top
        if self._as_left and on_top == "compare":
            from ..compare.compare import compare_again

            self.call_later(compare_again, self.app, self.runs_dir)

    def _show_runs(self) -> None:
        entries, memory = self.listed.entries, self.kept
        passed = [e for e in entries if self._test is None or self._test(e)]
        groups = arrange(passed, memory.sort, memory.group)
        filtered = bool(entries) and not passed
        self.runs.empty = (
            nothing_matches() if filtered else empty_lines(complete=self.listed.complete)
        )
        self.runs.show_groups(groups, memory.group, self._marks(), time.time())
        self._show_title(len(passed))
        self._show_chosen()

    def _marks(self) -> Marks:
        return Marks(frozenset(self.marked), self.baseline)

    @property
    def baseline(self) -> RunEntry | None:
        return self._entry_of(self.kept.baseline)

    def _entry_of(self, run_id: str) -> RunEntry | None:
        return next((e for e in self.listed.entries if e.run.id == run_id), None)

    def _show_title(self, passed: int) -> None:
        count, memory = len(self.listed.entries), self.kept
        runs = f"{format_count(count)} runs" if count != 1 else "1 run"
        if memory.filter and count:
            runs = f"{format_count(passed)} of {runs}"
        view: list[str] = [f"filter {visible(memory.filter, 60)}"] * bool(memory.filter)
        view += [f"by {memory.sort}"] * (memory.sort != "newest")
        view += [f"grouped by {memory.group}"] * bool(memory.group)
        view += [f"{len(self.marked)} marked"] * bool(self.marked)
        if self.listed.entries and self.listed.unread:
            view.append(f"{format_count(self.listed.unread)} still to read")
        right: Line = [("   ".join(view), "accent"), ("   " * bool(view), "")]
        self.title_line.show_ends(
            [("ftev  ", "muted"), ("runs", "strong"), (f"  {self.runs_dir}", "muted")],
            [*right, (runs if count else "", "muted")],
        )

    def _show_chosen(self) -> None:
        self.detail.show_entry(self.runs.chosen, self.baseline)
        self._show_keys()

    def _show_keys(self) -> None:
        """The key that frees a worker stands first where there is one to free."""
        if self._box is None:
            entry = self.chosen
            serves = entry is not None and bool(entry.facts.ended) and entry.run.worker_alive()
            free: list[Line] = [[("S", "accent"), (" free its memory", "muted")]] * serves
            self.key_line.show_hints([*free, *hints(_SHOWN_KEYS, ("free",))])

    @property
    def chosen(self) -> RunEntry | None:
        return self.runs.chosen

    def action_move(self, count: int) -> None:
        self.runs.move(count)
        self._show_chosen()

    def action_open(self) -> None:
        if self.chosen is not None:
            self.app.open_run(self.chosen.run)

    @on(RunList.Opened)
    def open_clicked(self, message: RunList.Opened) -> None:
        self.app.open_run(message.entry.run)

    @on(RunList.Moved)
    def show_moved(self) -> None:
        self._show_chosen()

    def action_evaluation(self) -> None:
        if self.chosen is not None:
            self.app.push_screen(make_screen("evaluation", self.chosen.run))

    def action_new(self) -> None:
        self.app.new_run(self.chosen.run if self.chosen is not None else None)

    def action_export(self) -> None:
        if self.chosen is not None:
            self.key_line.show_notice("writing the report …", "muted")
            write_report(self.chosen.run, self.post_message)

    def action_free(self) -> None:
        if self.chosen is not None:
            self.key_line.show_notice("ending its worker …", "muted")
            free_worker(self.chosen.run, self.post_message)

    @on(Outcome)
    def show_held(self) -> None:
        self._show_chosen()

    def action_out(self) -> None:
        """Out of the innermost thing: marks, the filter, this screen."""
        if self.marked:
            self.marked = {}
            self._show_runs()
        elif self.kept.filter:
            self._set_filter("")
        elif self.app.opened is not None:
            self.app.open_run(self.app.opened)

    # How the list is looked at

    def _remember(self, *, notice: bool = True, **changes: str) -> None:
        before, self.kept = self.kept, msgspec.structs.replace(self.kept, **changes)
        # A folder that was removed meanwhile must not come back for our file alone.
        if self.kept == before or not self.runs_dir.is_dir():
            return
        try:
            write_memory(self.runs_dir, self.kept)
        except FtevError as error:
            if notice:
                self.key_line.show_notice(str(error), "warn")

    def action_sort(self) -> None:
        self._remember(sort=following(SORTS, self.kept.sort))
        self._show_runs()

    def action_group(self) -> None:
        self._remember(group=following(GROUPS, self.kept.group))
        self._show_runs()

    def _set_filter(self, text: str) -> None:
        self._read_filter(text)
        self._remember(filter=text)
        self._show_runs()

    def _read_filter(self, text: str) -> None:
        """With a fault nothing is hidden, and the fault is shown."""
        from ....core.catalog.filter import FilterError, read_filter

        try:
            self._test = read_filter(text) if text.strip() else None
            self.fault = ""
        except FilterError as fault:
            self.fault, self._test = str(fault), None

    def action_baseline(self) -> None:
        """Pin the chosen run, or let go of it."""
        if self.chosen is None:
            return
        pinned = self.kept.baseline == self.chosen.run.id
        self._remember(baseline="" if pinned else self.chosen.run.id)
        self._show_runs()

    def action_mark(self) -> None:
        if self.chosen is None:
            return
        run_id = self.chosen.run.id
        if run_id in self.marked:
            del self.marked[run_id]
        else:
            self.marked[run_id] = None
        # So that space, pressed again and again, marks one run after the other.
        self.runs.move(1)
        self._show_runs()

    def action_compare(self) -> None:
        """The marked runs; the pinned baseline, or else the oldest, comes first."""
        entries = [e for e in self.listed.entries if e.run.id in self.marked]
        # The oldest run stands for what was there before, where nothing is pinned.
        entries.sort(key=lambda e: (e.facts.created, e.run.id))
        if not entries and self.chosen is not None:
            entries = [self.chosen]
        if (pinned := self.baseline) is not None:
            entries = [pinned, *(e for e in entries if e.run.id != pinned.run.id)]
        if len(entries) < 2:
            self.key_line.show_notice("Mark two or more runs with space; then c compares them.")
            return
        named = [(e.name, e.run) for e in entries]
        opened = make_screen("compare", named, self.runs_dir, ascii_only=self.app.ascii_only)
        self.app.push_screen(opened)

    # What people note on a run

    async def action_write(self, purpose: str) -> None:
        """Open the box of one line for the filter, or for the name, tags or note of a run."""
        entry = self.chosen
        if self._box is not None or (entry is None and purpose != "filter"):
            return
        value = note_of(entry, purpose) if entry is not None else ""
        value = self.kept.filter if purpose == "filter" else value
        from ...widgets.text_boxes import LineBox

        self._box, self._box_entry = LineBox(purpose, value), entry
        self._show_purpose()
        await self.mount(self._box, before=self.key_line)
        self._box.enter()

    def _show_purpose(self) -> None:
        box = self._box
        if box is None:
            self._show_keys()
            return
        line: Line = [(f"{box.purpose}: ", "accent"), (PURPOSES[box.purpose], "muted")]
        if box.purpose == "filter" and self.fault:
            line = [("✗ ", "bad"), (visible(self.fault), "")]
        self.key_line.show_hints([cut(line, max(1, self.size.width - 2))])

    def on_input_changed(self, message: Input.Changed) -> None:
        if self._box is not None and self._box.purpose == "filter":
            self._read_filter(message.value)
            # Shown per letter, written to disk only when it is kept.
            self.kept = msgspec.structs.replace(self.kept, filter=message.value)
            self._show_purpose()
            self._show_runs()

    async def on_input_submitted(self, message: Input.Submitted) -> None:
        box, entry = self._box, self._box_entry
        if box is None:
            return
        if box.purpose == "filter":
            if self.fault:
                return
            self._keep_filter(message.value.strip())
        await self._close_box()
        if box.purpose != "filter" and entry is not None:
            self._write_notes(entry, box.purpose, message.value.strip())

    def _keep_filter(self, text: str) -> None:
        self.kept = msgspec.structs.replace(self.kept, filter="\0")  # what was typed is not kept
        self._set_filter(text)

    async def on_line_box_left(self, message: LineBox.Left) -> None:
        await self._close_box()
        if message.purpose == "filter":
            self._keep_filter("")

    async def _close_box(self) -> None:
        box, self._box = self._box, None
        if box is not None:
            await box.remove()
        self._show_purpose()

    def _write_notes(self, entry: RunEntry, purpose: str, value: str) -> None:
        notes = with_note(entry, purpose, value)
        try:
            write_notes(entry.run, notes)
        except FtevError as error:
            self.key_line.show_notice(str(error), "bad")
            return
        self.show_changed(
            [replace(e, notes=notes) if e.run == entry.run else e for e in self.listed.entries]
        )

    def show_changed(self, entries: list[RunEntry]) -> None:
        self.listed = RunsListed(entries, self.listed.unread)
        self._show_runs()
        # The list shows it at once; the disk has the last word.
        self.scanner.look_again()

    # The trash

    def action_delete(self) -> None:
        if self.chosen is not None:
            self._ask_to_throw_away(self.chosen)

    def _ask_to_throw_away(self, entry: RunEntry) -> None:
        # A worker would go on writing into a folder that has moved.
        if entry.run.worker_alive():
            way = "S ends it" if entry.facts.ended else "open the run and stop it with S first"
            self.key_line.show_notice(f"Its worker is alive: {way}.", "warn")
            return
        from ...widgets.framed import Question

        def answer(yes: bool | None) -> None:
            if yes:
                self._throw_away(entry)

        consequence = (
            f"{entry.run.id} moves to the folder .trash beside the runs; nothing is erased."
        )
        self.app.push_screen(Question("Move this run to the trash?", consequence), answer)

    def _throw_away(self, entry: RunEntry) -> None:
        from ....core.catalog.notes import how_to_bring_back, move_to_trash

        try:
            target = move_to_trash(entry.run)
        except FtevError as error:
            self.key_line.show_notice(str(error), "bad")
            return
        # esc must not lead back to a run that is in the trash.
        if self.app.opened == entry.run:
            self.app.opened = None
        self.show_changed([e for e in self.listed.entries if e.run != entry.run])
        self.key_line.show_notice(f"To restore it: {how_to_bring_back(target, entry.run)}")

    def help_sections(self) -> list[tuple[str, tuple[Key, ...]]]:
        return [("Runs", HOME_KEYS), ("Everywhere", APP_KEYS)]


FILTER_HELP = "words  task=…  tag=…  macro_f1>80%  train.epochs>=3   enter keeps it"
PURPOSES = {
    "filter": FILTER_HELP,
    "name": "to show; the directory keeps its own   enter saves, esc cancels",
    "tags": "with spaces between them   enter saves, esc cancels",
    "note": "on this run   enter saves, esc cancels",
}


def note_of(entry: RunEntry, purpose: str) -> str:
    """What the box starts with."""
    notes = entry.notes
    return {"name": entry.name, "tags": " ".join(notes.tags), "note": notes.note}.get(purpose, "")


def with_note(entry: RunEntry, purpose: str, value: str) -> RunNotes:
    """What the run's notes become. They are read again: another screen may have written since.

    A name that is the run's own is no name.
    """
    notes: RunNotes = read_notes(entry.run)
    if purpose == "name":
        return msgspec.structs.replace(notes, name="" if value == entry.facts.name else value)
    if purpose == "tags":
        return msgspec.structs.replace(notes, tags=read_tags(value))
    return msgspec.structs.replace(notes, note=value)
