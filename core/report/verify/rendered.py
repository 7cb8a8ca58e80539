"""report.md and report.html, rendered from the events once more and compared line by line."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...errors import RunError
from ...files.reading import read_json
from ..document import Report
from ..report import build_report, render_html, render_markdown, version
from .agreement import NUMBER, skeleton
from .stored import LISTED, Check, StoredRun

RENDERED = {"report.md": render_markdown, "report.html": render_html}
_RUN = re.compile(r"Run (.+?), (?:classification|generation), ")
_WRITER = re.compile(r"Written by ftev ([\w.+]+)\.")


@dataclass
class Difference:
    """Lines of a page that are not in the one rendered now."""

    wrong: list[str] = field(default_factory=list)  # the same words with other numbers
    reworded: int = 0
    unchecked: int = 0  # numbers of these


def check_rendered(stored: StoredRun) -> Iterator[Check]:
    """A check for each that is there."""
    for name, render in RENDERED.items():
        try:
            was = (stored.run.path / name).read_bytes().decode(errors="replace")
        except FileNotFoundError:  # nobody asked for this format
            continue
        except OSError as error:
            yield Check(name, "unreadable", "rendered", False, f"{name} cannot be read: {error}")
            continue
        pages = [render(report) for report in _reports(stored, was)]
        numbers = len(NUMBER.findall(was))
        if was in pages:
            yield Check(name, "as rendered", "as rendered", True, "", numbers)
        else:
            yield _compare(stored, name, was, pages[-1])


def _compare(stored: StoredRun, name: str, was: str, now: str) -> Check:
    """Another number under the same words is wrong; other words are said to be other words."""
    writer = _WRITER.search(was)
    same_version = writer is not None and writer[1] == version()
    found = _differences(was, now, same_version)
    checked = len(NUMBER.findall(was)) - found.unchecked
    kind = name.rpartition(".")[2]
    again = f"`ftev-tui report {stored.run.id} --format {kind}` writes it again"
    if found.wrong:
        more = f"; {len(found.wrong) - LISTED:,} more" if len(found.wrong) > LISTED else ""
        told = f"{name}, {'; '.join(found.wrong[:LISTED])}{more}. {again}"
        wrong = len(found.wrong)
        return Check(name, "as written", "another", False, told, checked, wrong, found.unchecked)
    told = (
        f"{name}: {found.reworded:,} of its lines are worded otherwise than this version words "
        f"them; their {found.unchecked:,} numbers are not checked. {again}"
    )
    return Check(name, "as written", "other words", None, told, checked, 0, found.unchecked)


def _differences(was: str, now: str, same_version: bool) -> Difference:
    """Lines that the new page lacks: with the words of a line of it, or with words of their own.

    A page of this very version has no number that the new one lacks, whatever its words.
    """
    ours = now.split("\n")
    left = Counter(ours)
    lines = [(i, line) for i, line in enumerate(was.split("\n"), 1) if not _take(left, line)]
    words = {skeleton(line): line for line in left.elements()}
    known = set(NUMBER.findall(now))
    found = Difference()
    for place, line in lines:
        other = words.get(skeleton(line))
        numbers = NUMBER.findall(line)
        unknown = [n for n in numbers if n not in known]
        if other is not None and numbers:
            pairs = zip(numbers, NUMBER.findall(other), strict=True)
            a, b = next(((a, b) for a, b in pairs if a != b), ("", ""))
            found.wrong.append(f"line {place}: {a} written, {b} computed")
        elif unknown and same_version:
            found.wrong.append(f"line {place}: {unknown[0]} is not what the events give")
        else:
            found.reworded += 1
            found.unchecked += len(numbers)
    return found


def _take(left: Counter[str], line: str) -> bool:
    """Whether a line was there, which is then taken."""
    left[line] -= 1
    if left[line] < 0:
        del left[line]
        return False
    if not left[line]:
        del left[line]
    return True


def _reports(stored: StoredRun, page: str) -> Iterator[Report]:
    """The document under each name that the folder may have had, and with fewer reviews; the last
    is the one whose name the page gives."""
    now = build_report(stored.run, stored.history)
    reviews = _stored_reviews(stored)
    for name in _names(stored, page):
        named: Report = {**now, "run": {**now["run"], "id": name}}
        if "reviews" in now:
            without = named.copy()
            del without["reviews"]
            yield without
            if reviews is not None:
                yield {**named, "reviews": reviews}
        yield named


def _names(stored: StoredRun, page: str) -> list[str]:
    """A folder may be copied under any name; the name in the page is the one it had."""
    started, found = stored.history.started, _RUN.search(page)
    names = [stored.run.id, *([started.run] if started else [])]
    if found:
        names.append(re.sub(r"\\(.)", r"\1", html.unescape(found[1])))
    return list(dict.fromkeys(reversed(names)))[::-1]


def _stored_reviews(stored: StoredRun) -> Any:
    try:
        return read_json(stored.run.path / "report.json", dict[str, Any]).get("reviews")
    except RunError:
        return None
