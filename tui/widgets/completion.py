"""What a half-written name may become: files, folders, or values that are known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

LOOKED_AT = 2_000  # entries of a folder
LISTED = 200
MODEL_FILES = ("config.json", "adapter_config.json")


@dataclass(frozen=True)
class Completion:
    """The text as far as it is certain, and every way it may go on."""

    text: str
    candidates: tuple[str, ...] = ()


def complete_path(text: str, start: Path, *, folders_only: bool = False) -> Completion:
    """Files and folders that begin so; relative ones from `start`. Hidden ones only when asked."""
    head, slash, tail = text.rpartition("/")
    folder = Path(os.path.expanduser(head + slash)) if slash else Path()
    names = _entries(folder if folder.is_absolute() else start / folder, tail, folders_only)
    return complete_value(text, [head + slash + name for name in names])


def _entries(folder: Path, prefix: str, folders_only: bool) -> list[str]:
    found: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, LOOKED_AT):
                hidden = entry.name.startswith(".") and not prefix.startswith(".")
                if hidden or not entry.name.startswith(prefix) or not _is_text(entry.name):
                    continue
                if _is_folder(entry):
                    found.append(
                        entry.name if _is_model(entry) and folders_only else entry.name + "/"
                    )
                elif not folders_only:
                    found.append(entry.name)
    except OSError:  # no such folder, or a closed one: nothing to offer
        return []
    return sorted(found, key=str.lower)[:LISTED]


def _is_text(name: str) -> bool:
    """A name that is not UTF-8 cannot be written into a configuration."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_model(entry: os.DirEntry[str]) -> bool:
    return any(os.path.exists(os.path.join(entry.path, name)) for name in MODEL_FILES)


def complete_value(text: str, values: Sequence[str]) -> Completion:
    """The values that begin so, and as much as they have in common."""
    fitting = tuple(value for value in values if value.startswith(text))
    return Completion(_common_start(fitting) if fitting else text, fitting)


def _common_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    same = (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return first[: next(same, min(len(first), len(last)))]


def complete_last(text: str, between: str, last: Completion) -> Completion:
    """A completion of the last of several items as one of the whole text."""
    head, found, _ = text.rpartition(between)
    before = head + found + (" " if found else "")
    return Completion(before + last.text, tuple(before + c for c in last.candidates))
