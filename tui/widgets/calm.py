"""Screens that paint no more than a key asks for."""

from __future__ import annotations

from typing import Any, Self, TypeVar

from textual.geometry import Region
from textual.reactive import Reactive
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.widget import Widget

Result = TypeVar("Result")


class CalmScreen(Screen[Result]):
    """A change of focus paints the two panes it concerns: Textual's own screen paints itself."""

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)


class CalmModal(ModalScreen[Result]):
    """Something over a screen, which stays to be seen, without a veil.

    The screen below is taken as it was composed: Textual sends it through Rich, line by line, for
    every paint of the modal, which is half the time from a key to its picture.
    """

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)
    _below: list[Strip] | None = None

    def refresh(self, *regions: Region, **wanted: Any) -> Self:
        self._below = None  # also called when something changes on the screen below
        return super().refresh(*regions, **wanted)

    def render_lines(self, crop: Region) -> list[Strip]:
        if self._below is None:
            stack = self.app.screen_stack
            below = stack[stack.index(self) - 1]._compositor.render_strips(self.size)
            self._below = [strip.discard_meta() for strip in below]
        return [strip.crop(crop.x, crop.right) for strip in self._below[crop.y : crop.bottom]]
