"""Which lines of the engine ask what the device is, and which of them were run on a GPU.

While modules of the engine are imported, each comparison of a device's type and each call of
`torch.cuda` in their source is given a note of where it stands: when it is computed, it is written
down, and for a comparison whether it went the way of a GPU.
"""

from __future__ import annotations

import ast
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

ENGINE = Path(__file__).parents[2] / "core" / "engine"
seen: dict[str, set[bool]] = {}  # place -> whether it went the way of a GPU


def _way(node: ast.expr) -> tuple[str, bool] | None:
    """What stands there, and the value that a GPU gives it; None where no device is asked."""
    text = ast.unparse(node)
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("torch.cuda."):
        return text, True
    if not isinstance(node, ast.Compare) or len(node.ops) != 1 or ".type" not in text:
        return None
    kind, op = node.comparators[0], node.ops[0]
    if not isinstance(kind, ast.Constant) or kind.value not in ("cpu", "cuda"):
        return None
    return text, (kind.value == "cuda") == isinstance(op, ast.Eq)


class _Noted(ast.NodeTransformer):
    """Puts a note around each such place, and keeps which places there are."""

    def __init__(self, path: Path) -> None:
        self.file, self.places = path.relative_to(ENGINE), list[str]()
        self._within = ""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        before, self._within = self._within, node.name
        self.generic_visit(node)
        self._within = before
        return node

    def visit(self, node: ast.AST) -> Any:
        if not isinstance(node, ast.expr):
            return super().visit(node)
        way = _way(node)
        self.generic_visit(node)
        if way is None:
            return node
        text, gpu = way
        self.places.append(f"{self.file} {self._within}: {text}")
        note = ast.parse("__import__('device_lines').note()", mode="eval").body
        assert isinstance(note, ast.Call)
        taken = ast.Constant(gpu if isinstance(node, ast.Compare) else None)
        note.args = [ast.Constant(self.places[-1]), taken, node]
        return ast.copy_location(note, node)


def note(place: str, gpu: bool | None, value: Any) -> Any:
    """Put down that a line was run; gives its value back."""
    seen.setdefault(place, set()).add(gpu is None or bool(value) == gpu)
    return value


def watch() -> None:
    """Modules of the engine that are imported from here on are watched."""
    read = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> Any:
        path = Path(self.path).resolve()
        if not path.is_relative_to(ENGINE):
            return read(self, fullname)
        tree = _Noted(path).visit(_parsed(path))
        return compile(ast.fix_missing_locations(tree), str(path), "exec")

    SourceFileLoader.get_code = get_code  # type: ignore[assignment,method-assign]


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def every() -> set[str]:
    """All such places in the engine's source."""
    files = [_Noted(path) for path in ENGINE.rglob("*.py")]
    for noted in files:
        noted.visit(_parsed(ENGINE / noted.file))
    return {place for noted in files for place in noted.places}
