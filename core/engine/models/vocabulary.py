"""Tokens that a model has no embedding for, found before a row with one is read (E4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import Fault, ModelError
from ..scoring.rows import TokenRows
from .models import Loaded

SHOWN = 5  # tokens and rows named
REMEDY = (
    "Save the model after model.resize_token_embeddings(len(tokenizer)), "
    "or take the tokens out of the tokenizer"
)


def embeddings_of(loaded: Loaded) -> int:
    """Rows of the embedding: the ids that the model can read."""
    embedding: Any = loaded.model.get_input_embeddings()
    return int(embedding.weight.shape[0])


def tokens_without_embedding(loaded: Loaded) -> dict[int, str]:
    """Those tokens of the tokenizer, by their id."""
    size = embeddings_of(loaded)
    vocabulary = loaded.tokenizer.get_vocab().items()
    return dict(sorted((i, token) for token, i in vocabulary if i >= size))


def check_vocabulary(loaded: Loaded, name: str, splits: Mapping[str, TokenRows]) -> str:
    """What is to be said of tokens that no row uses; empty where each token has an embedding.

    Raises ModelError where a row uses one: it cannot be read.
    """
    outside = tokens_without_embedding(loaded)
    if not outside:
        return ""
    told = (
        f"the tokenizer has {len(loaded.tokenizer.get_vocab()):,} tokens and the model embeddings "
        f"for {embeddings_of(loaded):,}"
    )
    used, faults = set[int](), []
    for split, rows in splits.items():
        found = dict(_rows_with(rows, embeddings_of(loaded)))
        used.update(*found.values())
        if found:
            numbers = [rows.row_ids[i] for i in found]
            noun = "row" if len(found) == 1 else "rows"
            faults.append(f"{len(found):,} {noun} of {split} ({_listed(map(str, numbers))})")
    if not used:
        return f"{name}: {told}. No row uses the others: {_named(outside)}. {REMEDY}"
    lacking = {i: outside.get(i, f"id {i}") for i in sorted(used)}
    what = f"{told}; it cannot read {_named(lacking)}, which stand in {' and '.join(faults)}"
    raise ModelError(Fault(name, what, REMEDY))


def check_prompt(loaded: Loaded, ids: Sequence[int]) -> None:
    """Raises ModelError for a prompt that the model cannot read; on a GPU it would end the run."""
    size = embeddings_of(loaded)
    if lacking := sorted({i for i in ids if i >= size}):
        names = loaded.tokenizer.convert_ids_to_tokens(lacking)
        told = _named(dict(zip(lacking, names, strict=True)))
        raise ModelError(Fault("prompt", f"the model has no embedding for {told}", REMEDY))


def _rows_with(rows: TokenRows, size: int) -> list[tuple[int, set[int]]]:
    """Places of the rows that hold ids beyond the embedding, with these ids."""
    over = ((i, ids[ids >= size]) for i, ids in enumerate(rows.ids))
    return [(i, set(np.unique(ids).tolist())) for i, ids in over if len(ids)]


def _named(tokens: Mapping[int, str]) -> str:
    return _listed(f"{token!r} (id {i})" for i, token in tokens.items())


def _listed(parts: Any) -> str:
    every = list(parts)
    return ", ".join(every[:SHOWN]) + (", …" if len(every) > SHOWN else "")
