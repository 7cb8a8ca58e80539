"""What ftev does with what it should never meet: parts by name, each with what was tried.

    python tests/bench/torture.py [PART …] [--seed 0] [--list]; --help lists parts and their sizes

A part is a function in PARTS that yields rows: what, how many were tried, how many failed, and the
first failures. The exit code is 1 where one failed.
"""

from __future__ import annotations

# ruff: noqa: E402 - the tests lend their damaged runs
import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tui")]

from fuzzed import TARGETS
from torn_files import HOSTILE, READERS, Damage, Folder, cuts, flips, make_folder, wounds
from torture_bombs import bombs
from torture_disk import disk
from torture_fuzz import fuzz
from torture_kills import kills
from torture_ranks import ranks
from torture_signals import signals
from torture_soak import soak
from torture_strangers import strangers

Row = tuple[str, int, list[str]]  # what, how often it was tried, what failed
LIGHT = ("list", "facts", "status", "report")
SHOWN = 5


def torn(options: argparse.Namespace) -> Iterator[Row]:
    """Damaged files of a run: list, status, report, verify and compare meet them with sentences."""
    for task, each in (("classification", 100), ("generation", 10)):
        with tempfile.TemporaryDirectory() as place:
            folder = make_folder(Path(place), task)
            rng = random.Random(options.seed)
            flipped = islice(flips(folder.files, rng), options.flips // 2)
            yield _look(folder, f"{task}: bit flips", flipped, each)
            yield _look(folder, f"{task}: cuts", cuts(folder.files, most=options.cuts), each)
            yield _look(folder, f"{task}: wounds", wounds(folder.files, rng), each // 5)


def _look(folder: Folder, what: str, damages: Iterable[Damage], each: int) -> Row:
    """Every damage in the light ways; each `each`-th in all of them."""
    folder.tried, folder.failed = 0, []
    count = 0
    for count, damage in enumerate(damages, 1):
        folder.look(damage, READERS if count % each == 0 else LIGHT)
    return f"{what} ({count:,} damages)", folder.tried, folder.failed


def hostile(options: argparse.Namespace) -> Iterator[Row]:
    """Texts that steer a terminal or a browser, in each key of the events in turn."""
    for task in ("classification", "generation"):
        with tempfile.TemporaryDirectory() as place:
            folder = make_folder(Path(place), task)
            for name in HOSTILE:
                failed = folder.show_hostile(name)
                yield f"{task}: {name}", folder.tried, failed
                folder.tried = 0


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "torn": torn,
    "hostile": hostile,
    "fuzz": fuzz,
    "kills": kills,
    "ranks": ranks,
    "bombs": bombs,
    "signals": signals,
    "disk": disk,
    "strangers": strangers,
    "soak": soak,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--flips", type=int, default=10_000, help="bits flipped by `torn`")
    parser.add_argument("--cuts", type=int, default=2_000, help="places of each file, for `torn`")
    parser.add_argument("--inputs", type=int, default=100_000, help="of each kind, for `fuzz`")
    parser.add_argument("--of", nargs="+", choices=TARGETS, help="kinds of input, for `fuzz`")
    parser.add_argument("--kills", type=int, default=1_000, help="of workers, by `kills`")
    parser.add_argument("--screens", type=int, default=60, help="killed by `kills`")
    parser.add_argument("--disks", type=int, default=40, help="too small, of each kind, for `disk`")
    parser.add_argument("--minutes", type=float, default=10.0, help="that `soak` takes")
    parser.add_argument("--all", action="store_true", help="each process in turn, by `ranks`")
    parser.add_argument("--stopped", action="store_true", help="ranks are stopped, not killed")
    parser.add_argument("--processes", type=int, default=2, help="runs at once, of `kills`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="every failure, not the first ones")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}. Known: {', '.join(PARTS)}")
    failures = 0
    for name in options.parts or PARTS:
        print(f"{name}\n{'what':56} {'tried':>10} {'failed':>8} {'s':>7}")
        began = time.perf_counter()
        for what, tried, failed in PARTS[name](options):
            took, began = time.perf_counter() - began, time.perf_counter()
            print(f"{what:56} {tried:>10,} {len(failed):>8,} {took:>7.1f}", flush=True)
            failures += len(failed)
            for fault in failed if options.list else failed[:SHOWN]:
                print(f"    {fault}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
