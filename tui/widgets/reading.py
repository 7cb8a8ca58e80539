"""What the screens over one run have in common: title, one pane, keys, and the way back."""

from __future__ import annotations

from ..app.keys import APP_KEYS, Key
from ..drawing.spans import Line
from .framed import FramedScreen


class ReadingScreen(FramedScreen[None]):
    """Subclasses give the keys and the panes between title and keys."""

    KEYS: tuple[Key, ...] = ()
    NAME = ""

    def __init__(self) -> None:
        super().__init__((*self.KEYS, *APP_KEYS))

    def reads_before(self, key: str) -> bool:
        """Whether what a key is about is still being read; `go_on` says that it was."""
        return False

    def go_on(self) -> None:
        self.app.typed_ahead.go_on()

    def show_title(self, name: str, about: str, right: Line) -> None:
        self.title_line.show_ends(
            [("ftev  ", "muted"), (name, "strong"), (f"  {about}", "muted")], right
        )

    def action_out(self) -> None:
        """Back to the screen before; where this is the first one, to all runs."""
        if len(self.app.screen_stack) > 1:
            self.app.remember()
            self.app.pop_screen()
        else:
            self.app.go_home()

    def help_sections(self) -> list[tuple[str, tuple[Key, ...]]]:
        return [(self.NAME, self.KEYS), ("Everywhere", APP_KEYS)]
