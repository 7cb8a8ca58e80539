"""What tuning cost on neutral text: the loss of base and tuned on the same tokens, in windows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import polars as pl

from ..metrics.analyses import Forgetting
from ..metrics.comparisons import compare


def forgetting(base: Sequence[float], tuned: Sequence[float], window: int) -> Forgetting | None:
    """The paired difference of the loss, tuned less base, in nats per token.

    `base` and `tuned` are log-likelihoods of the same tokens. The unit that is resampled is a run
    of `window` tokens, because neighbouring tokens depend on each other; one window alone has no
    interval. None where the two models did not score the same tokens.
    """
    if len(base) != len(tuned) or not len(base):
        return None
    frames = [_by_window(scores, window) for scores in (base, tuned)]
    [loss] = compare(
        "general_text", "base", frames[0], "tuned", frames[1], None, None, metrics=("loss",)
    )
    return Forgetting(
        **msgspec.structs.asdict(loss), tokens=len(base), window=window, windows=len(frames[0])
    )


def _by_window(scores: Sequence[float], window: int) -> pl.DataFrame:
    """Sums over each run of tokens, as a language model's rows are stored; without bytes."""
    starts = np.arange(0, len(scores), max(1, window))
    tokens = np.diff(starts, append=len(scores))
    nll = -np.add.reduceat(np.asarray(scores, dtype=np.float64), starts)
    zeros = np.zeros(len(starts), dtype=np.int64)
    return pl.DataFrame(
        {
            "row_id": np.arange(len(starts)),
            "nll": nll,
            "tokens": tokens,
            "correct": zeros,
            "bytes": zeros,
        }
    )
