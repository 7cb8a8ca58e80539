"""What labels say of themselves: their order, numbers on a scale, and spellings of one label.

A label is the text of its value: text as it stands without spaces around it, `true` and `false`,
and a number as JSON writes it (1, 1.0 and 0.5). Every format gives the same, and `1` and `1.0` are
two labels, which `find_variants` reports.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from ..errors import DataError, Fault
from ..files.reading import BROKEN
from ..metrics.answer_text import normalise_text

# Labels that are numbers are taken for a scale from so many different ones on.
SCALE_VALUES = 5  # where one has a fraction
SCALE_WHOLE_VALUES = 20  # where all are whole, with gaps between them and few rows of each
SCALE_ROWS = 10  # rows of a value: classes that are known by a number have more
_POINT_ZERO = re.compile(r"[+-]?\d+\.0*")


def sort_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """By number where all are numbers (2 before 10), else by text."""
    numbers = {label: as_number(label) for label in labels}
    if all(math.isfinite(number) for number in numbers.values()):
        return tuple(sorted(numbers, key=lambda label: (numbers[label], label)))
    return tuple(sorted(numbers))


def as_number(label: str) -> float:
    """The number that a label is; NaN where it is none. Only plain digits are taken for one."""
    try:
        return float(label) if re.fullmatch(r"[+-]?[\d.]+([eE][+-]?\d+)?", label) else math.nan
    except ValueError:
        return math.nan


def is_scale(counts: Mapping[str, int]) -> bool:
    """Whether labels, with their rows, look like numbers on a scale and not like names."""
    numbers = sorted({as_number(label) for label in counts})
    if not numbers or not all(map(math.isfinite, numbers)):
        return False
    if any(number != int(number) for number in numbers):
        return len(numbers) >= SCALE_VALUES
    gaps = numbers[0] not in (0, 1) or numbers[-1] - numbers[0] + 1 > len(numbers)
    few = sum(counts.values()) < SCALE_ROWS * len(counts)
    return len(numbers) > SCALE_WHOLE_VALUES and gaps and few


def describe_scale(labels: Sequence[str]) -> tuple[str, str]:
    """That labels look like numbers on a scale, and what to do."""
    what = (
        f"has labels that look like numbers on a scale ({len(labels):,} different, "
        f"{labels[0]} to {labels[-1]})"
    )
    named = ", ".join(f'"{label}"' for label in labels[:2])
    return what, (
        'To predict numbers write task = "regression"; if each is a class of its own, name all: '
        f"labels = [{named}, …] under [data]"
    )


def fold_label(label: str) -> str:
    """A label without what people type alike: case, spaces, Unicode form and a ".0" at the end."""
    folded = normalise_text(label)
    return folded.partition(".")[0] if _POINT_ZERO.fullmatch(folded) else folded


def find_variants(labels: Sequence[str]) -> list[list[str]]:
    """Groups of labels that are equal but for case, spaces or ".0", each of two or more."""
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault(fold_label(label), []).append(label)
    return [group for group in groups.values() if len(group) > 1]


SIDECARS = ("labels.json", "label_names.json")  # beside a file whose labels are numbers


def read_label_names(given: object, folder: Path) -> dict[str, str]:
    """Label to name, in order, of a list, of a table, or of a JSON file with one of them.

    A file may also be a model's config.json, or name the number of each label. Raises DataError.
    """
    where = "data.label_names"
    if isinstance(given, str):
        where = given
        try:
            given = msgspec.json.decode((folder / given).read_bytes())
        except OSError as error:
            what = f"cannot be read: {error.strerror or error}"
            raise DataError(Fault(where, what, "", "data.label_names")) from None
        except BROKEN as error:
            what = f"is not valid JSON: {error}"
            raise DataError(Fault(where, what, "", "data.label_names")) from None
    if isinstance(given, dict) and isinstance(given.get("id2label"), dict):
        given = given["id2label"]
    if isinstance(given, list):
        given = {str(i): name for i, name in enumerate(given)}
    elif isinstance(given, dict) and given and all(type(v) is int for v in given.values()):
        given = {str(number): name for name, number in given.items()}
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given.values()):
        what = "names no labels"
        remedy = 'Write ["no", "yes"] or { "0": "no", "1": "yes" }'
        raise DataError(Fault(where, what, remedy, "data.label_names"))
    return {label: given[label] for label in sort_labels(map(str, given))}


def find_sidecar(file: Path, labels: Iterable[str]) -> tuple[dict[str, str], str]:
    """Names beside a file for exactly its labels, which are the numbers from 0, and their file.

    Nothing where there are none, or where there is any doubt.
    """
    numbers = sort_labels(labels)
    if len(numbers) < 2 or numbers != tuple(map(str, range(len(numbers)))):
        return {}, ""
    for name in SIDECARS:
        try:
            names = read_label_names(name, file.parent)
        except DataError:
            continue
        if tuple(names) == numbers and len(set(names.values())) == len(names):
            return names, name
    return {}, ""
