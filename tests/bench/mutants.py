"""Which changes of the code no test sees: mutants of six rooms, and the tests that execute them.

python tests/bench/mutants.py [--count 60] [--seed 1] [--room core/metrics …] [--jobs 2]

One process collects all tests once. A fork of it executes each test by itself and records which
statements it reaches (kept in --record: only what a change touches is recorded anew). Then a fork
for each mutant changes the function's code in place and runs the tests that reach the changed
statement, those that name the function first, then the fastest, until one fails: the mutant is
killed. Where an import executes the change, pytest imports a changed copy of the package.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import contextlib
import ctypes
import gc
import hashlib
import inspect
import json
import mmap
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import FunctionType
from typing import Any

# Before libraries are loaded that read them, as in the server of tests/forked.py.
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1", "FTEV_FORKED": "no server"}
sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
from imports import ROOT, imports_of
from mutations import (
    ROOMS,
    SEEN,
    Mutant,
    code_of,
    recording,
    sample,
    source_files,
    unchanged,
)
from package_copy import copy_room

TESTS = ROOT / "tests"
SLOWEST = 20.0  # seconds of a test that is still used
FLAGS = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no", "--hypothesis-seed=0"]
SURVIVES, KILLED, TIME_IS_UP, IMPORTED = 0, 1, 2, 3
CHILD_SUBREAPER = 36  # prctl: orphans below this process become its children


@dataclass
class Reached:
    """A test: whether it passes, in how many seconds, and the statements it reaches by file."""

    passes: bool
    seconds: float
    statements: dict[str, list[int]] = field(default_factory=dict)


# Processes


def forked(work: Callable[[], int]) -> int:
    """A child that does the work, silently, and ends with its code. Its process id."""
    if pid := os.fork():
        return pid
    code = 70
    try:
        os.setsid()
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silent, stream)
        code = work()
    finally:
        os._exit(code)


def waited(pid: int, seconds: float) -> int | None:
    """The exit code of a child, or None where the time was up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def end_all_below(but: int = 0) -> None:
    """Kill the children of this process, their children too, but one: it must be a subreaper."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while pids := [int(pid) for pid in children.read_text().split() if int(pid) != but]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


@contextlib.contextmanager
def isolated() -> Iterator[Callable[[Callable[[], int], float], int]]:
    """Does work in forks of this process, whose workers are forked from it as it is now.

    Gives the code of the work, or TIME_IS_UP after so many seconds; nothing of it lives on.
    """
    import forked as server

    ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1)
    reading, _writing = os.pipe()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        with socket.socket(socket.AF_UNIX) as door:
            os.environ[server.ADDRESS] = str(Path(folder) / "door")
            door.bind(os.environ[server.ADDRESS])
            door.listen()

            def serve() -> int:
                os.dup2(reading, 0)
                if request := server.serve(door):
                    server.become(request)
                return 0

            serving = forked(serve)
        os.environ["TMPDIR"] = tempfile.tempdir = folder

        def do(work: Callable[[], int], seconds: float) -> int:
            code = waited(forked(work), seconds)
            end_all_below(but=serving)
            return TIME_IS_UP if code is None else code

        yield do
        end_all_below()


# A session of pytest


class Session:
    """A plugin of pytest: what it collects is not run, but used for `work`."""

    def __init__(self, work: Callable[[Session], None]) -> None:
        self.work = work
        self.early: set[tuple[str, str]] = set()  # functions that run before any test does
        self.failed = False
        self.tests: dict[str, pytest.Item] = {}

    def pytest_sessionstart(self) -> None:
        files = {str(file): str(file.relative_to(ROOT)) for file in source_files()}

        def called(frame: Any, event: str, _: object) -> None:
            code = frame.f_code
            if event == "call" and (file := files.get(code.co_filename)):
                self.early.add((file, code.co_qualname))

        sys.setprofile(called)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        import forked as server

        server.import_everything()
        sys.setprofile(None)
        tasks = Path("/proc/self/task").glob("*/comm")
        if any(re.match(r"polars-\d", task.read_text()) for task in tasks):
            pytest.exit("a test computes with polars as it is collected: a fork would wait forever")
        self.tests = {item.nodeid: item for item in session.items}

    def pytest_runtestloop(self) -> bool:
        self.work(self)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.failed

    def first_failure(self, names: Sequence[str]) -> int:
        """KILLED where one of the tests fails."""
        items = [self.tests[name] for name in names]
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                return KILLED
        return SURVIVES

    @cached_property
    def functions(self) -> Mapping[tuple[str, str, int], list[FunctionType]]:
        """Functions of the rooms by file, qualified name and first line."""
        gc.unfreeze()
        found: dict[tuple[str, str, int], list[FunctionType]] = {}
        files = {str(file) for file in source_files()}
        for function in gc.get_objects():
            if type(function) is FunctionType and function.__code__.co_filename in files:
                code = function.__code__
                key = (code.co_filename, code.co_qualname, code.co_firstlineno)
                found.setdefault(key, []).append(function)
        gc.collect()
        gc.freeze()  # a collection in a child would copy every page
        return found

    def put(self, file: Path, tree: Any) -> None:
        """Change the code of a file's functions in place: whoever holds them calls the new."""
        for (name, line), code in code_of(tree, file).items():
            for function in self.functions.get((str(file), name, line), ()):
                function.__code__ = code


# Which tests reach which statements


@cache
def helpers() -> dict[str, Path]:
    return {p.stem: p for p in TESTS.rglob("*.py") if not p.stem.startswith("test_")}


@cache
def digest(file: str) -> str:
    """Of a file, and of the helpers in tests/ that it imports."""
    files, waiting = {ROOT / file}, [ROOT / file]
    while waiting and file.startswith("tests/"):
        found = {helpers()[name] for name in imports_of(waiting.pop()) if name in helpers()}
        waiting += found - files
        files |= found
    return hashlib.sha256(b"".join(p.read_bytes() for p in sorted(files))).hexdigest()


class Record:
    """Tests with what they reach, kept in a file: a line a test, the last counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tests: dict[str, Reached] = {}

    def read(self, names: Collection[str]) -> None:
        """Keep of the file what nothing has changed since: neither the test nor what it reaches."""
        self.tests = {}
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        for line in lines:
            name, key, *parts = json.loads(line)
            test = Reached(*parts)
            if name in names and key == key_of(name, test):
                self.tests[name] = test

    def update(self, session: Session, jobs: int) -> None:
        """Execute each test that is new or reaches something new."""
        self.read(session.tests)
        stale = [name for name in session.tests if name not in self.tests]
        print(f"recording {len(stale)} of {len(session.tests)} tests", flush=True)
        for n in range(jobs if stale else 0):
            if not os.fork():
                code = 70
                try:
                    code = record(session, stale[n::jobs], self.path)
                finally:
                    os._exit(code)
        for _ in range(jobs if stale else 0):
            assert os.wait()[1] == 0, "a recording ended"
        self.read(session.tests)
        for name, test in self.tests.items():
            if not test.passes:
                print(f"left out, it fails or takes over {SLOWEST:.0f} s: {name}")


def key_of(name: str, test: Reached) -> str:
    """Of all that a test reaches; empty where a file is gone."""
    files = [name.partition("::")[0], *test.statements]
    if not all((ROOT / file).exists() for file in files):
        return ""
    return hashlib.sha256("".join(digest(file) for file in files).encode()).hexdigest()[:16]


def record(session: Session, names: Sequence[str], path: Path) -> int:
    files = source_files()
    for file, first in files.items():
        session.put(file, recording(file, first))
    count = sum(len(unchanged(file).statements) for file in files)
    seen = mmap.mmap(-1, count)  # shared with the workers of a test
    setattr(builtins, SEEN, seen)
    with isolated() as do, path.open("ab", buffering=0) as out:
        for name in names:
            seen[:] = bytes(count)
            start = time.monotonic()
            code = do(lambda name=name: session.first_failure([name]), 3 * SLOWEST)
            seconds = round(time.monotonic() - start, 2)
            test = Reached(code == SURVIVES and seconds < SLOWEST, seconds)
            for file, first in files.items():
                some = [n for n in range(len(unchanged(file).statements)) if seen[first + n]]
                if some:
                    test.statements[str(file.relative_to(ROOT))] = some
            out.write(json.dumps([name, key_of(name, test), *vars(test).values()]).encode() + b"\n")
    return 0


# Mutants


@dataclass
class Runner:
    """Finds what becomes of mutants."""

    session: Session
    record: Record
    seconds: float

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Those that reach the changed statement; of an import, all that reach the file."""
        file, place = str(mutant.file.relative_to(ROOT)), mutant.place
        early = self.is_early(mutant)
        found = {
            name: test.seconds
            for name, test in self.record.tests.items()
            if test.passes
            and (early or place.statement in test.statements.get(file, ()))
            and (file in test.statements or imports(name, mutant.file))
        }
        word = (place.function or getattr(place.node, "name", "")).rpartition(".")[2]
        names = sorted(found, key=lambda name: (not self.names(name, word), found[name]))
        chosen, left = [], self.seconds
        for name in names:
            left -= found[name]
            if left >= 0:
                chosen.append(name)
        return chosen

    def names(self, test: str, word: str) -> bool:
        function = getattr(self.session.tests[test], "function", None)
        return bool(word) and word in source_of(function)

    def is_early(self, mutant: Mutant) -> bool:
        """Whether an import executes it: by an import alone it can be seen."""
        function = mutant.place.function
        return not function or (str(mutant.file.relative_to(ROOT)), function) in self.session.early

    def fate(self, mutant: Mutant, tests: Sequence[str]) -> int:
        """In a fork of the session."""
        bound = 20.0 + 10 * sum(self.record.tests[name].seconds for name in tests)
        if not self.is_early(mutant):
            with contextlib.suppress(ValueError):  # other free variables: it must be imported
                self.session.put(mutant.file, mutant.tree())
                with isolated() as do:
                    return do(lambda: self.session.first_failure(tests), bound)
        return imported(mutant, tests, bound + 30)

    def start(self, mutant: Mutant, tests: Sequence[str]) -> int:
        return forked(lambda: self.fate(mutant, tests))


@cache
def source_of(function: Any) -> str:
    return inspect.getsource(function) if function else ""


def is_near(test: Path) -> bool:
    """Whether a test file imports a room itself. Of tests of screens none: they are slow."""
    return test.parent.name != "tui" and any(imports(str(test), file) for file in source_files())


@cache
def imports(test: str, file: Path) -> bool:
    module = ".".join(("ftev", *file.relative_to(ROOT).with_suffix("").parts))
    return module in imports_of(ROOT / test.partition("::")[0])


def imported(mutant: Mutant, tests: Sequence[str], seconds: float) -> int:
    """What tests say in a process that imports a changed copy of the package."""
    ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1)
    del os.environ["FTEV_FORKED"]
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        place = copy_room(Path(folder), str(mutant.file.parent.relative_to(ROOT)))
        changed = place / "ftev" / mutant.file.relative_to(ROOT)
        changed.write_text(ast.unparse(mutant.tree()), encoding="utf-8")
        # -P: this folder would stand before the changed copy
        command = [sys.executable, "-P", "-m", "pytest", "-x", *FLAGS, f"--rootdir={ROOT}", *tests]
        try:
            done = subprocess.run(
                command,
                check=False,
                env={**os.environ, "PYTHONPATH": str(place)},
                timeout=seconds,
                cwd=ROOT,
            )
            code = SURVIVES if done.returncode == 0 else KILLED
        except subprocess.TimeoutExpired:
            code = TIME_IS_UP
        end_all_below()
    return code


def fates(
    runner: Runner, mutants: Sequence[Mutant], jobs: int
) -> Iterator[tuple[Mutant, int, int]]:
    """Each mutant with what became of it, and by how many tests."""
    waiting = list(reversed(mutants))
    running: dict[int, tuple[Mutant, int]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            if tests := runner.tests_of(mutant):
                running[runner.start(mutant, tests)] = mutant, len(tests)
            else:
                yield mutant, SURVIVES, 0
        if running:
            pid, status = os.wait()
            mutant, count = running.pop(pid)
            yield mutant, os.waitstatus_to_exitcode(status), count


def survey(runner: Runner, mutants: Sequence[Mutant], jobs: int) -> None:
    killed: Counter[str] = Counter()
    late, start = 0, time.monotonic()
    for done, (mutant, fate, tests) in enumerate(fates(runner, mutants, jobs), 1):
        if done % 50 == 0:
            print(f"{done} of {len(mutants)} after {time.monotonic() - start:.0f} s", flush=True)
        killed[mutant.room] += fate in (KILLED, TIME_IS_UP)
        late += fate == TIME_IS_UP
        if fate == SURVIVES:
            print(f"survives {tests} tests: {mutant.words}", flush=True)
        elif fate not in (KILLED, TIME_IS_UP):
            print(f"no answer ({fate}): {mutant.words}", flush=True)
    totals = Counter(m.room for m in mutants)
    for room, total in totals.items():
        print(f"{room:24} {killed[room]:4} of {total:4}  {100 * killed[room] / total:.0f} %")
    share = 100 * killed.total() / len(mutants)
    print(f"{'all':24} {killed.total():4} of {len(mutants):4}  {share:.1f} %")
    each = (time.monotonic() - start) / len(mutants)
    print(f"{late} by a test that did not end; {each:.1f} s per mutant")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0, help="of tests per mutant")
    parser.add_argument("--room", action="append", choices=ROOMS)
    parser.add_argument("--tests", type=Path, nargs="*", help="test files, else all near ones")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="mutants whose words contain this")
    kept = f"ftev-mutants-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}.json"
    parser.add_argument("--record", type=Path, default=Path(tempfile.gettempdir()) / kept)
    options = parser.parse_args()
    drawn = sample(options.room or ROOMS, options.count, options.seed)
    mutants = [m for m in drawn if not m.equivalent and options.only in m.words]
    print(f"{len(drawn)} drawn, {len(drawn) - len(mutants)} left out")

    def work(session: Session) -> None:
        tests = Record(options.record)
        tests.update(session, options.jobs)
        survey(Runner(session, tests, options.seconds), mutants, options.jobs)

    os.chdir(ROOT)
    near = [file for file in sorted(TESTS.rglob("test_*.py")) if is_near(file)]
    files = [file.resolve() for file in options.tests or near]
    return int(
        pytest.main([*FLAGS, f"--rootdir={ROOT}", *map(str, files)], plugins=[Session(work)])
    )


if __name__ == "__main__":
    sys.exit(main())
