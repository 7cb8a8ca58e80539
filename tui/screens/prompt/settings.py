"""The generation settings: a small form in a box."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from ...drawing.format import fit
from ...drawing.spans import Line
from ...widgets.modal import Modal
from .generation import FIELDS, GenerationSettings, read_settings

TITLE_WIDTH, VALUE_WIDTH, TOLD_WIDTH = 15, 12, 41
LONGEST = 11  # characters of a value
TYPED = frozenset("0123456789.-")


class SettingsForm(Modal[GenerationSettings | None]):
    """`enter` keeps what is typed, if all of it can be kept; `esc` leaves it as it was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", show=False),
        Binding("enter", "keep", show=False),
        Binding("up,shift+tab", "move(-1)", show=False),
        Binding("down,tab", "move(1)", show=False),
        Binding("backspace,delete", "erase", show=False),
    ]

    def __init__(self, settings: GenerationSettings) -> None:
        self.texts = settings.as_texts()
        self.faults: dict[str, str] = {}
        self.field = 0
        self._fresh = True  # the first character typed replaces the value
        super().__init__("How answers are made", self._lines())

    @property
    def _here(self) -> str:
        return FIELDS[self.field][0]

    def _lines(self) -> list[Line]:
        lines: list[Line] = []
        for index, (name, title, meaning) in enumerate(FIELDS):
            here = index == self.field
            fault = self.faults.get(name, "")
            value = self.texts[name] + ("▏" if here else "")
            lines.append(
                [
                    ("▸ " if here else "  ", "accent"),
                    (fit(title, TITLE_WIDTH), "strong" if here else ""),
                    (fit(value, VALUE_WIDTH), "accent strong" if here else "strong"),
                    (
                        fit(f"✗ {fault}" if fault else meaning, TOLD_WIDTH),
                        "bad" * bool(fault) or "muted",
                    ),
                ]
            )
        keys: Line = []
        for key, word in (("enter", "keep"), ("↑ ↓", "field"), ("esc", "leave as it was")):
            keys += [(key, "accent"), (f" {word}     ", "muted")]
        return [*lines, [], keys]

    def _show(self) -> None:
        self.box.lines = self._lines()
        self.box.show()

    def on_key(self, event: events.Key) -> None:
        if event.character in TYPED:
            event.stop()
            before = "" if self._fresh else self.texts[self._here]
            self.texts[self._here] = (before + str(event.character))[:LONGEST]
            self._fresh = False
            self.faults.pop(self._here, None)
            self._show()

    def action_erase(self) -> None:
        self._fresh = False
        self.texts[self._here] = self.texts[self._here][:-1]
        self._show()

    def action_move(self, count: int) -> None:
        self.field = (self.field + count) % len(FIELDS)
        self._fresh = True
        self._show()

    def action_keep(self) -> None:
        settings, self.faults = read_settings(self.texts)
        if settings is not None:
            self.dismiss(settings)
            return
        self.field = min(i for i, (name, _, _) in enumerate(FIELDS) if name in self.faults)
        self._fresh = True
        self._show()

    def action_close(self) -> None:
        self.dismiss(None)
