"""A saved adapter as its files describe it, read without the engine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError, RunError
from .reading import read_json

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class SavedAdapter:
    """A folder with an adapter. `base`: as it was saved, a path or a hub id; empty if unnamed."""

    folder: Path
    base: str
    revision: str | None
    config: dict[str, Any]  # as peft wrote it

    @property
    def has_base(self) -> bool:
        """Whether its base can be looked for here: a folder that is there, or a hub's name."""
        is_hub_id = re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", self.base) is not None
        return bool(self.base) and (os.path.isdir(self.base) or is_hub_id)

    @property
    def is_lora(self) -> bool:
        return str(self.config.get("peft_type", "LORA")).upper() == "LORA"

    def settings(self) -> dict[str, Any]:
        """Its LoRA settings under the names of [model.lora]."""
        names = {"r": "r", "lora_alpha": "alpha", "lora_dropout": "dropout"}
        found = {
            ours: self.config[theirs] for theirs, ours in names.items() if theirs in self.config
        }
        targets = self.config.get("target_modules")
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
        config = read_json(path, dict[str, Any])
        base, revision = config.get("base_model_name_or_path") or "", config.get("revision")
    except RunError as error:
        raise ModelError(*error.faults) from None
    return SavedAdapter(path.parent, str(base), revision, config)
