"""What a model answers with: a classifier's labels, or the next token of a text.

A model is never scored with a head that it does not have (V2). Where nothing is trained, a head
answers in its own order if it knows every label of the data, and is refused otherwise; training
may put a new head in its place, and says so. What sees the words behind a place has nothing to
predict (E3): transformers loads a masked language model as a causal one without a word, and its
loss is then that of copying, far below any honest one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, Fault, ModelError

SHOWN_LABELS = 12  # of a list in a sentence
INITIAL_STD = 0.02  # of a new head, where the model's configuration names none
MASKED = ("ForMaskedLM", "ForPreTraining")  # how the classes of models that fill gaps end
PROBED = 12  # tokens
# Of the largest logit. The same shape computed twice differs by 1e-6 and less; a masked model
# of random small weights moved by 1e-2.
TOLERANCE = 1e-4
ADVICE = 'Name a causal base model, or use this one with task = "classification"'


@dataclass(frozen=True)
class Outputs:
    """The labels of a head, output by output: as the model's configuration names them, and as the
    data do. Several outputs may be one label of the data: their probabilities are added."""

    own: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.names))

    def fits(self, labels: Sequence[str], *, trains: bool) -> bool:
        """Whether the head answers with these labels; one that is trained, with no others."""
        if trains:
            return sorted(self.names) == sorted(labels)
        return set(labels) <= set(self.names)


def read_outputs(
    config: Any, labels: Sequence[str], label_map: Mapping[str, str], *, by_number: bool = False
) -> Outputs:
    """The outputs of a model in the data's words.

    `by_number`: as many outputs without names as there are labels are those. Else outputs without
    names (LABEL_0, LABEL_1 …) are those of labels that are numbers from 0.
    """
    own = own_names(config)
    if (
        by_number
        and len(own) == len(labels)
        and set(own) <= {f"LABEL_{i}" for i in range(len(own))}
    ):
        return Outputs(own, tuple(labels))
    names = tuple(label_map.get(name, name) for name in own)
    numbered = tuple(str(i) for i in range(len(own)))
    if own == tuple(f"LABEL_{i}" for i in range(len(own))) and set(labels) <= set(numbered):
        names = numbered if names == own else names
    return Outputs(own, names)


def own_names(config: Any) -> tuple[str, ...]:
    """The labels that a configuration gives its outputs, in their order."""
    return tuple(str(config.id2label[i]) for i in sorted(config.id2label or {}))


def name_outputs(config: Any, names: Sequence[str]) -> None:
    """Write the labels into a model's configuration; their number is that of its outputs."""
    config.id2label = dict(enumerate(names))
    config.label2id = {label: i for i, label in enumerate(names)}


def refuse_head(name: str, outputs: Outputs, labels: Sequence[str]) -> ModelError:
    """What is raised where a head does not know every label of the data: both sets and a way on."""
    return ModelError(
        f"{name}: its head answers with {listed(outputs.names)}; the data's labels are "
        f"{listed(labels)}. Say how they meet, for instance "
        f"[data] label_map = {suggest_map(outputs.own, labels)}"
    )


def refuse_kind(name: str, own: str, wanted: str) -> ModelError:
    """What is raised where a head was made for another kind of answers (V2): its outputs would be
    read by the wrong function."""
    return ModelError(
        f"{name}: its configuration says problem_type = {own}, and these rows ask for {wanted}: "
        "one label per row, several or numbers. Evaluate it on rows of its own kind"
    )


def refuse_unsaved(name: str, lacking: Sequence[str]) -> ModelError:
    """What is raised where files lack weights of a classifier."""
    return ModelError(
        f"{name}: not a trained classifier. Its files lack {listed(sorted(lacking))}, "
        "which would be drawn at random at each load"
    )


def listed(names: Sequence[str]) -> str:
    """`no, yes` or, of many, the first and how many more there are."""
    more = len(names) - SHOWN_LABELS
    shown = ", ".join(names[:SHOWN_LABELS])
    return f"{shown} and {more:,} more" if more > 0 else shown


def suggest_map(own: Sequence[str], labels: Sequence[str]) -> str:
    """`{ NEGATIVE = "negative", … }`: pairs that are equal but for case, else one as an example."""
    folded = {label.casefold().strip(): label for label in labels}
    pairs = {name: folded[key] for name in own if (key := name.casefold().strip()) in folded}
    pairs = pairs or dict(zip(own[:1], labels[:1], strict=False))
    shown = [f'{_toml_key(name)} = "{label}"' for name, label in list(pairs.items())[:SHOWN_LABELS]]
    rest = ["…"] if len(shown) < len(own) else []
    return "{ " + ", ".join(shown + rest) + " }"


def _toml_key(name: str) -> str:
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else f'"{name}"'


def check_label_map(
    label_map: Mapping[str, str], models: Mapping[str, Sequence[str]], labels: Sequence[str]
) -> None:
    """Raise ConfigError, with every fault, for names that no model and no data have.

    `models`: the labels of each model's head, by the model's name.
    """
    known = {name for names in models.values() for name in names}
    answers = "; ".join(f"{model}: {listed(names)}" for model, names in models.items())
    faults = [
        Fault.of(f"data.label_map.{own}", "no head has this label", f"Heads answer with {answers}")
        for own in label_map
        if own not in known
    ]
    faults += [
        Fault.of(
            f"data.label_map.{own}",
            f"the data have no label {label!r}",
            f"Labels: {listed(labels)}. A label that these rows lack belongs into data.labels",
        )
        for own, label in label_map.items()
        if label not in labels
    ]
    if faults:
        raise ConfigError(*faults)


def merge_labels(labels: Sequence[str], heads: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The data's labels, then what else the heads can answer: a prediction that is never right."""
    return tuple(dict.fromkeys([*labels, *(label for head in heads for label in head)]))


@torch.no_grad()
def redraw_head(model: Any) -> list[str]:
    """Draw the output layer anew, as many other labels say nothing about these; its weights' names.

    What stands before it (a pooler, a dense layer) keeps what it has learnt, as it does where the
    number of labels differs.
    """
    names = weights_by_labels(model)
    std = getattr(model.config, "initializer_range", INITIAL_STD)
    for name in names:
        parameter = model.get_parameter(name)
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=std)
        else:
            nn.init.zeros_(parameter)
    return names


def weights_by_labels(model: Any) -> list[str]:
    """The weights whose shapes go with the number of labels, as the model has them by itself."""
    shapes = []
    for more in (0, 1):
        config = copy.deepcopy(model.config)
        config.num_labels = model.config.num_labels + more
        with torch.device("meta"):
            shapes.append({n: p.shape for n, p in type(model)(config).named_parameters()})
    return [name for name, shape in shapes[0].items() if shape != shapes[1][name]]


def refuse_two_stacks(config: Any, name: str) -> None:
    """Raises ModelError for an encoder with a decoder: it reads one text and writes another."""
    if getattr(config, "is_encoder_decoder", False):
        kind = next(iter(config.architectures or ()), config.model_type)
        raise ModelError(
            f"{name}: {kind} is a sequence-to-sequence model, which ftev cannot train or score. "
            "Name a causal language model, or for a classifier an encoder"
        )


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
