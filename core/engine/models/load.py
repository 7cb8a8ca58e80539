"""Base, adapter and tuned models, loaded: from a folder or the hub, whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import torch
from jinja2 import TemplateError
from safetensors import safe_open
from torch import nn

from ...config.config import RunConfig
from ...data.demo import find_model
from ...errors import ConfigError, Fault, ModelError
from ...files.reading import (
    ADAPTER,
    SavedAdapter,
    check_adapter,
    check_model,
    pickled,
    read_adapter,
)
from .heads import (
    listed,
    name_outputs,
    own_names,
    read_outputs,
    redraw_head,
    refuse_head,
    refuse_kind,
    refuse_looking_ahead,
    refuse_masked,
    refuse_two_stacks,
    refuse_unsaved,
)
from .imports import import_adapters
from .models import Loaded
from .tokenizers import embed_special_tokens

DEFAULT_MAX_LENGTH = 512
CAUSAL = ("ForCausalLM", "LMHeadModel")  # how the classes of language models end
PEFT_HEADS = frozenset({"classifier", "score"})  # what peft saves of a classifier by itself
ONE_LABEL = "single_label_classification"  # of transformers' configurations
NAME_EOS = "Name eos_token in its tokenizer_config.json"
NO_LIMIT = 1_000_000  # tokenizers without a limit report about 1e30


@dataclass(frozen=True)
class Origin:
    """Where a model comes from: its weights (a whole path or a hub id), and an adapter on them."""

    name: str  # as it was asked for
    weights: str
    revision: str | None = None
    adapter: SavedAdapter | None = None

    @property
    def place(self) -> dict[str, Any]:
        """Arguments of `from_pretrained` for its weights; code that lies there never runs."""
        return {
            "pretrained_model_name_or_path": self.weights,
            "revision": self.revision,
            "trust_remote_code": False,
        }

    @property
    def tokenizer(self) -> str:
        """What the tokenizer is loaded from: the adapter's folder, where it was saved there."""
        if self.adapter and (self.adapter.folder / "tokenizer_config.json").exists():
            return str(self.adapter.folder)
        return self.weights

    @cached_property
    def saved(self) -> dict[str, list[int]]:
        """The adapter's weights as the model names them, with their shapes."""
        path = self.adapter.folder / ADAPTER if self.adapter else None
        if path is None or not path.exists():
            return {}
        with loading(self.name, "adapter"), safe_open(path, "pt") as file:
            return {_bare(k): file.get_slice(k).get_shape() for k in file.keys()}  # noqa: SIM118

    @property
    def head_rows(self) -> int:
        """Labels of the head that the adapter holds; 0 where it holds none."""
        heads = {("", head, "weight") for head in PEFT_HEADS} | {
            ("classifier", "out_proj", "weight")
        }
        found = {("", *name.split("."))[-3:]: shape[0] for name, shape in self.saved.items()}
        return next((rows for name, rows in found.items() if name in heads), 0)


def _bare(key: str) -> str:
    """A weight's name in the model that an adapter stands on."""
    return key.removeprefix("base_model.model.")


@dataclass(frozen=True)
class Asked:
    """What a classifier is loaded for."""

    trains: bool = True  # another head may be put in the place of its own
    complete: bool = False  # nothing of it may be new
    trainable: bool = False  # its adapter is trained on
    problem_type: str = ""  # what its configuration shall say
    label_map: Mapping[str, str] = field(default_factory=dict)


def check_origin(origin: Origin) -> None:
    """Raises ModelError for weights that are pickled or damaged, before a library opens them."""
    folder = Path(origin.weights)
    if os.path.isdir(folder):
        check_model(folder)
    if origin.adapter:
        check_adapter(origin.adapter.folder)


def load_tokenizer(name: str, revision: str | None = None) -> Any:
    """A tokenizer with an end token and a pad token. Raises ModelError without an end token."""
    from transformers import AutoTokenizer

    with loading(name, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            find_model(name), revision=revision, trust_remote_code=False
        )
    if tokenizer.eos_token_id is None and tokenizer.sep_token_id is None:
        raise ModelError(f"{name}: its tokenizer has no EOS and no SEP token. {NAME_EOS}")
    if tokenizer.pad_token_id is None:  # harmless: padding is masked by position, never by id
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.sep_token
    return tokenizer


def _load_classifier(origin: Origin, labels: Sequence[str], asked: Asked) -> Loaded:
    check_origin(origin)
    with loading(origin.name, "model"):
        config = _read_config(origin, labels, asked)
        refuse_two_stacks(config, origin.name)
        stored = stored_dtype(config)
    tokenizer = load_tokenizer(origin.tokenizer, origin.revision)
    with loading(origin.name, "model"):
        by_number = asked.problem_type == "regression"
        outputs = read_outputs(config, labels, asked.label_map, by_number=by_number)
        keeps = outputs.fits(labels, trains=asked.trains)
        kind = asked.problem_type or ONE_LABEL
        if not asked.trains and config.problem_type not in (None, kind):
            raise refuse_kind(origin.name, config.problem_type, kind)
        if asked.trains:
            name_outputs(config, outputs.names if keeps else labels)
            config.problem_type = asked.problem_type or config.problem_type
        model, info = _read_weights(origin, config)
    missing = set(info["missing_keys"]) - origin.saved.keys()
    resized = {key for key, *_ in info["mismatched_keys"]} - origin.saved.keys()
    new = missing | resized
    has_head = not missing or origin.adapter is not None
    if has_head and not keeps and (asked.complete or not asked.trains or origin.adapter):
        raise refuse_head(origin.name, outputs, labels)
    if new and asked.complete:
        raise refuse_unsaved(origin.name, sorted(new))
    if not new and not keeps:
        new = set(redraw_head(model))
    embed_special_tokens(model, tokenizer, origin.name, ("cls", "sep"))
    if not _position_offset(model):  # which another number would change, once it is loaded again
        model.config.pad_token_id = tokenizer.pad_token_id
    own = outputs.names if keeps else tuple(labels)
    loaded = Loaded(
        model,
        tokenizer,
        max_length(model, tokenizer),
        labels=tuple(dict.fromkeys(own)),
        new_head=bool(new),
        new_modules=tuple(sorted({key.rpartition(".")[0] for key in new})),
        outputs=own if len(set(own)) < len(own) else (),
        replaced=outputs.own if has_head and not keeps else (),
        stored=stored,
    )
    return attach_adapter(loaded, origin, trainable=asked.trainable)


def _read_config(origin: Origin, labels: Sequence[str], asked: Asked) -> Any:
    """A classifier's configuration. An adapter's names its labels; one without was saved by an
    earlier ftev beside a run's own labels, or by others who left them unnamed."""
    from transformers import AutoConfig

    adapter = origin.adapter
    if adapter and (adapter.folder / "config.json").exists():
        return AutoConfig.from_pretrained(adapter.folder, trust_remote_code=False)
    config = AutoConfig.from_pretrained(**origin.place)
    if rows := origin.head_rows:
        fits = read_outputs(config, labels, {}).fits(labels, trains=True)
        if asked.trains and asked.complete and rows == len(labels) and not fits:
            name_outputs(config, labels)
        elif rows != config.num_labels:
            config.num_labels = rows
    return config


def _read_weights(origin: Origin, config: Any) -> tuple[Any, dict[str, Any]]:
    from transformers import AutoModelForSequenceClassification

    model, info = AutoModelForSequenceClassification.from_pretrained(
        **origin.place,
        config=config,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    return model, info


def load_causal(name: str, revision: str | None = None) -> Loaded:
    """A causal language model in float32. Raises ModelError for one that looks ahead."""
    return _load_causal(Origin(name, _absolute(find_model(name)), revision))


def _load_causal(origin: Origin, *, trainable: bool = False) -> Loaded:
    from transformers import AutoConfig, AutoModelForCausalLM

    check_origin(origin)
    name = origin.name
    with loading(name, "model"):
        config = AutoConfig.from_pretrained(**origin.place)
    refuse_two_stacks(config, name)
    refuse_masked(config, name)
    tokenizer = load_tokenizer(origin.tokenizer, origin.revision)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"{name}: its tokenizer has no EOS token: it cannot learn where to end. {NAME_EOS}"
        )
    with loading(name, "model"):
        model, info = AutoModelForCausalLM.from_pretrained(
            **origin.place, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:3])
        raise ModelError(f"{name}: not a trained causal language model; it lacks {missing}")
    embed_special_tokens(model, tokenizer, name, ("bos", "eos"))
    longest = max_length(model, tokenizer)
    refuse_looking_ahead(model, name, longest)
    loaded = Loaded(model, tokenizer, longest, stored=stored_dtype(config))
    return attach_adapter(loaded, origin, trainable=trainable)


def stored_dtype(config: Any) -> str:
    """The half precision that a configuration names for its weights, else float32."""
    named = str(getattr(config, "dtype", None)).removeprefix("torch.")
    return named if named in ("bfloat16", "float16") else "float32"


def base_dtype(config: RunConfig, name: str) -> str:
    """The type that the base of an adapter is stored in."""
    from transformers import AutoConfig

    with loading(name, "configuration"):
        return stored_dtype(AutoConfig.from_pretrained(**find_origin(config, name).place))


def is_causal(config: RunConfig) -> bool:
    """Whether a run's base is a language model by itself, whatever it is tuned to be."""
    from transformers import AutoConfig

    with loading(config.model.base, "model"):
        found = AutoConfig.from_pretrained(**find_origin(config, config.model.base).place)
    return any(name.endswith(CAUSAL) for name in found.architectures or ())


def load(
    config: RunConfig, name: str, labels: Sequence[str] = (), *, trainable: bool = False
) -> Loaded:
    """Base or tuned model of a run, by its task; an adapter folder brings its base with it.

    Whatever is no base must be whole: weights that its files lack would be drawn at random.
    `trainable`: its adapter is to be trained on.
    """
    origin = find_origin(config, name)
    made_for = origin.adapter.config.get("task_type") if origin.adapter else None
    if made_for and made_for != config.task_type.adapter_type:
        raise ModelError(f"{name}: this adapter was made for {made_for}, not for {config.task}")
    if config.task_type.has_head:
        is_base = name == config.model.base
        asked = Asked(
            trains=config.trains,
            complete=not is_base or name == config.model.tuned,
            trainable=trainable,
            problem_type=config.task_type.problem_type,
            label_map=(config.data.label_map or {}) if is_base or not config.trains else {},
        )
        loaded = _load_classifier(origin, labels, asked)
    else:
        loaded = _load_causal(origin, trainable=trainable)
        set_template(loaded.tokenizer, config)
    if config.model.max_length:
        loaded.max_length = min(config.model.max_length, loaded.max_length)
    return loaded


def set_template(tokenizer: Any, config: RunConfig) -> None:
    """The template of the configuration, where it names one, in the place of the tokenizer's.

    Raises ConfigError for a file that cannot be read or is no template.
    """
    if not config.model.chat_template:
        return
    from transformers.utils.chat_template_utils import _compile_jinja_template

    path = Path(config.folder) / config.model.chat_template
    try:
        text = path.read_text(encoding="utf-8-sig")
        _compile_jinja_template(text)
    except (OSError, ValueError, TemplateError) as error:
        what = f"cannot be used as a template: {getattr(error, 'strerror', None) or error}"
        remedy = "Name a file with a chat template in Jinja"
        raise ConfigError(
            Fault(str(config.model.chat_template), what, remedy, "model.chat_template")
        ) from None
    tokenizer.chat_template = text


def find_origin(config: RunConfig, name: str) -> Origin:
    """Where a model of a run comes from. What a run saved stands on its own base."""
    adapter = read_adapter(name)
    if adapter is None:
        revision = config.model.revision if name == config.model.base else None
        return Origin(name, _absolute(find_model(name)), revision)
    is_base = name == config.model.base
    if adapter.has_base and (is_base or not config.trains):
        return Origin(name, _absolute(adapter.base), adapter.revision, adapter)
    if is_base:
        raise ModelError(f"{name}: this adapter's base, {adapter.base or 'unnamed'}, is not here")
    base = find_origin(config, config.model.base)
    return Origin(name, base.weights, base.revision, adapter)


def own_labels(config: RunConfig, name: str) -> tuple[str, ...]:
    """The labels that a model's own configuration names, without its weights."""
    with loading(name, "configuration"):
        return own_names(_read_config(find_origin(config, name), (), Asked()))


def _absolute(name: str) -> str:
    """A folder's whole path, which what is saved keeps; a hub id as it is."""
    return str(Path(name).resolve()) if os.path.isdir(name) else name


def max_length(model: Any, tokenizer: Any) -> int:
    """Tokens that a row may have: the least of model, tokenizer and 512."""
    limits = [DEFAULT_MAX_LENGTH]
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions and positions > 0:  # -1: without a limit
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
def no_pickles(name: str) -> Iterator[None]:
    """Whatever a library finds, on the hub too, and would have torch unpickle: refused."""

    def refuse(file: object, *_: object, **__: object) -> NoReturn:
        raise pickled(file if isinstance(file, str | Path) else name)

    before = torch.load
    torch.load = refuse  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.load = before


@contextlib.contextmanager
def loading(name: str, what: str) -> Iterator[None]:
    """What a library raises becomes a ModelError with a way on; nothing is unpickled."""
    try:
        with no_pickles(name):
            yield
    except ModelError:
        raise
    except Exception as error:  # transformers raises many kinds; the text is what helps
        text = " ".join(str(error).split())[:400]
        advice = (
            "The folder must hold config.json, model.safetensors and the tokenizer's files"
            if os.path.exists(name)
            else "It is no local folder; as a hub id it needs the network or a filled cache"
        )
        raise ModelError(f"{name}: the {what} cannot be loaded: {text}. {advice}") from error


def add_adapter(loaded: Loaded, config: RunConfig) -> None:
    """Wrap the model with a fresh LoRA adapter; a new classifier head is trained with it."""
    import_adapters()
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers.pytorch_utils import Conv1D

    lora = config.model.lora
    other = "all-linear" if lora.target_modules == "auto" else "auto"
    task = TaskType(config.task_type.adapter_type)
    try:
        loaded.model = get_peft_model(
            loaded.model,
            LoraConfig(
                task_type=task,
                r=lora.r,
                lora_alpha=lora.alpha,
                lora_dropout=lora.dropout,
                target_modules=find_targets(loaded.model, lora.target_modules),
                fan_in_fan_out=any(isinstance(m, Conv1D) for m in loaded.model.modules()),
                modules_to_save=_saved_whole(loaded),
            ),
        )
    except ValueError as error:
        raise ModelError(
            f"{config.model.base}: no adapter fits: {error}. "
            f'Set model.lora.target_modules, for instance to "{other}"'
        ) from error


def find_targets(model: Any, asked: list[str] | str) -> list[str] | str:
    """The layers that get an adapter. "auto": those that peft knows for the architecture, else
    every linear layer of its attention, else every linear layer that may have one but the head."""
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN
    from transformers.pytorch_utils import Conv1D

    linear = [n for n, m in model.named_modules() if isinstance(m, nn.Linear | Conv1D)]
    if isinstance(asked, list) and not _named(model, asked):
        there = listed(sorted({name.rpartition(".")[2] for name in linear}))
        raise ModelError(
            f"model.lora.target_modules: the model has no layer {listed(asked)}. "
            f'Its linear layers are {there}; "auto" takes those of the attention'
        )
    if asked != "auto":
        return asked
    known = KNOWN.get(model.config.model_type, ())
    if isinstance(known, str):
        return known
    if _named(model, known):
        return list(known)
    if found := [name for name in linear if "att" in name.rpartition(".")[0]]:
        return found
    if "mamba" not in model.config.model_type:
        return "all-linear"
    # its fast kernel reads the output's weights past any adapter, so peft refuses one there
    head = model.get_output_embeddings()
    kept = [n for n in linear if not n.endswith("out_proj") and model.get_submodule(n) is not head]
    return sorted({name.rpartition(".")[2] for name in kept})


def _named(model: Any, targets: Sequence[str]) -> bool:
    """Whether any module is one of these, by its name or the end of it, as peft reads them."""
    names = [f".{name}" for name, _ in model.named_modules()]
    return any(name.endswith(tuple(f".{t}" for t in targets)) for name in names)


def _saved_whole(loaded: Loaded) -> list[str] | None:
    """New modules beside the head: peft saves heads by name, and would leave a random pooler out.

    Its weights stand in no folder: left out of the adapter, they are drawn anew by who loads it.
    """
    new = [m for m in loaded.new_modules if not PEFT_HEADS.intersection(m.split("."))]
    return new or None


def attach_adapter(loaded: Loaded, origin: Origin, *, trainable: bool = False) -> Loaded:
    """The model with its adapter on it, where it has one; its file must hold all of it."""
    if origin.adapter is None:
        return loaded
    import_adapters()
    from peft import PeftModel, get_peft_model_state_dict

    folder = str(origin.adapter.folder)
    with loading(origin.name, "adapter"):
        # by itself peft loads it to a GPU that it finds, though the run be on the CPU
        model = PeftModel.from_pretrained(
            loaded.model,
            folder,
            is_trainable=trainable,
            use_safetensors=True,
            torch_device=str(loaded.device),
        )
        wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    if lacking := {_bare(key) for key in wanted} - origin.saved.keys():
        raise refuse_unsaved(origin.name, sorted(lacking))
    for settings in model.peft_config.values():  # a path as it was saved may be relative
        settings.base_model_name_or_path, settings.revision = origin.weights, origin.revision
    return replace(loaded, model=model)
