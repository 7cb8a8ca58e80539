"""Data that hold far more than they seem to: refused in one sentence, in little memory."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bombs import BOMBS, check

Row = tuple[str, int, list[str]]
ADDRESSES = 6_144  # MiB that the command may have
PEAK = 2_048  # MiB that it may fill
SENTENCE = 250  # characters


def bombs(options: argparse.Namespace) -> Iterator[Row]:
    """Files of kilobytes that hold gigabytes, cells of 200 MB, 100,000 columns."""
    for name, make in BOMBS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            make(path)
            found, size = check(path, ADDRESSES), path.stat().st_size
        failed = [] if found.code == 2 else [f"exit code {found.code}: {found.said[-200:]}"]
        if len(found.said.strip()) > SENTENCE or found.said.count("\n") > 1:
            failed.append(f"not one sentence: {found.said[:SENTENCE]}…")
        if found.peak > PEAK:
            failed.append(f"took {found.peak:,} MiB")
        yield f"{name}: {size / 1024:,.0f} KiB, peak {found.peak:,} MiB", 1, failed
