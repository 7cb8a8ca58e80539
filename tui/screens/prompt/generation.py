"""How answers are made: the settings of a session, checked all at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...drawing.format import format_count

FIELDS = (  # name, title, what it means
    ("max_new_tokens", "max new tokens", "an answer is cut there; 1 to 4096"),
    ("temperature", "temperature", "0 is greedy; 1 draws as the model weighs"),
    ("top_k", "top-k", "draw among so many tokens; 0 cuts nothing"),
    ("top_p", "top-p", "draw among this share; 1 cuts nothing"),
    ("seed", "seed", "the same seed draws the same answer"),
)
WHOLE = {"max_new_tokens": (1, 4096), "top_k": (0, 1_000_000), "seed": (0, 2**31 - 1)}
REAL = {"temperature": (0.0, 100.0), "top_p": (0.0, 1.0)}


@dataclass(frozen=True)
class GenerationSettings:
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
            faults[name] = "a whole number, please" if name in WHOLE else "a number, please"
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
