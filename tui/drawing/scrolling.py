"""Cursors and windows: where a cursor may go, and which lines are seen from where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from .spans import Line

T = TypeVar("T")


def moved(cursor: int, count: int, of: int) -> int:
    """A cursor moved by `count` among so many things, held at both ends."""
    return min(max(0, cursor + count), max(0, of - 1))


def keep_seen(top: int, cursor: int, room: int) -> int:
    """The first line that is seen, moved no further than the cursor asks for."""
    return min(max(top, cursor - room + 1), cursor)


def scrolled(lines: list[Line], top: int, height: int) -> tuple[list[Line], int]:
    """`height` lines from `top` on, the last one telling what is hidden; and the top in bounds."""
    if len(lines) <= height:
        return lines, 0
    room = max(1, height - 1)
    top = min(max(0, top), len(lines) - room)
    told = describe_hidden(top, len(lines) - room - top)
    return [*lines[top : top + room], [(told, "muted")]], top


def describe_hidden(above: int, below: int) -> str:
    counted = ((above, "above ↑"), (below, "below ↓"))
    parts = [f"{count} line{'s' * (count > 1)} {where}" for count, where in counted if count > 0]
    return "  ".join(parts)


def following(choices: Sequence[T], now: T, by: int = 1) -> T:
    """The next of some choices, round and round; the first where the present one is not offered."""
    return choices[(choices.index(now) + by) % len(choices)] if now in choices else choices[0]
