"""Which changes of the code no test sees: mutants of six rooms, and the tests that import them.

python tests/bench/mutants.py [--count 60] [--seed 1] [--room core/metrics …] [--seconds 60]

A mutant is one comparison, operator, constant, condition or return of one file, changed in a copy
of the package. A process with the heavy libraries imported is forked for each: the child imports
the copy and runs the tests nearest to the file, until one fails (the mutant is killed) or all pass
(it survives). A test that fails without the mutant too kills nothing.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from imports import ROOT, imported_files, imports_of, module_of
from package_copy import copy_room

TESTS = ROOT / "tests"
ROOMS = (
    *("core/metrics", "core/judgement", "core/analysis"),
    *("core/data/leakage.py", "core/engine/training", "core/engine/scoring"),
)
WARM = (
    *("numpy", "polars", "scipy.stats", "sklearn.linear_model", "torch", "transformers", "peft"),
    *("hypothesis", "jinja2", "pytest", "textual.app", "xdist"),
)
FARTHEST = 1  # imports between a test and the mutant's file
OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


@dataclass(frozen=True)
class Mutant:
    """One change of one file, at the `place`-th of the nodes that can be changed."""

    file: Path
    place: int

    @property
    def room(self) -> str:
        return next(r for r in ROOMS if (ROOT / r) in (self.file, *self.file.parents))

    def source(self) -> tuple[str, str]:
        """The changed source, and the change in words: `engine/x.py:12  a < b → a <= b`."""
        tree = ast.parse(self.file.read_text(encoding="utf-8"))
        node = changeable(tree)[self.place]
        before, line = ast.unparse(node), getattr(node, "lineno", 0)
        change(node)
        where = f"{self.file.relative_to(ROOT)}:{line}"
        return ast.unparse(tree), f"{where}  {before} → {ast.unparse(node)}"


def changeable(tree: ast.Module) -> list[ast.AST]:
    """Nodes that `change` can change: none of annotations, assertions, docstrings or imports."""
    found: list[ast.AST] = []

    def walk(node: ast.AST) -> None:
        if isinstance(node, ast.Assert | ast.Import | ast.ImportFrom | ast.JoinedStr):
            return
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("TypeVar"):
            return
        if can_change(node):
            found.append(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    walk(child)

    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):  # what runs when it is used
            walk(statement)
    return found


def can_change(node: ast.AST) -> bool:
    match node:
        case ast.Compare(ops=[op]) | ast.BinOp(op=op) | ast.BoolOp(op=op):
            texts = (ast.JoinedStr, ast.Tuple, ast.List)  # joined, not added
            sides = [getattr(node, "left", None), getattr(node, "right", None)]
            joins = any(isinstance(s, texts) or _is_text(s) for s in sides)
            return type(op) in OPERATORS and not joins
        case ast.UnaryOp(op=ast.Not()) | ast.If() | ast.IfExp():
            return True
        case ast.Constant(value=bool() | int() | float()):
            return True
        case ast.Return(value=ast.expr() as value):
            return not (isinstance(value, ast.Constant) and value.value is None)
    return False


def _is_text(node: object) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def change(node: ast.AST) -> None:
    match node:
        case ast.Compare(ops=[op]):
            node.ops = [OPERATORS[type(op)]()]  # type: ignore[list-item]
        case ast.BinOp(op=op) | ast.BoolOp(op=op):
            node.op = OPERATORS[type(op)]()  # type: ignore[assignment]
        case ast.UnaryOp():
            node.operand = ast.UnaryOp(ast.Not(), node.operand)
        case ast.If(test=test) | ast.IfExp(test=test):
            node.test = ast.UnaryOp(ast.Not(), test)
        case ast.Constant(value=bool() as value):
            node.value = not value
        case ast.Constant(value=value):
            node.value = value + 1  # type: ignore[operator]
        case ast.Return():
            node.value = ast.Constant(None)


def sample(rooms: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """As many of each room, drawn among all that its files allow."""
    dice, found = random.Random(seed), []
    for number, room in enumerate(rooms):
        place = ROOT / room
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        places = [
            Mutant(file, i)
            for file in files
            for i in range(len(changeable(ast.parse(file.read_text(encoding="utf-8")))))
        ]
        share = count // len(rooms) + (number < count % len(rooms))
        found += dice.sample(places, min(share, len(places)))
    return found


# The tests of a file


@cache
def importers() -> dict[str, set[str]]:
    """Module to those that import it."""
    graph: dict[str, set[str]] = {}
    for module, others in {**imported_files("core"), **imported_files("tui")}.items():
        for other in others:
            graph.setdefault(other, set()).add(module)
    return graph


@cache
def tested_modules() -> dict[Path, frozenset[str]]:
    """Test files with the modules that they import, by their helpers too."""
    helpers = {p.stem: p for p in TESTS.rglob("*.py") if not p.stem.startswith("test_")}

    def modules(path: Path, seen: frozenset[Path]) -> frozenset[str]:
        found = imports_of(path)
        through = [helpers[name] for name in found if name in helpers]
        inner = [modules(p, seen | {p}) for p in through if p not in seen]
        return found.union(*inner)

    files = [
        *TESTS.glob("test_*.py"),
        *TESTS.glob("engine/test_*.py"),
        *TESTS.glob("tui/test_*.py"),
    ]
    return {file: modules(file, frozenset()) for file in sorted(files)}


def tests_of(file: Path) -> list[Path]:
    """Test files by their distance from a file of the source, the nearest first."""
    start = module_of(file)
    distance, waiting = {start: 0}, deque([start])
    while waiting:
        module = waiting.popleft()
        for other in importers().get(module, ()):
            if other not in distance and distance[module] < FARTHEST:
                distance[other] = distance[module] + 1
                waiting.append(other)
    near = {
        test: min((distance[m] for m in modules if m in distance), default=FARTHEST + 1)
        for test, modules in tested_modules().items()
    }
    own = {test: start in imports_of(test) for test in near}
    in_engine = "engine" in file.parts  # whose tests start workers: elsewhere they cost too much
    found = [
        test
        for test, far in near.items()
        if far <= FARTHEST and (test.parent.name == "engine") == in_engine
    ]
    return sorted(found, key=lambda test: (not own[test], near[test], test))


# Running


def run_tests(tests: Sequence[Path], package: Path | None, seconds: float) -> bool:
    """Whether all pass in time, in a fork that imports the package from a folder."""
    pid = os.fork()
    if not pid:
        os.setsid()
        _become_pytest(tests, package)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            _end_group(pid)
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    _end_group(pid)
    os.waitpid(pid, 0)
    return False


def _become_pytest(tests: Sequence[Path], package: Path | None) -> None:
    code = 70
    try:
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silent, stream)
        if package is not None:
            sys.path.insert(0, str(package))
            os.environ["PYTHONPATH"] = str(package)
        import pytest

        flags = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no"]
        flags += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of what is warm already
        code = int(pytest.main([*flags, f"--rootdir={ROOT}", *map(str, tests)]))
    finally:
        os._exit(code)


def _end_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


class Runner:
    """Runs tests on mutants. A test that fails without a mutant as well kills none."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._passes: dict[Path, bool] = {}

    def fate(self, mutant: Mutant, source: str) -> str:
        """ "killed" by a test, the nearest first, file by file; else "survives" or "time is up"."""
        with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
            place = copy_room(Path(folder), str(mutant.file.parent.relative_to(ROOT)))
            (place / "ftev" / mutant.file.relative_to(ROOT)).write_text(source, encoding="utf-8")
            deadline = time.monotonic() + self.seconds
            for test in tests_of(mutant.file):
                left = deadline - time.monotonic()
                if left <= 0:
                    return "time is up"
                if not run_tests([test], place, self.seconds) and self.passes(test):
                    return "killed"
        return "survives"

    def passes(self, test: Path) -> bool:
        """Whether a test file passes on the code as it is."""
        if test not in self._passes:
            self._passes[test] = run_tests([test], None, 2 * self.seconds)
            if not self._passes[test]:
                print(f"left out, it fails as it is: {test.relative_to(ROOT)}", flush=True)
        return self._passes[test]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0, help="of tests per mutant")
    parser.add_argument("--room", action="append", choices=ROOMS)
    options = parser.parse_args()
    for name in WARM:
        importlib.import_module(name)
    mutants = sample(options.room or ROOMS, options.count, options.seed)
    runner = Runner(options.seconds)
    killed: Counter[str] = Counter()
    for mutant in mutants:
        source, words = mutant.source()
        fate = runner.fate(mutant, source)
        killed[mutant.room] += fate == "killed"
        if fate != "killed":
            print(f"{fate}: {words}", flush=True)
    totals = Counter(m.room for m in mutants)
    for room, total in totals.items():
        print(f"{room:24} {killed[room]:4} of {total:4}  {100 * killed[room] / total:.0f} %")
    share = 100 * killed.total() / len(mutants)
    print(f"{'all':24} {killed.total():4} of {len(mutants):4}  {share:.0f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
