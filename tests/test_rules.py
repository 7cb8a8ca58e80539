"""Every rule about numbers has a test named after it: a rule can never lose its test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
COUNTS = {"L": 8, "M": 5, "K": 5, "C": 7, "S": 9, "B": 2, "D": 3, "T": 5, "G": 3, "V": 15, "E": 5}
RULES = [f"{letter}{n}" for letter, count in COUNTS.items() for n in range(1, count + 1)]
RULES.append("S2b")
NAME = re.compile(r"test_([A-Z]\d+[a-z]?)_\w+")


def rules_named_in(source: str) -> set[str]:
    """Rules after which a test function of this source is named, where it asserts something."""
    return {
        match[1]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (match := NAME.fullmatch(node.name))
        and _can_fail(node)
    }


def _can_fail(test: ast.AST) -> bool:
    """It asserts, expects an error, or calls one that does so by its name."""
    for node in ast.walk(test):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Attribute) and node.attr in ("raises", "warns"):
            return True
    return False


@pytest.fixture(scope="module")
def tested() -> set[str]:
    found: set[str] = set()
    for path in sorted(TESTS.rglob("test_*.py")):
        found |= rules_named_in(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_test_named_after_it(rule: str, tested: set[str]) -> None:
    assert rule in tested, f"no test is named test_{rule}_…"


def test_no_test_is_named_after_a_rule_that_does_not_exist(tested: set[str]) -> None:
    assert tested <= set(RULES)


def test_a_test_without_an_assertion_does_not_count() -> None:
    source = (
        "def test_L1_a():\n    pass\nasync def test_L2_b():\n    assert 1\ndef test_x(): assert 1"
    )
    assert rules_named_in(source) == {"L2"}
