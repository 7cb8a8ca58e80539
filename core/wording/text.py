"""Text of data, models and files as it may be shown: in full, and never obeyed by a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable

BREAK = "↵"  # one sign for a line break, wherever text stands on one line
NO_PREDICTION = "no prediction"  # of a row whose scores are not finite
LONGEST = 100_000  # characters of one text
_DIRECTION = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # reorders what is read
_UNSEEN = "\u2028\u2029\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
CONTROL = re.compile(f"[\x00-\x1f\x7f-\x9f{_DIRECTION}{_UNSEEN}\ud800-\udfff]")


def visible(text: object, limit: int = LONGEST) -> str:
    """The text on one line, with every control character as a picture of itself."""
    return CONTROL.sub(_picture, _cut(str(text), limit))


def visible_lines(text: str, limit: int = LONGEST) -> list[str]:
    """The same for text of several lines; a tab becomes four spaces."""
    text = _cut(text, limit).replace("\r\n", "\n").replace("\t", "    ")
    return [CONTROL.sub(_picture, line) for line in text.split("\n")]


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code == 0x0A:
        return BREAK
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"<U+{code:04X}>"


def quoted(text: str) -> str:
    """A token between quotes: its spaces count."""
    return f"'{visible(text)}'"


LEAST_PART = 4  # letters: shorter names are found inside half of all others


def plain(name: str) -> str:
    """`Macro-F1`, `macro f1` and `macro_f1` are one name."""
    return "_".join(name.casefold().replace("-", " ").replace("_", " ").split())


def nearest(name: str, known: Iterable[str], count: int = 5) -> list[str]:
    """The known names most like this one, the likest first; there is always one, if any is known.

    Case, hyphens and spaces do not count; after the like ones come those that one holds the other.
    """
    from difflib import get_close_matches  # not on the way to a first paint

    by_plain: dict[str, str] = {}
    for other in known:
        by_plain.setdefault(plain(other), other)
    wanted = plain(name)
    alike = get_close_matches(wanted, by_plain, count, cutoff=0.6)
    whole = [p for p in by_plain if min(len(p), len(wanted)) >= LEAST_PART]
    inside = sorted(p for p in whole if wanted in p or p in wanted)
    found = list(dict.fromkeys(alike + sorted(inside, key=len)))
    return [by_plain[p] for p in (found or get_close_matches(wanted, by_plain, 3, 0.0))[:count]]
