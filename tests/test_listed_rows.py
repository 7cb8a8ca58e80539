"""A finding that counts more rows than it lists says so, beside the list and in its sentence."""

from __future__ import annotations

import story
from ftev.core.judgement.findings import find
from ftev.core.report.parts import describe_finding
from ftev.core.report.sections.verdict import describe_listed, describe_listed_of, sentences_of
from ftev.core.run.events import LeakageFound
from ftev.core.run.history import fold


def leakage(test: int, validation: int, pairs: int) -> dict[str, object]:
    """Found among rows, of which the first pairs stand in the list, two of test to one other."""
    rows = [("validation" if i % 3 == 0 else "test", i) for i in range(pairs)]
    event = LeakageFound(
        exact=test,
        near=0,
        ngram=0,
        pairs=[("train", 1, split, row, "exact", 1.0) for split, row in rows],
        leaked={"test": test, "validation": validation},
    )
    found = find(fold([*story.whole(), event]), story.config())
    return describe_finding(next(f for f in found if f.code == "leakage"))


def test_a_cut_list_says_how_many_there_are() -> None:
    found = leakage(112, 55, 90)
    assert found["counted"] == {"test": 112, "validation": 55}
    assert describe_listed(found) == "17 of 55 validation rows, 33 of 112 test rows"
    assert describe_listed_of(found, "test") == "33 of 112 test rows"
    assert sentences_of(found, {}).endswith(
        "and more. Listed: 17 of 55 validation rows, 33 of 112 test rows."
    )


def test_a_whole_list_says_nothing_more() -> None:
    found = leakage(4, 2, 6)
    assert describe_listed(found) == "2 validation rows, 4 test rows"
    assert "Listed" not in sentences_of(found, {})
