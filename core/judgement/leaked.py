"""How many rows of each split repeat a row of an earlier one, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..wording.numbers import format_count

NOT_COMPARED = "there is one split alone, so nothing could be compared between splits"
ROW = "a row of an earlier split"
ORDER = ("test", "validation")


def tell_leaked(leaked: Mapping[str, int], group_rows: Mapping[str, int] | None = None) -> str:
    """`60 test rows and 1 validation row repeat a row of an earlier split`; empty without counts.

    `leaked`: split -> its rows that repeat one of an earlier split, each counted once; with
    `group_rows` those whose group stands in an earlier split are among them.
    """
    names = [name for name in (*ORDER, *leaked) if leaked.get(name)]
    told = [format_count(leaked[name], f"{name} row") for name in dict.fromkeys(names)]
    if not told:
        return ""
    one = len(told) == 1 and leaked[names[0]] == 1
    what = "a row of an earlier split, or share a group with one" if group_rows else ROW
    return f"{' and '.join(told)} {'repeats' if one and not group_rows else 'repeat'} {what}"


def was_compared(splits: Sequence[str]) -> bool:
    """Whether a row had an earlier split to stand in; of unknown splits it is taken to have had."""
    return len(splits) != 1
