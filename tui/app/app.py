"""The application: its screens, themes and the keys that work everywhere."""

from __future__ import annotations

# ruff: noqa: E402 - two things come before the imports
import gc

gc.disable()  # until the imports are done: collecting costs a tenth of them

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

# Textual reads these when it is imported.
os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")

from rich.console import RenderableType
from textual import events
from textual.app import SystemCommand
from textual.binding import BindingType
from textual.driver import Driver
from textual.filter import LineFilter, NoColor
from textual.timer import Timer

from ...core.run.runs import Run
from ..screens.prompt.asking import GenerationSettings
from ..terminal.frames import ScreenBuffer, diff_of
from ..terminal.input import KeyDone, KeyQueue
from ..terminal.private import frames_waiting, replace_screen
from ..terminal.terminal import (
    AsciiFilter,
    SanitizeFilter,
    leave_when_the_line_drops,
    speaks_unicode,
    supervised,
)
from ..widgets.framed import FramedScreen, Help, ScreenHost, explain_screen
from ..widgets.pane import is_too_small
from .background import PRELOAD_SECONDS, SCREENS, AnyScreen, make_screen, preload
from .keys import APP_KEYS, to_bindings
from .memory import REMEMBER_SECONDS, Keeper, Memory, Remembering, read_memory
from .themes import ROLE_COLOURS, THEMES, theme_name

if TYPE_CHECKING:
    from ...core.config.draft import Draft
    from ...core.report.review.review import Review

gc.freeze()  # what was imported stays: walking through it all would cost as much as it saved
gc.enable()
LEAVING = "q", "ctrl+q"
REMEMBER_SOON = 0.1  # after a key
STALLED_SECONDS = 0.5  # until a frame is tried again
_COLOURLESS = [NoColor()]
STALLED_WRITES = 8  # frames that wait for the line: more are not drawn


class FtevApp(ScreenHost):
    """The screen of runs, or of one run."""

    TITLE = "ftev"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(APP_KEYS)]

    def __init__(
        self,
        runs_dir: Path,
        run: Run | None = None,
        *,
        theme: str = "auto",
        ascii_only: bool = False,
        first: AnyScreen | None = None,
    ) -> None:
        self._first = first
        self._safe: list[LineFilter] = [SanitizeFilter()]
        super().__init__()
        self.key_queue = KeyQueue(self, self._screen_reads)
        self.keeper = Keeper()
        self.memories: dict[Path, Memory] = {}
        self._whole_later = False
        self._buffer = ScreenBuffer()
        self._remember_timer: Timer | None = None
        self._remember_due = self._remembered_at = 0.0
        if ascii_only:
            self._safe.append(AsciiFilter())
        self.runs_dir, self.opened, self.ascii_only = runs_dir, run, ascii_only
        self.generation = GenerationSettings()  # kept for the session
        for known in THEMES:
            self.register_theme(known)
        self.kept_draft: Draft | None = None
        self.theme = theme_name(theme, os.environ)

    def get_driver_class(self) -> type[Driver]:
        from textual.drivers.linux_driver import LinuxDriver

        base = super().get_driver_class()
        if base is not LinuxDriver:
            return base
        from ..terminal.input import driver_for

        return driver_for(os.environ.get("TERM", ""))

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Without colours: Textual chose shades of grey before it knew of such a theme."""
        return [*(_COLOURLESS if self.no_color else super().get_line_filters()), *self._safe]

    def skips_frame(self) -> bool:
        if self.line_is_stalled:  # a frame more could hold the loop up: one whole picture later
            if not self._whole_later:
                self._whole_later = True
                self.set_timer(STALLED_SECONDS, self._draw_whole)
            return True
        return False

    def reframed(self, frame: RenderableType | None) -> RenderableType | None:
        return diff_of(frame, self._buffer)

    def action_redraw(self) -> None:
        """Something else wrote to the terminal: trust nothing that stands there."""
        self._buffer.forget()
        self.screen.refresh(layout=True)

    def _draw_whole(self) -> None:
        self._whole_later = False
        self.screen.refresh(layout=True)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """A theme that is not ours lacks the colours of our roles."""
        return ROLE_COLOURS

    def get_default_screen(self) -> AnyScreen:
        if self._first is not None:
            return self._first
        if self.opened is not None:
            return make_screen("run", self.opened, ascii_only=self.ascii_only)
        return self._home(as_left=True)

    def refresh_css(self, animate: bool = True) -> None:
        """Before there is a screen, the colours are noted: the rules are read when it comes."""
        if self.screen_stack:
            super().refresh_css(animate)
        else:
            self.stylesheet.set_variables(self.get_css_variables())

    def _home(self, *, as_left: bool = False) -> AnyScreen:
        return make_screen("home", self.runs_dir, as_left=as_left)

    def on_resize(self) -> None:
        self._buffer.forget()  # the terminal has moved what stood there

    def on_mount(self) -> None:
        if not self.is_headless and not self.is_web:
            leave_when_the_line_drops()

    def on_ready(self) -> None:
        gc.enable()
        self.set_timer(PRELOAD_SECONDS, self._import_ahead)

    def _import_ahead(self) -> None:
        """Once a long run is read: its first picture must not wait for this."""
        if not self.screen_stack:  # left meanwhile
            return
        if isinstance(self.screen, FramedScreen) and self.screen.is_reading:
            self.set_timer(PRELOAD_SECONDS, self._import_ahead)
        else:
            preload(*SCREENS)

    async def on_event(self, event: events.Event) -> None:
        new_key = isinstance(event, events.Key) and not event.is_forwarded
        if isinstance(event, events.Key) and new_key and is_too_small(self.size):
            if event.key in LEAVING:
                self.action_leave()
            return
        if isinstance(event, events.Key) and new_key and self.key_queue.must_wait(event):
            return
        target = self.focused or self.screen if new_key else None
        await super().on_event(event)
        if target is not None and isinstance(event, events.Key) and event.is_forwarded:
            self.key_queue.follow(target)
        if isinstance(event, events.InputEvent) and not isinstance(event, events.MouseMove):
            self.remember_soon()

    def _screen_reads(self, key: str) -> bool:
        return isinstance(self.screen, FramedScreen) and self.screen.reads_before(key)

    def on_key_done(self, message: KeyDone) -> None:
        self.key_queue.let_next_go(message.number)

    @property
    def line_is_stalled(self) -> bool:
        """Whether frames pile up on their way to the terminal; one more could block the loop."""
        return frames_waiting(self) > STALLED_WRITES

    # What the screens remember

    def recall(self, screen: Remembering) -> Memory:
        """Give a screen what it remembers; once it is there and has its data."""
        memory = self.memory_of(screen.remembered_of)
        if stored := memory.screens.get(screen.REMEMBERED_AS):
            screen.recall(stored)
        return memory

    def memory_of(self, of: Path) -> Memory:
        if of not in self.memories:
            self.memories[of] = read_memory(of)
        return self.memories[of]

    def remember_soon(self, every: float = REMEMBER_SECONDS) -> None:
        """Something may have changed that is worth remembering: look so often at most."""
        now = time.monotonic()
        due = max(now + REMEMBER_SOON, self._remembered_at + every)
        if self._remember_timer is not None and self._remember_due <= due:
            return
        if self._remember_timer is not None:
            self._remember_timer.stop()
        self._remember_due = due
        self._remember_timer = self.set_timer(due - now, self.remember)

    def remember(self) -> None:
        self._remember_timer, self._remembered_at = None, time.monotonic()
        opened: set[Path] = set()  # whose own screen is in the stack
        for screen in self.screen_stack:
            if isinstance(screen, Remembering) and (stored := screen.memory()):
                memory = self.memory_of(screen.remembered_of)
                if screen.REMEMBERED_AS in ("run", "home"):
                    opened.add(screen.remembered_of)
                if screen.remembered_of in opened:
                    memory.on_top = screen.REMEMBERED_AS
                memory.screens[screen.REMEMBERED_AS] = stored
                self.keeper.keep(memory)

    def open_run(self, run: Run) -> None:
        self.remember()
        self.opened = run
        replace_screen(self, make_screen("run", run, ascii_only=self.ascii_only))

    def go_home(self) -> None:
        self.remember()
        replace_screen(self, self._home())

    def new_run(self, like: Run | None) -> None:
        """The form of a new run; asked first where there is more than an empty one."""
        from ..screens.new_run.starting import BeginForm

        def begin(beginning: str | None) -> None:
            source = {"left": self.kept_draft, "like": like}
            if beginning is not None:
                self._fill_form(source.get(beginning))

        if like is None and self.kept_draft is None:
            self._fill_form(None)
        else:
            name = like.id if like is not None else ""
            self.push_screen(BeginForm(name, left=self.kept_draft is not None), begin)

    def _fill_form(self, source: Draft | Run | None) -> None:
        replace_screen(self, make_screen("new_run", self.runs_dir, source))

    def action_leave(self) -> None:
        self.remember()
        self.keeper.flush()
        self.exit(0)

    def action_how_to_leave(self) -> None:
        self.show_notice("q leaves; the run goes on.")

    def show_notice(self, text: str) -> None:
        """One sentence in the line of keys of the screen."""
        if isinstance(self.screen, FramedScreen):
            self.screen.key_line.show_notice(text)

    def action_show_help(self) -> None:
        if isinstance(self.screen, FramedScreen):
            self.push_screen(Help(self.screen.help_sections()))

    def action_explain(self) -> None:
        """What stands under the cursor, in the words of the glossary; help where nothing does."""
        term = self.screen.explained_term() if isinstance(self.screen, FramedScreen) else None
        if term and (modal := explain_screen(term)):
            self.push_screen(modal)
        else:
            self.action_show_help()

    def action_next_theme(self) -> None:
        names = [known.name for known in THEMES]
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + 1) % len(names)]

    def get_system_commands(self, screen: AnyScreen) -> Iterable[SystemCommand]:
        """The palette offers what the keys of this screen do."""
        for title, keys in screen.help_sections() if isinstance(screen, FramedScreen) else []:
            for key in keys:
                if key.words and title != "In the prompt box":
                    action = key.action
                    yield SystemCommand(
                        key.words, f"{title}: {key.shown}", lambda a=action: self._do(a)
                    )

    async def _do(self, action: str) -> None:
        focused = self.screen.focused
        await self.run_action(action, focused if focused is not None else self.screen)


def run_app(
    runs_dir: Path, run: Run | None = None, *, theme: str = "auto", ascii_only: bool = False
) -> int:
    """Show the screen until it is left; with no run, the home screen. Returns an exit code."""
    ascii_only = ascii_only or not speaks_unicode()

    def draw() -> int:
        gc.disable()  # until the first paint: collecting costs a tenth of it
        app = FtevApp(runs_dir, run, theme=theme, ascii_only=ascii_only)
        result = app.run()
        return app.return_code or result or 0

    return supervised(draw)


def run_review(review: Review, *, theme: str = "auto", ascii_only: bool = False) -> int:
    """Show the blind review until it is left. Returns an exit code."""
    ascii_only = ascii_only or not speaks_unicode()

    def draw() -> int:
        screen = make_screen("review", review)
        app = FtevApp(Path(), theme=theme, ascii_only=ascii_only, first=screen)
        result = app.run()
        return app.return_code or result or 0

    return supervised(draw)
