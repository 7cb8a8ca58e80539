"""Whether a model continues texts: what sees the words behind a place has nothing to predict (E3).

transformers loads a masked language model as a causal one without a word. Its loss is then that
of copying, far below any honest one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError

MASKED = ("ForMaskedLM", "ForPreTraining")  # how the classes of models that fill gaps end
PROBED = 12  # tokens
# Of the largest logit. The same shape computed twice differs by 1e-6 and less; a masked model
# of random small weights moved by 1e-2.
TOLERANCE = 1e-4
ADVICE = 'Name a causal base model, or use this one with task = "classification"'


def refuse_masked(config: Any, name: str) -> None:
    """Raises ModelError where the configuration is one of a masked language model."""
    masked = [a for a in getattr(config, "architectures", None) or () if a.endswith(MASKED)]
    if masked and not getattr(config, "is_decoder", False):
        raise ModelError(
            f"{name}: {masked[0]} is a masked language model: it sees the words behind a gap, "
            f"so it cannot be trained or scored as a causal one. {ADVICE}"
        )


@torch.inference_mode()
def refuse_looking_ahead(model: Any, name: str, longest: int) -> None:
    """Raises ModelError where earlier logits move when the last token is another one."""
    tokens = min(PROBED, longest)
    if tokens < 2:
        return
    was_training = model.training
    model.eval()
    try:
        one, other = _earlier_logits(model, tokens)
    except (RuntimeError, NotImplementedError, ImportError, TypeError, ValueError):
        return  # what cannot be computed here cannot be tried; whatever is wrong shows itself later
    finally:
        model.train(was_training)
    moved = float((one - other).abs().max() / one.abs().max())
    if moved > TOLERANCE:  # false for NaN: a broken model is another fault
        raise ModelError(
            f"{name}: not a causal language model: the logits of earlier tokens move by "
            f"{moved:.1%} when the last token is changed, so its loss would be that of copying. "
            f"{ADVICE}"
        )


def _earlier_logits(model: Any, tokens: int) -> tuple[Tensor, Tensor]:
    """Logits before the last token of two texts that differ in it alone."""
    embedding = model.get_input_embeddings().weight
    size = embedding.shape[0]
    ids = (torch.arange(tokens, device=embedding.device) * max(1, size // tokens) + 1)[None] % size
    last = ids.clone()
    last[0, -1] = (ids[0, -1] + size // 2) % size
    both = [
        model(input_ids=text, attention_mask=torch.ones_like(text)).logits[0, :-1].float()
        for text in (ids, last)
    ]
    return both[0], both[1]
