"""The report as JSON, safe to print: `ftev.report/1`."""

from __future__ import annotations

import re

import msgspec

from ...run.events import spell_numbers
from ...wording.text import CONTROL

_UNSAFE = re.compile(f"(?!\n){CONTROL.pattern}")  # JSON text with its own line ends


def render(report: object) -> str:
    """NaN and infinities as strings, and control characters escaped.

    What is left of these in JSON a terminal may obey, and a person cannot see.
    """
    encoded = msgspec.json.encode(spell_numbers(report))
    text = msgspec.json.format(encoded, indent=2).decode() + "\n"
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    """The character as JSON spells it: beyond the first 65,536 as two halves."""
    halves = match[0].encode("utf-16-be")
    return "".join(f"\\u{halves[i : i + 2].hex()}" for i in range(0, len(halves), 2))
