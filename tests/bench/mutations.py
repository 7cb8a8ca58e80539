"""Mutants: where the code of six rooms can be changed, and what it is changed to.

A mutant is one comparison, operator, constant, condition or return of one file, changed.
"""

from __future__ import annotations

import ast
import random
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from imports import ROOT

ROOMS = (
    *("core/metrics", "core/judgement", "core/analysis"),
    *("core/data/leakage.py", "core/engine/training", "core/engine/scoring"),
)
# Changes that change nothing a caller sees, by a pattern of their words, with the reason.
EQUIVALENT: dict[str, str] = {}
SEEN = "__seen__"  # the builtin that a recorded statement writes to
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


class Place(NamedTuple):
    """A node that can be changed, and what it stands in."""

    node: ast.AST
    function: str  # the qualified name of the function that executes it; empty: the import does
    statement: int  # its number among those of the file


class Parsed(NamedTuple):
    tree: ast.Module
    places: list[Place]
    statements: list[ast.stmt]


def parsed(file: Path) -> Parsed:
    """A file anew. Annotations, assertions, class keywords, decorators and imports stay."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    places: list[Place] = []
    statements: list[ast.stmt] = []

    def walk(node: ast.AST, prefix: str, function: str, statement: int) -> None:
        if isinstance(node, ast.Assert | ast.Import | ast.ImportFrom | ast.JoinedStr):
            return
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("TypeVar"):
            return
        if isinstance(node, ast.stmt):
            statement = len(statements)
            statements.append(node)
        if can_change(node):
            places.append(Place(node, function, statement))
        inner, executes = prefix, function
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner, executes = f"{prefix}{node.name}.<locals>.", f"{prefix}{node.name}"
        elif isinstance(node, ast.ClassDef):
            inner = f"{prefix}{node.name}."
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            if isinstance(node, ast.ClassDef) and name == "keywords":  # `frozen=True`: declared
                continue
            within = (inner, executes) if name == "body" else (prefix, function)
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    walk(child, *within, statement)

    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):  # what runs when it is used
            walk(node, "", "", 0)
    return Parsed(tree, places, statements)


unchanged = cache(parsed)


@dataclass(frozen=True)
class Mutant:
    """One change of one file, at the `number`-th of its places."""

    file: Path
    number: int

    @property
    def room(self) -> str:
        return next(r for r in ROOMS if (ROOT / r) in (self.file, *self.file.parents))

    @property
    def place(self) -> Place:
        return unchanged(self.file).places[self.number]

    @property
    def words(self) -> str:
        """The change: `core/metrics/x.py:12  a < b → a <= b`."""
        node = self.place.node
        where = f"{self.file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        after = parsed(self.file).places[self.number].node
        change(after)
        return f"{where}  {headline(node)} → {headline(after)}"

    @property
    def equivalent(self) -> bool:
        return any(re.search(pattern, self.words) for pattern in EQUIVALENT)

    def tree(self) -> ast.Module:
        """The changed file."""
        found = parsed(self.file)
        change(found.places[self.number].node)
        return ast.fix_missing_locations(found.tree)


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


def headline(node: ast.AST) -> str:
    return f"if {ast.unparse(node.test)}" if isinstance(node, ast.If) else ast.unparse(node)


def sample(rooms: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """As many of each room, drawn among all that its files allow."""
    dice, found = random.Random(seed), []
    for number, room in enumerate(rooms):
        place = ROOT / room
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        mutants = [Mutant(file, i) for file in files for i in range(len(unchanged(file).places))]
        share = count // len(rooms) + (number < count % len(rooms))
        found += dice.sample(mutants, min(share, len(mutants)))
    return found


def recording(file: Path, first: int) -> ast.Module:
    """The file with each of its statements in functions noted as it is executed.

    Statement n sets byte `first` + n of the builtin `__seen__`.
    """
    tree, _, statements = parsed(file)
    numbers = {id(node): first + n for n, node in enumerate(statements)}

    def note(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            note(child)
        if isinstance(node, ast.Module | ast.ClassDef):
            return
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                setattr(node, name, [each for old in value for each in noted(old)])

    def noted(old: ast.stmt) -> Iterator[ast.stmt]:
        if id(old) in numbers:
            seen = ast.parse(f"{SEEN}[{numbers[id(old)]}] = 1").body[0]
            yield ast.copy_location(seen, old)
        yield old

    note(tree)
    return ast.fix_missing_locations(tree)


def code_of(tree: ast.Module, file: Path) -> dict[tuple[str, int], CodeType]:
    """Code of all functions by qualified name and first line."""
    found: dict[tuple[str, int], CodeType] = {}

    def walk(code: CodeType) -> None:
        found[code.co_qualname, code.co_firstlineno] = code
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                walk(constant)

    walk(compile(tree, str(file), "exec", dont_inherit=True))
    return found


def source_files(rooms: Sequence[str] = ROOMS) -> Mapping[Path, int]:
    """Files of the rooms, with the number of the first statement of each among those of all."""
    found, first = {}, 0
    for room in rooms:
        place = ROOT / room
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            found[file] = first
            first += len(unchanged(file).statements)
    return found
