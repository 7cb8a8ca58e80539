"""Names in the config to files or hub addresses, and which format a file is in."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files.reading import decode_json
from ..tasks import find_task
from .faults import Faults

ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
}
HUB = "hf://datasets/"
_HUB_NAME = re.compile(r"([\w.-]+/[\w.-]+?)(?::([\w.-]+))?(?:/([\w.-]+))?")
_SNIFFED = 64 * 1024  # bytes of a file that are looked at


@dataclass(frozen=True)
class Source:
    """Where the rows of one split come from: files in their order, or one hub address."""

    names: tuple[str, ...]  # as shown to a person
    paths: tuple[Path, ...] = ()
    url: str = ""


def find_source(given: str | list[str], split: str, folder: Path, fatal: Faults) -> Source | None:
    """The files behind a name, a list of names or globs; None, with faults, if there are none."""
    paths: list[Path] = []
    for name in [given] if isinstance(given, str) else given:
        if found := _find_files(name, folder):
            paths += [path for path in found if path not in paths]
        elif (url := hub_url(name, split)) and _may_be_hub(name, folder):
            if not isinstance(given, str):
                fatal.add("hub", name, "a hub dataset must stand alone, not in a list")
            return Source((name,), url=url)
        else:
            fatal.add("missing", name, *_missing(name, folder))
    if fatal.total or not paths:
        return None
    return Source(tuple(_shown(path, folder) for path in paths), tuple(paths))


def hub_url(name: str, split: str) -> str:
    """The address of a hub dataset's rows, which the hub keeps as parquet for each dataset.

    `org/name`, `org/name:config`, with `/split` behind it where the split is called otherwise.
    Empty if the name cannot be one of the hub's.
    """
    if name.startswith(HUB):
        return name
    match = _HUB_NAME.fullmatch(name)
    if not match:
        return ""
    dataset, config, part = match.groups()
    return f"{HUB}{dataset}@~parquet/{config or 'default'}/{part or split}/*.parquet"


def find_format(path: Path, data: bytes, wanted: str, task: str) -> str:
    """The format of a file: as wanted, else by its ending, else by how its bytes begin."""
    if wanted != "auto":
        return wanted
    by_ending = find_ending(path.name)
    # A .txt file of "label<TAB>text" lines is usual; a document has no labels.
    if by_ending and not (by_ending == "text" and find_task(task).has_labels):
        return by_ending
    return sniff_format(data[:_SNIFFED])


def find_ending(name: str) -> str:
    """The format that a file's ending speaks for; empty where it speaks for none."""
    return ENDINGS.get(Path(name).suffix.lower(), "")


def sniff_format(head: bytes) -> str:
    """The format that the first bytes of a file speak for; "text" if they speak for none."""
    if head.startswith(b"PAR1"):
        return "parquet"
    text = head.decode("utf-8-sig", errors="replace")
    if text.lstrip().startswith("["):
        return "json"
    lines = [line for line in text.split("\n")[: 1000 if len(head) < _SNIFFED else -1] if line]
    if lines and lines[0].lstrip().startswith("{"):
        return "jsonl" if _is_json(lines[0]) else "json"
    for separator, name in (("\t", "tsv"), (",", "csv")):
        counts = {_separators(line, separator) for line in lines}
        if len(lines) > 1 and len(counts) == 1 and 0 not in counts:
            return name
    return "text"


def _separators(line: str, separator: str) -> int:
    """Separators in a line; commas within quotes are not counted."""
    return (re.sub(r'"[^"]*"', "", line) if separator == "," else line).count(separator)


def _is_json(line: str) -> bool:
    try:
        decode_json(line, dict[str, Any])
    except ValueError:
        return False
    return True


def _find_files(name: str, folder: Path) -> list[Path]:
    path = Path(os.path.expanduser(name))
    path = path if path.is_absolute() else folder / path
    if os.path.isfile(path):
        return [path]
    if not any(mark in name for mark in "*?["):
        return []
    return sorted(Path(p) for p in glob.glob(str(path), recursive=True) if os.path.isfile(p))


def _may_be_hub(name: str, folder: Path) -> bool:
    """`data/train` beside a folder `data`, or anything with a file's ending, is a missing file."""
    if name.startswith(HUB):
        return True
    return Path(name).suffix.lower() not in ENDINGS and not os.path.isdir((folder / name).parent)


def _missing(name: str, folder: Path) -> tuple[str, str]:
    if any(mark in name for mark in "*?["):
        return "no file matches", f"Paths start from {folder}"
    if os.path.isdir(folder / name):
        return (
            "is a folder, not a file",
            f'Name the files in it, such as "{name.rstrip("/")}/*.csv"',
        )
    return "there is no such file", f"Paths start from {folder}"


def _shown(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
