"""Scores rows: class probabilities and log-likelihoods of tokens, never the logits of a split."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from .batches import Batch, Layout, collate
from .devices import autocast
from .models import Loaded, ScoredPositions, without_cache
from .rows import TokenRows, encode

BY_BUDGET = Layout()
Scores = pl.DataFrame
FloatArray = NDArray[np.float64]


@torch.inference_mode()
def score_labels(
    loaded: Loaded, rows: TokenRows, precision: str, budget: int, layout: Layout = BY_BUDGET
) -> Iterator[int | Scores]:
    """Yields rows done, at last a frame: row_id, label, predicted, probabilities, nll (nats)."""
    labels = loaded.labels
    assert rows.labels is not None
    log_probabilities = np.empty((len(rows), len(labels)))
    with loaded.active() as model, autocast(loaded.device, precision):
        uncached = without_cache(model)
        for done, part, batch in _batches(loaded, rows, budget, layout):
            places = {"position_ids": batch.positions} if layout.pad_left else {}
            told = model(input_ids=batch.ids, attention_mask=batch.mask, **places, **uncached)
            logits = told.logits.float()
            log_probabilities[part] = logits.double().log_softmax(-1).cpu().numpy()
            yield done
    yield labelled(rows, labels, log_probabilities)


def labelled(rows: TokenRows, labels: Sequence[str], log_probabilities: FloatArray) -> Scores:
    """Predictions as they are stored. `log_probabilities`: [rows, labels], nats."""
    assert rows.labels is not None
    return pl.DataFrame(
        {
            "row_id": rows.row_ids,
            "label": [labels[i] for i in rows.labels],
            "predicted": [labels[i] for i in log_probabilities.argmax(1)],
            "probabilities": pl.Series(np.exp(log_probabilities)).arr.to_list(),
            "nll": -log_probabilities[np.arange(len(rows)), rows.labels],
        },
        schema_overrides={"row_id": pl.Int64},
    )


@torch.inference_mode()
def score_tokens(
    loaded: Loaded, rows: TokenRows, precision: str, budget: int, layout: Layout = BY_BUDGET
) -> Iterator[int | Scores]:
    """Yields rows done, at last a frame: row_id, nll (nats), tokens, correct, bytes."""
    assert rows.scored is not None
    nll, correct = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
    head = ScoredPositions(loaded.model)
    if not head.short_way:  # every position is projected: the batch shall be no wider than a chunk
        budget = min(budget, head.chunk)
    with loaded.active(), autocast(loaded.device, precision):
        for done, part, batch in _batches(loaded, rows, budget, layout):
            assert batch.scored is not None
            targets = batch.scored[:, 1:]
            places = batch.positions if layout.pad_left else None
            states = head.hidden(batch.ids, batch.mask, places)[:, :-1][targets]
            found = [
                (t, c) for t, c, _ in _score_positions(head, states, batch.ids[:, 1:][targets])
            ]
            if found:
                row = torch.nonzero(targets)[:, 0].cpu().numpy()
                lost = torch.cat([t for t, _ in found]).cpu().numpy()
                right = torch.cat([c for _, c in found]).cpu().numpy()
                nll[part] = np.bincount(row, weights=-lost, minlength=len(part))
                correct[part] = np.bincount(row, weights=right, minlength=len(part))
            yield done
    yield pl.DataFrame(
        {
            "row_id": rows.row_ids,
            "nll": nll,
            "tokens": rows.targets,
            "correct": correct,
            "bytes": rows.bytes,
        },
        schema_overrides={"row_id": pl.Int64, "bytes": pl.Int64},
    )


def _batches(
    loaded: Loaded, rows: TokenRows, budget: int, layout: Layout
) -> Iterator[tuple[int, NDArray[np.int64], Batch]]:
    done, lengths, pad = 0, rows.lengths, loaded.tokenizer.pad_token_id
    for part in layout.batches(lengths, budget):
        done += len(part)
        width = min(int(lengths[part].max()) + layout.extra, loaded.max_length)
        yield (
            done,
            part,
            collate(
                rows.ids,
                part,
                pad,
                loaded.device,
                scored=rows.scored,
                pad_left=layout.pad_left,
                width=width,
            ),
        )


def _score_positions(
    head: ScoredPositions, states: Tensor, targets: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """By chunks: log-likelihood (float64), whether it was the first choice, its rank."""
    size = head.chunk
    for start in range(0, len(targets), size):
        logits = head.logits(states[start : start + size])
        wanted = logits.gather(1, targets[start : start + size, None])
        likelihood = (wanted[:, 0] - logits.logsumexp(-1)).double()
        rank = (logits > wanted).sum(-1) + 1
        first = logits.argmax(-1) == targets[start : start + size]
        yield likelihood, first, rank


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
    head = ScoredPositions(loaded.model)
    likelihoods: list[float] = []
    ranks: list[int] = []
    padded = [loaded.prefix_id, *ids]  # token i stands at i + 1
    with loaded.active(), autocast(loaded.device, precision):
        for first, start, end in rolling_windows(len(ids), window, context):
            inputs = torch.tensor([padded[first + 1 : end]], device=loaded.device)
            states = head.hidden(inputs, torch.ones_like(inputs))[0, start - first - 1 :]
            targets = torch.tensor(ids[start:end], device=loaded.device)
            for likelihood, _, rank in _score_positions(head, states, targets):
                likelihoods += likelihood.tolist()
                ranks += rank.tolist()
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
