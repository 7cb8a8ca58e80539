"""A question on stdin, its answer on stdout: how the engine serves a command without a run.

    echo '{"models": ["a", "b"], "texts": ["…"]}' | python -m ftev.core.engine.ask likelihood
    echo '{"config": {…}}' | python -m ftev.core.engine.ask preview
    echo '{}' | python -m ftev.core.engine.ask kernels
    echo '{"run": "…", "out": "…"}' | python -m ftev.core.engine.ask merge
    echo '{"run": "…", "split": "test", "row_id": 3}' | python -m ftev.core.engine.ask row_tokens

JSON lines out: {"progress": …} any number of times, then {"result": …} or {"error": …}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import FtevError
from ..files.reading import decode_json
from ..run.events import spell_numbers
from .worker.endings import explain

Question = TypeVar("Question")
Progress = Callable[[str], None]


def answer_stdin(
    kind: type[Question],
    answer: Callable[[Question, Progress], dict[str, Any]],
    *,
    weights: bool = True,
) -> int:
    """Read one question, print its answer, return the exit code."""
    from .models.imports import import_models

    import_models(alone=True, weights=weights)
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        question = decode_json(sys.stdin.buffer.read(), kind)
    except ValueError as error:
        _print(error=f"not a request: {error}")
        return 2
    try:
        _print(result=answer(question, lambda text: _print(progress=text)))
    except Exception as error:
        _print(error=explain(error))
        return error.exit_code if isinstance(error, FtevError) else 1
    return 0


def _print(**message: Any) -> None:
    print(json.dumps(spell_numbers(message)), flush=True)


def main() -> int:
    """Answer the question that the argument names; only its own part of the engine is imported."""
    match sys.argv[1:]:
        case ["likelihood"]:
            from .scoring.token_scores import Texts, score_models

            return answer_stdin(Texts, score_models)
        case ["preview"]:
            from .scoring.preview import Preview, preview

            return answer_stdin(Preview, preview, weights=False)
        case ["merge"]:
            from .scoring.merge import Merge, merge

            return answer_stdin(Merge, merge)
        case ["kernels"]:
            from .models.choices import Kernels, kernels

            return answer_stdin(Kernels, kernels)
        case ["row_tokens"]:
            from .scoring.token_scores import StoredRow, row_tokens

            return answer_stdin(StoredRow, row_tokens)
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
