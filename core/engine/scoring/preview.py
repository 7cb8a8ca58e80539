"""What the tokenizer and the model's size say before a run: lengths, cuts, masks, memory.

No weights are loaded: the model is built without memory, from its configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...config.config import RunConfig
from ...config.config_file import check_config
from ...data.data import read_run_data
from ...files.reading import read_adapter
from ..models.heads import refuse_masked
from ..models.load import (
    add_adapter,
    find_origin,
    load_tokenizer,
    loading,
    max_length,
    set_template,
)
from ..models.models import Loaded, stop_ids
from ..models.tokenizers import check_vocabulary
from .chats import keys_not_rendered, notes_on_history
from .rows import TokenRows
from .scorer import find_scorer

SHOWN_TOKENS = 60
SHOWN_ROWS, WHOLE_ROW = 3, 600  # rows and tokens of each that a screen shows
BINS = 12
BIN_WIDTHS = tuple(m * 10**e for e in range(7) for m in (1, 2, 5))
BYTES_A_WEIGHT = 16  # float32 weight, gradient and the two averages of AdamW


class Preview(msgspec.Struct, forbid_unknown_fields=True):
    """The question: a run's configuration, not checked yet."""

    config: dict[str, Any]


def preview(question: Preview, progress: Callable[[str], object] = str) -> dict[str, Any]:
    """Lengths, cuts and masks of every split, and the size of the model and its training state.

    Raises ConfigError, DataError and ModelError with everything that would stop the run.
    """
    config = check_config(question.config)
    dataset = read_run_data(config)
    config = config.for_form(dataset.columns.form)
    progress(f"loading the tokenizer of {config.model.base}")
    loaded = _without_weights(config)
    loaded.labels = dataset.labels
    render = find_scorer(config.task_type.name).forms[dataset.columns.form]
    splits, rows_of = {}, {}
    unread, notes = list[str](), list[str]()
    for name, split in dataset.splits.items():
        progress(f"tokenising {name}")
        *_, rows = render(split.frame, loaded)
        assert isinstance(rows, TokenRows)
        splits[name], rows_of[name] = _lengths(rows, loaded), rows
        if "messages" in split.frame.columns and not notes + unread:
            unread = keys_not_rendered(split.frame, loaded.tokenizer)
            notes = notes_on_history(split.frame, loaded.tokenizer, stop_ids(loaded))
    check_vocabulary(loaded, config.model.base, rows_of)
    size = _size(loaded, config)
    if config.trains and config.model.adapter == "lora" and not read_adapter(config.model.base):
        add_adapter(loaded, config)  # raises where it fits no layer
    said = {"unread_keys": unread, "notes": notes}
    return {"max_length": loaded.max_length, "splits": splits, **size, **said}


def _without_weights(config: RunConfig) -> Loaded:
    from accelerate import init_empty_weights
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
    )
    from transformers.initialization import no_init_weights

    base = config.model.base
    origin = find_origin(config, base)
    tokenizer = load_tokenizer(origin.tokenizer, origin.revision)
    set_template(tokenizer, config)
    has_head = config.task_type.has_head
    kind = AutoModelForSequenceClassification if has_head else AutoModelForCausalLM
    # What is computed on torch's own "meta" brings sympy along, half a second; buffers are real.
    empty = init_empty_weights(include_buffers=False)
    with loading(base, "configuration"), no_init_weights(), empty:
        settings = AutoConfig.from_pretrained(**origin.place)
        if not has_head:
            refuse_masked(settings, base)
        model = kind.from_config(settings, trust_remote_code=False)
    with loading(base, "configuration"):
        model.tie_weights()
        if not has_head:
            model.generation_config = _generation_settings(config) or model.generation_config
    limit = max_length(model, tokenizer)
    if config.model.max_length:
        limit = min(limit, config.model.max_length)
    return Loaded(model, tokenizer, limit)


def _generation_settings(config: RunConfig) -> Any:
    """Where the folder keeps them: they may name more end tokens than the tokenizer."""
    from transformers import GenerationConfig

    try:
        origin = find_origin(config, config.model.base)
        return GenerationConfig.from_pretrained(origin.weights, revision=origin.revision)
    except OSError:  # many models have none
        return None


def _lengths(rows: TokenRows, loaded: Loaded) -> dict[str, Any]:
    """Token lengths, what was truncated, and a few rows with their scored tokens marked."""
    lengths, targets = rows.lengths, rows.targets
    summary: dict[str, Any] = {
        "rows": len(rows),
        "tokens": int(lengths.sum()),
        "median": int(np.median(lengths)),
        "p95": int(np.percentile(lengths, 95)),
        "longest": int(lengths.max()),
        "truncated_rows": rows.truncated_rows,
        "truncated_tokens": rows.truncated_tokens,
        "histogram": _histogram(lengths),
    }
    if rows.scored is not None:
        summary |= {
            "scored_tokens": int(targets.sum()),
            "masked_tokens": int(lengths.sum() - targets.sum()),
            "unscored_rows": int((targets == 0).sum()),
            "rows_without_eos": rows.rows_without_eos,
            "first_row": _marked(rows, 0, SHOWN_TOKENS, loaded),
            "rows_shown": [
                _marked(rows, row, WHOLE_ROW, loaded) for row in range(min(SHOWN_ROWS, len(rows)))
            ],
        }
    return summary


def _marked(rows: TokenRows, row: int, most: int, loaded: Loaded) -> list[tuple[str, bool]]:
    """The first tokens of a row as text, each with whether it is scored."""
    assert rows.scored is not None
    texts = loaded.tokenizer.batch_decode([[i] for i in rows.ids[row][:most].tolist()])
    return list(zip(texts, rows.scored[row][:most].tolist(), strict=True))


def _histogram(lengths: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Rows by their tokens: from, to (both counted in) and how many, in bins of one width."""
    width = next(w for w in BIN_WIDTHS if w * BINS > lengths.max())
    counts = np.bincount((lengths - 1) // width)
    return [(i * width + 1, (i + 1) * width, int(n)) for i, n in enumerate(counts)]


def _size(loaded: Loaded, config: RunConfig) -> dict[str, Any]:
    """Parameters, and bytes of weights, gradients and optimizer; activations come on top."""
    parameters = sum(p.numel() for p in loaded.model.parameters())
    full = config.model.adapter == "none"
    shape = loaded.model.config.get_text_config()
    return {
        "parameters": parameters,
        "state_bytes": parameters * (BYTES_A_WEIGHT if full else 4),
        "layers": getattr(shape, "num_hidden_layers", 0),
        "hidden": getattr(shape, "hidden_size", 0),
        "vocab": getattr(shape, "vocab_size", 0),
    }
