"""What a new run begins from, and its start: reading and starting happen in threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message

from ....core.errors import Fault, FtevError
from ....core.run.runs import Run
from ....core.tasks import TASKS
from ....core.wording.text import visible
from ...app.background import Post, in_thread
from ...drawing.lines import Line
from ...widgets.modal import CalmModal, Modal
from ...widgets.pane import Pane
from .form import FieldBox
from .form_fields import candidate_lines

if TYPE_CHECKING:
    from ....core.config.draft import Draft
    from ....core.run.estimate import Estimate


Beginning = Literal["empty", "like", "left"]


class BeginForm(Modal[Beginning | None]):
    """Asks which form to begin with; None where the user leaves."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "first", show=False),
        Binding("n,e", "answer('empty')", show=False),
        Binding("l", "answer('like')", show=False),
        Binding("g", "answer('left')", show=False),
        Binding("escape,q", "leave", show=False),
    ]

    def __init__(self, like: str, *, left: bool) -> None:
        """`like`: the name of a run, or nothing; `left`: whether a form waits."""
        self._offered: list[Beginning] = ["empty"]
        if like:
            self._offered.insert(0, "like")
        if left:
            self._offered.insert(0, "left")
        words = {
            "left": ("g", "go on with the form as you left it"),
            "like": ("l", f"like {visible(like, 40)}"),
            "empty": ("n", "an empty form"),
        }
        lines: list[Line] = [
            [(words[each][0], "accent"), (f"   {words[each][1]}", "")] for each in self._offered
        ]
        keys: Line = [("enter", "accent"), (" the first   ", "muted")]
        super().__init__("New run", [*lines, [], [*keys, ("esc", "accent"), (" none", "muted")]])

    def action_answer(self, beginning: Beginning) -> None:
        if beginning in self._offered:
            self.dismiss(beginning)

    def action_first(self) -> None:
        self.dismiss(self._offered[0])

    def action_leave(self) -> None:
        self.dismiss(None)


# A path that is asked for

WIDTH, CANDIDATE_LINES = 72, 3


class Candidates(Pane):
    """What the path may become, else how to get on."""

    candidates: tuple[str, ...] = ()
    chosen = ""

    def draw(self, width: int, height: int) -> list[Line]:
        if self.candidates:
            return candidate_lines(self.candidates, self.chosen, width, height)
        keys: Line = [("tab", "accent"), (" completes   ", "muted"), ("enter", "accent")]
        return [[], [*keys, (" goes on   ", "muted"), ("esc", "accent"), (" leaves", "muted")]]


class AskPath(CalmModal[str | None]):
    """Gives what was written, or None."""

    def __init__(self, title: str, text: str = "") -> None:
        super().__init__()
        self._title, self._text = title, text
        self.box, self.candidates = FieldBox(), Candidates()

    def compose(self) -> ComposeResult:
        frame = Vertical(self.box, self.candidates, id="ask-path")
        frame.border_title = Content(self._title)
        frame.styles.width = min(WIDTH, self.app.size.width - 4)
        self.candidates.styles.height = CANDIDATE_LINES
        yield frame

    def on_mount(self) -> None:
        self.box.begin(self._text, "file", (), Path())

    @on(FieldBox.Offered)
    def show_candidates(self, message: FieldBox.Offered) -> None:
        self.candidates.candidates = message.candidates
        self.candidates.chosen = message.chosen
        self.candidates.show()

    @on(FieldBox.Written)
    def take(self, message: FieldBox.Written) -> None:
        if not message.move:
            self.dismiss(message.text.strip() or None)

    @on(FieldBox.Left)
    def leave(self) -> None:
        self.dismiss(None)


# Threads


@dataclass
class FormReady(Message):
    """The settings are read; `note` says where the draft comes from and what was left out."""

    draft: Draft
    note: str = ""
    failed: bool = False


@dataclass
class RunMade(Message):
    """The worker of a new run is started."""

    run: Run


@dataclass
class StartRefused(Message):
    """Why there is no new run."""

    text: str
    faults: tuple[Fault, ...] = ()


def open_form(source: Draft | Run | Path | None, post: Post) -> None:
    """A draft from a run, a run.toml, an earlier form or nothing. The imports take a while."""
    in_thread(lambda: _open_form(source, post))


def _open_form(source: Draft | Run | Path | None, post: Post) -> None:
    from ....core.config.draft import Draft, draft_of, form_settings, load_draft

    form_settings()
    empty = Draft({"task": next(iter(TASKS))}, str(Path.cwd()))
    try:
        if isinstance(source, Run):
            post(FormReady(draft_of(source.config()), f"like {source.id}"))
        elif isinstance(source, Path):
            draft, unknown = load_draft(source)
            left = f"; left out, no settings: {', '.join(unknown)}" if unknown else ""
            post(FormReady(draft, f"from {source}{left}"))
        else:
            post(FormReady(source or empty))
    except FtevError as error:
        post(FormReady(empty, str(error).replace("\n", "  "), failed=True))


def start_run(draft: Draft, runs_dir: Path, estimate: Estimate | None, post: Post) -> None:
    """Check settings and data as they are now, make the run and start its worker."""
    in_thread(lambda: _start_run(draft, runs_dir, estimate, post))


def _start_run(draft: Draft, runs_dir: Path, estimate: Estimate | None, post: Post) -> None:
    from ....core.config.draft import check_draft
    from ....core.data.data import read_run_data
    from ....core.run import launch
    from ....core.run.devices import processes_of
    from ....core.run.estimate import write_estimate
    from ....core.run.runs import create_run

    config = check_draft(draft).config
    if config is None:
        post(StartRefused("the settings have faults"))
        return
    try:
        read_run_data(config)
    except FtevError as error:
        post(StartRefused(f"the data cannot be used: {error.faults[0]}", error.faults))
        return
    try:
        processes_of(config)
        run = create_run(config, runs_dir)
        if estimate is not None:
            write_estimate(run, estimate)
        worker = launch.start_worker(run)
    except (FtevError, OSError) as error:
        post(StartRefused(str(error)))
        return
    threading.Thread(
        target=worker.wait, daemon=True
    ).start()  # an ended child is to be taken note of
    post(RunMade(run))
