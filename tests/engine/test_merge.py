"""`merge`: one folder without peft, whose scores are those of the adapter."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ftev.core.config.config import DataConfig, ModelConfig, RunConfig
from ftev.core.engine.models.load import add_adapter, load
from ftev.core.engine.models.models import save
from ftev.core.engine.scoring import merge as merge_module
from ftev.core.engine.scoring.merge import Merge, merge
from ftev.core.errors import ConfigError, ModelError
from ftev.core.run.runs import Run, create_run
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification


def adapted(config: RunConfig, folder: Path, labels: tuple[str, ...] = ()) -> Run:
    """A run that has saved an adapter, drawn at random instead of trained."""
    config = replace(config, model=replace(config.model, adapter="lora"))
    run = create_run(config, folder)
    torch.manual_seed(3)
    loaded = load(config, config.model.base, labels)
    add_adapter(loaded, config)
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3)
    save(loaded, run.model_path)
    return run


@pytest.fixture
def reviews(tmp_path: Path, encoder_folder: Path) -> RunConfig:
    path = tmp_path / "reviews.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i in range(30):
            kind = ("warm", "cold")[i % 2]
            writer.writerow([f"a {kind} cup on day {'tea ' * (i % 5)}", kind])
    return RunConfig(
        task="classification",
        model=ModelConfig(base=str(encoder_folder)),
        data=DataConfig(train=str(path)),
        folder=str(tmp_path),
    )


@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_a_merged_model_scores_as_its_adapter(
    verses: RunConfig, tmp_path: Path, dtype: str
) -> None:
    run, out = adapted(verses, tmp_path / "runs"), tmp_path / "whole"
    found = merge(Merge(str(run.path), str(out), dtype))  # type: ignore[arg-type]
    kind = "float32" if dtype == "auto" else dtype
    assert (found["split"], found["dtype"], found["folder"]) == ("validation", kind, str(out))
    assert 0 < found["rows"] <= 200
    assert 0 <= found["largest_loss_drift"] <= found["tolerance"]
    assert not list(out.glob("adapter*"))
    weights = load_file(out / "model.safetensors")
    assert {str(w.dtype) for w in weights.values()} == {f"torch.{kind}"}
    text = torch.arange(3, 12)[None]
    tuned = load(verses, str(run.model_path)).model.eval()(text).logits
    again = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)(text).logits
    assert torch.allclose(tuned, again, atol=1e-4 if dtype == "auto" else 0.1)
    with pytest.raises(ConfigError, match="is there already"):
        merge(Merge(str(run.path), str(out)))


def test_a_merged_classifier_keeps_its_labels(reviews: RunConfig, tmp_path: Path) -> None:
    run, out = adapted(reviews, tmp_path / "runs", ("cold", "warm")), tmp_path / "whole"
    merge(Merge(str(run.path), str(out)))
    whole, info = AutoModelForSequenceClassification.from_pretrained(out, output_loading_info=True)
    assert whole.config.id2label == {0: "cold", 1: "warm"}
    assert not info["missing_keys"]


def test_scores_that_drift_leave_no_folder(
    verses: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = adapted(verses, tmp_path / "runs"), tmp_path / "whole"
    monkeypatch.setattr(merge_module, "HALF_TOLERANCE", 1e-9)
    with pytest.raises(ModelError, match=r"was not written: the loss of row \d+ moves by"):
        merge(Merge(str(run.path), str(out), "bfloat16"))
    assert not out.exists()
    assert not list(tmp_path.glob(".whole*"))


def test_a_model_without_an_adapter_is_not_merged(
    verses: RunConfig, causal_folder: Path, tmp_path: Path
) -> None:
    run = create_run(verses, tmp_path / "runs")
    save(load(verses, str(causal_folder)), run.model_path)
    with pytest.raises(ModelError, match="holds no adapter"):
        merge(Merge(str(run.path), str(tmp_path / "whole")))
