"""A model with its tokenizer, and what is asked of it: its description, its size, to be saved."""

from __future__ import annotations

import contextlib
import copy
import inspect
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...config.config import RunConfig
from ...data.demo import find_model
from ...files.reading import read_adapter, read_json
from ...run.events import ModelLoaded
from .devices import free_memory
from .heads import (
    listed,
)

COPY_ROOM = 1.5  # times the size of a bfloat16 copy that must be free to make one


@dataclass
class Loaded:
    """A model on its device with its tokenizer; `adapter_off` makes it the base of its adapter."""

    model: Any
    tokenizer: Any
    max_length: int
    labels: tuple[str, ...] = ()  # classification: in the order of the model's outputs
    new_head: bool = False
    adapter_off: bool = False
    new_modules: tuple[str, ...] = ()  # what the folder had no weights for, or others' labels
    outputs: tuple[str, ...] = ()  # the label of each output, where several are of one label
    replaced: tuple[str, ...] = ()  # labels of the base's own head, in whose place a new one is
    stored: str = "float32"  # the type that its weights are of where they lie

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def prefix_id(self) -> int:
        """The one token that training, scoring and generation put first (K1): BOS, else EOS."""
        bos = self.tokenizer.bos_token_id
        return int(bos if bos is not None else self.tokenizer.eos_token_id)

    @property
    def has_adapter(self) -> bool:
        return hasattr(self.model, "disable_adapter")

    def as_base(self) -> Loaded:
        """The same weights with the adapter off (K5)."""
        return replace(self, adapter_off=True)

    @contextlib.contextmanager
    def active(self) -> Iterator[Any]:
        """Gives the model ready to be asked: eval mode, adapter as it should be (L8)."""
        was_training = self.model.training
        self.model.eval()  # dropout off, whatever training has left on
        off = self.model.disable_adapter() if self.adapter_off else contextlib.nullcontext()
        try:
            with off:
                yield self.model
        finally:
            self.model.train(was_training)


def stop_ids(loaded: Loaded) -> set[int]:
    """EOS of the tokenizer and of the model's generation settings, the same for both (G1)."""
    found = getattr(loaded.model.generation_config, "eos_token_id", None)
    ids = found if isinstance(found, list) else [found]
    return {int(i) for i in [*ids, loaded.tokenizer.eos_token_id] if i is not None}


def size_of(loaded: Loaded) -> int:
    """Bytes of the weights that are saved of a model: those of its adapter, where it has one."""
    saved = (p for p in loaded.model.parameters() if p.requires_grad or not loaded.has_adapter)
    return sum(p.numel() * p.element_size() for p in saved)


def saved_dtype(loaded: Loaded, config: RunConfig) -> str:
    """The type that a run's weights are saved in. An adapter is small: it stays in float32."""
    if config.model.saved_dtype != "auto":
        return config.model.saved_dtype
    return "float32" if loaded.has_adapter else loaded.stored


@torch.no_grad()
def round_weights(loaded: Loaded, dtype: str) -> bool:
    """Give the weights that are saved the values that they have in a type, so that what is
    evaluated is what is loaded later. False, and nothing is changed, where one is beyond its range.
    """
    kind = getattr(torch, dtype)
    weights = [p for p in loaded.model.parameters() if p.requires_grad or not loaded.has_adapter]
    most = torch.finfo(kind).max
    if any(bool((p.isfinite() & (p.abs() > most)).any()) for p in weights):
        return False
    for weight in weights:
        weight.copy_(weight.to(kind))
    return True


def save(
    loaded: Loaded,
    folder: Path,
    weights: dict[str, Tensor] | None = None,
    dtype: str = "float32",
) -> None:
    """The model (or adapter) and its tokenizer, in safetensors, loadable with from_pretrained.

    `weights`: what stands for its own, where those are sharded over devices. `dtype`: of the saved
    weights.
    """
    if dtype != "float32":
        weights = _as_type(loaded.model, getattr(torch, dtype))
    loaded.model.save_pretrained(folder, state_dict=weights)
    if dtype != "float32" and (path := folder / "config.json").exists():
        settings = read_json(path, dict[str, Any]) | {"dtype": dtype}
        path.write_text(json.dumps(settings, indent=2) + "\n")
    loaded.tokenizer.save_pretrained(folder)
    if loaded.has_adapter and loaded.labels:  # its base's configuration does not know them
        config = copy.deepcopy(loaded.model.config)
        config.architectures = [type(unwrapped(loaded.model)).__name__]
        config.save_pretrained(folder)


def _as_type(model: Any, kind: torch.dtype) -> dict[str, Tensor]:
    """A state whose weights are of another type; two names of one weight stay names of one."""
    made: dict[int, Tensor] = {}
    state: dict[str, Tensor] = model.state_dict(keep_vars=True)
    for name, value in state.items():
        if isinstance(value, nn.Parameter) and value.is_floating_point():
            state[name] = made.setdefault(id(value), value.detach().to(kind))
    return state


def describe(loaded: Loaded, name: str) -> ModelLoaded:
    """Architecture, size and limits of a model, as an event."""
    model, tokenizer = loaded.model, loaded.tokenizer
    parameters = list(model.parameters())
    causal = not loaded.labels
    return ModelLoaded(
        name=name,
        architecture=type(unwrapped(model)).__name__,
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        layers=int(getattr(model.config, "num_hidden_layers", 0) or 0),
        vocab_size=int(model.config.vocab_size),
        max_length=loaded.max_length,
        prefix=tokenizer.convert_ids_to_tokens(loaded.prefix_id) if causal else "",
        new_head=loaded.new_head,
        replaced_labels=list(loaded.replaced),
        local=os.path.isdir(find_model(name)),
    )


def notes_on_base(loaded: Loaded, config: RunConfig) -> list[str]:
    """What somebody must know of the model that a run starts from: a new head, a given adapter."""
    base, notes = config.model.base, []
    if loaded.replaced:
        notes.append(
            f"{base} has a head that answers with {listed(loaded.replaced)}; the data's labels are "
            f"{listed(loaded.labels)}. A new head is trained in its place. [data] label_map keeps "
            "the old one, where the labels mean the same"
        )
    elif loaded.new_head and config.trains:
        notes.append(f"{base} has no head for these labels: a new one is trained")
    if config.trains and (adapter := read_adapter(base)):
        notes.append(f"the adapter of {base} is trained on, as it is: {adapter.in_words()}")
    return notes


def in_words(m: ModelLoaded) -> str:
    """`BertForSequenceClassification, 1.1 M parameters, 4 layers`."""
    scale, unit = next(
        (d, u) for d, u in ((1e9, "B"), (1e6, "M"), (1e3, "K"), (1, "")) if m.parameters >= d
    )
    words = [m.architecture, f"{m.parameters / scale:.3g} {unit} parameters", f"{m.layers} layers"]
    if m.trainable < m.parameters:
        words.append(f"{m.trainable:,} trained")
    if m.new_head:
        words.append("new head")
    return ", ".join(words)


def unwrapped(model: Any) -> Any:
    """The transformers model inside an adapter's wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def takes(model: Any, argument: str) -> bool:
    """Whether a model's forward knows an argument."""
    return argument in inspect.signature(unwrapped(model).forward).parameters


def at_precision(loaded: Loaded, precision: str) -> Loaded:
    """The model itself, or for bfloat16 a copy whose weights are rounded once and not each pass.

    The model that may be in training is not touched. Where memory has no room for the copy,
    autocast rounds each weight when it is used.
    """
    half = 2 * sum(p.numel() for p in loaded.model.parameters())
    room = free_memory(loaded.device)
    if precision == "float32" or (room is not None and room < half * COPY_ROOM):
        return loaded
    with torch.inference_mode(False), torch.no_grad():
        rounded = {
            id(p): nn.Parameter(p.to(torch.bfloat16), requires_grad=False)
            for p in loaded.model.parameters()
        }
        return replace(loaded, model=copy.deepcopy(loaded.model, rounded))


def cached(model: Any, cache: Any) -> dict[str, Any]:
    """Arguments of a forward pass that goes on from a cache and leaves one, if the model can."""
    if not takes(model, "past_key_values"):
        return without_cache(model)
    return {"past_key_values": cache, "use_cache": True}


def reads_padding(model: Any) -> bool:
    """Whether padding on the left would count as tokens: a model without positions, or one whose
    state goes through a row from its first place (Mamba, RWKV)."""
    inner = unwrapped(model)
    return not takes(inner, "position_ids") or getattr(inner, "_is_stateful", False)


def without_cache(model: Any) -> dict[str, bool]:
    """Arguments of a forward pass so that it keeps no keys and values (L8)."""
    return {"use_cache": False} if takes(model, "use_cache") else {}


def left_padding_refused(loaded: Loaded) -> str:
    """Why this model's rows cannot be padded on the left; empty where they can.

    An encoder reads the class from a row's first place, and only a model that takes positions
    counts them from a row's first token.
    """
    if loaded.labels and not takes(loaded.model, "past_key_values"):
        return "an encoder reads a row from its first place"
    if reads_padding(loaded.model):
        return "the model takes no positions: it would count padding on the left as tokens"
    return ""


def dtype_of(loaded: Loaded) -> str:
    """The weights' type, or types: `float32`."""
    kinds = {str(p.dtype).removeprefix("torch.") for p in loaded.model.parameters()}
    return ", ".join(sorted(kinds))


def tied(loaded: Loaded) -> bool:
    """Whether the head that makes tokens is the table that reads them."""
    model = unwrapped(loaded.model)
    head = model.get_output_embeddings()
    return head is not None and head.weight is model.get_input_embeddings().weight
