"""Every private name of Textual that ftev reaches for, each with its reason. Of Rich there is none.

No other file of tui may reach for one: tests/tui/test_private_names.py sees to that, and names
whichever of these a release of Textual has moved.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from rich.console import RenderableType
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.geometry import Size
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

__all__ = [
    # Handed on from here, so that no other file names a private module of Textual.
    "CompositorUpdate",
    "FramedApp",
    "KeyParser",
    "ParseError",
    "composed",
    "frames_waiting",
    "keeps_lines",
    "replace_screen",
    "strips_of",
]

Result = TypeVar("Result")
Anything = TypeVar("Anything")


class FramedApp(App[Result]):
    """An application that sees each frame on its way to the terminal.

    `_display`: line filters see single lines, and not where they stand. What is to be sent, or not
    sent, is decided for a frame as a whole.
    """

    def skips_frame(self) -> bool:
        """Whether the next frame is not to be drawn."""
        return False

    def reframed(self, frame: RenderableType | None) -> RenderableType | None:
        """The frame as it is to be sent."""
        return frame

    def _display(self, screen: Screen[Anything], renderable: RenderableType | None) -> None:
        if not self.skips_frame():
            super()._display(screen, self.reframed(renderable))


def frames_waiting(app: App[Anything]) -> int:
    """Writes that wait for the terminal. `_driver`, `_writer_thread`, `_queue`: the writer blocks
    the event loop once its queue is full, and says nothing of it before."""
    # Drivers that write at once, as headless ones do, have no such thread.
    writer = getattr(app._driver, "_writer_thread", None)
    return writer._queue.qsize() if writer is not None else 0


def strips_of(frame: RenderableType | None) -> Iterable[tuple[int, int, Strip]] | None:
    """The cells that a frame paints: column, row and strip of each; None where it is no frame.

    `_compositor`: its updates hold what changed; rendered, they are only text.
    """
    if isinstance(frame, LayoutUpdate):
        return _all_cells(frame)
    return _changed_cells(frame) if isinstance(frame, ChopsUpdate) else None


def _changed_cells(update: ChopsUpdate) -> Iterable[tuple[int, int, Strip]]:
    for y, start, end in update.spans:
        for chop_end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is None or x >= end or chop_end <= start:
                continue
            # A chop may be wider than what changed in it: each cell sent costs bytes on the line.
            left, right = max(x, start), min(chop_end, end)
            yield left, y, strip.crop(left - x, right - x)


def _all_cells(update: LayoutUpdate) -> Iterable[tuple[int, int, Strip]]:
    left, top = update.region.offset
    for y, strips in enumerate(update.strips, top):
        x = left
        for strip in strips:
            yield x, y, strip
            x += strip.cell_length


def composed(screen: Screen[Anything], size: Size) -> list[Strip]:
    """A screen's lines as they stand. `_compositor`: a modal gets them through Rich only, line by
    line, for every paint, which is half the time from a key to its picture."""
    return screen._compositor.render_strips(size)


def keeps_lines(widget: Widget, count: int) -> bool:
    """Whether a widget would give the same lines again. `_styles_cache`: Textual asks every widget
    for all of its lines where one of them has changed anywhere."""
    cache = widget._styles_cache
    return len(cache._cache) >= count and not cache._dirty_lines


def replace_screen(app: App[Anything], screen: Screen[Anything]) -> None:
    """Switch to a screen. `_result_callbacks`: switching pops one, which the first screen lacks."""
    # Without one, leaving the first screen raises IndexError inside Textual.
    if not app.screen._result_callbacks:
        app.screen._push_result_callback(app.screen, None)
    app.switch_screen(screen)


class KeyParser(XTermParser):
    """Textual's parser of what a terminal sends; nothing public is one.

    `_timeout_time`: who waits for input must know when an escape ends that nothing follows.
    """

    @property
    def due(self) -> float | None:
        """When a sequence that has begun is over, on the monotonic clock; None where none has."""
        return self._timeout_time  # seconds

    def end_sequence(self) -> None:
        """What has begun is over with the next `tick`."""
        self._timeout_time = 0.0
