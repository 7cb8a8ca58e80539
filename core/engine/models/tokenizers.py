"""What a tokenizer and its model have in common: embeddings for its tokens, the same tokens in two.

A token without an embedding is found before a row with it is read (E4); two models are compared
token by token only where they read the same tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import Fault, ModelError
from ...run.events import ModelsCompared
from ..scoring.rows import TokenRows
from .models import Loaded

SHOWN = 5  # tokens and rows named
REMEDY = (
    "Save the model after model.resize_token_embeddings(len(tokenizer)), "
    "or take the tokens out of the tokenizer"
)

EXAMPLES = 5
PARTS = (
    ("chat template", "chat_template"),
    ("beginning token", "bos_token"),
    ("end token", "eos_token"),
    ("closing token", "sep_token"),
)


def embeddings_of(loaded: Loaded) -> int:
    """Rows of the embedding: the ids that the model can read."""
    embedding: Any = loaded.model.get_input_embeddings()
    return int(embedding.weight.shape[0])


def embed_special_tokens(model: Any, tokenizer: Any, name: str, needed: Sequence[str]) -> None:
    """Tokens that ftev itself puts into rows have an embedding from here on.

    A pad token that was added without one is replaced by the end token: padding is masked by its
    place. Raises ModelError for one of `needed` ("eos"), which every row has.
    """
    size = int(model.get_input_embeddings().weight.shape[0])
    found = {kind: getattr(tokenizer, f"{kind}_token_id") for kind in needed}
    if beyond := {
        i: getattr(tokenizer, f"{k}_token") for k, i in found.items() if (i or 0) >= size
    }:
        what = f"the model has embeddings for {size:,} tokens, and none for {_named(beyond)}"
        raise ModelError(Fault(name, what, REMEDY))
    if tokenizer.pad_token_id >= size:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.sep_token


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
    sizes = (
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
        return f"{name}: {sizes}. No row uses the others: {_named(outside)}. {REMEDY}"
    lacking = {i: outside.get(i, f"id {i}") for i in sorted(used)}
    what = f"{sizes}; it cannot read {_named(lacking)}, which stand in {' and '.join(faults)}"
    raise ModelError(Fault(name, what, REMEDY))


def check_prompt(loaded: Loaded, ids: Sequence[int]) -> None:
    """Raises ModelError for a prompt that the model cannot read; on a GPU it would end the run."""
    size = embeddings_of(loaded)
    if lacking := sorted({i for i in ids if i >= size}):
        names = loaded.tokenizer.convert_ids_to_tokens(lacking)
        tokens = _named(dict(zip(lacking, names, strict=True)))
        raise ModelError(Fault("prompt", f"the model has no embedding for {tokens}", REMEDY))


def _rows_with(rows: TokenRows, size: int) -> list[tuple[int, set[int]]]:
    """Places of the rows that hold ids beyond the embedding, with these ids."""
    over = ((i, ids[ids >= size]) for i, ids in enumerate(rows.ids))
    return [(i, set(np.unique(ids).tolist())) for i, ids in over if len(ids)]


def _named(tokens: Mapping[int, str]) -> str:
    return _listed(f"{token!r} (id {i})" for i, token in tokens.items())


def _listed(parts: Any) -> str:
    every = list(parts)
    return ", ".join(every[:SHOWN]) + (", …" if len(every) > SHOWN else "")


def same_tokens(a: Loaded, b: Loaded) -> bool:
    """Whether the ids that one tokenizer gives mean the same to the other."""
    return a.tokenizer is b.tokenizer or a.tokenizer.get_vocab() == b.tokenizer.get_vocab()


def reads_alike(a: Loaded, b: Loaded) -> bool:
    """Whether rows made for one model are those that the other would have made for itself."""
    same = (a.max_length, a.labels, a.prefix_id if not a.labels else None) == (
        b.max_length,
        b.labels,
        b.prefix_id if not b.labels else None,
    )
    parts = [(getattr(m.tokenizer, f, None) for _, f in PARTS) for m in (a, b)]
    return same and list(parts[0]) == list(parts[1]) and same_tokens(a, b)


def compare_models(base: Loaded, tuned: Loaded) -> ModelsCompared:
    """Vocabularies token by token, templates and the tokens that begin and end a text."""
    ours, theirs = base.tokenizer.get_vocab(), tuned.tokenizer.get_vocab()
    differing = [t for t in ours.keys() | theirs.keys() if ours.get(t) != theirs.get(t)]
    parts = [
        name
        for name, field in PARTS
        if getattr(base.tokenizer, field, None) != getattr(tuned.tokenizer, field, None)
    ]
    outside = next(
        (n for n, m in (("base", base), ("tuned", tuned)) if tokens_without_embedding(m)), ""
    )
    return ModelsCompared(
        same_vocabulary=not differing,
        same_template=not parts,
        base_tokens=len(ours),
        tuned_tokens=len(theirs),
        differing=len(differing),
        examples=sorted(differing)[:EXAMPLES],
        differing_parts=parts,
        outside=outside,
    )
