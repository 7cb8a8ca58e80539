"""Who may import whom: read from the source, and seen in a fresh interpreter."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from imports import (
    FLOORS,
    ROOT,
    drawn_edges,
    imported_files,
    imports_of,
    module_of,
    rings,
    room_imports,
    source_files,
)
from waiting import patience

HEAVY = ("torch", "transformers", "peft", "accelerate")
SCREEN = ("textual", "rich")
STAGES = ("training.train", "scoring.evaluate", "answering.generate")
FILES_AT_MOST = {"core": 16, "tui": 10}  # entries; core's own __init__ counts
FILES_IN_A_FOLDER = 24


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
    found = imports_of(ROOT / "tui" / "commands" / "list_runs.py")
    assert "ftev.core.catalog.summary" in found
    assert "ftev.tui.commands.show" in found


def test_a_ring_is_found_where_there_is_one() -> None:
    assert rings({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert not rings({"a": {"b"}, "b": set(), "d": {"a", "b"}})


@pytest.mark.parametrize("folder", ["core", "tui"])
def test_files_import_each_other_in_no_ring(folder: str) -> None:
    assert not rings(imported_files(folder))


def test_a_room_of_core_imports_rooms_below_it_only() -> None:
    floors = {room: number for number, floor in enumerate(FLOORS) for room in floor}
    found = room_imports()
    assert set(found) | {"errors"} == set(floors)
    upwards = [
        f"{room} imports {other}"
        for room, others in found.items()
        for other in others
        if floors[other] >= floors[room]
    ]
    assert not upwards


def test_the_picture_of_the_architecture_is_the_imports() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)$", page, re.MULTILINE))
    assert drawn == set(drawn_edges())


@pytest.mark.parametrize("folder", ["core", "tui"])
def test_folders_hold_no_more_than_one_can_look_over(folder: str) -> None:
    def entries(place: Path) -> list[str]:
        return [p.name for p in place.iterdir() if p.name != "__pycache__"]

    assert len(entries(ROOT / folder)) <= FILES_AT_MOST[folder]
    packages = {path.parent for path in source_files(folder)} - {ROOT / "tui" / "commands"}
    wide = {p: len(entries(p)) for p in packages if len(entries(p)) > FILES_IN_A_FOLDER}
    assert not wide


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
    path = (ROOT / "core" / "engine" / stage.replace(".", "/")).with_suffix(".py")
    others = tuple(f"ftev.core.engine.{other}" for other in STAGES if other != stage)
    assert path.exists()
    assert not breaches([path], others)


def imported_by(code: str) -> set[str]:
    """What a fresh interpreter has imported, packages by their first name, after running code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=patience(60),
    )
    return {name.partition(".")[0] for name in done.stdout.split()} | set(done.stdout.split())


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
    found = imported_by("\n".join(f"import {module}" for module in modules))
    assert not found & {*HEAVY, "textual"}


def test_a_history_is_folded_without_numbers_or_models() -> None:
    names = ("run.history", "report.report", "judgement.observations", "catalog.summary")
    found = imported_by("\n".join(f"import ftev.core.{name}" for name in names))
    assert not found & {*HEAVY, "numpy", "polars", "scipy", "jinja2"}


def test_the_screen_is_there_before_what_only_a_key_asks_for() -> None:
    found = imported_by("import ftev.tui.app.app, ftev.tui.screens.home.home")
    assert not found & {*HEAVY, "numpy", "polars", "scipy", "jinja2"}
    assert not found & (set(imported_ahead()) - {"ftev.tui.screens.home.home"})
    later = ("judgement.verdict", "report.report", "report.receipts")
    assert not found & {f"ftev.core.{name}" for name in later}


def test_screens_imported_ahead_bring_no_numbers() -> None:
    screens = "\n".join(f"import {name}" for name in imported_ahead())
    assert not imported_by(screens) & {*HEAVY, "numpy", "polars", "scipy", "jinja2"}


def imported_ahead() -> tuple[str, ...]:
    from ftev.tui.app.background import SCREENS

    return SCREENS


def test_the_stages_of_a_run_are_imported_without_scipy() -> None:
    pytest.importorskip("torch", reason="the engine needs torch")
    found = imported_by("import ftev.core.engine.stages")
    assert "ftev.core.engine.training.train" in found
    assert not found & {"scipy", "sklearn"}  # 0.4 s of every start; needed after training alone


def test_the_first_screens_load_no_findings() -> None:
    """Every theme of them would be paid before the first paint; an epoch's sentence needs none."""
    found = imported_by("import ftev.tui.screens.home.home, ftev.tui.screens.run.run")
    assert "ftev.core.judgement.observations" in found
    assert "ftev.core.judgement.findings" not in found
