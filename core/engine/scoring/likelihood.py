"""Log-likelihood of whole texts, and of several models on the same texts.

The result of `score_models` has the form of `likelihood --json`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import torch

from ...config.config import ModelConfig, RunConfig
from ...errors import ConfigError
from ...metrics.token_changes import gained_and_lost
from ..models.devices import autocast, choose_device
from ..models.load import load
from ..models.logits import ScoredPositions
from ..models.models import Loaded, at_precision
from .evaluate import score_positions
from .rows import encode


@dataclass(frozen=True)
class TextScore:
    """Log-likelihood of one text, token by token; the prefix is context and not scored."""

    tokens: list[str]
    log_likelihoods: list[float]
    ranks: list[int]
    bytes: int
    prefix: str
    window: int
    stride: int
    words: int = 0  # split on white space

    @property
    def total(self) -> float:
        return math.fsum(self.log_likelihoods)

    @property
    def per_token(self) -> list[tuple[str, float, int]]:
        """Each scored token, its log-likelihood in nats and its rank in the vocabulary."""
        return list(zip(self.tokens, self.log_likelihoods, self.ranks, strict=True))


def rolling_windows(n: int, window: int, context: int) -> Iterator[tuple[int, int, int]]:
    """Windows over n tokens, each token scored once: (first input, first scored, end) (K3).

    Inputs are the tokens [first input, end - 1), position -1 being the prefix; targets are
    [first scored, end).
    """
    if n <= 0:
        return
    end = min(window, n)
    yield -1, 0, end
    step = window - context + 1
    while end < n:
        start, end = end, min(end + step, n)
        yield end - window - 1, start, end


@torch.inference_mode()
def score_text(
    loaded: Loaded, text: str, precision: str = "float32", context: int = 1
) -> Iterator[int | TextScore]:
    """Log-likelihood of a whole text in rolling windows; yields tokens done, at last the score."""
    ids = encode(loaded, [text])[0]
    window = loaded.max_length
    loaded = at_precision(loaded, precision)
    head = ScoredPositions(loaded.model)
    likelihoods: list[float] = []
    ranks: list[int] = []
    padded = [loaded.prefix_id, *ids]  # token i stands at i + 1
    with loaded.active(), autocast(loaded.device, precision):
        for first, start, end in rolling_windows(len(ids), window, context):
            inputs = torch.tensor([padded[first + 1 : end]], device=loaded.device)
            # what stands before the first scored token is context, and is not projected
            states = head.hidden(inputs, torch.ones_like(inputs))[0, start - first - 1 :]
            targets = torch.tensor(ids[start:end], device=loaded.device)
            found, _, places = score_positions(head, states, targets, ranked=True)
            likelihoods += found.tolist()
            ranks += places.tolist()
            yield end
    yield TextScore(
        tokens=token_texts(loaded, ids),
        log_likelihoods=likelihoods,
        ranks=ranks,
        bytes=len(text.encode()),
        prefix=loaded.tokenizer.convert_ids_to_tokens(loaded.prefix_id),
        window=window,
        stride=window - context + 1,
        words=len(text.split()),
    )


def token_texts(loaded: Loaded, ids: Sequence[int]) -> list[str]:
    """What each token adds to the text: decoded alone, some would lose their space."""
    anchor = encode(loaded, ["a"])[0]
    before = len(loaded.tokenizer.decode(anchor))
    texts: list[str] = loaded.tokenizer.batch_decode([[*anchor, i] for i in ids])
    return [text[before:] for text in texts]


class Texts(msgspec.Struct, forbid_unknown_fields=True):
    """The question: every text under every model."""

    models: list[str]
    texts: list[str]
    max_length: int | None = None


def score_models(request: Texts, progress: Callable[[str], object] = str) -> dict[str, Any]:
    """Every text under every model; each difference is against the first model."""
    if not request.models or not any(request.texts):
        raise ConfigError("likelihood needs at least one model and one text that is not empty")
    rows = [_score_model(name, request, progress) for name in request.models]
    return {
        "texts": len(request.texts),
        "models": rows,
        "differences": [_difference(rows[0], row) for row in rows[1:]],
    }


def _score_model(name: str, request: Texts, progress: Callable[[str], object]) -> dict[str, Any]:
    progress(f"loading {name}")
    config = RunConfig(
        task="generation", model=ModelConfig(base=name, max_length=request.max_length)
    )
    loaded = load(config, name)
    loaded.model.to(choose_device(config))
    scores: list[TextScore] = []
    for number, text in enumerate(request.texts, 1):
        progress(f"{name}: text {number} of {len(request.texts)}")
        *_, score = score_text(loaded, text)
        assert isinstance(score, TextScore)
        scores.append(score)
    return _summary(name, scores)


def _summary(name: str, scores: list[TextScore]) -> dict[str, Any]:
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
