"""The scale of a regression head: in which units it answers, and how that is changed in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from .heads import weights_by_labels
from .models import Loaded, unwrapped

KEY = "target_scale"  # in a model's configuration


@dataclass(frozen=True)
class Scale:
    """Of each target its mean and unit (the standard deviation) in train.

    `folded`: the head answers in the data's units; else in standard deviations from the mean.
    """

    mean: Sequence[float]
    unit: Sequence[float]
    folded: bool

    @classmethod
    def of(cls, loaded: Loaded) -> Scale | None:
        """That of a model, where its configuration names one."""
        found = getattr(unwrapped(loaded.model).config, KEY, None)
        try:
            return None if found is None else cls(**found)
        except TypeError:  # somebody else's
            return None

    def put_on(self, loaded: Loaded) -> None:
        """Write it into the model's configuration, with which it is saved."""
        setattr(unwrapped(loaded.model).config, KEY, asdict(self))


def use_scale(loaded: Loaded, mean: Sequence[float], unit: Sequence[float]) -> None:
    """Give a model its scale: that of train, where it brings none of its own.

    A new head has learnt nothing: it answers in standard deviations. One without a bias cannot hold
    a mean, and answers in deviations from 0.
    """
    if Scale.of(loaded) is None:
        has_bias = all(head.bias is not None for head in output_layers(loaded))
        held = list(mean) if has_bias else [0.0] * len(mean)
        Scale(held, list(unit), folded=not loaded.new_head).put_on(loaded)


def fold(loaded: Loaded) -> None:
    """Have the head answer in the data's units from now on."""
    _change(loaded, folded=True)


def unfold(loaded: Loaded) -> None:
    """Have the head answer in standard deviations from the mean, as it is trained."""
    _change(loaded, folded=False)


@torch.no_grad()
def _change(loaded: Loaded, *, folded: bool) -> None:
    scale = Scale.of(loaded)
    if scale is None or scale.folded == folded:
        return
    for head in output_layers(loaded):
        unit = torch.tensor(scale.unit, dtype=torch.float64, device=head.weight.device)
        mean = torch.tensor(scale.mean, dtype=torch.float64, device=head.weight.device)
        by, of = (unit, mean) if folded else (1 / unit, -mean / unit)
        head.weight.copy_(head.weight.double() * by[:, None])
        if head.bias is not None:
            head.bias.copy_(head.bias.double() * by + of)
    replace(scale, folded=folded).put_on(loaded)


def output_layers(loaded: Loaded) -> list[Any]:
    """The last linear layer; beside an adapter the base's own and the one that is trained."""
    model = unwrapped(loaded.model)
    [path] = {name.rpartition(".")[0] for name in weights_by_labels(model)}
    module = model.get_submodule(path)
    if hasattr(module, "modules_to_save"):
        return [module.original_module, *module.modules_to_save.values()]
    return [module]
