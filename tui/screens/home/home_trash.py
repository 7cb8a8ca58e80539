"""A run of the home screen moved to the trash, after a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....core.catalog.run_facts import RunEntry
from ....core.errors import FtevError

if TYPE_CHECKING:
    from .home import HomeScreen


def ask_to_throw_away(screen: HomeScreen, entry: RunEntry) -> None:
    if entry.run.worker_alive():
        way = "S ends it" if entry.facts.ended else "open the run and stop it with S first"
        screen.key_line.show_notice(f"Its worker is alive: {way}.", "warn")
        return
    from ...widgets.question import Question

    def answer(yes: bool | None) -> None:
        if yes:
            _throw_away(screen, entry)

    told = f"{entry.run.id} is moved to the folder .trash beside the runs. Nothing is erased."
    screen.app.push_screen(Question("Throw this run away?", told), answer)


def _throw_away(screen: HomeScreen, entry: RunEntry) -> None:
    from ....core.catalog.trash import how_to_bring_back, move_to_trash

    try:
        target = move_to_trash(entry.run)
    except FtevError as error:
        screen.key_line.show_notice(str(error), "bad")
        return
    if screen.app.opened == entry.run:
        screen.app.opened = None
    screen.show_changed([e for e in screen.listed.entries if e.run != entry.run])
    screen.key_line.show_notice(f"To bring it back: {how_to_bring_back(target, entry.run)}")
