"""report.json against the events: what it says must follow from them.

Three outcomes are distinguished: another number, which is wrong; other words, which are not;
and what another version of ftev judged by other rules, which cannot be judged again by this one.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

from ...errors import RunError
from ...files.reading import read_json
from ..document import Report, ReviewsPart
from ..report import build_report, render_html, render_json, render_markdown, version
from .stored import (
    ABSENT,
    LISTED,
    NUMBER,
    UNCHECKED,
    Check,
    Disagreement,
    StoredRun,
    agreed,
    count_numbers,
    find_disagreements,
    skeleton,
)

# Parts that every report.json has; others were added later, and an older file may lack them.
PROMISED = ("schema", "run", "data", "stages", "epochs", "results", "comparisons", "findings")
JUDGED = ("findings", "verdict", "headline")  # by rules that a later version may better
UNDER_WAY = ("starting", "running", "paused")
SKIPPED = ("reviews", "written_by")  # people may have judged more since
WHERE = "report.json, against events.jsonl"


def check_report(stored: StoredRun) -> Iterator[Check]:
    """A check for each part of it."""
    path = stored.run.path / "report.json"
    if not os.path.exists(path):
        message = "report.json is not there: `ftev-tui report RUN --format json` writes it"
        yield Check("report.json", "absent", UNCHECKED, None, message)
        return
    try:
        was = read_json(path, dict[str, object])
    except RunError as error:
        message = f"report.json {error.faults[0].what}"
        yield Check("report.json", "unreadable", UNCHECKED, False, message)
        return
    now = json.loads(render_json(build_report(stored.run, stored.history)))
    if (status := _written_under_way(was, now)) is not None:
        message = (
            f"report.json was written while the run was {status}: "
            f"`ftev-tui report {stored.run.id}` writes it again"
        )
        yield Check("report.json", status, UNCHECKED, None, message, unchecked=count_numbers(was))
        return
    earlier = was.get("written_by") != version()
    for part in dict.fromkeys((*PROMISED, *was)):
        if part not in SKIPPED:
            yield _check_part(part, was.get(part, ABSENT), now.get(part, ABSENT), earlier)


def _written_under_way(was: object, now: Report) -> str | None:
    """How the run stood when the report was written, where it has ended since."""
    status = was.get("run", {}).get("status") if isinstance(was, dict) else None
    return str(status) if status in UNDER_WAY and now["run"]["status"] != status else None


def _check_part(part: str, was: object, now: object, earlier: bool) -> Check:
    found = [d for d in find_disagreements(was, now, part) if not _is_allowed(d)]
    wrong = [d for d in found if not _is_of_another_version(part, d, earlier)]
    rest = sum(count_numbers(d.stored) for d in found if d not in wrong and d.stored != ABSENT)
    check = agreed(f"report.json {part}", "as written", wrong, WHERE, of=was, unchecked=rest)
    if wrong or len(found) == len(wrong):
        return check
    what = f"report.json {part}"
    message = f"{what}: {_in_words(found, earlier)}; {rest:,} of its numbers are not checked"
    return Check(what, "as written", "otherwise", None, message, check.numbers, unchecked=rest)


def _in_words(found: list[Disagreement], earlier: bool) -> str:
    if all(d.is_wording for d in found):
        return "the same is said in other words"
    who = "an earlier version of ftev" if earlier else "another version of ftev"
    return f"written by {who}, in another form ({found[0].place} is the first difference)"


def _is_allowed(d: Disagreement) -> bool:
    """A folder may have any name, and an older report may know less of run and data."""
    later = ("run.", "data.", "stages[", "verdict.evidence")
    return d.place == "run.id" or (d.stored == ABSENT and d.place.startswith(later))


def _is_of_another_version(part: str, d: Disagreement, earlier: bool) -> bool:
    if d.place == part:  # the whole of it is missing, or was not meant to be there
        return earlier and part not in PROMISED
    return d.is_wording or (earlier and (d.is_absence or part in JUDGED))


RENDERED = {"report.md": render_markdown, "report.html": render_html}
_RUN = re.compile(r"Run (.+?)(?:, \w+){1,2}\. ")
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
        message = f"{name}, {'; '.join(found.wrong[:LISTED])}{more}. {again}"
        wrong = len(found.wrong)
        return Check(name, "as written", "another", False, message, checked, wrong, found.unchecked)
    message = (
        f"{name}: {found.reworded:,} of its lines are worded differently by this version; "
        f"their {found.unchecked:,} numbers are not checked. {again}"
    )
    return Check(name, "as written", "other words", None, message, checked, 0, found.unchecked)


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


def _stored_reviews(stored: StoredRun) -> ReviewsPart | None:
    try:
        found = read_json(stored.run.path / "report.json", dict[str, object]).get("reviews")
    except RunError:
        return None
    # NaN is text in a file, so that no type fits; the pages are rendered from it all the same
    return cast("ReviewsPart", found) if isinstance(found, dict) else None
