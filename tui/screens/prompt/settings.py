"""Generation settings of a session, checked all at once, and the form that edits them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType

from ...drawing.format import fit, format_count
from ...drawing.lines import Line
from ...widgets.modal import Modal

FIELDS = (  # name, title, what it means
    ("max_new_tokens", "max new tokens", "an answer stops there; 1 to 4096"),
    ("temperature", "temperature", "0 is greedy; 1 samples the model as it is"),
    ("top_k", "top-k", "sample from so many tokens; 0 from all"),
    ("top_p", "top-p", "sample from this probability; 1 from all"),
    ("seed", "seed", "the same seed samples the same answer"),
)
WHOLE = {"max_new_tokens": (1, 4096), "top_k": (0, 1_000_000), "seed": (0, 2**31 - 1)}
REAL = {"temperature": (0.0, 100.0), "top_p": (0.0, 1.0)}


@dataclass(frozen=True)
class GenerationSettings:
    """How answers are generated; temperature 0 is greedy."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def as_texts(self) -> dict[str, str]:
        return {name: f"{getattr(self, name):.12g}" for name, _, _ in FIELDS}

    def in_words(self, seed: int) -> str:
        """`greedy, at most 64 tokens`; `temperature 0.8, top-p 0.9, seed 3, at most 64 tokens`"""
        most = f"at most {format_count(self.max_new_tokens)} tokens"
        if not self.temperature:
            return f"greedy, {most}"
        parts = [f"temperature {self.temperature:g}"]
        parts += [f"top-k {self.top_k}"] * (self.top_k > 0)
        parts += [f"top-p {self.top_p:g}"] * (self.top_p < 1)
        return ", ".join([*parts, f"seed {seed}", most])


def read_settings(texts: Mapping[str, str]) -> tuple[GenerationSettings | None, dict[str, str]]:
    """The settings that were typed, else what is wrong with each field."""
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name, _, _ in FIELDS:
        value = _number(texts[name].strip(), whole=name in WHOLE)
        low, high = WHOLE.get(name) or REAL[name]
        if value is None:
            faults[name] = "must be a whole number" if name in WHOLE else "must be a number"
        elif not low <= value <= high:
            faults[name] = f"must lie between {low:g} and {high:,.12g}"
        values[name] = value
    if "top_p" not in faults and values["top_p"] == 0:
        faults["top_p"] = "must be above 0"
    return (None, faults) if faults else (GenerationSettings(**values), {})


def _number(text: str, *, whole: bool) -> float | None:
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


TITLE_WIDTH, VALUE_WIDTH, MEANING_WIDTH = 15, 12, 41
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
                        fit(f"✗ {fault}" if fault else meaning, MEANING_WIDTH),
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
