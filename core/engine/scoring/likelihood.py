"""Average log-likelihood of texts under one or more models, as a process of its own.

    echo '{"models": ["a", "b"], "texts": ["…"]}' | python -m ftev.core.engine.scoring.likelihood

The result has the form of `likelihood --json`.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import msgspec

from ...config.config import ModelConfig, RunConfig
from ...errors import ConfigError
from ...metrics.token_changes import gained_and_lost
from ..worker.pipe import answer_stdin, tell


class Request(msgspec.Struct, forbid_unknown_fields=True):
    models: list[str]
    texts: list[str]
    max_length: int | None = None


def score_models(request: Request) -> dict[str, Any]:
    """Every text under every model; each difference is against the first model."""
    if not request.models or not any(request.texts):
        raise ConfigError("likelihood needs at least one model and one text that is not empty")
    rows = [_score_model(name, request) for name in request.models]
    return {
        "texts": len(request.texts),
        "models": rows,
        "differences": [_difference(rows[0], row) for row in rows[1:]],
    }


def _score_model(name: str, request: Request) -> dict[str, Any]:
    from ..models.devices import choose_device
    from ..models.models import load
    from .evaluate import TextScore, score_text

    tell(progress=f"loading {name}")
    config = RunConfig(
        task="generation", model=ModelConfig(base=name, max_length=request.max_length)
    )
    loaded = load(config, name)
    loaded.model.to(choose_device(config))
    scores: list[TextScore] = []
    for number, text in enumerate(request.texts, 1):
        tell(progress=f"{name}: text {number} of {len(request.texts)}")
        *_, score = score_text(loaded, text)
        assert isinstance(score, TextScore)
        scores.append(score)
    return _summary(name, scores)


def _summary(name: str, scores: list[Any]) -> dict[str, Any]:
    tokens = sum(len(s.tokens) for s in scores)
    size = sum(s.bytes for s in scores)
    words = sum(s.words for s in scores)
    total = sum(s.total for s in scores)
    nan = float("nan")
    return {
        "model": name,
        "scored_tokens": tokens,
        "bytes": size,
        "total_log_likelihood": total,
        "average_log_likelihood": total / tokens if tokens else nan,
        "bits_per_byte": -total / (math.log(2) * size) if size else nan,
        "words": words,
        "log_likelihood_per_word": total / words if words else nan,
        "prefix": scores[0].prefix,
        "window": scores[0].window,
        "stride": scores[0].stride,
        "per_token": [list(token) for s in scores for token in s.per_token],
    }


def _difference(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Per token where both cut the text into the same tokens; in bits per byte always (K4).

    `gained` and `lost`: every token that became likelier or less likely, the greatest change first.
    """
    found: dict[str, Any] = {
        "from": base["model"],
        "to": other["model"],
        "bits_per_byte": other["bits_per_byte"] - base["bits_per_byte"],
    }
    if [t[0] for t in base["per_token"]] == [t[0] for t in other["per_token"]]:
        average = "average_log_likelihood"
        found[average] = other[average] - base[average]
        found |= gained_and_lost(base["per_token"], other["per_token"])
    return found


def main() -> int:
    return answer_stdin(Request, score_models)


if __name__ == "__main__":
    sys.exit(main())
