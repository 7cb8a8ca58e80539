"""The threads of a new run: what it begins from, a look at the draft (its settings at once, its
data soon, its model at leisure), and its start."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import TYPE_CHECKING, ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message

from ....core.errors import Fault, FtevError
from ....core.run.runs import Run
from ....core.tasks import NAMES
from ....core.wording.text import visible
from ...app.background import Post, in_thread
from ...drawing.lines import Line
from ...widgets.framed import CalmModal, Modal
from ...widgets.pane import Pane
from .form import FieldBox
from .form_fields import candidate_lines

if TYPE_CHECKING:
    from ....core.config.draft import CheckedDraft, Draft
    from ....core.data.look import Look
    from ....core.errors import Fault
    from ....core.judgement.preflight import CheckResult
    from ....core.run.estimate import Estimate


Beginning = Literal["empty", "like", "left"]


class BeginForm(Modal[Beginning | None]):
    """Asks which form to begin with; None where the user leaves."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "first", show=False),
        Binding("n,e", "answer('empty')", show=False),  # e: as the word begins
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
        # An arrow goes on to the next field of a form; here there is only one.
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

    # Made here, in the thread: it is kept, and the form would wait for it with the first key.
    form_settings()
    empty = Draft({"task": NAMES[0]}, str(Path.cwd()))
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
    from ....core.run.estimate import write_estimate
    from ....core.run.launch import processes_of
    from ....core.run.runs import create_run

    config = check_draft(draft).config
    if config is None:
        post(StartRefused("the settings have faults"))
        return
    try:
        # Once more, although the preview did: files may have changed since.
        read_run_data(config)
    except FtevError as error:
        post(StartRefused(f"the data cannot be used: {error.faults[0]}", error.faults))
        return
    try:
        processes_of(config)
        run = create_run(config, runs_dir)
        if estimate is not None:
            # Before the worker starts: the run screen compares it with what came.
            write_estimate(run, estimate)
        worker = launch.start_worker(run)
    except (FtevError, OSError) as error:
        post(StartRefused(str(error)))
        return
    threading.Thread(
        target=worker.wait, daemon=True
    ).start()  # an ended child is to be taken note of
    post(RunMade(run))


DATA_SECONDS = 0.3  # without a change before the data are read
MODEL_SECONDS = 1.2  # and before the engine is started


class Seen(Message):
    """Something about a draft; `number` says which one it was."""

    number: int


@dataclass
class DraftChecked(Seen):
    number: int
    checked: CheckedDraft


@dataclass
class DataSeen(Seen):
    number: int
    look: Look


@dataclass
class DataChecked(Seen):
    """What a run would find in the data, or why it could not use them."""

    number: int
    check: CheckResult | None
    faults: tuple[Fault, ...]


@dataclass
class Working(Seen):
    """What is being done now; nothing once all is done."""

    number: int
    text: str


@dataclass
class ModelSeen(Seen):
    """What the engine found: lengths, masks and size; or why the model cannot be used."""

    number: int
    check: CheckResult | None
    estimate: Estimate | None
    faults: tuple[Fault, ...]
    not_checked: str = ""


class Previewer(threading.Thread):
    """Only the newest draft counts: a change ends the engine that looks at an older one."""

    def __init__(self, runs_dir: Path, post: Callable[[Message], object]) -> None:
        super().__init__(name="preview", daemon=True)
        self._runs_dir = runs_dir
        self._post = post
        self._changed = threading.Condition()
        self._draft: Draft | None = None
        self._number = 0
        self._stopped = False
        self._engine: Popen[bytes] | None = None
        self._look: Look | None = None
        self._check: tuple[tuple[object, ...], DataChecked] | None = None
        self._model: tuple[tuple[object, ...], ModelSeen] | None = None

    def ask(self, draft: Draft) -> int:
        """Look at this draft from now on; the number that its messages carry."""
        with self._changed:
            self._draft, self._number = draft, self._number + 1
            self._end_engine()
            self._changed.notify()
            return self._number

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._end_engine()
            self._changed.notify()

    def _end_engine(self) -> None:
        if self._engine is not None and self._engine.poll() is None:
            # It only reads: nothing is lost, and memory of a model is free at once.
            self._engine.kill()

    def run(self) -> None:
        done = 0
        with contextlib.suppress(RuntimeError):  # the screen closed its loop between two posts
            while True:
                with self._changed:
                    # `wait` may return without a cause.
                    while not self._stopped and self._number == done:
                        self._changed.wait()
                    if self._stopped:
                        return
                    draft, done = self._draft, self._number
                assert draft is not None
                self._look_at(draft, done)
                if not self._is_old(done):
                    self._post(Working(done, ""))

    def _is_old(self, number: int) -> bool:
        return self._stopped or number != self._number

    def _stays(self, number: int, seconds: float) -> bool:
        """Whether nothing changes for so long."""
        end = time.monotonic() + seconds
        with self._changed:
            while not self._is_old(number) and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
        return not self._is_old(number)

    def _look_at(self, draft: Draft, number: int) -> None:
        from ....core.config.draft import check_draft

        # Faults of settings at once: they need no file.
        self._post(DraftChecked(number, check_draft(draft)))
        if not self._stays(number, DATA_SECONDS):
            return
        from ....core.data.look import look_at

        self._look = look = look_at(draft, self._look)
        self._post(DataSeen(number, look))
        if look.config is None or self._is_old(number):
            return
        checked = self._check_data(look, number)
        if checked.check is None or look.checked.config is None or self._is_old(number):
            return
        self._ask_model(look, checked.check, number)

    def _check_data(self, look: Look, number: int) -> DataChecked:
        from ....core.errors import FtevError
        from ....core.judgement.preflight import check_run

        assert look.config is not None
        # Rows are read anew only where a file or a setting about data changed.
        if self._check is None or self._check[0] != look.stamp:
            self._post(Working(number, "reading the rows, looking for duplicates and leakage …"))
            try:
                found = DataChecked(number, check_run(look.config), ())
            except FtevError as error:
                found = DataChecked(number, None, error.faults)
            self._check = look.stamp, found
        checked = DataChecked(number, self._check[1].check, self._check[1].faults)
        self._post(checked)
        return checked

    def _ask_model(self, look: Look, check: CheckResult, number: int) -> None:
        from ....core.errors import Fault, FtevError

        config = look.checked.config
        assert config is not None
        model = config.model
        # What lengths and masks depend on; learning rate and the like do not start the engine.
        key = (look.stamp, model.base, model.revision, model.max_length, model.adapter)
        if self._model is None or self._model[0] != key:
            # To start the engine costs seconds and a model's memory: not per key.
            if not self._stays(number, MODEL_SECONDS):
                return
            self._post(Working(number, "starting the engine, for lengths, masks and memory …"))
            try:
                seen = self._see_model(look, check, number)
            except FtevError as error:
                if self._is_old(number):
                    return
                # The field beside it names the model already.
                what = str(error).partition("\n")[0].removeprefix(f"{model.base}: ")
                fault = Fault("", what, setting="model.base")
                seen = ModelSeen(number, None, None, (fault,))
            if self._is_old(number):  # it was ended: what it says is about that
                return
            self._model = key, seen
        seen = self._model[1]
        estimate = self._estimate(look, seen.check)
        self._post(ModelSeen(number, seen.check, estimate, seen.faults, seen.not_checked))

    def _see_model(self, look: Look, check: CheckResult, number: int) -> ModelSeen:
        from ....core.judgement.preflight import check_model

        assert look.checked.config is not None
        try:
            checked = check_model(
                look.checked.config,
                check,
                lambda text: self._show_progress(number, text),
                lambda engine: self._take_engine(engine, number),
            )
        finally:
            with self._changed:
                self._engine = None
        not_checked = "not checked: " + checked.not_checked[0] if checked.not_checked else ""
        return ModelSeen(number, checked, None, (), not_checked)

    def _show_progress(self, number: int, text: str) -> None:
        self._post(Working(number, f"{text} …"))

    def _take_engine(self, engine: Popen[bytes], number: int) -> None:
        with self._changed:
            self._engine = engine
            if self._is_old(number):  # the change came while it started
                engine.kill()

    def _estimate(self, look: Look, check: CheckResult | None) -> Estimate | None:
        from ....core.run.estimate import estimate_run, find_pace

        config = look.checked.config
        if config is None or check is None or check.model is None:
            return None
        return estimate_run(config, check.model, find_pace(config, self._runs_dir))
