"""The likeliest of a few given answers: an untrained base's labels, closed sets of completions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...data.rows import input_of
from ...errors import ModelError
from ..models.load import is_causal, load_causal
from ..models.models import Loaded
from ..worker.session import Session
from .classification import most_likely
from .evaluate import score_tokens
from .rows import TokenRows, completion_rows, encode, fit_prompt

TEMPLATE = "{text}\nLabel: {label}"
METHOD = "zero-shot label likelihood, template "
MOST_CHOICES = 20  # different completions of a closed set
ZERO_SHOT_TOKENS = 1_000_000  # read for zero-shot labels unless they are asked for
LEAST_ROWS = 5  # rows of train that each of them has
SEQUENCES = 2_000  # texts with a label each that are scored at a time


@dataclass(frozen=True)
class Joined:
    """A context and what follows it as ids, and whether that had to be encoded by itself (K2)."""

    context: list[int]
    continuation: list[int]
    fallback: bool


def join_texts(loaded: Loaded, context: str, continuations: Sequence[str]) -> list[Joined]:
    """Each continuation after one context (K2).

    White space at the context's end is moved to the continuations; the whole is encoded and cut at
    the context's length. Where the whole does not begin with the context's ids, because a token
    spans the join, the continuation is encoded by itself.
    """
    head = context.rstrip()
    tails = [context[len(head) :] + c for c in continuations]
    context_ids, *wholes = encode(loaded, [head, *(head + t for t in tails)])
    k, found = len(context_ids), []
    for whole, tail in zip(wholes, tails, strict=True):
        if whole[:k] == context_ids and len(whole) > k:
            found.append(Joined(context_ids, whole[k:], False))
        else:
            found.append(Joined(context_ids, encode(loaded, [tail])[0], True))
    return found


@dataclass(frozen=True)
class LabelScores:
    """Log-likelihoods [rows, labels] in nats, and what it took to make them."""

    sums: NDArray[np.float64]
    fallbacks: list[int]  # of each row, labels that were encoded by themselves
    cut: list[bool]  # texts that lost their beginning


def label_likelihoods(
    loaded: Loaded, texts: Sequence[str], labels: Sequence[str], precision: str, budget: int
) -> Iterator[int | LabelScores]:
    """How likely each label is after each text in `TEMPLATE`; yields texts done, at last all."""
    sums = np.empty((len(texts), len(labels)))
    fallbacks: list[int] = []
    cut: list[bool] = []
    before, _ = TEMPLATE.split("{label}")
    size = max(1, SEQUENCES // len(labels))
    for start in range(0, len(texts), size):
        rows = TokenRows(scored=[])
        for text in texts[start : start + size]:
            joined = join_texts(loaded, before.format(text=text), labels)
            fallbacks.append(sum(j.fallback for j in joined))
            cut.append(sum(_add(rows, loaded, j) for j in joined) > 0)
        for done in score_tokens(loaded, rows, precision, budget):
            if isinstance(done, int):
                yield start + done // len(labels)
            else:
                part = done["nll"].to_numpy().reshape(-1, len(labels))
                sums[start : start + len(part)] = -part
    yield LabelScores(sums, fallbacks, cut)


def _add(rows: TokenRows, loaded: Loaded, joined: Joined) -> bool:
    """One more row, its continuation scored; whether its context was truncated."""
    assert rows.scored is not None
    whole = [loaded.prefix_id, *joined.context]
    said = joined.continuation[: loaded.max_length - 1]
    kept = fit_prompt(whole, loaded.max_length - len(said))
    rows.ids.append(np.asarray([*kept, *said], dtype=np.int32))
    rows.scored.append(np.arange(len(kept) + len(said)) >= len(kept))
    rows.row_ids.append(len(rows.row_ids))
    rows.bytes.append(0)
    return len(kept) < len(whole)


def zero_shot_frame(
    frame: pl.DataFrame, labels: Sequence[str], scores: LabelScores
) -> pl.DataFrame:
    """Predictions as a classifier's are stored: probabilities over the labels given the text.

    The choice is by the sum of a label's log-likelihood, which is its probability as the model has
    it; `chosen_by_byte` divides it by the label's UTF-8 bytes, which favours long labels.
    """
    sums = scores.sums
    peak = sums.max(1, keepdims=True)
    log_probabilities = sums - peak - np.log(np.exp(sums - peak).sum(1, keepdims=True))
    index = {label: i for i, label in enumerate(labels)}
    truth = np.array([index[label] for label in frame["label"]])
    size = np.array([max(1, len(label.encode())) for label in labels])
    return pl.DataFrame(
        {
            "row_id": frame["row_id"],
            "label": frame["label"].cast(pl.String),
            "predicted": most_likely(labels, sums),
            "probabilities": pl.Series(np.exp(log_probabilities)).arr.to_list(),
            "nll": -log_probabilities[np.arange(len(truth)), truth],
            "chosen_by_byte": most_likely(labels, sums / size),
            "candidates": [len(labels)] * len(truth),
            "fallbacks": scores.fallbacks,
            "text_cut": scores.cut,
            "method": [METHOD + repr(TEMPLATE)] * len(truth),
        }
    )


def zero_shot_base(s: Session, split: str) -> pl.DataFrame | None:
    """Labels by the untrained base's own likelihoods, where it is a language model; else None.

    It is loaded for this alone: a classifier's model has a new head in the place of the old one.
    """
    if s.base_has_head or not (s.task.has_labels and s.config.evaluate.zero_shot):
        return None
    if not is_causal(s.config):
        return None
    if _is_too_long(s, split):
        return None
    try:
        loaded = load_causal(s.config.model.base, s.config.model.revision)
    except ModelError as error:
        s.note(f"the base cannot label by likelihood: {error}", "warning")
        return None
    loaded.max_length = min(loaded.max_length, s.tuned.max_length)
    loaded.model.to(s.device)
    frame, settings = s.dataset.splits[split].frame, s.config.evaluate
    work = label_likelihoods(
        loaded, input_of(frame).to_list(), s.labels, settings.precision, settings.batch_tokens
    )
    scores = s.drive(work, f"zero-shot labels on {split}", frame.height)
    return zero_shot_frame(frame, s.labels, scores)


def _is_too_long(s: Session, split: str) -> bool:
    """Whether "auto" leaves zero-shot labels out: each label is read after each text."""
    rows, labels = s.rows[split], len(s.labels)
    tokens = int(rows.lengths.sum()) * labels
    if s.config.evaluate.zero_shot != "auto" or tokens <= ZERO_SHOT_TOKENS:
        return False
    s.note(
        f"the base does not label {split} by likelihood: {labels} labels after each of "
        f"{len(rows):,} texts are about {tokens / 1e6:.1f} million tokens. "
        "evaluate.zero_shot = true does it all the same"
    )
    return True


def closed_set(completions: Sequence[str]) -> list[str]:
    """The different completions of train where they are a choice among a few; else none."""
    counts = Counter(completions)
    few = 2 <= len(counts) <= MOST_CHOICES and min(counts.values()) >= LEAST_ROWS
    return sorted(counts) if few else []


def choose(
    loaded: Loaded, frame: pl.DataFrame, candidates: Sequence[str], precision: str, budget: int
) -> Iterator[int | pl.DataFrame]:
    """The likeliest candidate after each prompt, rendered as in training, its EOS scored too (M3).

    Rows whose reference is no candidate are left out. Yields rows done, at last row_id, chosen and
    candidates.
    """
    kept = frame.filter(pl.col("completion").is_in(list(candidates)))
    each = kept.select("row_id", "prompt").join(
        pl.DataFrame({"completion": list(candidates)}), how="cross", maintain_order="left_right"
    )
    *_, rows = completion_rows(each, loaded)
    assert isinstance(rows, TokenRows)
    k = len(candidates)
    for done in score_tokens(loaded, rows, precision, budget):
        if isinstance(done, int):
            yield done // k
            continue
        best = done["nll"].to_numpy().reshape(-1, k).argmin(1)
        yield pl.DataFrame(
            {
                "row_id": kept["row_id"],
                "chosen": pl.Series([candidates[i] for i in best], dtype=pl.String),
                "candidates": pl.Series([k] * kept.height, dtype=pl.Int64),
            }
        )
