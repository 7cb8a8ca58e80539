"""A pickle runs code as it is loaded: wherever one stands among a model's files, none is opened."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ftev.core.config.config import LoraConfig, ModelConfig, RunConfig
from ftev.core.engine.models.load import add_adapter, load, loading
from ftev.core.engine.models.models import save
from ftev.core.errors import ModelError


class Planted:
    """Unpickled, it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.marker,)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it ran"


@pytest.fixture
def model(causal_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(causal_folder, tmp_path / "model")


@pytest.fixture
def adapter(causal_folder: Path, tmp_path: Path) -> Path:
    config = RunConfig(
        task="generation",
        model=ModelConfig(base=str(causal_folder), adapter="lora", lora=LoraConfig(r=2)),
    )
    loaded = load(config, str(causal_folder))
    add_adapter(loaded, config)
    save(loaded, tmp_path / "adapter")
    return tmp_path / "adapter"


def opened(folder: Path) -> Any:
    return load(RunConfig(task="generation", model=ModelConfig(base=str(folder))), str(folder))


def plant(path: Path, marker: Path) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(pickle.dumps(Planted(marker)))


def alone(folder: Path, marker: Path) -> Path:
    (folder / "model.safetensors").unlink()
    plant(folder / "pytorch_model.bin", marker)
    return folder / "pytorch_model.bin"


def zipped(folder: Path, marker: Path) -> Path:
    (folder / "model.safetensors").unlink()
    torch.save(Planted(marker), folder / "model.safetensors")
    return folder / "model.safetensors"


def under_a_safe_name(folder: Path, marker: Path) -> Path:
    plant(folder / "model.safetensors", marker)
    return folder / "model.safetensors"


def as_a_shard(folder: Path, marker: Path) -> Path:
    (folder / "model.safetensors").unlink()
    plant(folder / "part.bin", marker)
    index = {"metadata": {}, "weight_map": {"model.norm.weight": "part.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder / "part.bin"


@pytest.mark.parametrize("place", [alone, zipped, under_a_safe_name, as_a_shard])
def test_a_model_is_refused_by_the_name_of_its_pickle(
    model: Path, marker: Path, place: Callable[[Path, Path], Path]
) -> None:
    planted = place(model, marker)
    with pytest.raises(ModelError, match="is a pickle, which can run any code") as refused:
        opened(model)
    assert str(planted) in str(refused.value)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.safetensors"])
def test_an_adapter_is_refused_by_the_name_of_its_pickle(
    adapter: Path, marker: Path, name: str
) -> None:
    assert opened(adapter).has_adapter
    (adapter / "adapter_model.safetensors").unlink()
    plant(adapter / name, marker)
    with pytest.raises(ModelError, match="is a pickle, which can run any code") as refused:
        opened(adapter)
    assert str(adapter / name) in str(refused.value)
    assert not marker.exists()


def test_pickles_that_nobody_needs_are_left_alone(model: Path, marker: Path) -> None:
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        plant(model / name, marker)
    assert opened(model).max_length
    assert not marker.exists()


def test_a_shard_outside_the_folder_is_refused(model: Path) -> None:
    (model / "model.safetensors").rename(model.parent / "model.safetensors")
    index = {"metadata": {}, "weight_map": {"model.norm.weight": "../model.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="which is no file of its folder"):
        opened(model)


def test_what_a_library_would_unpickle_by_itself_is_refused(tmp_path: Path, marker: Path) -> None:
    torch.save(Planted(marker), tmp_path / "from_the_hub.bin")
    with (
        pytest.raises(ModelError, match=r"from_the_hub\.bin: is a pickle"),
        loading("somebody/model", "model"),
    ):
        torch.load(tmp_path / "from_the_hub.bin", weights_only=False)
    assert not marker.exists()
    torch.save({"a": 1}, tmp_path / "ours.pt")
    assert torch.load(tmp_path / "ours.pt") == {"a": 1}


def test_weights_that_lack_bytes_are_named_before_a_library_opens_them(model: Path) -> None:
    weights = model / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])
    what = f"has {len(content) - 1:,} bytes, and its header names {len(content):,}"
    with pytest.raises(ModelError, match=what) as refused:
        opened(model)
    assert str(weights) in str(refused.value)
