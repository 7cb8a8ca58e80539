"""The themes: dark, light, high contrast, one for the colour-blind, the terminal's own colours."""

from __future__ import annotations

from collections.abc import Mapping

from textual.theme import BUILTIN_THEMES, Theme

_DARK = {
    "paper": "#0f1318",
    "raised": "#1a212a",
    "ink": "#d3dae3",
    "muted": "#8793a1",
    "rule": "#35404d",
    "accent": "#5fb3b3",
    "good": "#8fbf7f",
    "bad": "#e5786d",
    "warn": "#e0b060",
    "train": "#6fa8dc",
    "validation": "#e0a458",
    "reference": "#8793a1",
    "base": "#a3aebb",
    "tuned": "#7fd0c8",
}
_LIGHT = {
    "paper": "#fbfaf7",
    "raised": "#eceae4",
    "ink": "#23292f",
    "muted": "#667079",
    "rule": "#c3c7c9",
    "accent": "#0f6f78",
    "good": "#2a6f2d",
    "bad": "#b3372c",
    "warn": "#855800",
    "train": "#1f5fa8",
    "validation": "#9a5200",
    "reference": "#667079",
    "base": "#5b6670",
    "tuned": "#0b6b66",
}
_HIGH_CONTRAST = {  # every role at least 7:1 on black
    "paper": "#000000",
    "raised": "#1c1c1c",
    "ink": "#ffffff",
    "muted": "#d0d0d0",
    "rule": "#a0a0a0",
    "accent": "#00ffff",
    "good": "#7fff7f",
    "bad": "#ff9a8f",
    "warn": "#ffe066",
    "train": "#8ecbff",
    "validation": "#ffd08a",
    "reference": "#d0d0d0",
    "base": "#e0e0e0",
    "tuned": "#7ffff0",
}
_COLOUR_BLIND = {  # good is blue and bad orange: distinct without red or green
    "paper": "#0f1318",
    "raised": "#1a212a",
    "ink": "#d3dae3",
    "muted": "#8f9bab",
    "rule": "#35404d",
    "accent": "#cfe3f7",
    "good": "#56b4e9",
    "bad": "#e69f00",
    "warn": "#f0e442",
    "train": "#56b4e9",
    "validation": "#e69f00",
    "reference": "#8f9bab",
    "base": "#c9b27c",
    "tuned": "#7cc4f2",
}
_TERMINAL = {
    "paper": "ansi_default",
    "raised": "ansi_default",
    "ink": "ansi_default",
    "muted": "ansi_default",
    "rule": "ansi_default",
    "accent": "ansi_cyan",
    "good": "ansi_green",
    "bad": "ansi_red",
    "warn": "ansi_yellow",
    "train": "ansi_blue",
    "validation": "ansi_yellow",
    "reference": "ansi_default",
    "base": "ansi_default",
    "tuned": "ansi_cyan",
}
ROLE_COLOURS = _DARK


def _theme(name: str, colours: Mapping[str, str], *, dark: bool, ansi: bool = False) -> Theme:
    return Theme(
        name=name,
        primary=colours["accent"],
        secondary=colours["train"],
        accent=colours["accent"],
        warning=colours["warn"],
        error=colours["bad"],
        success=colours["good"],
        foreground=colours["ink"],
        background=colours["paper"],
        surface=colours["paper"],
        panel=colours["raised"],
        dark=dark,
        ansi=ansi,
        variables={**(BUILTIN_THEMES["ansi-dark"].variables if ansi else {}), **colours},
    )


THEMES = (
    _theme("ftev-dark", _DARK, dark=True),
    _theme("ftev-light", _LIGHT, dark=False),
    _theme("ftev-high-contrast", _HIGH_CONTRAST, dark=True),
    _theme("ftev-colour-blind", _COLOUR_BLIND, dark=True),
    _theme("ftev-ansi", _TERMINAL, dark=True, ansi=True),
)


def theme_name(asked: str, environment: Mapping[str, str]) -> str:
    """The theme for `--theme`; "auto" goes by what the terminal says about itself."""
    if asked != "auto":
        ours = f"ftev-{asked}"
        return ours if ours in (t.name for t in THEMES) else asked
    if "NO_COLOR" in environment or environment.get("TERM") in ("linux", "screen", "ansi", "vt100"):
        return "ftev-ansi"
    background = environment.get("COLORFGBG", "").rpartition(";")[2]
    return "ftev-light" if background in ("7", "15") else "ftev-dark"
