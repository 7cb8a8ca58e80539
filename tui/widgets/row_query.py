"""What is typed to find rows: words of the text, and `label=x predicted=y kind=fixed conf>0.9`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

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
SIGNS = (">=", "<=", "!=", "=", ">", "<")
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
    for part in _parts(text):
        found = _read_term(part)
        if isinstance(found, Term):
            terms.append(found)
        else:
            faults.append(found)
    return Query(tuple(terms), tuple(faults))


def _parts(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    lexer.quotes = '"'
    try:
        return list(lexer)
    except ValueError:  # a quote that is not closed yet
        return text.replace('"', " ").split()


def _read_term(part: str) -> Term | str:
    for sign in SIGNS:
        name, found, value = part.partition(sign)
        if not found:
            continue
        key = name.strip().lower()
        if key in WORDS:
            if sign not in ("=", "!="):
                return f"{key} takes = or !="
            return Term(WORDS[key], sign, value)
        if key in NUMBERS:
            try:
                return Term(NUMBERS[key], sign, float(value.rstrip("%")) / _percent(value))
            except ValueError:
                return f"{key}{sign} needs a number"
    return Term("text", "has", part)


def _percent(value: str) -> float:
    return 100.0 if value.endswith("%") else 1.0


def quote(value: str) -> str:
    """A value as it is typed: in quotes where it holds a space or is empty."""
    plain = value.replace('"', "")
    return f'"{plain}"' if not plain or any(c.isspace() for c in plain) else plain


def label_query(truth: str | None = None, predicted: str | None = None) -> str:
    """The rows of a cell of the confusion matrix."""
    parts = [("label", truth), ("predicted", predicted)]
    return " ".join(f"{name}={quote(value)}" for name, value in parts if value is not None)
