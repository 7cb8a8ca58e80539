"""Base, adapter and tuned models: loaded, saved, and asked for the scores of chosen positions."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import RunConfig
from ..demo import find_model
from ..errors import ModelError
from ..events import ModelLoaded
from .devices import free_memory

DEFAULT_MAX_LENGTH = 512
CAUSAL = ("ForCausalLM", "LMHeadModel")  # how the classes of language models end
CHUNK_ELEMENTS = 1 << 26  # logits computed at a time: 256 MB in float32
CPU_CHUNK_ELEMENTS = (
    7 << 20
)  # 28 MiB: of more than 32 each chunk would be new memory from the kernel
COPY_ROOM = 1.5  # times the size of a bfloat16 copy that must be free to make one
NO_LIMIT = 1_000_000  # tokenizers without a limit report about 1e30


@dataclass
class Loaded:
    """A model on its device with its tokenizer; `adapter_off` makes it the base of its adapter."""

    model: Any
    tokenizer: Any
    max_length: int
    labels: tuple[str, ...] = ()  # classification: in the order of the model's outputs
    new_head: bool = False
    adapter_off: bool = False
    new_modules: tuple[str, ...] = ()  # what the folder had no weights for

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
        self.model.eval()
        off = self.model.disable_adapter() if self.adapter_off else contextlib.nullcontext()
        try:
            with off:
                yield self.model
        finally:
            self.model.train(was_training)


def stop_ids(loaded: Loaded) -> set[int]:
    """EOS of the tokenizer and of the model's generation settings, the same for both (G1)."""
    told = getattr(loaded.model.generation_config, "eos_token_id", None)
    ids = told if isinstance(told, list) else [told]
    return {int(i) for i in [*ids, loaded.tokenizer.eos_token_id] if i is not None}


def source(name: str, revision: str | None = None) -> dict[str, Any]:
    """What every `from_pretrained` is told: where from, and that code there never runs."""
    return {
        "pretrained_model_name_or_path": find_model(name),
        "revision": revision,
        "trust_remote_code": False,
    }


def load_tokenizer(name: str, revision: str | None = None) -> Any:
    from transformers import AutoTokenizer

    with loading(name, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            find_model(name), revision=revision, trust_remote_code=False
        )
    if tokenizer.eos_token_id is None and tokenizer.sep_token_id is None:
        raise ModelError(f"{name}: its tokenizer has neither an EOS nor a SEP token")
    if tokenizer.pad_token_id is None:  # harmless: padding is masked by position, never by id
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.sep_token
    return tokenizer


def load_classifier(name: str, labels: Sequence[str], revision: str | None = None) -> Loaded:
    """A sequence classifier over `labels`; its head is new unless it already knows these labels."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    tokenizer = load_tokenizer(name, revision)
    with loading(name, "model"):
        config = AutoConfig.from_pretrained(
            find_model(name), revision=revision, trust_remote_code=False
        )
        known = _known_labels(config, labels)
        order = known or tuple(labels)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            **source(name, revision),
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            num_labels=len(order),
            id2label=dict(enumerate(order)),
            label2id={label: i for i, label in enumerate(order)},
        )
    untrained = bool(info["missing_keys"]) or bool(info["mismatched_keys"])
    new_head = untrained or known is None
    if new_head:
        order = tuple(labels)
        if not untrained:
            _forget_head(model)
        model.config.id2label = dict(enumerate(order))
        model.config.label2id = {label: i for i, label in enumerate(order)}
    model.config.pad_token_id = tokenizer.pad_token_id
    lacking = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    new = tuple(sorted({key.rpartition(".")[0] for key in lacking}))
    return Loaded(model, tokenizer, max_length(model, tokenizer), order, new_head, new_modules=new)


def _forget_head(model: Any) -> None:
    """A head of as many other labels says nothing about these."""
    for name, module in model.named_children():
        if name != model.base_model_prefix:
            for parameter in module.parameters():
                if parameter.ndim > 1:
                    nn.init.normal_(parameter, std=model.config.initializer_range)
                else:
                    nn.init.zeros_(parameter)


def _known_labels(config: Any, labels: Sequence[str]) -> tuple[str, ...] | None:
    """The model's own label order where it is a classifier of exactly these labels."""
    own = tuple(str(config.id2label[i]) for i in sorted(config.id2label or {}))
    if set(own) == set(labels):
        return own
    numbered = tuple(str(i) for i in range(len(own)))
    if set(labels) == set(numbered) and own == tuple(f"LABEL_{i}" for i in range(len(own))):
        return numbered
    return None


def load_causal(name: str, revision: str | None = None) -> Loaded:
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(name, revision)
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{name}: its tokenizer has no EOS token: it cannot learn where to end")
    with loading(name, "model"):
        model, info = AutoModelForCausalLM.from_pretrained(
            **source(name, revision),
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:3])
        raise ModelError(f"{name}: not a trained causal language model; it lacks {missing}")
    return Loaded(model, tokenizer, max_length(model, tokenizer))


def is_causal(config: RunConfig) -> bool:
    """Whether a run's base is a language model by itself, whatever it is tuned to be."""
    from transformers import AutoConfig

    with loading(config.model.base, "model"):
        found = AutoConfig.from_pretrained(
            find_model(config.model.base), revision=config.model.revision, trust_remote_code=False
        )
    return any(name.endswith(CAUSAL) for name in found.architectures or ())


def load(config: RunConfig, name: str, labels: Sequence[str] = ()) -> Loaded:
    """Base or tuned model of a run, by its task; an adapter folder brings its base with it."""
    if (Path(name) / "adapter_config.json").exists():
        base = load(config, config.model.base, labels)
        return attach_adapter(base, name)
    revision = config.model.revision if name == config.model.base else None
    if config.is_classification:
        loaded = load_classifier(name, labels, revision)
    else:
        loaded = load_causal(name, revision)
    if config.model.max_length:
        loaded.max_length = min(config.model.max_length, loaded.max_length)
    return loaded


def max_length(model: Any, tokenizer: Any) -> int:
    limits = [DEFAULT_MAX_LENGTH]
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions:
        offset = _position_offset(model)
        limits.append(positions - offset)
    if tokenizer.model_max_length < NO_LIMIT:
        limits.append(int(tokenizer.model_max_length))
    return min(limits)


def _position_offset(model: Any) -> int:
    """RoBERTa and its kin count positions from pad_token_id + 1."""
    table = next((m for n, m in model.named_modules() if n.endswith("position_embeddings")), None)
    padding = getattr(table, "padding_idx", None)
    return padding + 1 if padding is not None else 0


@contextlib.contextmanager
def loading(name: str, what: str) -> Iterator[None]:
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # transformers raises many kinds; the text is what helps
        told = " ".join(str(error).split())[:400]
        advice = (
            "The folder must hold config.json, model.safetensors and the tokenizer's files"
            if Path(name).exists()
            else "It is no local folder; as a hub id it needs the network or a filled cache"
        )
        raise ModelError(f"{name}: the {what} cannot be loaded: {told}. {advice}") from error


def add_adapter(loaded: Loaded, config: RunConfig) -> None:
    """Wrap the model with a fresh LoRA adapter; a new classifier head is trained with it."""
    from peft import LoraConfig, TaskType, get_peft_model

    lora = config.model.lora
    task = TaskType.SEQ_CLS if config.is_classification else TaskType.CAUSAL_LM
    targets = None if lora.target_modules == "auto" else lora.target_modules
    try:
        loaded.model = get_peft_model(
            loaded.model,
            LoraConfig(
                task_type=task,
                r=lora.r,
                lora_alpha=lora.alpha,
                lora_dropout=lora.dropout,
                target_modules=targets,
                modules_to_save=_saved_whole(loaded),
            ),
        )
    except ValueError as error:
        raise ModelError(
            f"{config.model.base}: no adapter fits: {error}. "
            'Set model.lora.target_modules, for instance to "all-linear"'
        ) from error


def _saved_whole(loaded: Loaded) -> list[str] | None:
    """New modules beside the head: peft saves heads by name, and would leave a random pooler out.

    Its weights stand in no folder: left out of the adapter, they are drawn anew by who loads it.
    """
    if not loaded.labels:
        return None
    heads = ("classifier", "score")
    new = [m for m in loaded.new_modules if not any(part in heads for part in m.split("."))]
    return [*heads, *new]


def attach_adapter(base: Loaded, folder: str, *, trainable: bool = False) -> Loaded:
    from peft import PeftModel

    with loading(folder, "adapter"):
        model = PeftModel.from_pretrained(
            base.model, folder, is_trainable=trainable, use_safetensors=True
        )
    return Loaded(model, base.tokenizer, base.max_length, base.labels)


def save(loaded: Loaded, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
    """The model (or adapter) and its tokenizer, in safetensors, loadable with from_pretrained.

    `weights`: what stands for its own, where those are shared out over devices.
    """
    loaded.model.save_pretrained(folder, state_dict=weights)
    loaded.tokenizer.save_pretrained(folder)


def describe(loaded: Loaded, name: str) -> ModelLoaded:
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
    )


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


def without_cache(model: Any) -> dict[str, bool]:
    """What a forward pass is told so that it keeps no keys and values (L8)."""
    return {"use_cache": False} if takes(model, "use_cache") else {}


def left_padding_refused(loaded: Loaded) -> str:
    """Why this model's rows cannot be padded on the left; empty where they can.

    An encoder reads the class from a row's first place, and only a model that is told positions
    counts them from a row's first token.
    """
    if not takes(loaded.model, "past_key_values"):
        return "an encoder reads a row from its first place"
    if not takes(loaded.model, "position_ids"):
        return "the model cannot be told where in a padded row its first token stands"
    return ""


class ScoredPositions(nn.Module):
    """Logits of a causal model at chosen positions only: [rows, tokens] -> [chosen, vocabulary].

    The vocabulary is by far the widest thing a language model makes, so prompt and padding
    positions are not projected (L4). Some architectures scale or cap logits after the projection;
    whether the short way gives the model's own logits is therefore checked on a real row, and where
    it does not, the model's full forward is used.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._room: Tensor | None = None
        self.short_way = self._agrees()

    @property
    def _causal(self) -> Any:
        return unwrapped(self.model)

    @property
    def chunk(self) -> int:
        """Positions projected at a time, so that their logits stay within CHUNK_ELEMENTS."""
        on_cpu = next(self.model.parameters()).device.type == "cpu"
        elements = min(CHUNK_ELEMENTS, CPU_CHUNK_ELEMENTS) if on_cpu else CHUNK_ELEMENTS
        return max(1, elements // int(self.model.config.vocab_size))

    def hidden(self, ids: Tensor, mask: Tensor, positions: Tensor | None = None) -> Tensor:
        """Last hidden states, or logits where the short way is closed."""
        places = {} if positions is None else {"position_ids": positions}
        if self.short_way:
            backbone = getattr(self._causal, self._causal.base_model_prefix)
            out = backbone(input_ids=ids, attention_mask=mask, use_cache=False, **places)
            return out.last_hidden_state
        return self.model(input_ids=ids, attention_mask=mask, use_cache=False, **places).logits

    @property
    def matrix(self) -> Tensor | None:
        """The projection's weight, [vocabulary, hidden], where it is one matrix and no more."""
        head = self._causal.get_output_embeddings()
        plain = self.short_way and type(head) is nn.Linear and head.bias is None
        return head.weight if plain else None

    def logits(self, states: Tensor) -> Tensor:
        """float32 logits of the states given: [chosen, hidden] -> [chosen, vocabulary] (L3)."""
        return self.projected(states).float()

    def projected(self, states: Tensor, room: Tensor | None = None) -> Tensor:
        """The same in the precision that the model computes in, in `room` if there is one."""
        if room is not None and self.matrix is not None:
            return torch.mm(states, self.matrix.t(), out=room[: len(states)])
        return self._causal.get_output_embeddings()(states) if self.short_way else states

    def room(self, states: Tensor) -> Tensor | None:
        """For the logits of a chunk, to be used again and again; None where they need their own.

        A chunk of new memory each time leaves holes that small tensors settle in.
        """
        matrix = self.matrix
        if matrix is None or matrix.dtype != states.dtype or states.requires_grad:
            return None
        if torch.is_autocast_enabled(states.device.type):  # it knows nothing of given memory
            return None
        if self._room is None or self._room.dtype != states.dtype:
            self._room = states.new_empty(self.chunk, len(matrix))
        return self._room

    @torch.no_grad()
    def _agrees(self) -> bool:
        causal = self._causal
        if causal.get_output_embeddings() is None or not hasattr(causal, causal.base_model_prefix):
            return False
        was_training = self.model.training
        self.model.eval()
        device = next(self.model.parameters()).device
        ids = torch.arange(8, device=device)[None] % causal.config.vocab_size
        mask = torch.ones_like(ids)
        full = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits.float()
        self.short_way = True
        try:
            short = self.logits(self.hidden(ids, mask))
        except (AttributeError, TypeError):
            return False
        finally:
            self.model.train(was_training)
        return bool(torch.allclose(full, short, rtol=1e-4, atol=1e-4))
