import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ftev.core.config.config import ModelConfig, RunConfig
from ftev.core.engine.models.devices import Telemetry
from ftev.core.engine.models.load import add_adapter, load
from ftev.core.engine.models.models import describe, round_weights, save, saved_dtype
from ftev.core.engine.models.tokenizers import check_prompt, check_vocabulary, embeddings_of
from ftev.core.engine.scoring.rows import TokenRows
from ftev.core.errors import ModelError
from ftev.core.run.events import Event
from safetensors.torch import load_file
from transformers import (
    AutoTokenizer,
    BartForConditionalGeneration,
    BertForMaskedLM,
    BertLMHeadModel,
    ElectraForMaskedLM,
    Gemma2ForCausalLM,
    GPT2LMHeadModel,
    MambaForCausalLM,
    MistralForCausalLM,
    MixtralForCausalLM,
    OPTForCausalLM,
    RobertaForCausalLM,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    XLNetLMHeadModel,
)


def config(task: str, base: Path) -> RunConfig:
    return RunConfig(task=task, model=ModelConfig(base=str(base)))  # type: ignore[arg-type]


def test_C6_a_fresh_head_is_known_as_one(encoder_folder: Path, tmp_path: Path) -> None:
    loaded = load(config("classification", encoder_folder), str(encoder_folder), ("no", "yes"))
    assert loaded.new_head
    save(loaded, tmp_path)
    again = load(config("classification", tmp_path), str(tmp_path), ("no", "yes"))
    assert not again.new_head
    assert again.labels == ("no", "yes")


def test_C1_a_trained_head_keeps_its_own_label_order(encoder_folder: Path, tmp_path: Path) -> None:
    save(load(config("classification", encoder_folder), str(encoder_folder), ("z", "a")), tmp_path)
    assert load(config("classification", tmp_path), str(tmp_path), ("a", "z")).labels == ("z", "a")


def test_other_labels_get_a_new_head(encoder_folder: Path, tmp_path: Path) -> None:
    save(load(config("classification", encoder_folder), str(encoder_folder), ("a", "b")), tmp_path)
    loaded = load(config("classification", tmp_path), str(tmp_path), ("c", "d", "e"))
    assert loaded.new_head
    assert loaded.labels == ("c", "d", "e")
    same_count = load(config("classification", tmp_path), str(tmp_path), ("c", "d"))
    assert same_count.new_head
    old, new = (m.model.classifier.weight for m in (loaded, same_count))
    assert old.shape != new.shape
    stored = load_file(tmp_path / "model.safetensors")["classifier.weight"]
    assert not torch.equal(new, stored)


def test_weights_that_must_be_unpickled_are_refused(causal_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(causal_folder, tmp_path / "pickled")
    weights = tmp_path / "pickled" / "model.safetensors"
    weights.unlink()
    torch.save({}, tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        load(config("generation", tmp_path), str(tmp_path / "pickled"))


def test_code_from_a_model_folder_never_runs(causal_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "remote"
    shutil.copytree(causal_folder, folder)
    text = (folder / "config.json").read_text()
    text = text.replace(
        '"model_type": "llama"',
        '"model_type": "unheard", "auto_map": {"AutoConfig": "code.C", '
        '"AutoModelForCausalLM": "code.M"}',
    )
    (folder / "config.json").write_text(text)
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ModelError):
        load(config("generation", folder), str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["no/such-model", "/no/such/folder"])
def test_a_missing_model_is_one_clear_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # read once, at import
    with pytest.raises(ModelError, match=name):
        load(config("generation", Path(name)), name)


def test_an_encoder_is_no_causal_model(encoder_folder: Path) -> None:
    """Its tokenizer has no EOS either, which would be no help to know."""
    with pytest.raises(ModelError, match="BertForMaskedLM is a masked language model"):
        load(config("generation", encoder_folder), str(encoder_folder))


@pytest.mark.parametrize("task", ["generation", "classification"])
def test_a_sequence_to_sequence_model_is_refused(
    task: str, causal_folder: Path, tmp_path: Path
) -> None:
    small = {"encoder_layers": 1, "decoder_layers": 1, "vocab_size": 320, "d_model": 32}
    model = BartForConditionalGeneration(BartForConditionalGeneration.config_class(**small))
    folder = folder_of(model, causal_folder, tmp_path / "pair")
    with pytest.raises(ModelError, match="BartForConditionalGeneration is a sequence-to-sequence"):
        load(config(task, folder), str(folder), ("no", "yes") if task[0] == "c" else ())


def folder_of(model: Any, causal_folder: Path, folder: Path) -> Path:
    """A model with the tokenizer of the tiny causal one."""
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(causal_folder).save_pretrained(folder)
    return folder


SMALL = {
    "vocab_size": 320,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}


@pytest.mark.parametrize("kind", [BertForMaskedLM, RobertaForMaskedLM, ElectraForMaskedLM])
def test_E3_a_masked_language_model_is_refused_as_a_causal_one(
    kind: Any, causal_folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    folder = folder_of(kind(kind.config_class(**SMALL)), causal_folder, tmp_path / "masked")
    with pytest.raises(ModelError, match=rf"{folder}: {kind.__name__} is a masked language model"):
        load(config("generation", folder), str(folder))


XLNET = {"vocab_size": 320, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64}


@pytest.mark.parametrize(
    ("kind", "taken"),
    [(BertLMHeadModel, SMALL), (RobertaForCausalLM, SMALL), (XLNetLMHeadModel, XLNET)],
)
def test_E3_a_model_that_sees_later_tokens_is_refused(
    kind: Any, taken: dict[str, Any], causal_folder: Path, tmp_path: Path
) -> None:
    """Its class says causal, and its configuration does not."""
    torch.manual_seed(0)
    folder = folder_of(kind(kind.config_class(**taken)), causal_folder, tmp_path / "looking")
    with pytest.raises(ModelError, match="the logits of earlier tokens move by"):
        load(config("generation", folder), str(folder))


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (BertLMHeadModel, {"is_decoder": True}),
        (MistralForCausalLM, {"num_key_value_heads": 4, "sliding_window": 4}),
        (Gemma2ForCausalLM, {"num_key_value_heads": 4, "sliding_window": 4, "head_dim": 8}),
        (MixtralForCausalLM, {"num_key_value_heads": 4, "num_local_experts": 4}),
        (MambaForCausalLM, {}),
        (GPT2LMHeadModel, {}),
        (OPTForCausalLM, {"ffn_dim": 64, "word_embed_proj_dim": 32}),
    ],
)
def test_E3_causal_models_of_all_kinds_are_let_in(
    kind: Any, more: dict[str, Any], causal_folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = kind(kind.config_class(**SMALL, **more))
    folder = folder_of(model, causal_folder, tmp_path / "causal")
    loaded = load(config("generation", folder), str(folder))
    ids = torch.arange(12)[None]
    assert loaded.model(ids).logits.isfinite().all()


@pytest.mark.parametrize("task", ["generation", "classification"])
def test_E4_tokens_without_an_embedding_are_named_with_their_rows(
    task: str, causal_folder: Path, encoder_folder: Path
) -> None:
    folder = causal_folder if task == "generation" else encoder_folder
    loaded = load(config(task, folder), str(folder), ("no", "yes") if task[0] == "c" else ())
    size = embeddings_of(loaded)
    assert check_vocabulary(loaded, "base", {"train": TokenRows(ids=[ids(1)], row_ids=[0])}) == ""
    loaded.tokenizer.add_tokens(["<ticket>", "</ticket>"])
    first = int(loaded.tokenizer.convert_tokens_to_ids("<ticket>"))
    assert first >= size
    rows = TokenRows(ids=[ids(1, 2), ids(first, first + 1), ids(first)], row_ids=[4, 7, 9])
    with pytest.raises(ModelError) as raised:
        check_vocabulary(loaded, "base", {"train": rows})
    assert f"'<ticket>' (id {first}), '</ticket>' (id {first + 1})" in str(raised.value)
    assert "2 rows of train (7, 9)" in str(raised.value)
    unused = check_vocabulary(loaded, "base", {"train": TokenRows(ids=[ids(1)], row_ids=[0])})
    assert "No row uses the others: '<ticket>'" in unused
    with pytest.raises(ModelError, match="prompt: the model has no embedding for '<ticket>'"):
        check_prompt(loaded, [1, first])


def with_special(folder: Path, source: Path, **tokens: str) -> Path:
    """A copy of a model whose tokenizer has tokens that its embeddings were not resized for."""
    shutil.copytree(source, folder)
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_special_tokens(tokens)
    tokenizer.save_pretrained(folder)
    return folder


def test_E4_a_pad_token_without_an_embedding_is_replaced(
    causal_folder: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    folder = with_special(tmp_path / "causal", causal_folder, pad_token="[NEW]")
    loaded = load(config("generation", folder), str(folder))
    assert loaded.tokenizer.pad_token_id == loaded.tokenizer.eos_token_id
    folder = with_special(tmp_path / "encoder", encoder_folder, pad_token="[NEW]")
    encoder = load(config("classification", folder), str(folder), ("no", "yes"))
    assert encoder.model.config.pad_token_id == encoder.tokenizer.sep_token_id


def test_E4_an_adapter_for_such_a_model_scores_the_same_as_its_card_loads_it(
    causal_folder: Path, tmp_path: Path
) -> None:
    folder = with_special(tmp_path / "base", causal_folder, pad_token="[NEW]")
    lora = config("generation", folder)
    loaded = load(lora, str(folder))
    add_adapter(loaded, lora)
    save(loaded, tmp_path / "adapter")
    found: dict[str, Any] = {}
    exec(lora.task_type.loading_code(str(tmp_path / "adapter"), adapter=True), found)
    text = torch.arange(5, 17)[None]
    one, two = (m.eval()(text).logits for m in (loaded.model, found["model"]))
    assert torch.equal(one, two)


def test_E4_an_end_token_without_an_embedding_is_refused_at_once(
    causal_folder: Path, tmp_path: Path
) -> None:
    folder = with_special(tmp_path / "ended", causal_folder, eos_token="<|end|>")
    with pytest.raises(ModelError, match=r"embeddings for 320 tokens, and none for '<\|end\|>'"):
        load(config("generation", folder), str(folder))


def test_positions_counted_from_the_pad_token_are_the_same_after_a_reload(
    causal_folder: Path, tmp_path: Path
) -> None:
    """A RoBERTa's first position stands behind the pad token of its configuration, whatever the
    tokenizer pads with."""
    torch.manual_seed(0)
    kind = RobertaForSequenceClassification
    labels = {"id2label": {0: "no", 1: "yes"}, "pad_token_id": 5}
    base = folder_of(kind(kind.config_class(**SMALL | labels)), causal_folder, tmp_path / "base")
    loaded = load(config("classification", base), str(base), ("no", "yes"))
    assert loaded.tokenizer.pad_token_id != 5
    save(loaded, tmp_path / "saved")
    again = load(config("classification", base), str(tmp_path / "saved"), ("no", "yes"))
    text = torch.arange(6, 18)[None]
    one, two = (m.model.eval()(text).logits for m in (loaded, again))
    assert torch.equal(one, two)


@pytest.mark.parametrize("task", ["generation", "classification"])
def test_weights_are_saved_in_the_type_of_the_base_and_score_the_same(
    task: str, causal_folder: Path, tmp_path: Path
) -> None:
    base, saved = tmp_path / "base", tmp_path / "saved"
    labels = () if task == "generation" else ("no", "yes")
    plain = load(config(task, causal_folder), str(causal_folder), labels)
    assert saved_dtype(plain, config(task, causal_folder)) == "float32"
    save(plain, base, dtype="bfloat16")
    loaded = load(config(task, base), str(base), labels)
    dtype = saved_dtype(loaded, config(task, base))
    assert dtype == "bfloat16"
    with torch.no_grad():
        for weight in loaded.model.parameters():
            weight.add_(0.01 * torch.randn_like(weight))  # as training leaves them: float32
    assert round_weights(loaded, dtype)
    save(loaded, saved, dtype=dtype)
    weights = load_file(saved / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.bfloat16}
    assert len(weights) == len(load_file(base / "model.safetensors"))  # a tied one is there once
    again = load(config(task, base), str(saved), labels)
    assert again.stored == "bfloat16"
    text = torch.arange(5, 17)[None]
    one, two = (m.model.eval()(text).logits for m in (loaded, again))
    assert one.dtype == torch.float32
    assert torch.equal(one, two)


def test_weights_beyond_a_type_stay_as_they_are(causal_folder: Path) -> None:
    loaded = load(config("generation", causal_folder), str(causal_folder))
    weight = next(loaded.model.parameters())
    with torch.no_grad():
        weight[0, 0] = 1e5
    before = weight.clone()
    assert not round_weights(loaded, "float16")
    assert torch.equal(before, weight)
    assert round_weights(loaded, "bfloat16")
    assert not torch.equal(before, weight)


def test_auto_finds_layers_of_a_mamba_that_may_have_an_adapter(
    causal_folder: Path, tmp_path: Path
) -> None:
    model = MambaForCausalLM(MambaForCausalLM.config_class(**SMALL))
    folder = folder_of(model, causal_folder, tmp_path / "mamba")
    lora = config("generation", folder)
    loaded = load(lora, str(folder))
    add_adapter(loaded, lora)
    found = {n.split(".")[-4] for n, p in loaded.model.named_parameters() if p.requires_grad}
    assert found == {"in_proj", "x_proj", "dt_proj"}


def ids(*tokens: int) -> Any:
    return np.array(tokens, dtype=np.int32)


def test_the_length_is_what_model_tokenizer_and_config_allow(causal_folder: Path) -> None:
    loaded = load(config("generation", causal_folder), str(causal_folder))
    assert loaded.max_length == 64
    found = describe(loaded, "tiny")
    assert found.vocab_size == 320
    assert found.prefix == "<s>"
    assert found.parameters == found.trainable == sum(p.numel() for p in loaded.model.parameters())


def test_a_worker_that_waits_writes_no_samples() -> None:
    """A paused run is silent: one sample shows that it waits, and then nothing is new."""
    written: list[Event] = []
    telemetry = Telemetry(written.append, torch.device("cpu"))
    telemetry.sample()
    for _ in range(3):
        until = time.process_time() + 0.05
        while time.process_time() < until:  # busy: a sample each time
            pass
        telemetry.sample_unless_idle()
    assert len(written) == 4
    for _ in range(5):
        time.sleep(0.2)
        telemetry.sample_unless_idle()
    assert 5 <= len(written) <= 6
