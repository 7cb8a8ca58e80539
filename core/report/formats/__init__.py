"""The formats of a report: a file each, of the name that `--format` asks for.

A file has `render`, from `ftev.report/1` to the text of `report.NAME`, or `files`, which yields
paths and contents of its own. It is imported when somebody asks for its format: one may cost
polars or jinja2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from ...run.runs import Run
    from ..document import Report

Content = str | Callable[[BinaryIO], object]  # a text, or what writes it
File = tuple[Path, Content]
DEFAULT_FORMATS = ("md", "html", "json")
_found = {p.stem for p in Path(__file__).parent.glob("[!_]*.py")}
FORMATS = (*DEFAULT_FORMATS, *sorted(_found - {*DEFAULT_FORMATS}))


def render_as(name: str, report: Report) -> str:
    """The report as text. Raises ValueError for a format that is not known, or not one text."""
    render = getattr(_module(name), "render", None) if name in FORMATS else None
    if render is None:
        texts = [known for known in FORMATS if hasattr(_module(known), "render")]
        raise ValueError(f"the format is one of {', '.join(texts)}, not {name!r}")
    return str(render(report))


def files_as(name: str, run: Run, report: Report, out: Path | None) -> Iterator[File]:
    """The files of a format, in `out` or where it puts them by default."""
    module = _module(name)
    if hasattr(module, "files"):
        yield from module.files(run, report, out)
    else:
        yield (out or run.path) / f"report.{name}", module.render(report)


def publish_as(name: str, report: Report, environment: Mapping[str, str]) -> list[str]:
    """Hand the report to who runs this, as the environment says; returns lines to be printed."""
    publish = getattr(_module(name), "publish", None)
    return list(publish(report, environment)) if publish else []


def _module(name: str) -> Any:
    return import_module(f"{__name__}.{name}")
