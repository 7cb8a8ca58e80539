"""The private names of Textual that ftev reaches for: all in one file, and all still there."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

import ftev.tui.terminal.private as private
import pytest
from imports import ROOT, module_of, source_files
from textual import _compositor, _parser, _xterm_parser
from textual.app import App
from textual.drivers._writer_thread import WriterThread
from textual.drivers.linux_driver import LinuxDriver
from textual.screen import Screen
from textual.widget import Widget

OWN = Path(private.__file__).resolve()
SPEAKS = re.compile(r"\bself\.(_[a-z]\w*)")
REACHING = ("getattr", "hasattr", "setattr")


def parameters(function: Callable[..., object]) -> list[str]:
    return list(inspect.signature(function).parameters)


# What private.py reaches for, and how it is seen that it is where it was.
NAMES: dict[str, Callable[[], bool]] = {
    "textual._compositor": lambda: hasattr(_compositor.CompositorUpdate, "render_segments"),
    "ChopsUpdate": lambda: (
        {"chops", "spans", "chop_ends"} <= set(parameters(_compositor.ChopsUpdate))
    ),
    "LayoutUpdate": lambda: {"strips", "region"} <= set(parameters(_compositor.LayoutUpdate)),
    "textual._parser": lambda: issubclass(_parser.ParseError, Exception),
    "textual._xterm_parser": lambda: hasattr(_xterm_parser.XTermParser, "tick"),
    "_timeout_time": lambda: _xterm_parser.XTermParser()._timeout_time is None,
    "_display": lambda: parameters(App._display) == ["self", "screen", "renderable"],
    "_driver": lambda: App()._driver is None,
    "_writer_thread": lambda: "_writer_thread" in SPEAKS.findall(inspect.getsource(LinuxDriver)),
    "_queue": lambda: WriterThread(io.StringIO())._queue.qsize() == 0,
    "_result_callbacks": lambda: Screen()._result_callbacks == [],
    "_push_result_callback": lambda: (
        parameters(Screen._push_result_callback)[:2] == ["self", "requester"]
    ),
    "_styles_cache": lambda: Widget()._styles_cache is not None,
    "_cache": lambda: Widget()._styles_cache._cache == {},
    "_dirty_lines": lambda: Widget()._styles_cache._dirty_lines == set(),
    "_compositor": lambda: parameters(Screen()._compositor.render_strips)[:1] == ["size"],
}


@pytest.mark.parametrize("name", NAMES)
def test_a_private_name_is_where_it_was(name: str) -> None:
    try:
        found = NAMES[name]()
    except Exception as error:
        found, why = False, f" ({error!r})"
    else:
        why = ""
    assert found, f"Textual {version('textual')} has moved {name}{why}: mend {OWN.name}"


def reached_for(path: Path) -> Iterator[str]:
    """The private names that a file takes from elsewhere: modules, attributes, strings of them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            names = [module] if module else [alias.name for alias in node.names]
            libraries = [n for n in names if n.partition(".")[0] in ("textual", "rich")]
            yield from (n for n in libraries if any(p.startswith("_") for p in n.split(".")))
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if owner not in ("self", "cls", "os", "argparse"):
                yield node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in REACHING:
            yield from (str(a.value) for a in node.args[1:2] if isinstance(a, ast.Constant))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def test_private_names_are_reached_for_in_one_file() -> None:
    elsewhere = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in source_files("tui")
        for name in reached_for(path)
        if path != ROOT / "tui" / "terminal" / "private.py"
        and any(map(is_private, name.split(".")))
    }
    assert not elsewhere


def test_every_private_name_of_that_file_is_looked_for_here() -> None:
    assert set(reached_for(OWN)) <= set(NAMES)


@cache
def classes_of(module: str) -> dict[str, tuple[ast.ClassDef, str]]:
    """The classes of a module by name: their syntax and source. inspect would parse it for each."""
    source = inspect.getsource(importlib.import_module(module))
    lines = source.splitlines()
    return {
        node.name: (node, "\n".join(lines[node.lineno - 1 : node.end_lineno]))
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef)
    }


def own_names(cls: type) -> set[str]:
    """What a class names in its source."""
    node, source = classes_of(cls.__module__)[cls.__name__]
    names = {n.name for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    targets = [n.target for n in node.body if isinstance(n, ast.AnnAssign)]
    targets += [target for n in node.body if isinstance(n, ast.Assign) for target in n.targets]
    return names | {ast.unparse(target) for target in targets} | {*SPEAKS.findall(source)}


def private_names(cls: type) -> set[str]:
    """What the bases of a class that are Textual's keep to themselves."""
    bases = [base for base in cls.__mro__ if base.__module__.partition(".")[0] == "textual"]
    sources = [classes_of(base.__module__)[base.__name__][1] for base in bases]
    found = {name for base in bases for name in vars(base)}
    return {n for n in found | {m for s in sources for m in SPEAKS.findall(s)} if is_private(n)}


def test_no_class_names_anything_as_textual_does_in_private() -> None:
    """A method or attribute of ours under such a name would take the place of Textual's own."""
    taken = []
    for path in source_files("tui"):
        module = importlib.import_module(module_of(path))
        for cls in vars(module).values():
            if isinstance(cls, type) and cls.__module__ == module.__name__:
                both = own_names(cls) & private_names(cls)
                taken += [f"{cls.__name__}.{name}" for name in both]
    assert set(taken) == {"FramedApp._display", "KeyParser._timeout_time"}
