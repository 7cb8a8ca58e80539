"""The screen of a new run: a form made from the settings, and what they would do with the data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widget import Widget

from ....core.config.draft import form_path
from ....core.run.runs import Run
from ....core.tasks import find_task
from ....core.wording.text import visible
from ...app.keys import APP_KEYS, NEW_RUN_KEYS, Key, to_bindings
from ...widgets.framed import FramedScreen
from .form import Form
from .form_fields import COLUMNS, NOT_SET, Known, form_fields, message_of
from .preview import Preview, PreviewPane
from .starting import (
    AskPath,
    DataChecked,
    DataSeen,
    DraftChecked,
    FormReady,
    ModelSeen,
    Previewer,
    RunMade,
    Seen,
    StartRefused,
    Working,
    open_form,
    start_run,
)

if TYPE_CHECKING:
    from ....core.config.draft import CheckedDraft, Draft
    from ....core.errors import Fault

WIDE = 120  # cells from which on form and preview stand beside each other
FOOT_HEIGHT, TALL_FOOT, TALL = 4, 6, 32


class NewRunScreen(FramedScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(NEW_RUN_KEYS)]

    def __init__(self, runs_dir: Path, source: Draft | Run | Path | None = None) -> None:
        super().__init__((*NEW_RUN_KEYS, *APP_KEYS))
        self.runs_dir, self._source = runs_dir, source
        self.draft: Draft | None = None
        self.checked: CheckedDraft | None = None
        self.previewer = Previewer(runs_dir, self.post_message)
        self.number = 0  # of the draft that is looked at
        self.preview = Preview()
        self.whole = False  # whether all settings are shown
        self.on_preview = False  # whether the preview has the keys, and the narrow screen
        self.starting = False
        self.form, self.preview_pane = Form(), PreviewPane()
        self.preview_pane.preview = self.preview

    def panes(self) -> Iterable[Widget]:
        return (Horizontal(self.form, self.preview_pane, id="bench"),)

    def on_mount(self) -> None:
        self._show_title()
        self.previewer.start()
        open_form(self._source, self.post_message)

    def on_unmount(self) -> None:
        self.previewer.stop()

    def on_resize(self, event: events.Resize) -> None:
        self.form.foot.styles.height = TALL_FOOT if event.size.height >= TALL else FOOT_HEIGHT
        self._arrange(event.size.width)

    def _arrange(self, width: int) -> None:
        wide = width >= WIDE
        self.form.display = wide or not self.on_preview
        self.preview_pane.display = wide or self.on_preview
        self.set_class(wide, "-wide")
        self.preview_pane.set_class(self.on_preview, "-active")
        self.call_after_refresh(self._show_all)

    # The draft

    @on(FormReady)
    def begin(self, message: FormReady) -> None:
        if message.failed and self.draft is not None:  # a file that cannot be loaded
            self.key_line.show_notice(message.note, "bad")
            return
        self.draft = message.draft
        self.form.folder = Path(message.draft.folder)
        if message.note:
            self.key_line.show_notice(message.note, "bad" if message.failed else "good")
        self._look_again()

    @on(Form.Changed)
    def change(self, message: Form.Changed) -> None:
        if self.draft is not None:
            self.draft = self.draft.with_value(message.path, message.value)
            # Per change: a form that is left in any way can be gone on with.
            self.app.kept_draft = self.draft
            self._look_again()

    def _look_again(self) -> None:
        assert self.draft is not None
        self.preview.progress = "looking …"
        self.number = self.previewer.ask(self.draft)
        self._show_all()

    @property
    def faults(self) -> tuple[Fault, ...]:
        settings = self.checked.faults if self.checked else ()
        return (*settings, *self.preview.faults)

    @property
    def known(self) -> Known:
        """Columns, labels and metrics to choose from, and the columns that were found."""
        from ....core.metrics.metric import needs_answers

        assert self.draft is not None
        metrics = find_task(str(self.draft.given.get("task"))).metrics
        values: dict[str, Sequence[str]] = {
            "objective.metric": metrics,
            # Answers are generated after training only: nothing to choose a checkpoint by.
            "train.best_metric": [name for name in metrics if not needs_answers(name)],
        }
        found: dict[str, str] = {}
        look, check = self.preview.look, self.preview.check
        if look is not None and look.columns:
            values |= {f"data.{role}": [c.name for c in look.columns] for role in COLUMNS}
            roles = {c.role: f"{c.name}  ({c.why})" for c in look.columns if c.role}
            found = {f"data.{role}": roles.get(role, NOT_SET) for role in COLUMNS if roles}
        if check is not None and check.labels:
            values["objective.positive"] = check.labels
        return Known(values, found)

    # What the previewer posts

    def _is_new(self, message: Seen) -> bool:
        # Threads answer late: about an older draft, or after the screen was left.
        return message.number == self.number and self.is_attached

    @on(DraftChecked)
    def show_faults(self, message: DraftChecked) -> None:
        if self._is_new(message):
            self.checked = message.checked
            self._show_all()

    @on(DataSeen)
    def show_data(self, message: DataSeen) -> None:
        if self._is_new(message):
            before = self.preview.look
            self.preview.look = message.look
            # What was found in other data must not stand beside these.
            if before is None or before.stamp != message.look.stamp:
                self.preview.check, self.preview.estimate = None, None
                self.preview.faults, self.preview.not_checked = (), ""
            self._show_all()

    @on(DataChecked)
    def show_check(self, message: DataChecked) -> None:
        if self._is_new(message):
            known = self.preview.check
            # The engine's findings are in the older one: they stay while the rows are the same.
            kept = known and message.check and known.splits == message.check.splits
            self.preview.check = known if kept else message.check
            self.preview.faults = message.faults
            self._show_all()

    @on(Working)
    def show_progress(self, message: Working) -> None:
        if self._is_new(message):
            self.preview.progress = message.text
            self.preview_pane.show()
            self._show_title()

    @on(ModelSeen)
    def show_model(self, message: ModelSeen) -> None:
        if self._is_new(message):
            self.preview.check = message.check or self.preview.check
            self.preview.estimate = message.estimate
            self.preview.faults, self.preview.not_checked = message.faults, message.not_checked
            self._show_all()

    def _show_all(self) -> None:
        if self.draft is None or not self.is_attached:
            return
        fields = form_fields(self.draft, self.faults, self.known, whole=self.whole)
        self.form.show_fields(fields)
        self.preview_pane.show()
        self._show_title()

    def _show_title(self) -> None:
        folder = self.draft.folder if self.draft else ""
        left = [("ftev  ", "muted"), ("new run", "strong"), (f"  {visible(folder)}", "muted")]
        self.title_line.show_ends(left, [self._standing()])

    def _standing(self) -> tuple[str, str]:
        if self.starting:
            return "starting …", "strong accent"
        if self.checked is None:
            return "", "muted"
        # An empty form is not wrong: what is only not yet given is counted apart.
        missing = sum(fault.missing for fault in self.faults)
        if missing and missing == len(self.faults):
            return f"{missing} to be given", "warn"
        if count := len(self.faults):
            return f"✗ {count:,} fault{'s' * (count > 1)}", "strong warn"
        if self.preview.progress:
            return visible(self.preview.progress, 60), "muted"
        return "✓ ready: S starts", "strong good"

    # Keys

    def action_move(self, count: int) -> None:
        if self.on_preview:
            self.preview_pane.scroll_lines(count)
        else:
            self.form.move(count)

    def action_section(self, direction: int) -> None:
        if not self.on_preview:
            self.form.move_section(direction)

    def action_write(self) -> None:
        if not self.on_preview:
            self.form.write()

    def action_choose(self, direction: int) -> None:
        if not self.on_preview and not self.form.choose(direction):
            self.key_line.show_notice("enter writes a value here")

    def action_clear(self) -> None:
        if not self.on_preview:
            self.form.clear()

    def action_whole(self) -> None:
        self.whole = not self.whole
        self._show_all()

    def action_preview(self) -> None:
        self.on_preview = not self.on_preview
        self._arrange(self.size.width)

    def action_next_fault(self) -> None:
        """To the next field with a fault, from the one in focus on."""
        fields, at = self.form.lines.fields, self.form.lines.cursor
        order = [*range(at + 1, len(fields)), *range(at + 1)]
        wrong = next((i for i in order if fields[i].faults), None)
        if wrong is None:
            self.key_line.show_notice("Nothing is wrong here.", "good")
        else:
            self.form.go_to(wrong)

    def action_start(self) -> None:
        """Start the run, or go to what is in the way."""
        if self.draft is None or self.checked is None or self.starting:
            return
        if self.faults:
            first = self.faults[0]
            path = form_path(first)
            self.form.go_to_path(path)
            self.key_line.show_notice(f"{path or 'data'}: {message_of(first)}", "bad")
            return
        self.starting = True
        self._show_title()
        start_run(self.draft, self.runs_dir, self.preview.estimate, self.post_message)

    @on(RunMade)
    def open_run(self, message: RunMade) -> None:
        self.app.kept_draft = None
        self.app.open_run(message.run)

    @on(StartRefused)
    def show_refusal(self, message: StartRefused) -> None:
        self.starting = False
        self.preview.faults = message.faults
        self._show_all()
        self.key_line.show_notice(message.text, "bad")

    def action_load(self) -> None:
        def load(path: str | None) -> None:
            if path:
                open_form(Path(path).expanduser(), self.post_message)

        self.app.push_screen(AskPath("Load a run.toml"), load)

    def action_keep(self) -> None:
        if self.draft is not None:
            name = self.checked.config.name if self.checked and self.checked.config else "run"
            proposed = "run.toml" if not Path("run.toml").exists() else f"{name}.toml"
            self.app.push_screen(AskPath("Write this form to", proposed), self._write_asked)

    def _write_asked(self, text: str | None) -> None:
        if not text:
            return
        path = Path(text).expanduser()
        if path.is_dir():
            path /= "run.toml"
        if not path.exists():
            self._write(path)
            return
        from ...widgets.framed import Question

        def replace(yes: bool | None) -> None:
            if yes:
                self._write(path)

        consequence = f"{visible(path)} is there already; what stands in it would be lost."
        self.app.push_screen(Question("Write over this file?", consequence), replace)

    def _write(self, path: Path) -> None:
        from ....core.config.draft import write_draft

        assert self.draft is not None
        try:
            write_draft(self.draft, path)
        except OSError as error:
            self.key_line.show_notice(f"{path} cannot be written: {error.strerror}", "bad")
            return
        self.key_line.show_notice(
            f"written: {path}   start it with `ftev-tui train {path}`", "good"
        )

    def action_out(self) -> None:
        if self.on_preview:
            self.action_preview()
        elif self.app.opened is not None:
            self.app.open_run(self.app.opened)
        else:
            self.app.go_home()

    def help_sections(self) -> list[tuple[str, tuple[Key, ...]]]:
        return [("New run", NEW_RUN_KEYS), ("Everywhere", APP_KEYS)]
