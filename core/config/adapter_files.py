"""What the files of a saved adapter say of it, read without the engine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ModelError, RunError
from ..files.reading import read_json
from .config import RunConfig

Contradiction = tuple[str, str, str]  # a setting, what is wrong, and a remedy
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class SavedAdapter:
    """A folder with an adapter. `base`: as it was saved, a path or a hub id; empty if unnamed."""

    folder: Path
    base: str
    revision: str | None
    told: dict[str, Any]

    @property
    def has_base(self) -> bool:
        """Whether its base can be looked for here: a folder that is there, or a hub's name."""
        is_hub_id = re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", self.base) is not None
        return bool(self.base) and (os.path.isdir(self.base) or is_hub_id)

    @property
    def is_lora(self) -> bool:
        return str(self.told.get("peft_type", "LORA")).upper() == "LORA"

    def settings(self) -> dict[str, Any]:
        """Its LoRA settings under the names of [model.lora]."""
        names = {"r": "r", "lora_alpha": "alpha", "lora_dropout": "dropout"}
        found = {ours: self.told[theirs] for theirs, ours in names.items() if theirs in self.told}
        targets = self.told.get("target_modules")
        return found | ({"target_modules": sorted(targets)} if isinstance(targets, list) else {})

    def in_words(self) -> str:
        """`r = 8, alpha = 16, dropout = 0.0`."""
        return ", ".join(f"{k} = {v}" for k, v in self.settings().items() if k != "target_modules")


def read_adapter(name: str) -> SavedAdapter | None:
    """The adapter in a folder; None where there is none. Raises ModelError for a damaged one."""
    path = Path(name) / CONFIG
    if not os.path.exists(path):
        return None
    try:
        told = read_json(path, dict[str, Any])
        base, revision = told.get("base_model_name_or_path") or "", told.get("revision")
    except RunError as error:
        raise ModelError(*error.faults) from None
    return SavedAdapter(path.parent, str(base), revision, told)


def train_on(config: RunConfig, given: dict[str, Any]) -> tuple[RunConfig, list[Contradiction]]:
    """The config of a run whose base is an adapter: it is trained on with the settings it has.

    `given`: the table [model] as it was written, which must not ask for others.
    """
    adapter = read_adapter(config.model.base) if config.trains else None
    if adapter is None:
        return config, []
    found: list[Contradiction] = []
    if not adapter.is_lora:
        kind = str(adapter.told.get("peft_type"))
        found.append(("model.base", f"holds an adapter of the kind {kind}", "Only LoRA is trained"))
    if given.get("adapter", "lora") != "lora":
        remedy = 'Write "lora"; to train every weight, merge the adapter into its base first'
        found.append(("model.adapter", "must be lora: the base is an adapter", remedy))
    settings, lora = adapter.settings(), given.get("lora")
    lora = lora if isinstance(lora, dict) else {}
    for name, value in settings.items():
        asked = lora.get(name, value)
        if asked != value and asked not in ("auto", "all-linear"):
            what = f"is {asked}, and the adapter that is trained on has {value}"
            found.append((f"model.lora.{name}", what, "Leave it out, or name the adapter's base"))
    model = replace(config.model, adapter="lora", lora=replace(config.model.lora, **settings))
    return replace(config, model=model), found
