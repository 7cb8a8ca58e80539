"""Who imports whom, read from the source: imports in functions and under TYPE_CHECKING count."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Rooms of core from the ground up: one imports those of lower floors only.
FLOORS = (
    ("errors",),
    ("files",),
    ("metrics",),
    ("tasks",),
    ("wording", "config"),
    ("run",),
    ("data",),
    ("judgement",),
    ("analysis",),
    ("catalog",),
    ("report",),
    ("compare", "engine"),
    ("sweep",),
)


def source_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("ftev", *parts)).removesuffix(".__init__")


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Every module a file imports, anywhere in it, by its absolute name."""
    module = module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")
            start = ".".join(base[: len(base) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (start, node.module or "") if part)
            found |= {source} | {f"{source}.{alias.name}" for alias in node.names}
    return frozenset(found)


def imported_files(folder: str) -> dict[str, set[str]]:
    """Module to the modules of this project that it imports; a package only where it is meant."""
    files = {module_of(p): p for p in source_files(folder)}
    graph = {}
    for module, path in files.items():
        found = {m for m in imports_of(path) if m in files and m != module}
        # `from .package import module` names both; an empty package has nothing to import
        graph[module] = {m for m in found if _names(files[m])}
    return graph


def _names(path: Path) -> bool:
    return path.name != "__init__.py" or bool(path.read_text(encoding="utf-8").strip())


def rings(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or not (Tarjan)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in order:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], order[other])
        if lowest[name] == order[name]:
            place = stack.index(name)
            ring, stack[place:] = stack[place:], []
            if len(ring) > 1:
                found.append(sorted(ring))

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return found


def room_of(module: str) -> str:
    """`metrics` of `ftev.core.metrics.cells`; empty for core itself."""
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and parts[1] == "core" else ""


def room_imports() -> dict[str, set[str]]:
    """Room to the rooms of core that it imports."""
    found: dict[str, set[str]] = {}
    for module, others in imported_files("core").items():
        if room := room_of(module):
            found.setdefault(room, set()).update({room_of(o) for o in others} - {room, ""})
    return found


def drawn_edges() -> Iterator[tuple[str, str]]:
    """The imports between rooms without those that follow from others."""
    graph = room_imports()
    reached: dict[str, set[str]] = {}

    def reach(room: str) -> set[str]:
        if room not in reached:
            reached[room] = set().union(*({o} | reach(o) for o in graph.get(room, ())))
        return reached[room]

    for room in sorted(graph):
        direct = graph[room]
        beyond = set().union(*(reach(o) for o in direct))
        for other in sorted(direct - beyond):
            yield room, other
