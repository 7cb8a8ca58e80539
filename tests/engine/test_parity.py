"""G3, V3: adapter, merged and reloaded weights agree; altered ones are caught.

They are loaded as the model card says, by another process in another folder. One such process
answers for all tests here: starting it takes seconds.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from ftev.core.config.config import LoraConfig, ModelConfig, RunConfig
from ftev.core.engine.models.load import add_adapter, load
from ftev.core.engine.models.models import Loaded, save
from ftev.core.engine.scoring import self_test
from ftev.core.engine.scoring.read_back import NotRead, NotTested, Reader, Request
from ftev.core.engine.scoring.rows import TokenRows
from ftev.core.engine.scoring.self_test import (
    Shipped,
    compare_weights,
    lacking_memory,
    read_again,
    scored_again,
)
from ftev.core.run import launch
from safetensors.torch import load_file, save_file
from scoring import made_texts, rows_of_labels, rows_of_texts, scorer_of, scores
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

LABELS = ("good", "bad")
TEXTS = made_texts(24, seed=5)
READ_BACK = "read back from model/"


def config_of(folder: Path, task: str) -> RunConfig:
    lora = LoraConfig(r=4, target_modules="all-linear")
    return RunConfig(task=task, model=ModelConfig(base=str(folder), lora=lora))  # type: ignore[arg-type]


def tuned_model(config: RunConfig, *, lora: bool) -> Loaded:
    """As training would leave it: weights that are no longer the base's, a head that says much."""
    torch.manual_seed(1)
    loaded = load(config, config.model.base, LABELS if config.task_type.has_labels else ())
    if lora:
        add_adapter(loaded, config)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name or "classifier" in name:
                parameter.normal_(std=0.3)
            elif not lora and parameter.ndim > 1:
                parameter += 0.02 * torch.randn_like(parameter)
    return loaded


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader(early=False) as reader:
        assert "process" not in vars(reader)  # what it would hold beside the answers
        yield reader


def shipped(config: RunConfig, tuned: Loaded, folder: Path, reader: Reader) -> Shipped:
    rows: TokenRows
    rows = rows_of_labels(tuned, TEXTS) if tuned.labels else rows_of_texts(tuned, TEXTS)
    stored = scores(tuned, rows)
    save(tuned, folder)

    def metric(frame: pl.DataFrame) -> float:
        if tuned.labels:
            return float((frame["label"] == frame["predicted"]).mean())  # type: ignore[arg-type]
        return float(frame["nll"].sum() / frame["tokens"].sum())

    request = Request(
        task=config.task,
        code=config.task_type.loading_code(str(folder), adapter=tuned.has_adapter),
        device="cpu",
        precision="float32",
        batch_tokens=512,
        max_length=tuned.max_length,
        threads=1,
        labels=list(tuned.labels),
        label_map={},
        texts=read_again(tuned.tokenizer, rows),
    )
    return Shipped(
        tuned=tuned,
        folder=folder,
        score=scored_again(scorer_of(rows), rows, "float32", 512),
        answer=scorer_of(rows).changed,
        read_back=lambda seconds: reader.score(request, rows, tuned.labels, seconds),
        metric=metric,
        stored=stored,
        labels=tuned.labels,
        within=1e-5,
    )


def compared(p: Shipped) -> dict[str, Any]:
    *_, found = compare_weights(p)
    assert isinstance(found, dict)
    return found


def forms(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {form["weights"]: form for form in found["weights"]}


@pytest.fixture(params=["classification", "generation"])
def config(request: pytest.FixtureRequest, encoder_folder: Path, causal_folder: Path) -> RunConfig:
    folder = encoder_folder if request.param == "classification" else causal_folder
    return config_of(folder, request.param)


def test_G3_whole_weights_read_back_score_the_same(
    config: RunConfig, tmp_path: Path, reader: Reader
) -> None:
    found = compared(shipped(config, tuned_model(config, lora=False), tmp_path, reader))
    assert found["passed"]
    assert list(forms(found)) == ["in memory", READ_BACK]
    again = forms(found)[READ_BACK]
    assert again["largest_loss_drift"] <= 1e-6
    assert again["metric"] == pytest.approx(found["scored"], abs=1e-6)
    assert again["dtype"] == "float32"
    assert found["stored_dtype"] == "F32"
    assert found["tied_embeddings"] == again["tied_embeddings"] == (not config.task_type.has_labels)
    assert not found["adapter"]
    assert not found["skipped"]


def test_G3_adapter_merged_and_reloaded_agree(
    config: RunConfig, tmp_path: Path, reader: Reader
) -> None:
    tuned = tuned_model(config, lora=True)
    before = {k: v.clone() for k, v in tuned.model.state_dict().items()}
    p = shipped(config, tuned, tmp_path, reader)
    found = compared(p)
    assert found["passed"]
    assert list(forms(found)) == ["in memory, adapter on", "adapter merged", READ_BACK]
    assert found["adapter"]
    assert found["adapter_base"] == config.model.base
    assert forms(found)["adapter merged"]["largest_loss_drift"] < 1e-4
    base = scores(tuned.as_base(), rows_of(tuned))
    assert float((base["nll"] - p.stored["nll"]).abs().max()) > 0.01  # type: ignore[arg-type]
    for name, value in tuned.model.state_dict().items():  # merging was done on a copy
        assert torch.equal(value, before[name]), name


def rows_of(loaded: Loaded) -> TokenRows:
    return rows_of_labels(loaded, TEXTS) if loaded.labels else rows_of_texts(loaded, TEXTS)


def alter_one(folder: Path) -> None:
    """One tensor a little larger: nothing that loading would notice."""
    path = next(folder.glob("*.safetensors"))
    tensors = load_file(path)
    name = next(k for k in sorted(tensors) if tensors[k].ndim > 1)
    tensors[name] = tensors[name] * 1.5
    save_file(tensors, path, metadata={"format": "pt"})


def forget_labels(folder: Path) -> None:
    """The label order is lost, as where a model is saved without its config."""
    path = folder / "config.json"
    values = json.loads(path.read_text())
    values["id2label"] = {"0": "bad", "1": "good"}
    values["label2id"] = {"bad": 0, "good": 1}
    path.write_text(json.dumps(values))


def half(folder: Path) -> None:
    path = next(folder.glob("*.safetensors"))
    tensors = {k: v.bfloat16() for k, v in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("breakage", [alter_one, half])
def test_G3_altered_weights_are_caught(
    config: RunConfig, lora: bool, breakage: Callable[[Path], None], tmp_path: Path, reader: Reader
) -> None:
    p = shipped(config, tuned_model(config, lora=lora), tmp_path, reader)
    breakage(tmp_path)
    found = compared(p)
    assert not found["passed"]
    assert forms(found)[READ_BACK]["largest_loss_drift"] > 1e-5
    sound = [form for name, form in forms(found).items() if name != READ_BACK]
    assert all(form["largest_loss_drift"] <= form["tolerance"] for form in sound)
    assert found["stored_dtype"] == ("BF16" if breakage is half else "F32")


def test_G3_labels_in_another_order_are_caught(
    encoder_folder: Path, tmp_path: Path, reader: Reader
) -> None:
    config = config_of(encoder_folder, "classification")
    p = shipped(config, tuned_model(config, lora=False), tmp_path, reader)
    forget_labels(tmp_path)
    found = compared(p)
    assert not found["passed"]
    assert found["changed_predictions"] > 0
    assert found["changed_rows"]


def test_G3_weights_that_cannot_be_read_are_caught(
    config: RunConfig, tmp_path: Path, reader: Reader
) -> None:
    p = shipped(config, tuned_model(config, lora=False), tmp_path / "model", reader)
    shutil.rmtree(tmp_path / "model")
    found = compared(p)
    assert not found["passed"]
    assert found["skipped"][0]["weights"] == READ_BACK
    assert found["skipped"][0]["failed"]
    assert found["stored_dtype"] == ""


def test_G3_no_copy_is_made_where_memory_is_short(
    config: RunConfig, tmp_path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = tuned_model(config, lora=True)
    p = shipped(config, tuned, tmp_path, reader)
    assert lacking_memory(tuned) == ""
    size = sum(t.numel() * t.element_size() for t in tuned.model.parameters())
    monkeypatch.setattr(self_test, "free_memory", lambda device: 2 * size - 1)
    assert "twice its size is wanted" in lacking_memory(tuned)
    found = compared(p)
    assert list(forms(found)) == ["in memory, adapter on"]
    assert [form["weights"] for form in found["skipped"]] == ["adapter merged", READ_BACK]
    assert found["passed"]  # nothing disagrees; the report says what was not tested
    monkeypatch.setattr(self_test, "free_memory", lambda device: None)
    assert lacking_memory(tuned) == ""


SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SHAPE = SIZES | {"intermediate_size": 48, "max_position_embeddings": 64}
DISTIL = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": 64}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
MODERN = {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
ENCODERS: dict[str, dict[str, Any]] = {
    "bert": SHAPE,
    "distilbert": DISTIL,
    "roberta": SHAPE | {"max_position_embeddings": 80},
    "deberta-v2": SHAPE | {"type_vocab_size": 0, "pooler_hidden_size": 32},
    "modernbert": SHAPE | MODERN,
}
DECODERS: dict[str, dict[str, Any]] = {"gpt2": GPT2, "llama": SHAPE}
THREE = ("no", "perhaps", "yes")


def base_model(kind: str, folder: Path, tokenizer: Any, *, head: int) -> Path:
    """A tiny base: with a head of so many other labels, or 0 for a language model's."""
    torch.manual_seed(4)
    values = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model(kind, **values, **(ENCODERS | DECODERS)[kind])
    if head:
        config.num_labels = head
        made = AutoModelForSequenceClassification.from_config(config)
    else:
        language = AutoModelForCausalLM if kind in DECODERS else AutoModelForMaskedLM
        made = language.from_config(config)
    for parameter in made.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("head", [0, 2, 3])
@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("kind", [*ENCODERS, *DECODERS])
def test_V3_what_is_saved_loads_elsewhere_as_its_card_says(
    kind: str,
    lora: bool,
    head: int,
    encoder_folder: Path,
    causal_folder: Path,
    tmp_path: Path,
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens = AutoTokenizer.from_pretrained(causal_folder if kind in DECODERS else encoder_folder)
    base_model(kind, tmp_path / "base", tokens, head=head)
    monkeypatch.chdir(tmp_path)  # the base is named as a person would, relative to here
    config = RunConfig(task="classification", model=ModelConfig(base="base"))
    torch.manual_seed(1)
    tuned = load(config, "base", THREE)
    assert tuned.new_head
    if lora:
        add_adapter(tuned, config)  # target_modules = "auto"
    with torch.no_grad():
        for parameter in tuned.model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    p = shipped(config, tuned, tmp_path / "model", reader)
    found = compared(p)
    assert not found["skipped"], found["skipped"]
    assert found["passed"]
    assert forms(found)[READ_BACK]["largest_loss_drift"] <= 1e-5
    assert load(config, str(tmp_path / "model"), THREE).labels == THREE
    saved = AutoConfig.from_pretrained(tmp_path / "model")
    assert tuple(saved.id2label[i] for i in range(3)) == THREE
    if lora:
        values = json.loads((tmp_path / "model" / "adapter_config.json").read_text())
        assert values["base_model_name_or_path"] == str(tmp_path / "base")


@pytest.mark.parametrize(
    ("end", "outcome"),
    [("os._exit(3)", NotRead), ("os.abort()", NotRead), ("os.kill(os.getpid(), 9)", NotTested)],
)
def test_V3_a_reader_that_ends_itself_fails_the_weights_and_one_that_is_killed_does_not(
    end: str, outcome: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = f"import os, sys; sys.stdin.readline(); {end}"

    def started(_: str, **how: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", program], **how)

    monkeypatch.setattr(launch, "start_module", started)
    request = Request("generation", "", "cpu", "float32", 64, 64, 1, [], {}, [])
    with Reader() as reader, pytest.raises(outcome, match="ended with code"):
        list(reader.score(request, TokenRows(), (), 1.0))


def test_a_reader_that_nobody_asked_leaves_nothing() -> None:
    with Reader(early=False) as reader:
        folder = Path(reader.folder.name)
        assert folder.is_dir()
    assert "process" not in vars(reader)
    assert not folder.exists()
