"""V2: a model is never scored with a head that it does not have."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from ftev.core.config.config import (
    DataConfig,
    EvaluateConfig,
    LoraConfig,
    ModelConfig,
    RunConfig,
    to_dict,
)
from ftev.core.config.config_file import check_config
from ftev.core.engine.models import load, models
from ftev.core.engine.models.heads import Outputs, merge_labels, read_outputs, suggest_map
from ftev.core.engine.scoring.conclude import evaluate_split
from ftev.core.engine.stages import load_base_model, read_data, take_given_model
from ftev.core.engine.worker.outbox import Outbox
from ftev.core.engine.worker.session import Session
from ftev.core.errors import ConfigError, ModelError
from ftev.core.run.history import read_history
from ftev.core.run.listen import Listener
from ftev.core.run.runs import create_run
from ftev.core.tasks import find_task
from safetensors.torch import load_file, save_file
from scoring import made_texts
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    PretrainedConfig,
)

Made = Callable[..., Path]
FOUR = ("NO", "YES", "no", "yes")
THREE = ("no", "perhaps", "yes")
TEXTS = made_texts(40, seed=3)


@pytest.fixture
def made(tmp_path: Path, encoder_folder: Path) -> Made:
    """Saves a classifier with these labels, every weight of it its own."""

    def make(name: str, labels: Sequence[str], *, bias: Sequence[float] = ()) -> Path:
        folder = tmp_path / name
        torch.manual_seed(len(name))
        model = BertForSequenceClassification.from_pretrained(
            encoder_folder, num_labels=len(labels), id2label=dict(enumerate(labels))
        )
        torch.nn.init.normal_(model.classifier.weight, std=0.5)
        with torch.no_grad():
            model.classifier.bias.copy_(torch.tensor(bias or [0.0] * len(labels)))
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(encoder_folder).save_pretrained(folder)
        return folder

    return make


def answers_of(folder: Path, texts: Sequence[str]) -> list[str]:
    """By transformers alone: what the model's own head calls each text."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        found = [model(**tokenizer(t, return_tensors="pt")).logits.argmax().item() for t in texts]
    return [model.config.id2label[i] for i in found]


def asked(
    base: Path, tuned: Path, rows: Sequence[tuple[str, str]], **data: Any
) -> tuple[RunConfig, Path]:
    folder = tuned.parent
    with (folder / "test.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    config = RunConfig(
        task="classification",
        name="given",
        model=ModelConfig(base=str(base), tuned=str(tuned)),
        data=DataConfig(test="test.csv", validation=None, text="text", label="label", **data),
        evaluate=EvaluateConfig(parity_rows=0, self_test_rows=0),
        folder=str(folder),
    )
    return config, folder


def evaluated(config: RunConfig, folder: Path) -> Session:
    """Everything of an `eval` up to its results, in this process."""
    run = create_run(config, folder / "runs")
    with Outbox(run.events_path) as events:
        s = Session(run, config, events, Listener(run))
        read_data(s)
        load_base_model(s)
        take_given_model(s)
        s.prepare("test")
        evaluate_split(s, "test")
    return s


def test_V2_a_head_with_more_labels_answers_in_its_own_order(made: Made) -> None:
    tuned = made("four", FOUR)
    own = answers_of(tuned, TEXTS)
    truth = [name if name in ("no", "yes") else name.lower() for name in own]
    truth[0] = "yes" if truth[0] == "no" else "no"
    config, folder = asked(tuned, tuned, list(zip(TEXTS, truth, strict=True)))
    s = evaluated(config, folder)
    right = sum(a == b for a, b in zip(own, truth, strict=True)) / len(own)
    history = read_history(s.run)
    assert history.results["test"]["tuned"].metrics["accuracy"].value == pytest.approx(right)
    assert history.labels == ["no", "yes", "NO", "YES"]
    assert history.results["test"]["tuned"].confusion.labels == history.labels
    frame = pl.read_parquet(s.run.predictions / "test.tuned.parquet").sort("row_id")
    assert frame["predicted"].to_list() == own
    best = np.array(frame["probabilities"].to_list()).argmax(1)
    assert [history.labels[i] for i in best] == own


def test_V2_labels_that_only_one_of_two_models_has_are_never_the_others(made: Made) -> None:
    base, tuned = made("base", ("yes", "no")), made("tuned", ("maybe", "no", "yes"))
    rows = [(text, "yes" if i % 2 else "no") for i, text in enumerate(TEXTS)]
    s = evaluated(*asked(base, tuned, rows))
    assert s.labels == ("no", "yes", "maybe")
    frames = [pl.read_parquet(s.run.predictions / f"test.{m}.parquet") for m in ("base", "tuned")]
    first, second = (np.array(f["probabilities"].to_list()) for f in frames)
    assert (first[:, 2] == 0).all()
    assert np.allclose(first.sum(1), 1)
    assert (second[:, 2] > 0).all()
    assert frames[0].sort("row_id")["predicted"].to_list() == answers_of(base, TEXTS)
    assert frames[1].sort("row_id")["predicted"].to_list() == answers_of(tuned, TEXTS)


def test_V2_other_labels_are_refused_before_scoring_and_both_sets_named(made: Made) -> None:
    good, other = made("good", ("no", "yes")), made("other", ("LABEL_0", "LABEL_1"))
    rows = [(text, "yes" if i % 2 else "no") for i, text in enumerate(TEXTS)]
    for base, tuned in ((other, good), (good, other)):
        config, folder = asked(base, tuned, rows)
        with pytest.raises(ModelError) as caught:
            evaluated(config, folder)
        found = str(caught.value)
        assert str(other) in found
        assert "LABEL_0, LABEL_1" in found
        assert "no, yes" in found
        assert 'label_map = { LABEL_0 = "no", … }' in found


def test_V2_a_map_says_how_labels_meet(made: Made) -> None:
    tuned = made("numbered", ("LABEL_0", "LABEL_1"))
    own = answers_of(tuned, TEXTS)
    names = {"LABEL_0": "yes", "LABEL_1": "no"}
    rows = [(text, "yes" if i % 3 else "no") for i, text in enumerate(TEXTS)]
    s = evaluated(*asked(tuned, tuned, rows, label_map=names))
    frame = pl.read_parquet(s.run.predictions / "test.tuned.parquet").sort("row_id")
    assert frame["predicted"].to_list() == [names[name] for name in own]
    saved = s.run.model_path
    models.save(s.tuned, saved)
    assert s.load(str(saved)).labels == ("yes", "no")  # the map is applied once, not twice


def test_V2_outputs_of_one_label_are_added(made: Made) -> None:
    tuned = made("four", FOUR)
    rows = [(text, "yes" if i % 3 else "no") for i, text in enumerate(TEXTS)]
    s = evaluated(*asked(tuned, tuned, rows, label_map={"NO": "no", "YES": "yes"}))
    assert s.labels == ("no", "yes")
    model = AutoModelForSequenceClassification.from_pretrained(tuned).eval()
    tokenizer = AutoTokenizer.from_pretrained(tuned)
    with torch.inference_mode():
        four = model(**tokenizer(TEXTS[5], return_tensors="pt")).logits[0].softmax(-1)
    frame = pl.read_parquet(s.run.predictions / "test.tuned.parquet").sort("row_id")
    wanted = [float(four[0] + four[2]), float(four[1] + four[3])]
    assert frame["probabilities"][5].to_list() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("names", "said"),
    [({"LABEL_7": "no"}, "no head has this label"), ({"LABEL_0": "nno"}, "no label 'nno'")],
)
def test_V2_a_map_with_unknown_names_is_a_fault(
    made: Made, names: dict[str, str], said: str
) -> None:
    tuned = made("numbered", ("LABEL_0", "LABEL_1"))
    rows = [(text, "yes" if i % 2 else "no") for i, text in enumerate(TEXTS)]
    with pytest.raises(ConfigError, match=said):
        evaluated(*asked(tuned, tuned, rows, label_map=names))


@pytest.mark.parametrize("lost", ["classifier.weight", "bert.pooler.dense.bias"])
def test_V2_a_tuned_model_without_all_its_weights_is_refused(made: Made, lost: str) -> None:
    base, tuned = made("base", ("no", "yes")), made("tuned", ("no", "yes"))
    weights = load_file(tuned / "model.safetensors")
    del weights[lost]
    save_file(weights, tuned / "model.safetensors", metadata={"format": "pt"})
    rows = [(text, "yes" if i % 2 else "no") for i, text in enumerate(TEXTS)]
    with pytest.raises(ModelError, match=lost):
        evaluated(*asked(base, tuned, rows))
    s = evaluated(*asked(tuned, base, rows))  # as the base it has no head, and no figures
    assert not s.base_has_head
    assert "base" not in read_history(s.run).results["test"]


def test_V2_training_says_whose_head_it_replaces(made: Made) -> None:
    base = made("stars", ("1 star", "2 stars"))
    config = RunConfig(task="classification", model=ModelConfig(base=str(base)))
    loaded = load.load(config, str(base), ("no", "yes"))
    assert loaded.new_head
    assert models.describe(loaded, "stars").replaced_labels == ["1 star", "2 stars"]
    text = " ".join(models.notes_on_base(loaded, config))
    assert "1 star, 2 stars" in text
    assert "no, yes" in text
    mapped = RunConfig(
        task="classification",
        model=ModelConfig(base=str(base)),
        data=DataConfig(label_map={"1 star": "no", "2 stars": "yes"}),
    )
    kept = load.load(mapped, str(base), ("no", "yes"))
    assert not kept.new_head
    assert kept.labels == ("no", "yes")
    assert kept.model.config.id2label == {0: "no", 1: "yes"}


def test_a_new_head_keeps_the_pooler_and_draws_the_output_layer_anew(made: Made) -> None:
    base = made("stars", ("1 star", "2 stars"))
    config = RunConfig(task="classification", model=ModelConfig(base=str(base)))
    stored = load_file(base / "model.safetensors")
    for labels in (("no", "yes"), ("a", "b", "c")):
        loaded = load.load(config, str(base), labels)
        assert loaded.new_modules == ("classifier",)
        pooler = loaded.model.bert.pooler.dense.weight
        assert torch.equal(pooler, stored["bert.pooler.dense.weight"])
        assert loaded.model.classifier.weight.shape[0] == len(labels)
        assert not torch.equal(loaded.model.classifier.weight[:2], stored["classifier.weight"])


def test_outputs_without_names_are_labels_that_are_numbers() -> None:
    config = PretrainedConfig(num_labels=3)
    assert read_outputs(config, ("0", "1", "2"), {}).names == ("0", "1", "2")
    assert read_outputs(config, ("0", "2"), {}).fits(("0", "2"), trains=False)
    assert not read_outputs(config, ("1", "2", "3"), {}).fits(("1", "2", "3"), trains=False)
    assert not Outputs(FOUR, FOUR).fits(("no", "yes"), trains=True)
    assert merge_labels(("b", "a"), [("a", "c"), ("d", "b")]) == ("b", "a", "c", "d")


def test_the_map_that_is_suggested_pairs_what_differs_in_case() -> None:
    paired = suggest_map(("NEGATIVE", "Very good"), ("negative", "very good"))
    assert paired == '{ NEGATIVE = "negative", "Very good" = "very good" }'
    assert suggest_map(("LABEL_0", "LABEL_1"), ("no", "yes")) == '{ LABEL_0 = "no", … }'


def test_labels_of_a_folder_are_read_without_weights(made: Made) -> None:
    folder = made("four", FOUR)
    (folder / "model.safetensors").unlink()
    config = RunConfig(task="classification", model=ModelConfig(base=str(folder)))
    assert load.own_labels(config, str(folder)) == FOUR


def adapter_in(folder: Path, base: Path, labels: Sequence[str], **lora: Any) -> RunConfig:
    """A trained adapter on a base, saved; returns the config of the run that made it."""
    config = RunConfig(
        task="classification",
        model=ModelConfig(base=str(base), adapter="lora", lora=LoraConfig(**lora)),
    )
    loaded = load.load(config, str(base), labels)
    load.add_adapter(loaded, config)
    torch.manual_seed(len(str(folder)))
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn_like(parameter)
    models.save(loaded, folder)
    return config


def written(**model: Any) -> dict[str, Any]:
    return {"task": "classification", "model": model, "data": {"train": "train.csv"}}


def test_an_adapter_as_base_goes_on_with_its_own_settings(
    encoder_folder: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    adapter_in(first, encoder_folder, THREE, r=4, alpha=12)
    config = check_config(written(base=str(first)))
    assert config.model.adapter == "lora"
    assert (config.model.lora.r, config.model.lora.alpha) == (4, 12)
    assert check_config(to_dict(config)) == config  # as run.toml keeps it
    loaded = load.load(config, str(first), THREE, trainable=True)
    assert loaded.labels == THREE
    assert not loaded.new_head
    trained = [name for name, p in loaded.model.named_parameters() if p.requires_grad]
    assert any("lora_A" in name for name in trained)
    assert any("classifier" in name for name in trained)
    assert any("pooler" in name for name in trained)
    assert not any("word_embeddings" in name for name in trained)
    assert "r = 4, alpha = 12" in " ".join(models.notes_on_base(loaded, config))
    stored = load_file(first / "adapter_model.safetensors")
    state = models.unwrapped(loaded.model).state_dict()
    head = next(v for k, v in state.items() if k.endswith("modules_to_save.default.weight"))
    assert any(torch.equal(head, value) for value in stored.values())
    models.save(loaded, tmp_path / "second")
    values = json.loads((tmp_path / "second" / "adapter_config.json").read_text())
    assert values["base_model_name_or_path"] == str(encoder_folder)
    again = load.load(config, str(tmp_path / "second"), THREE)
    assert again.labels == THREE


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"lora": {"r": 16}}, "is 16, and the adapter that is trained on has 4"),
        ({"adapter": "none"}, "must be lora: the base is an adapter"),
    ],
)
def test_an_adapter_as_base_has_no_other_settings(
    model: dict[str, Any], said: str, encoder_folder: Path, tmp_path: Path
) -> None:
    adapter_in(tmp_path / "first", encoder_folder, THREE, r=4)
    with pytest.raises(ConfigError, match=said):
        check_config(written(base=str(tmp_path / "first"), **model))


def test_V2_an_adapter_for_other_labels_is_refused(encoder_folder: Path, tmp_path: Path) -> None:
    adapter_in(tmp_path / "first", encoder_folder, THREE)
    config = check_config(written(base=str(tmp_path / "first")))
    with pytest.raises(ModelError, match="no, perhaps, yes"):
        load.load(config, str(tmp_path / "first"), ("no", "yes"))


def test_V2_adapters_are_evaluated_on_their_own_bases(
    encoder_folder: Path, tmp_path: Path, made: Made
) -> None:
    """The base in the config is not the one that the tuned adapter was trained on."""
    adapter_in(tmp_path / "first", encoder_folder, THREE)
    adapter_in(tmp_path / "other", made("two", ("x", "y")), THREE)
    rows = [(text, "yes" if i % 2 else "no") for i, text in enumerate(TEXTS)]
    s = evaluated(*asked(tmp_path / "first", tmp_path / "other", rows))
    assert s.labels == ("no", "yes", "perhaps")
    for model, folder in (("base", "first"), ("tuned", "other")):
        found: dict[str, Any] = {}
        code = find_task("classification").loading_code(str(tmp_path / folder), adapter=True)
        exec(code, found)
        with torch.inference_mode():
            ids = found["tokenizer"](TEXTS[0], return_tensors="pt")
            wanted = found["model"].eval()(**ids).logits[0].softmax(-1)
        frame = pl.read_parquet(s.run.predictions / f"test.{model}.parquet").sort("row_id")
        lines = [float(wanted[THREE.index(label)]) for label in s.labels]
        assert frame["probabilities"][0].to_list() == pytest.approx(lines, abs=1e-5)


@pytest.mark.parametrize("lost", ["classifier", "lora_B"])
def test_V2_an_adapter_without_all_its_weights_is_refused(
    lost: str, encoder_folder: Path, tmp_path: Path
) -> None:
    config = adapter_in(tmp_path / "first", encoder_folder, THREE)
    path = tmp_path / "first" / "adapter_model.safetensors"
    kept = {name: value for name, value in load_file(path).items() if lost not in name}
    save_file(kept, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=lost):
        load.load(config, str(tmp_path / "first"), THREE)
