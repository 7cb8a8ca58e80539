"""What the plan of the code looks like in numbers, and its picture for docs/architecture.md.

python tests/bench/house.py [--picture]
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from imports import ROOT, drawn_edges, imported_files, rings, source_files

Function = ast.FunctionDef | ast.AsyncFunctionDef


def main() -> int:
    if "--picture" in sys.argv[1:]:
        print("\n".join(f"    {room} --> {other}" for room, other in drawn_edges()))
        return 0
    files = {p: p.read_text(encoding="utf-8") for f in ("core", "tui") for p in source_files(f)}
    for what, found in figures(files):
        print(f"{what:58} {found}")
    return 0


def figures(files: dict[Path, str]) -> Iterator[tuple[str, str]]:
    graph = imported_files("core") | imported_files("tui")
    for folder in ("core", "tui"):
        found = rings(imported_files(folder))
        yield f"rings of imports in {folder}", f"{len(found)} ({sum(map(len, found))} files)"
        entries = [p for p in (ROOT / folder).iterdir() if p.name != "__pycache__"]
        yield f"entries at the top of {folder}", str(len(entries))
    widths = Counter(p.parent for p in files)
    widest = max((n, p) for p, n in widths.items() if p.name != "commands")
    yield "most files in a folder", f"{widest[0]} ({widest[1].relative_to(ROOT)})"
    modules = {p: t for p, t in files.items() if t.strip()}
    yield "modules", str(len(modules))
    importers = Counter(other for others in graph.values() for other in others)
    small = [p for p, t in modules.items() if t.count("\n") < 40 and importers[_module(p)] == 1]
    yield "modules under 40 lines with one importer", str(len(small))
    outside = {p: t for p, t in modules.items() if "engine" not in p.relative_to(ROOT).parts}
    lines = sum(t.count("\n") for t in outside.values())
    anys = sum(len(re.findall(r"\bAny\b", t)) for t in outside.values())
    yield "Any per 1,000 lines outside engine", f"{1000 * anys / lines:.1f}"
    trees = [ast.parse(t) for t in modules.values()]
    functions = [n for tree in trees for n in ast.walk(tree) if isinstance(n, Function)]
    long = [n for n in functions if (n.end_lineno or 0) - n.lineno >= 40]
    yield "functions of more than 40 lines", f"{100 * len(long) / len(functions):.1f} %"
    told = sum(len(re.findall(r"\btold\b", t)) for t in modules.values())
    yield 'uses of "told"', f"{told:,}"
    comments = sum(_comments(t) for t in modules.values())
    total = sum(t.count("\n") for t in modules.values())
    yield "comments per 100 lines", f"{100 * comments / total:.1f}"
    public = [n for tree in trees for n in _public(tree)]
    bare = [n for n in public if not ast.get_docstring(n)]
    yield "public functions and classes without docstring", f"{100 * len(bare) / len(public):.0f} %"
    yield "lines", f"{total:,}"


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("ftev", *parts)).removesuffix(".__init__")


def _comments(text: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(t.type == tokenize.COMMENT and "noqa" not in t.string for t in tokens)


def _public(tree: ast.Module) -> Iterator[Function | ast.ClassDef]:
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node


if __name__ == "__main__":
    sys.exit(main())
