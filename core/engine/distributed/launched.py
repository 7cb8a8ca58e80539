"""What torchrun says of a process: its place among those it started, and which start that was."""

from __future__ import annotations

import os

# Together the same for the processes of one start and no other, whatever id that was given.
OF_A_LAUNCH = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT")


def place_in_world() -> tuple[int, int]:
    """This process's rank and how many there are."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def name_of_launch() -> str:
    """Empty for a process that was started by itself."""
    if place_in_world()[1] == 1:
        return ""
    return " ".join(os.environ.get(name, "") for name in OF_A_LAUNCH)
