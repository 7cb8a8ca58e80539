"""What is typed to find rows: words of the text, and `label=x predicted=y kind=fixed conf>0.9`."""

from __future__ import annotations

from dataclasses import dataclass

from ....core.catalog.filter_words import read_condition, read_number, split_parts

NUMBERS = {
    "row": "row_id",
    "conf": "confidence",
    "confidence": "confidence",
    "loss": "loss",
    "before_loss": "loss_before",
    "change": "change",
    "tokens": "tokens",
    "length": "length",
}
WORDS = {
    "label": "label",
    "predicted": "predicted",
    "before": "before",
    "kind": "kind",
    "leak": "leak",
}
KNOWN = "label= predicted= before= kind= conf> loss> change< length> tokens> row= leak=yes"


@dataclass(frozen=True)
class Term:
    """`column sign value`; a word of the text has the column "text" and the sign "has"."""

    column: str
    sign: str
    value: str | float


@dataclass(frozen=True)
class Query:
    terms: tuple[Term, ...] = ()
    faults: tuple[str, ...] = ()


def read_query(text: str) -> Query:
    """Terms, all of which a row must meet; what is not understood is told, and left out."""
    terms, faults = [], []
    for part in split_parts(text):
        found = _read_term(part)
        if isinstance(found, Term):
            terms.append(found)
        else:
            faults.append(found)
    return Query(tuple(terms), tuple(faults))


def _read_term(part: str) -> Term | str:
    key, sign, value = read_condition(part) or ("", "", "")
    key, sign = key.lower(), "=" if sign == "==" else sign
    if key in WORDS:
        return Term(WORDS[key], sign, value) if sign in ("=", "!=") else f"{key} takes = or !="
    if key not in NUMBERS:
        return Term("text", "has", part)
    try:
        return Term(NUMBERS[key], sign, read_number(value))
    except ValueError:
        return f"{key}{sign} needs a number"


def quote(value: str) -> str:
    """A value as it is typed: in quotes where it holds a space or is empty."""
    plain = value.replace('"', "")
    return f'"{plain}"' if not plain or any(c.isspace() for c in plain) else plain


def label_query(truth: str | None = None, predicted: str | None = None) -> str:
    """The rows of a cell of the confusion matrix."""
    parts = [("label", truth), ("predicted", predicted)]
    return " ".join(f"{name}={quote(value)}" for name, value in parts if value is not None)
