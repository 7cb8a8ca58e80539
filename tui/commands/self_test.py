"""What `eval --self-test` prints: the drift of every layout, and whether it may be trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...core.report.sections.parity import layout_rows, self_test_sentence
from ...core.run.history import History
from ...core.wording.numbers import format_drift
from .show import format_rows

NOT_PASSED = 1


def tell_self_test(history: History, emit: Callable[[str], None]) -> int:
    """A table a model; returns the exit code: 1 where a score depends on how rows are batched."""
    told = [
        (split, model, result)
        for split, analyses in history.analyses.items()
        for model, result in analyses.get("self_test", {}).items()
    ]
    for split, model, result in told:
        for line in _lines(split, model, result):
            emit(line)
    if not told:
        emit("self-test: no row was scored, so nothing was tested")
    return 0 if told and all(result["passed"] for *_, result in told) else NOT_PASSED


def _lines(split: str, model: str, r: Mapping[str, Any]) -> list[str]:
    columns = ["layout", "drift of a row's loss", "drift of a row's NLL", "changed predictions"]
    return [
        f"self-test: {self_test_sentence(model, split, r)}",
        *(f"  {line}" for line in format_rows(columns, layout_rows(r), words=columns[:1])),
        *(f"  {x['layout']}: not tested, {x['reason']}" for x in r["left_out"]),
        f"  nats; tolerance {format_drift(r['tolerance'])} for a row's loss "
        f"({r['device']}, {r['precision']})",
    ]
