"""A text followed layer by layer: the last layer's answer is the model's own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from ftev.core.config.config import LoraConfig, ModelConfig, RunConfig
from ftev.core.engine.answering.trace import (
    Found,
    causal_task,
    find_layers,
    label_task,
    probe_task,
    trace,
)
from ftev.core.engine.models.load import add_adapter
from ftev.core.engine.models.models import Loaded
from ftev.core.engine.scoring.rows import prompt_ids
from scoring import causal_model, classifier_model
from transformers import GPT2Config, GPT2LMHeadModel

TEXT = "the kettle boils and the cup"


def by_hand(model: Any, ids: list[int]) -> list[torch.Tensor]:
    """Llama's states at the last token through its final norm and projection."""
    with torch.no_grad():
        states = []
        hooks = [
            layer.register_forward_hook(lambda _, __, out: states.append(out))
            for layer in model.model.layers
        ]
        model(input_ids=torch.tensor([ids]))
        for hook in hooks:
            hook.remove()
        start = model.model.embed_tokens(torch.tensor([ids]))
        return [model.lm_head(model.model.norm(h))[0, -1] for h in (start, *states)]


def traced(loaded: Loaded, ids: list[int]) -> Found:
    return trace(loaded, ids, causal_task(loaded, ids, str))


def test_the_lens_of_a_llama_is_final_norm_and_projection(causal_folder: Path) -> None:
    loaded = causal_model(causal_folder)
    ids = prompt_ids(loaded, TEXT, "text")
    found = traced(loaded, ids)
    with torch.no_grad():
        own = loaded.model.eval()(input_ids=torch.tensor([ids])).logits[0, -1]
    assert torch.allclose(found.scores, own, atol=1e-5)
    assert found.error < 1e-5
    assert [layer.index for layer in found.layers] == [0, 1, 2]
    for layer, expected in zip(found.layers, by_hand(loaded.model, ids), strict=True):
        best = expected.softmax(-1).topk(5)
        assert [name for name, _ in layer.top] == [str(int(i)) for i in best.indices]
        assert [p for _, p in layer.top] == pytest.approx(best.values.tolist(), abs=1e-5)
    assert dict(found.layers[-1].top)[str(int(own.argmax()))] == pytest.approx(
        float(own.softmax(-1).max()), abs=1e-5
    )


def test_norms_changes_and_cosines_are_those_of_the_states(causal_folder: Path) -> None:
    loaded = causal_model(causal_folder)
    ids = prompt_ids(loaded, TEXT, "text")
    found = traced(loaded, ids)
    assert found.layers[0].change is None
    a, b = found.followed[0], found.followed[1]
    assert found.layers[1].norm == pytest.approx(float(b.norm()), rel=1e-5)
    assert found.layers[1].change == pytest.approx(float((b - a).norm() / a.norm()), rel=1e-5)
    expected = torch.cosine_similarity(a, b, dim=0)
    assert found.layers[1].cosine == pytest.approx(float(expected), abs=1e-5)


def test_the_lens_of_a_bert_classifier_is_its_pooler_and_head(encoder_folder: Path) -> None:
    loaded = classifier_model(encoder_folder)
    ids = loaded.tokenizer(TEXT).input_ids
    found = trace(loaded, ids, label_task(loaded, ids))
    model = loaded.model.eval()
    with torch.no_grad():
        out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
        by_layer = [model.classifier(model.bert.pooler(h))[0] for h in out.hidden_states]
    assert torch.allclose(found.scores, out.logits[0], atol=1e-5)
    assert found.error < 1e-5
    for layer, expected in zip(found.layers, by_layer, strict=True):
        shares = dict(zip(loaded.labels, expected.softmax(-1).tolist(), strict=True))
        assert dict(layer.top) == pytest.approx(shares, abs=1e-5)


def test_a_probe_speaks_for_a_base_without_a_head(encoder_folder: Path) -> None:
    loaded = classifier_model(encoder_folder)
    ids = loaded.tokenizer(TEXT).input_ids
    seen = []

    def probabilities(features: Any) -> Any:
        seen.append(features)
        return [[0.25, 0.75]]

    found = trace(loaded, ids, probe_task(loaded, probabilities, ("good", "bad"), 0))
    assert found.layers[-1].top[0] == ("bad", pytest.approx(0.75))
    with torch.no_grad():
        states = loaded.model.bert(input_ids=torch.tensor([ids]))[0][0]
    assert torch.allclose(torch.as_tensor(seen[0][0]), states.mean(0), atol=1e-5)


def test_an_adapter_is_traced_and_left_as_it_was(causal_folder: Path) -> None:
    config = RunConfig(
        task="generation",
        model=ModelConfig(base=str(causal_folder), adapter="lora", lora=LoraConfig(r=4)),
    )
    loaded = causal_model(causal_folder)
    ids = prompt_ids(loaded, TEXT, "text")
    plain = traced(loaded, ids)
    add_adapter(loaded, config)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    adapted, base = traced(loaded, ids), traced(loaded.as_base(), ids)
    assert torch.allclose(base.scores, plain.scores, atol=1e-5)
    assert adapted.error < 1e-5
    assert not torch.allclose(adapted.scores, plain.scores, atol=1e-2)
    assert all("forward" not in layer.__dict__ for layer in find_layers(loaded))


def test_another_architecture_is_followed_without_being_known(causal_folder: Path) -> None:
    loaded = causal_model(causal_folder)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(loaded.tokenizer), n_embd=32, n_layer=3, n_head=2, n_positions=64
    )
    other = Loaded(GPT2LMHeadModel(config), loaded.tokenizer, 64)
    ids = prompt_ids(other, TEXT, "text")
    found = traced(other, ids)
    assert len(found.layers) == 4
    assert found.error < 1e-5


def test_layers_that_cannot_be_made_out_give_no_layers(causal_folder: Path) -> None:
    loaded = causal_model(causal_folder)
    ids = prompt_ids(loaded, TEXT, "text")
    expected = traced(loaded, ids).scores
    loaded.model.config.num_hidden_layers = 1  # only one of them is run
    found = traced(loaded, ids)
    assert found.layers == []
    assert torch.isfinite(found.scores).all()
    assert found.scores.shape == expected.shape
