"""Tiny real models and runs with them."""

import csv
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the engine's tests need torch")

from ftev.core.config.config import DataConfig, EvaluateConfig, ModelConfig, RunConfig, TrainConfig
from tiny_models import write_bert, write_llama


@pytest.fixture(scope="session")
def causal_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers whose pad token is its EOS token."""
    folder = tmp_path_factory.mktemp("causal")
    write_llama(folder)
    return folder


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers without a classifier head."""
    folder = tmp_path_factory.mktemp("encoder")
    write_bert(folder)
    return folder


@pytest.fixture
def verses(tmp_path: Path, causal_folder: Path) -> RunConfig:
    """Twenty short steps of a causal model with dropout-free weights, float32."""
    path = tmp_path / "train.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "completion"])
        for i in range(44):
            writer.writerow([f"cup number {i} is", f"warm tea of day {i % 7}"])
    return RunConfig(
        task="generation",
        name="verses",
        model=ModelConfig(base=str(causal_folder), precision="float32"),
        data=DataConfig(train=str(path), validation=0.1),
        train=TrainConfig(epochs=4, batch_size=8, learning_rate=1e-3, devices="cpu"),
        evaluate=EvaluateConfig(prompts=["cup number 3 is"], max_new_tokens=4, parity_rows=0),
        folder=str(tmp_path),
    )
