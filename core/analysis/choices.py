"""The likeliest of a few answers: labels that an untrained base chooses, closed completions.

What was chosen stands in the predictions (`chosen`, `chosen_by_byte`, ...): here it is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import polars as pl

from ..metrics.analyses import ClosedChoice, Commonest, OfBoth, ZeroShot
from ..metrics.clusters import change_p, read_clusters, share
from ..run.events import AnalysisComputed
from .predictions import Evaluation

MODELS = ("base", "tuned")
CLOSED_RULE = (
    "every completion of train that the prompt could have is scored after it with its EOS, as in "
    "training; the one with the highest log-likelihood, summed over its tokens, is chosen"
)


def choices(e: Evaluation) -> Iterator[AnalysisComputed]:
    """`closed_choice` of a language model, `zero_shot` of a classifier's untrained base."""
    chosen = {m: e.frames[m] for m in MODELS if m in e.frames and "chosen" in e.frames[m].columns}
    if set(chosen) == set(MODELS):
        found = _closed(chosen)
        if found:
            yield e.found(found)
    base = e.frames.get("base")
    if base is not None and "chosen_by_byte" in base.columns:
        yield e.found(_zero_shot(base), "base")


def _closed(frames: dict[str, pl.DataFrame]) -> ClosedChoice | None:
    joined = _choices_of(frames["base"], "base").join(
        _choices_of(frames["tuned"], "tuned").drop("reference"), on="row_id", maintain_order="left"
    )
    if not joined.height:
        return None
    right = {m: (joined[m] == joined["reference"]).to_numpy() for m in MODELS}
    clusters = read_clusters(joined)
    fixed = int((right["tuned"] & ~right["base"]).sum())
    broke = int((right["base"] & ~right["tuned"]).sum())
    counts = Counter(joined["reference"].to_list())
    commonest, n = counts.most_common(1)[0]
    p, method = change_p(right["tuned"].astype(float) - right["base"], clusters)
    return ClosedChoice(
        rows=joined.height,
        candidates=int(frames["base"]["candidates"].max()),  # type: ignore[arg-type]
        rule=CLOSED_RULE,
        accuracy=OfBoth(share(right["base"], clusters), share(right["tuned"], clusters)),
        commonest=Commonest(commonest, n, n / joined.height),
        difference=float(right["tuned"].mean() - right["base"].mean()),
        fixed=fixed,
        broke=broke,
        p=p,
        method=method,
    )


def _choices_of(frame: pl.DataFrame, model: str) -> pl.DataFrame:
    kept = frame.filter(pl.col("chosen").is_not_null())
    together = ["cluster"] if "cluster" in frame.columns and model == MODELS[0] else []
    chosen = pl.col("chosen").alias(model)
    return kept.sort("row_id").select("row_id", "reference", *together, chosen)


def _zero_shot(base: pl.DataFrame) -> ZeroShot:
    clusters = read_clusters(base)
    return ZeroShot(
        rows=base.height,
        method=base["method"][0],
        rule="the label with the highest log-likelihood, summed over its tokens",
        accuracy=share((base["predicted"] == base["label"]).to_numpy(), clusters),
        accuracy_by_byte=share((base["chosen_by_byte"] == base["label"]).to_numpy(), clusters),
        fallbacks=int(base["fallbacks"].sum()),
        scored=int(base["candidates"].sum()),
        texts_cut=int(base["text_cut"].sum()),
    )
