"""Who may import whom: read from the source, and seen in a fresh interpreter."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "transformers", "peft", "accelerate")
SCREEN = ("textual", "rich")
STAGES = ("train", "evaluate", "generate")


def source_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("ftev", *parts)).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
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
    return found


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def breaches(files: list[Path], packages: tuple[str, ...]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in sorted(imports_of(path))
        if any(is_in(module, package) for package in packages)
    ]


def in_engine(path: Path) -> bool:
    return (ROOT / "core" / "engine") in path.parents


def test_relative_imports_are_read_as_absolute_names() -> None:
    found = imports_of(ROOT / "tui" / "commands" / "status.py")
    assert "ftev.core.reporting.summary" in found
    assert "ftev.tui.commands.show" in found


def test_core_never_imports_the_screen() -> None:
    assert not breaches(source_files("core"), ("ftev.tui", *SCREEN))


def test_models_are_imported_under_the_engine_only() -> None:
    files = [p for p in source_files("core") + source_files("tui") if not in_engine(p)]
    assert not breaches(files, HEAVY)


def test_nobody_imports_the_engine() -> None:
    files = [p for p in source_files("core") + source_files("tui") if not in_engine(p)]
    assert not breaches(files, ("ftev.core.engine",))


@pytest.mark.parametrize("stage", STAGES)
def test_stages_of_the_engine_do_not_import_each_other(stage: str) -> None:
    path = ROOT / "core" / "engine" / f"{stage}.py"
    others = tuple(f"ftev.core.engine.{other}" for other in STAGES if other != stage)
    assert path.exists()
    assert not breaches([path], others)


def imported_by(code: str) -> set[str]:
    """What a fresh interpreter has imported, packages by their first name, after running code."""
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return {name.partition(".")[0] for name in told.stdout.split()} | set(told.stdout.split())


def test_the_command_line_starts_without_anything_heavy() -> None:
    found = imported_by("import ftev.tui.cli; ftev.tui.cli.build_parser()")
    assert not found & {*HEAVY, *SCREEN, "numpy", "polars", "scipy", "msgspec", "jinja2"}


def test_nothing_outside_the_engine_brings_a_model_library() -> None:
    modules = [module_of(p) for p in source_files("core") if not in_engine(p)]
    found = imported_by("\n".join(f"import {module}" for module in modules))
    assert not found & {*HEAVY, *SCREEN}
    assert "ftev.core.engine" not in found


def test_commands_bring_neither_models_nor_textual() -> None:
    modules = [module_of(p) for p in source_files("tui/commands")]
    found = imported_by("\n".join(f"import {module}" for module in ["ftev.tui.plain", *modules]))
    assert not found & {*HEAVY, "textual"}


def test_a_history_is_folded_without_numbers_or_models() -> None:
    found = imported_by(
        "from ftev.core import history, report, diagnosis; from ftev.core.reporting import summary"
    )
    assert not found & {*HEAVY, "numpy", "polars", "scipy", "jinja2"}


def test_the_screen_is_there_before_what_only_a_key_asks_for() -> None:
    found = imported_by("import ftev.tui.app, ftev.tui.screens.home")
    assert not found & {*HEAVY, "numpy", "polars", "scipy", "jinja2"}
    later = {f"ftev.tui{name}" for name in imported_ahead()} - {"ftev.tui.screens.home"}
    assert not found & {*later, "ftev.core.verdict", "ftev.core.report", "ftev.core.receipts"}


def test_screens_imported_ahead_bring_no_numbers() -> None:
    screens = "\n".join(f"import ftev.tui{name}" for name in imported_ahead())
    assert not imported_by(screens) & {*HEAVY, "numpy", "polars", "scipy", "jinja2"}


def imported_ahead() -> tuple[str, ...]:
    from ftev.tui.ahead import SCREENS

    return SCREENS
