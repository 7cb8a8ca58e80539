"""Whether two models that are set against each other read the same tokens."""

from __future__ import annotations

from ...run.events import ModelsCompared
from ..models.models import Loaded
from ..models.vocabulary import tokens_without_embedding

EXAMPLES = 5
PARTS = (
    ("chat template", "chat_template"),
    ("beginning token", "bos_token"),
    ("end token", "eos_token"),
    ("closing token", "sep_token"),
)


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
