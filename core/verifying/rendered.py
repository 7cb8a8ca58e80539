"""report.md and report.html, rendered from the events once more and compared byte by byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from ..report import build_report, render_html, render_markdown
from .stored import Check, StoredRun

RENDERED = {"report.md": render_markdown, "report.html": render_html}
Report = dict[str, Any]


def check_rendered(stored: StoredRun) -> Iterator[Check]:
    """A check for each that is there. Another version may word the same numbers otherwise."""
    started = stored.history.started
    version = started.ftev_version if started else ""
    for name, render in RENDERED.items():
        try:
            was = (stored.run.path / name).read_bytes()
        except FileNotFoundError:  # nobody asked for this format
            continue
        except OSError as error:
            yield Check(name, "unreadable", "rendered", False, f"{name} cannot be read: {error}")
            continue
        if any(render(report).encode() == was for report in _reports(stored)):
            yield Check(name, "as rendered", "as rendered", True)
        elif version != metadata.version("ftev"):
            told = f"{name}: written by another version of ftev ({version}), and is not checked"
            yield Check(name, "as written", "another", None, told)
        else:
            line = _first_difference(was, render(build_report(stored.run, stored.history)))
            kind = name.rpartition(".")[2]
            told = (
                f"{name}, line {line}: is not what the events give; "
                f"`ftev-tui report {stored.run.id} --format {kind}` writes it anew"
            )
            yield Check(name, "as written", "another", False, told)


def _reports(stored: StoredRun) -> Iterator[Report]:
    """The document now, and as it was under the run's first name and with fewer reviews."""
    now = build_report(stored.run, stored.history)
    started = stored.history.started
    names = dict.fromkeys([stored.run.id, *([started.run] if started else [])])
    for name in names:
        named = now | {"run": now["run"] | {"id": name}}
        yield named
        if "reviews" in now:
            yield {key: value for key, value in named.items() if key != "reviews"}
            if (reviews := _stored_reviews(stored)) is not None:
                yield named | {"reviews": reviews}


def _stored_reviews(stored: StoredRun) -> Any:
    try:
        return json.loads((stored.run.path / "report.json").read_bytes()).get("reviews")
    except (OSError, ValueError, AttributeError):
        return None


def _first_difference(was: bytes, now: str) -> int:
    """The number of the first line that differs, from 1."""
    ours, theirs = now.encode().split(b"\n"), was.split(b"\n")
    pairs = enumerate(zip(ours, theirs, strict=False), 1)
    return next((i for i, (a, b) in pairs if a != b), min(len(ours), len(theirs)) + 1)
