"""A question on stdin, its answer on stdout: how the engine serves a command without a run.

JSON lines out: {"progress": …} any number of times, then {"result": …} or {"error": …}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from ...errors import FtevError
from ...files.reading import decode_json
from ...run.events import spell_numbers
from .errors import explain

Question = TypeVar("Question")


def answer_stdin(kind: type[Question], answer: Callable[[Question], dict[str, Any]]) -> int:
    """Read one question, tell its answer, return the exit code."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        question = decode_json(sys.stdin.buffer.read(), kind)
    except ValueError as error:
        tell(error=f"not a request: {error}")
        return 2
    try:
        tell(result=answer(question))
    except Exception as error:
        tell(error=explain(error))
        return error.exit_code if isinstance(error, FtevError) else 1
    return 0


def tell(**message: Any) -> None:
    print(json.dumps(spell_numbers(message)), flush=True)
