"""What rows may be at their most. Beyond it they are refused in words: a file may be small and hold
more than the machine has memory, and who runs out of that is killed without any."""

from __future__ import annotations

from ..errors import DataError, Fault
from ..files.disk import free_memory

MOST_COLUMNS = 10_000
LONGEST = 10_000_000  # bytes of one text: some five novels
# What reading rows takes, measured: 4 times their bytes where they are long, 7 times where one of
# them is nearly all, and 450 bytes more a row.
TIMES, A_ROW = 7, 450


def check_width(columns: int) -> None:
    """Raises DataError for more columns than can be meant."""
    if columns > MOST_COLUMNS:
        what = f"has {columns:,} columns, and at most {MOST_COLUMNS:,} are read"
        raise DataError(Fault("", what, "Leave out those that are not needed"))


def check_size(held: int, rows: int = 0) -> None:
    """Raises DataError where `rows` rows of `held` bytes, unpacked, are too much for this process.

    Nothing is refused where the system does not tell what memory is free.
    """
    needed, free = TIMES * held + A_ROW * rows, free_memory()
    if free is not None and needed > free:
        count = f"{rows:,} rows, " if rows else ""
        what = f"holds {count}{_told(held)}, and reading it takes up to {_told(needed)} of memory"
        remedy = "Give fewer or shorter rows, or a machine with more memory"
        raise DataError(Fault("", f"{what}: {_told(free)} are free", remedy))


def _told(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"
