"""The report as JUnit XML, for Jenkins, GitLab and Azure: the objective, every paired difference
and every warning is a test case.

What forbids shipping fails: a verdict that is not ship, the declared metric where it got worse, a
finding that is an error. Other metrics never fail a build that the verdict lets pass; a difference
that these rows cannot decide is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from ...judgement.selection import read_difference
from ...run.runs import Run
from ...wording.numbers import format_difference, format_difference_interval
from ...wording.text import visible
from ..document import Report
from . import File

# What XML 1.0 has no way to write; `visible` shows control characters as pictures of themselves.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def files(run: Run, report: Report, out: Path | None) -> Iterator[File]:
    """`report.junit.xml`: most readers look for the ending."""
    yield (out or run.path) / "report.junit.xml", render(report)


def render(report: Report) -> str:
    """A test suite for each kind of case."""
    name = report["run"]["name"]
    suites = ElementTree.Element("testsuites", name=_text(name))
    for kind, cases in (
        ("verdict", _verdict(report)),
        ("differences", _differences(report)),
        ("findings", _findings(report)),
    ):
        listed = list(cases)
        counts = {tag: sum(c.find(tag) is not None for c in listed) for tag in _OUTCOMES}
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=kind,
            tests=str(len(listed)),
            failures=str(counts["failure"]),
            skipped=str(counts["skipped"]),
            errors="0",
        )
        for case in listed:
            case.set("classname", _text(f"{name}.{kind}"))
            suite.append(case)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


_OUTCOMES = ("failure", "skipped")


def _case(name: str, tag: str, message: str, text: str = "") -> ElementTree.Element:
    case = ElementTree.Element("testcase", name=_text(name))
    outcome = ElementTree.SubElement(case, tag) if tag else None
    if outcome is not None:
        outcome.set("message", _text(message))
        outcome.text = _text(text)
    elif message:
        ElementTree.SubElement(case, "system-out").text = _text(
            "\n".join(filter(None, (message, text)))
        )
    return case


def _verdict(report: Report) -> Iterator[ElementTree.Element]:
    verdict = report.get("verdict")
    if verdict is None:
        return
    decision, reasons = verdict["decision"], "\n".join(verdict["reasons"])
    passed = decision == "ship" and not verdict.get("preliminary")
    yield _case(verdict["objective"], "" if passed else "failure", decision, reasons)


def _differences(report: Report) -> Iterator[ElementTree.Element]:
    headline = report["headline"]
    declared = headline["metric"] if headline else None
    for c in report["comparisons"]:
        outcome = read_difference(c)
        change = format_difference(c.metric, c.difference)
        ends = format_difference_interval(c.metric, c.low, c.high)
        tag = "skipped" if outcome == "cannot tell" else ""
        if outcome == "worse" and c.metric == declared:
            tag = "failure"
        name = f"{c.metric} on {c.split}, {c.from_model} to {c.to_model}"
        yield _case(name, tag, f"{outcome}: {change} (paired 95 %: {ends})")


def _findings(report: Report) -> Iterator[ElementTree.Element]:
    for finding in report["findings"]:
        if finding["severity"] != "info":
            tag = "failure" if finding["severity"] == "error" else ""
            yield _case(finding["code"], tag, finding["message"], finding["remedy"])


def _text(text: str) -> str:
    """Line by line: reasons stand below one another."""
    return _NO_XML.sub("\ufffd", "\n".join(map(visible, text.split("\n"))))
